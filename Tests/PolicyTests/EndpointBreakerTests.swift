// The breaker of an endpoint lies in the endpoint's row: it does what an upstream's does, with fewer probes, and touches nothing else of the row.

import Kernel
import Plan
import Testing

@testable import Policy
@testable import SharedState

@Suite struct EndpointBreakerTests {
  private func plan() -> BreakerPlan {
    var plan = BreakerPlan()
    plan.enabled = true
    plan.scope = .endpoint
    plan.consecutiveFailures = 3
    plan.probes = 24
    plan.baseOpenDuration = 1000
    return plan
  }

  @Test func itOpensAndIsTriedOutAndCloses() throws {
    let table = try EndpointTable(try EndpointTable.create(rows: 64, columns: 16))
    let row = try #require(table.claim(upstream: "app", endpoint: "one", now: 1000))
    let breaker = Breaker(table.breaker(row), plan())
    breaker.setWindow(milliseconds: 10_000)
    for _ in 0..<3 {
      var admission = Admission()
      admission.generation = breaker.ask(row: 1, now: 1000).generation
      _ = breaker.tell(admission, .failure, row: 1, microseconds: 1_000_000)
    }
    #expect(breaker.state.phase == .open && breaker.ask(row: 1, now: 1500).refusal == .open)
    // All probes are let through, and one more is not.
    var probes: [Admission] = []
    for _ in 0..<24 {
      let answer = breaker.ask(row: 2, now: 2001)
      #expect(answer.refusal == nil && answer.probe >= 0)
      var admission = Admission()
      admission.generation = answer.generation
      admission.probe = answer.probe
      probes.append(admission)
    }
    #expect(Set(probes.map(\.probe)).count == 24 && breaker.ask(row: 2, now: 2001).refusal == .halfOpenFull)
    for (index, probe) in probes.enumerated() { #expect((breaker.tell(probe, .success, row: 2, microseconds: 2_002_000) != nil) == (index == 23)) }
    #expect(breaker.state.phase == .closed)
    // The rest of the row is as it was.
    #expect(table.name(row) == "one" && table.isUsed(row) && table.value(.requests, row) == 0 && table.inFlight(row, columns: 16) == 0)
    #expect(table.value(.upstream, row) == EndpointTable.key(upstream: "app"))
  }

  @Test func probesOfADeadWorkerAreGivenBack() throws {
    let table = try EndpointTable(try EndpointTable.create(rows: 64, columns: 16))
    let row = try #require(table.claim(upstream: "app", endpoint: "one", now: 1000))
    var plan = plan()
    plan.probes = 2
    let breaker = Breaker(table.breaker(row), plan)
    #expect(breaker.order(.open) && breaker.state.isHeld && breaker.order(.reset))
    breaker.setWindow(milliseconds: 10_000)
    for _ in 0..<3 {
      var admission = Admission()
      admission.generation = breaker.ask(row: 1, now: 1000).generation
      _ = breaker.tell(admission, .failure, row: 1, microseconds: 1_000_000)
    }
    for _ in 0..<2 { #expect(breaker.ask(row: 7, now: 2001).refusal == nil) }
    #expect(breaker.ask(row: 8, now: 2001).refusal == .halfOpenFull)
    _ = breaker.release(row: 7, now: 2001)
    #expect(breaker.ask(row: 8, now: 2001).refusal == nil)
  }

  @Test func cellsThatThereAreNoneOfAreHarmless() throws {
    let table = try EndpointTable(try EndpointTable.create(rows: 64, columns: 16))
    let row = try #require(table.claim(upstream: "app", endpoint: "one", now: 1000))
    let cells = table.breaker(row)
    for cell in [-1, 7, 24, 27, 400, BreakerCell.probes + 24, Int.max] {
      cells.store(cell, 5)
      #expect(cells.load(cell) == 0 && !cells.exchange(cell, expected: 0, desired: 1))
    }
    #expect(table.name(row) == "one")
  }
}
