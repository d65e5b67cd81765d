// RetryPolicy — whether a request that has failed is sent to a backend again, and when.
//
// Nothing is done here: what has happened goes in, a decision comes out. The one rule that no setting changes: what a backend may have
// begun to process is sent again only if the method is idempotent (RFC 9110 §9.2.2), or the configuration says that all may be.

import HTTPModel
import Plan

/// What kind of failure an attempt has ended in.
public enum RetryCause: Equatable, Sendable, BitwiseCopyable {
  /// No connection came about, or the backend has said that it did not look at the request.
  case connectFailure
  /// The backend ended the connection before its response was whole.
  case disconnect
  case timeout
  case status(UInt16)

  /// Nil: a retry would not help, or could not be told apart from what the backend meant.
  /// - Parameter isUnsent: not a byte of the request had been sent.
  public init?(_ fault: Fault, isUnsent: Bool) {
    switch fault {
    // Whoever has waited for a connection in vain, or found too many waiting, only makes it worse by asking again.
    case .poolExhausted, .poolQueueTimeout: return nil
    case .connectionTerminated, .responseIncomplete: self = .disconnect
    case .connectionWriteTimeout, .responseTimeout, .attemptTimeout, .responseStalled: self = isUnsent ? .connectFailure : .timeout
    default:
      switch fault.row.retry {
      case .always: self = .connectFailure
      case .ifIdempotent, .onReusedConnection: self = isUnsent ? .connectFailure : .disconnect
      case .never: return nil
      }
    }
  }
}

/// The state of an exchange whose attempt has failed.
public struct RetryFacts: Sendable, BitwiseCopyable {
  public var cause: RetryCause
  /// Nothing of the request can have been processed: nothing was sent, or the backend has said so.
  public var isUnprocessed = false
  /// The connection had served before, and was ended without a byte of a response: the backend has probably given it up before the request came.
  public var isStale = false
  /// The backend has said of this request that it has not looked at it (RFC 9113 §8.7), or wants it in another form.
  public var isReturned = false
  /// The request was sent again for one of these reasons before.
  public var wasResent = false
  public var isIdempotent = false
  /// All of the request's body that was taken from the client is at hand.
  public var isReplayable = true
  /// All of it has been taken.
  public var isWhole = true
  /// Part of the response has been given to the client.
  public var isCommitted = false
  /// The client still waits for the response.
  public var isWanted = true
  /// Nothing that guards the backends against too many retries speaks against one more.
  public var isAdmitted = true
  /// Retries made so far.
  public var retries = 0
  /// What the response asks for, in milliseconds; 0: nothing.
  public var retryAfter: Int64 = 0
  /// Milliseconds until the exchange must be over; `Int64.max`: no limit.
  public var remaining = Int64.max
  /// Any number, for the length of the pause.
  public var random: UInt64 = 0

  public init(cause: RetryCause) { self.cause = cause }
}

/// Why a request is not sent again.
public enum RetryDenial: UInt8, Equatable, Sendable, BitwiseCopyable {
  case committed, unwanted, notConfigured, notForThisCause, spent
  /// The body has been read to its end, and is not at hand any more.
  case bodyConsumed
  /// Part of the body has been sent, and is not at hand any more.
  case bodyOnWire
  case notIdempotent
  case notAdmitted, retryAfterTooLong, tooLate

  /// What `X-Proxy-Retry-Denied` says; nil: nothing.
  public var token: StaticString? {
    switch self {
    case .bodyConsumed: "streaming-source-consumed"
    case .bodyOnWire: "streaming-body-on-wire"
    case .notIdempotent: "non-idempotent-headers-queued"
    case .committed, .unwanted, .notConfigured, .notForThisCause, .spent, .notAdmitted, .retryAfterTooLong, .tooLate: nil
    }
  }
}

public enum RetryDecision: Equatable, Sendable, BitwiseCopyable {
  /// At once on a new connection, and without being counted: the old one was stale, or the backend has handed the request back.
  case resend
  /// After so many milliseconds.
  case retry(after: Int64)
  case deny(RetryDenial)
}

extension RetryPlan {
  /// Whether a failure of this kind is retried at all.
  public func covers(_ cause: RetryCause) -> Bool {
    switch cause {
    case .connectFailure: onConnectFailure
    case .disconnect: onDisconnect
    case .timeout: onTimeout
    case .status(let status): on5xx && 500...599 ~= status || statuses.contains(status)
    }
  }

  /// Whether responses have to be looked at for their status.
  public var coversStatuses: Bool { maxRetries > 0 && (on5xx || !statuses.isEmpty) }

  /// What becomes of a request whose attempt has failed.
  public func decide(_ facts: RetryFacts) -> RetryDecision {
    if facts.isCommitted { return .deny(.committed) }
    if !facts.isWanted { return .deny(.unwanted) }
    if facts.isReturned || facts.isStale && (facts.isIdempotent || facts.isUnprocessed), facts.isReplayable, !facts.wasResent { return .resend }
    if maxRetries == 0 { return .deny(.notConfigured) }
    if !covers(facts.cause) { return .deny(.notForThisCause) }
    if facts.retries >= maxRetries { return .deny(.spent) }
    if !facts.isReplayable { return .deny(facts.isWhole ? .bodyConsumed : .bodyOnWire) }
    if !facts.isUnprocessed, !facts.isIdempotent, !nonIdempotent { return .deny(.notIdempotent) }
    if !facts.isAdmitted { return .deny(.notAdmitted) }
    if facts.retryAfter > Int64(retryAfterLimit) { return .deny(.retryAfterTooLong) }
    let delay = max(facts.retryAfter, pause(before: facts.retries + 1, facts))
    return delay < facts.remaining ? .retry(after: delay) : .deny(.tooLate)
  }

  /// Milliseconds to wait before a retry, the first being number 1. The first one after a connection has failed is made at once: the next
  /// one may well succeed. All others wait for a random time, so that those who failed together don't come back together.
  private func pause(before retry: Int, _ facts: RetryFacts) -> Int64 {
    if retry == 1, facts.cause == .connectFailure || facts.cause == .disconnect { return 0 }
    let longest = min(Int64(backoffLimit), Int64(backoffBase) << Int64(min(retry, 20)))
    return 1 + Int64(facts.random % UInt64(max(1, longest - 1)))
  }
}
