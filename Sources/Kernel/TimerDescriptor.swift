// TimerDescriptor — a timer that epoll can wait for (timerfd).

import CLinux

/// A timer of the monotonic clock that becomes readable when it fires, once.
public struct TimerDescriptor: ~Copyable {
  public let descriptor: Descriptor

  public init() throws(Errno) { descriptor = try Descriptor(owning: clx_timer_open()) }

  /// Fires in `milliseconds`, at once if that is not positive; nil: not at all. What was set before no longer holds.
  public func set(_ milliseconds: Int64?) { _ = clx_timer_set(descriptor.raw, milliseconds.map { max(1, $0) } ?? 0) }

  /// Takes notice that it has fired.
  public func clear() { clx_timer_clear(descriptor.raw) }
}
