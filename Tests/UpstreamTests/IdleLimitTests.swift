// IdleLimitTests — what announcements and closes let the gateway believe of a backend's idle limit.

import Plan
import Testing

@testable import Upstream

@Suite struct IdleLimitTests {
  @Test func nothingKnownChangesNothing() {
    #expect(IdleLimit().applied(to: 90_000) == 90_000)
  }

  @Test(arguments: [(5_000, 4_000), (1_000, 750), (75_000, 74_000), (400, 300), (100, 50), (1, 10), (0, 10)])
  func announcedLimitsAreUndercut(announced: Int64, expected: Int64) {
    var limit = IdleLimit()
    limit.announce(announced, now: 0)
    #expect(limit.applied(to: 90_000) == expected)
    #expect(limit.applied(to: 20) == min(20, expected), "what is configured is never exceeded")
  }

  @Test func theLatestAnnouncementCounts() {
    var limit = IdleLimit()
    limit.announce(5_000, now: 0)
    limit.announce(60_000, now: 1)
    #expect(limit.applied(to: 90_000) == 59_000)
  }

  @Test func closesMustAgree() {
    var limit = IdleLimit()
    for duration in [Int64(5_000), 9_000, 5_010, 300] {
      limit.observeClose(after: duration, now: 0)
      #expect(limit.applied(to: 90_000) == 90_000)
    }
    for duration in [Int64(5_000), 5_040, 4_990] { limit.observeClose(after: duration, now: 0) }
    #expect(limit.applied(to: 90_000) == 3_990)
  }

  @Test func closesOfBusyConnectionsSayNothing() {
    var limit = IdleLimit()
    for _ in 0..<10 { limit.observeClose(after: 20, now: 0) }
    #expect(limit.applied(to: 90_000) == 90_000)
  }

  @Test func whatIsNotConfirmedIsForgotten() {
    var limit = IdleLimit()
    for _ in 0..<3 { limit.observeClose(after: 5_000, now: 1_000) }
    limit.refresh(now: 600_999)
    #expect(limit.applied(to: 90_000) == 4_000)
    limit.refresh(now: 601_000)
    #expect(limit.applied(to: 90_000) == 90_000)
  }

  @Test func aPoolLearnsOnlyWhereItMay() {
    for learns in [true, false] {
      var plan = PoolPlan()
      plan.learnsIdleTimeout = learns
      var pool = Pool(plan, worker: 0, of: 1)
      pool.announceIdleLimit(5_000, now: 0)
      for _ in 0..<3 { pool.observeClose(after: 2_000, now: 0) }
      #expect(pool.idleTimeout == (learns ? 1_500 : 90_000))
    }
  }
}
