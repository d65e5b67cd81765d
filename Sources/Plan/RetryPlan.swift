// RetryPlan — when a request that has failed at a backend is sent again.

import HTTPModel

/// How requests of one route are retried. Durations in milliseconds, sizes in bytes; 0 means none.
public struct RetryPlan: Equatable, Sendable, BitwiseCopyable {
  /// 0: nothing is retried.
  public var maxRetries = 0
  public var onConnectFailure = true
  public var onDisconnect = true
  public var onTimeout = false
  public var on5xx = false
  /// Statuses that are retried whatever `on5xx` says.
  public var statuses = StatusSet()
  /// Whether requests that must not be repeated blindly are repeated all the same.
  public var nonIdempotent = false
  /// What is kept of a request's body so that it can be sent again.
  public var bufferSize = 1 << 20
  /// From the beginning of an attempt to the head of its response.
  public var attemptTimeout = 0
  /// The first pause is at most twice as long, and each further one twice as long as the one before…
  public var backoffBase = 25
  /// …but never longer than this.
  public var backoffLimit = 250
  /// The longest Retry-After that is waited for.
  public var retryAfterLimit = 1_000

  public init() {}
}
