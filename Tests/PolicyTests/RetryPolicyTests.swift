// RetryPolicyTests — when a failed request is sent again: the rules by name, and then all cases against the one rule that must never break.

import HTTPModel
import Plan
import Policy
import Testing

@Suite struct RetryPolicyTests {
  private func plan(_ retries: Int = 3, _ change: (inout RetryPlan) -> Void = { _ in }) -> RetryPlan {
    var plan = RetryPlan()
    plan.maxRetries = retries
    change(&plan)
    return plan
  }

  private func facts(_ cause: RetryCause, _ change: (inout RetryFacts) -> Void = { _ in }) -> RetryFacts {
    var facts = RetryFacts(cause: cause)
    facts.isIdempotent = true
    change(&facts)
    return facts
  }

  // MARK: By name

  @Test func theFirstAfterAConnectionFailedIsImmediate() {
    #expect(plan().decide(facts(.connectFailure)) == .retry(after: 0))
    #expect(plan().decide(facts(.disconnect)) == .retry(after: 0))
  }

  @Test func allOthersPauseWithinTheirBounds() {
    let all = plan(10) { $0.onTimeout = true; $0.on5xx = true }
    for (number, longest) in [(1, 49), (2, 99), (3, 199), (4, 249), (10, 249)] {
      var seen: Set<Int64> = []
      for random in UInt64(0)..<1000 {
        for cause in [RetryCause.timeout, .status(503)] + (number > 1 ? [.connectFailure, .disconnect] : []) {
          guard case .retry(let delay) = all.decide(facts(cause) { $0.retries = number - 1; $0.random = random }) else {
            Issue.record("\(cause) number \(number) is not retried")
            return
          }
          seen.insert(delay)
        }
      }
      #expect(seen.min() == 1 && seen.max() == Int64(longest), "number \(number): \(seen.min() ?? -1)...\(seen.max() ?? -1)")
    }
  }

  @Test func shortestAndLongestPausesDoNotOverflow() {
    let least = plan(10) { $0.on5xx = true; $0.backoffBase = 1; $0.backoffLimit = 1 }
    #expect(least.decide(facts(.status(500)) { $0.random = .max }) == .retry(after: 1))
    let most = plan(10) { $0.on5xx = true; $0.backoffBase = .max >> 21; $0.backoffLimit = .max }
    guard case .retry = most.decide(facts(.status(500)) { $0.retries = 9; $0.random = .max }) else {
      Issue.record("not retried")
      return
    }
  }

  @Test func switches() {
    let none = plan { $0.onConnectFailure = false; $0.onDisconnect = false }
    for cause in [RetryCause.connectFailure, .disconnect, .timeout, .status(503)] {
      #expect(none.decide(facts(cause)) == .deny(.notForThisCause))
      #expect(plan(0).decide(facts(cause)) == .deny(.notConfigured))
    }
    #expect(!plan(0) { $0.on5xx = true }.coversStatuses && plan { $0.on5xx = true }.coversStatuses && !plan().coversStatuses)
  }

