// The limit that is found out: up while it is used and quick, down when slow, never out of its bounds.

import Plan
import Testing

@testable import Policy
@testable import SharedState

private final class PlainMemory: BreakerMemory {
  var words = [UInt64](repeating: 0, count: 64)

  func load(_ cell: Int) -> UInt64 { words[cell] }
  func store(_ cell: Int, _ value: UInt64) { words[cell] = value }
  func exchange(_ cell: Int, expected: UInt64, desired: UInt64) -> Bool {
    guard words[cell] == expected else { return false }
    words[cell] = desired
    return true
  }
}

@Suite struct ConcurrencyLimitTests {
  private static func limit(_ memory: PlainMemory, minimum: Int = 2, maximum: Int = 50, tolerance: Int = 200) -> ConcurrencyLimit<PlainMemory> {
    var plan = BreakerPlan()
    (plan.isAdaptive, plan.adaptiveMinimum, plan.adaptiveMaximum, plan.adaptiveTolerance) = (true, minimum, maximum, tolerance)
    return ConcurrencyLimit(memory, plan)
  }

  @Test func itGrowsByOneInARoundWhileItIsUsed() {
    let limit = Self.limit(PlainMemory())
    #expect(limit.limit == 10)
    for _ in 0..<11 { limit.observe(latency: 1000, underWay: 10, now: 1_000_000) }
    #expect(limit.limit == 11)
    for _ in 0..<100 { limit.observe(latency: 1000, underWay: 2, now: 1_000_000) }
    #expect(limit.limit == 11)
    for _ in 0..<10_000 { limit.observe(latency: 1000, underWay: 60, now: 1_000_000) }
    #expect(limit.limit == 50)
  }

  @Test func slowOnesLowerItOnceInTheTimeThatOneTakes() {
    let limit = Self.limit(PlainMemory())
    var now: Int64 = 1_000_000
    limit.observe(latency: 1000, underWay: 1, now: now)
    for _ in 0..<100 { limit.observe(latency: 2001, underWay: 10, now: now) }
    #expect(limit.limit == 9)
    for _ in 0..<100 {
      now += 200_000
      limit.observe(latency: 5000, underWay: 10, now: now)
    }
    #expect(limit.limit == 2)
    // Within the tolerance it grows again.
    for _ in 0..<100 { limit.observe(latency: 2000, underWay: 10, now: now) }
    #expect(limit.limit > 2)
  }

  @Test func failuresLowerItToo() {
    let limit = Self.limit(PlainMemory())
    limit.observe(latency: nil, underWay: 5, now: 1_000_000)
    #expect(limit.limit == 9)
  }

  @Test func theShortestTimeIsOfTheLastMinute() {
    let limit = Self.limit(PlainMemory())
    var now: Int64 = 30_000_000
    limit.observe(latency: 100, underWay: 1, now: now)
    // What was quick once counts for half a minute more, and then no longer.
    now += 30_000_000
    limit.observe(latency: 1000, underWay: 10, now: now)
    #expect(limit.limit == 9)
    now += 30_000_000
    let before = limit.limit
    for _ in 0..<20 { limit.observe(latency: 1000, underWay: 10, now: now) }
    #expect(limit.limit == before + 1 || limit.limit == before + 2)
  }

  @Test func itFindsWhatASimulatedBackendTakes() {
    // A backend that does eight things at a time in 10 ms each; what comes beyond waits.
    let limit = Self.limit(PlainMemory(), minimum: 1, maximum: 1000)
    var now: Int64 = 1_000_000
    var seen: [UInt64] = []
    for round in 0..<3000 {
      let underWay = limit.limit
      let latency = 10_000 * Int64((underWay + 7) / 8)
      for _ in 0..<min(underWay, 50) { limit.observe(latency: round % 100 == 0 ? 10_000 : latency, underWay: underWay, now: now) }
      now += latency
      if round > 500 { seen.append(limit.limit) }
    }
    #expect(seen.allSatisfy { (8...24).contains($0) }, "\(seen.min() ?? 0) to \(seen.max() ?? 0)")
  }

  @Test func anyWordIsALimit() {
    var state: UInt64 = 7
    for _ in 0..<1000 {
      let memory = PlainMemory()
      for cell in memory.words.indices {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        memory.words[cell] = state
      }
      let limit = Self.limit(memory)
      limit.observe(latency: Int64(bitPattern: state), underWay: state, now: Int64(bitPattern: state >> 1))
      limit.observe(latency: nil, underWay: 0, now: 5)
      #expect((2...50).contains(limit.limit))
    }
  }
}
