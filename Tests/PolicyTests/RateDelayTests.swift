// Tokens that are owed: how long a request is to be held, and that the waits of a key follow each other.

import Testing

@testable import Policy
@testable import SharedState

@Suite struct RateDelayTests {
  private func limiter(rate: Double = 10, capacity: Int64 = 2, delay: Int64 = 3) throws -> RateLimiter<RateTable> {
    RateLimiter(try RateTable(try RateTable.create(entries: 8, seed: (1, 2), now: 1)), RateBucket(rate: rate, capacity: capacity, delay: delay))
  }

  @Test func eachWaitsForItsOwnToken() throws {
    let limiter = try limiter()
    let now: Int64 = 77_000_000
    let outcomes = (0..<6).map { _ in limiter.take(5, microseconds: now) }
    #expect(outcomes.map(\.isAdmitted) == [true, true, true, true, true, false])
    for (outcome, wait) in zip(outcomes, [0, 0, 100_000, 200_000, 300_000, 0] as [Int64]) { #expect(abs(outcome.wait - wait) <= 200, "\(outcomes)") }
    #expect(outcomes.map(\.remaining) == [1, 0, 0, 0, 0, 0])
    // The one that is refused could be held when a token has come back.
    #expect((99_000...100_200).contains(outcomes[5].untilAdmitted))
    let later = limiter.take(5, microseconds: now + outcomes[5].untilAdmitted + 1)
    #expect(later.isAdmitted && (299_000...300_200).contains(later.wait))
  }

  @Test func nothingIsOwedWhereNobodyMayWait() throws {
    let limiter = try limiter()
    let outcomes = (0..<3).map { _ in limiter.take(5, mayWait: false, microseconds: 9_000_000) }
    #expect(outcomes.map(\.isAdmitted) == [true, true, false] && outcomes[2].wait == 0)
  }

  @Test func aDearRequestWaitsForAllOfItsTokens() throws {
    let limiter = try limiter(capacity: 4, delay: 4)
    #expect(limiter.take(5, cost: 4, microseconds: 9_000_000).wait == 0)
    let second = limiter.take(5, cost: 3, microseconds: 9_000_000)
    #expect(second.isAdmitted && (299_000...300_200).contains(second.wait))
    #expect(!limiter.take(5, cost: 2, microseconds: 9_000_000).isAdmitted)
    #expect(!limiter.take(6, cost: 5, microseconds: 9_000_000).isAdmitted, "more than the capacity is never there")
  }

  @Test func theRateHoldsOverAll() throws {
    let limiter = try limiter(rate: 1000, capacity: 10, delay: 50)
    var admitted: Int64 = 0, latest: Int64 = 0
    for step in 0..<100_000 as Range<Int64> {
      let now = 50_000_000 + step * 50
      let outcome = limiter.take(5, microseconds: now)
      guard outcome.isAdmitted else { continue }
      admitted += 1
      // None goes on before one that came earlier.
      #expect(now + outcome.wait + 2 >= latest)
      latest = max(latest, now + outcome.wait)
    }
    #expect((5000 + 59...5000 + 61).contains(admitted))
  }

  @Test func whatIsOwedComesAlongToAnotherTable() throws {
    let old = try limiter(rate: 1), new = try limiter(rate: 1, capacity: 2, delay: 1)
    let now: Int64 = 9_000_000
    for _ in 0..<5 { #expect(old.take(5, microseconds: now).isAdmitted) }
    RateTransfer.copy(old, to: new, microseconds: now)
    #expect(!new.take(5, microseconds: now).isAdmitted)
    #expect(new.take(5, microseconds: now + 1_000_000).isAdmitted)
  }
}
