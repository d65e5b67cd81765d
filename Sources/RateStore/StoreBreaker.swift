// StoreBreaker — when a server is not asked any more, and when it is tried again. A decision without I/O, by one worker for itself.

/// Counts failures in a row; after so many the server is left alone, and tried now and then.
public struct StoreBreaker: Equatable, BitwiseCopyable, Sendable {
  public let threshold: Int
  /// Milliseconds.
  public let retryInterval: Int64
  /// Failures in a row.
  public private(set) var failures = 0
  /// Whether nobody waits for the server.
  public private(set) var isOpen = false
  /// Milliseconds of the monotonic clock from which on it may be tried; meaningless while it is closed.
  public private(set) var tryAt: Int64 = 0

  public init(threshold: Int, retryInterval: Int64) {
    self.threshold = max(1, threshold)
    self.retryInterval = max(1, retryInterval)
  }

  /// A question, or a try, has failed. True when the server is given up by that.
  public mutating func failed(now: Int64) -> Bool {
    failures = min(failures + 1, 1 << 30)
    if isOpen {
      tryAt = now + retryInterval
      return false
    }
    guard failures >= threshold else { return false }
    isOpen = true
    tryAt = now + retryInterval
    return true
  }

  /// The next failure is one too many.
  public mutating func giveUp() { failures = max(failures, threshold - 1) }

  /// A question, or a try, has been answered. True when the server is asked again from now on.
  public mutating func succeeded() -> Bool {
    failures = 0
    guard isOpen else { return false }
    isOpen = false
    return true
  }

  /// Whether a try is due.
  public func mayTry(now: Int64) -> Bool { isOpen && now >= tryAt }
}