  @Test func statuses() {
    let listed = plan { $0.statuses = StatusSet([404, 429, 599]) }
    for status in UInt16(200)...599 { #expect(listed.covers(.status(status)) == [404, 429, 599].contains(status)) }
    let all = plan { $0.on5xx = true }
    for status in UInt16(200)...600 { #expect(all.covers(.status(status)) == (500...599 ~= status)) }
  }

  @Test func retryAfterIsWaitedForOrNotAtAll() {
    let plan = plan { $0.on5xx = true; $0.retryAfterLimit = 2000 }
    #expect(plan.decide(facts(.status(503)) { $0.retryAfter = 2000 }) == .retry(after: 2000))
    #expect(plan.decide(facts(.status(503)) { $0.retryAfter = 2001 }) == .deny(.retryAfterTooLong))
    #expect(plan.decide(facts(.status(503)) { $0.retryAfter = .max }) == .deny(.retryAfterTooLong))
    guard case .retry(let delay) = plan.decide(facts(.status(503)) { $0.retryAfter = 1; $0.random = 40 }), delay > 1 else {
      Issue.record("the pause is not shortened by Retry-After")
      return
    }
  }

  @Test func whatCouldNotBeOverInTimeIsNotBegun() {
    #expect(plan().decide(facts(.disconnect) { $0.remaining = 0 }) == .deny(.tooLate))
    #expect(plan().decide(facts(.disconnect) { $0.remaining = 1 }) == .retry(after: 0))
    #expect(plan { $0.on5xx = true }.decide(facts(.status(503)) { $0.retryAfter = 500; $0.remaining = 500 }) == .deny(.tooLate))
  }

  @Test func aStaleConnectionIsNotCountedAsARetry() {
    let stale = facts(.disconnect) { $0.isStale = true }
    #expect(plan(0).decide(stale) == .resend && plan(3).decide(stale) == .resend)
    var again = stale
    again.wasResent = true
    #expect(plan(0).decide(again) == .deny(.notConfigured))
    #expect(plan(3).decide(again) == .retry(after: 0))
    var post = stale
    post.isIdempotent = false
    #expect(plan(3).decide(post) == .deny(.notIdempotent))
    post.isUnprocessed = true
    #expect(plan(0).decide(post) == .resend, "the backend has said so")
    var gone = stale
    gone.isReplayable = false
    #expect(plan(0).decide(gone) == .deny(.notConfigured))
  }

  @Test func tokensOfDenials() {
    let post = facts(.disconnect) { $0.isIdempotent = false }
    #expect(plan().decide(post) == .deny(.notIdempotent))
    #expect("\(RetryDenial.notIdempotent.token ?? "")" == "non-idempotent-headers-queued")
    let gone = facts(.disconnect) { $0.isReplayable = false }
    #expect(plan().decide(gone) == .deny(.bodyConsumed))
    #expect("\(RetryDenial.bodyConsumed.token ?? "")" == "streaming-source-consumed")
    let partly = facts(.disconnect) { $0.isReplayable = false; $0.isWhole = false }
    #expect(plan().decide(partly) == .deny(.bodyOnWire))
    #expect("\(RetryDenial.bodyOnWire.token ?? "")" == "streaming-body-on-wire")
    #expect(RetryDenial.notConfigured.token == nil && RetryDenial.spent.token == nil)
  }

  @Test func causesOfFaults() {
    #expect(RetryCause(.connectionRefused, isUnsent: true) == .connectFailure)
    #expect(RetryCause(.connectionTerminated, isUnsent: false) == .disconnect)
    #expect(RetryCause(.responseIncomplete, isUnsent: false) == .disconnect)
    #expect(RetryCause(.responseTimeout, isUnsent: false) == .timeout)
    #expect(RetryCause(.attemptTimeout, isUnsent: true) == .connectFailure)
    for fault in [Fault.poolExhausted, .poolQueueTimeout, .exchangeTimeout, .drainDeadline, .responseProtocolError, .clientAborted, .bodyTooLarge] {
      #expect(RetryCause(fault, isUnsent: false) == nil, "\(fault)")
    }
    for fault in Fault.allCases where fault.row.side != .upstream { #expect(RetryCause(fault, isUnsent: false) == nil, "\(fault)") }
  }

  // MARK: All cases

  /// Every combination of what may have happened with every plan of switches: nothing that a backend may have acted on is sent again unless
  /// its method is idempotent or the configuration says so, and whatever is sent again can be sent whole, is wanted and admitted.
  @Test func nothingUnsafeIsEverSentTwice() {
    let causes: [RetryCause] = [.connectFailure, .disconnect, .timeout, .status(429), .status(503)]
    var retried = 0, resent = 0
    for switches in 0..<64 {
      let plan = plan(switches & 32 == 0 ? 0 : 2) {
        $0.onConnectFailure = switches & 1 != 0
        $0.onDisconnect = switches & 2 != 0
        $0.onTimeout = switches & 4 != 0
        $0.on5xx = switches & 8 != 0
        $0.nonIdempotent = switches & 16 != 0
        $0.statuses = StatusSet(switches & 8 == 0 ? [429] : [])
      }
      for cause in causes {
        for bits in 0..<1024 {
          var facts = RetryFacts(cause: cause)
          facts.isUnprocessed = bits & 1 != 0
          facts.isStale = bits & 2 != 0
          facts.wasResent = bits & 4 != 0
          facts.isIdempotent = bits & 8 != 0
          facts.isReplayable = bits & 16 != 0
          facts.isWhole = bits & 32 != 0
          facts.isCommitted = bits & 64 != 0
          facts.isWanted = bits & 128 != 0
          facts.isAdmitted = bits & 256 != 0
          facts.retries = bits & 512 != 0 ? 2 : 1
          let decision = plan.decide(facts)
          let isSafe = facts.isReplayable && !facts.isCommitted && facts.isWanted
          switch decision {
          case .deny: break
          case .resend:
            resent += 1
            #expect(isSafe && (facts.isIdempotent || facts.isUnprocessed) && facts.isStale && !facts.wasResent)
          case .retry:
            retried += 1
            #expect(isSafe && facts.isAdmitted && (facts.isUnprocessed || facts.isIdempotent || plan.nonIdempotent))
            #expect(plan.maxRetries > 0 && facts.retries < plan.maxRetries && plan.covers(cause))
          }
          // And what is safe, wanted and allowed is not refused.
          if isSafe, facts.isAdmitted, facts.retries < plan.maxRetries, plan.covers(cause), facts.isUnprocessed || facts.isIdempotent || plan.nonIdempotent {
            var isDenied = false
            if case .deny = decision { isDenied = true }
            #expect(!isDenied)
          }
        }
      }
    }
    #expect(retried > 0 && resent > 0)
  }
}
