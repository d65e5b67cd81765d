// GuardingEndpoints — breakers of single endpoints: the endpoint that an attempt goes to is asked when it has been chosen, and told how the attempt has ended.
//
// Invariant: the `admission` of an exchange with the flag `.guarded` names the endpoint that has let it through, from the choice to the report; there is
// one report for each. What an upstream's guard does besides (budget, thresholds) is done as ever (Guarding).

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream

extension Gateway {
  // Mutating, though it changes nothing: what is borrowed from so large a struct is copied.
  /// Whether the endpoint that an exchange goes to is to be asked.
  mutating func asksEndpoints(_ exchange: Handle) -> Bool {
    guard exchanges[exchange].flags.contains(.guarded), let place = guards.place(Int(exchanges[exchange].upstream)) else { return false }
    return guards.guards[place].guardsEndpoints
  }

  private mutating func breaker(_ upstream: Int, row: Int) -> Breaker<EndpointBreakerCells>? {
    guard let table = backends.pools.table, row >= 0, row < table.rowCount else { return nil }
    return Breaker(table.breaker(row), plan.upstreams[upstream].breaker)
  }

  /// Asks the endpoint of a pool, which has been chosen. False: it is to be passed over.
  mutating func admit(_ exchange: Handle, at pool: Int) -> Bool {
    let upstream = Int(exchanges[exchange].upstream), row = Int(backends.pools[pool].row)
    guard let breaker = breaker(upstream, row: row), let place = guards.place(upstream) else { return true }
    let answer = breaker.ask(row: guards.row, now: services.now)
    if let transition = answer.transition { tell(transition, upstream, endpoint: row) }
    if answer.refusal != nil {
      let isSpared = guards.guards[place].isDryRun || backends.pools[pool].isSpared
      breaker.memory.count(isSpared ? .spared : .refused)
      if guards.guards[place].isDryRun { counters.add(.breakerSpared) }
      return isSpared
    }
    exchanges[exchange].admission.endpoint = Int32(truncatingIfNeeded: row)
    exchanges[exchange].admission.generation = answer.generation
    exchanges[exchange].admission.probe = answer.probe
    return true
  }

  /// The attempt under way does not end at the endpoint that has let it through.
  @inline(never)
  mutating func leaveEndpoint(_ exchange: Handle, _ outcome: AttemptOutcome) {
    guard exchanges[exchange].flags.contains(.guarded), exchanges[exchange].admission.endpoint >= 0 else { return }
    let admission = exchanges[exchange].admission
    exchanges[exchange].admission.endpoint = -1
    endAtEndpoint(admission, outcome)
  }

  @inline(never)
  mutating func endAtEndpoint(_ admission: Admission, _ outcome: AttemptOutcome) {
    let upstream = Int(admission.upstream), row = Int(admission.endpoint)
    guard let breaker = breaker(upstream, row: row) else { return }
    if let transition = breaker.tell(admission, outcome, row: guards.row, microseconds: services.nowMicroseconds) { tell(transition, upstream, endpoint: row) }
  }

  /// Every endpoint that could be chosen is left alone: the exchange has failed. False: that is not why there is none.
  @inline(never)
  mutating func refuseWithoutEndpoint(_ exchange: Handle) -> Bool {
    let upstream = Int(exchanges[exchange].upstream)
    guard let place = guards.place(upstream), guards.guards[place].guardsEndpoints, let wait = backends.waitForEndpoint(upstream, now: services.now) else { return false }
    guards.guards[place].breaker.memory.count(.refused)
    counters.add(.breakerRefusals)
    services.guardNote = GuardNote(upstream: Int32(truncatingIfNeeded: upstream), wait: wait)
    fail(exchange, .circuitOpen)
    return true
  }

  /// Writes down what this worker has brought about, and has all others look at their endpoints anew.
  private mutating func tell(_ transition: BreakerTransition, _ upstream: Int, endpoint row: Int) {
    guard let place = guards.place(upstream), let table = backends.pools.table, let breaker = breaker(upstream, row: row) else { return }
    let name = "upstream \(plan.upstreams[upstream].name): endpoint \(table.name(row))"
    let dryRun = guards.guards[place].isDryRun ? " (dry run)" : ""
    switch transition.to {
    case .open:
      breaker.memory.count(.opened)
      counters.add(.breakerTrips)
      log.write(.warn, "\(name): circuit breaker is open for \(transition.duration) ms: \(transition.trigger.name), \(transition.failures) of \(transition.total)\(dryRun)")
    case .halfOpen:
      breaker.memory.count(.halfOpened)
      log.write(.info, "\(name): circuit breaker is half-open: \(breaker.state.probes) requests are let through\(dryRun)")
    case .closed:
      breaker.memory.count(.closed)
      log.write(.info, "\(name): circuit breaker is closed: \(transition.total) requests have succeeded\(dryRun)")
    }
    table.announce(row)
  }
}
