// Clock — the time, read once per turn of the reactor, and its HTTP date text, formatted once per second.

import CLinux

/// Monotonic and wall-clock time sampled together.
public struct Clock: ~Copyable {
  /// Microseconds of the monotonic clock.
  public private(set) var now: Int64 = 0
  /// Microseconds that, added to `now`, give the wall clock; refreshed once a second.
  private var offset: Int64 = 0
  private var nextSecond: Int64 = 0
  /// Wall-clock seconds since the epoch.
  public private(set) var seconds = 0
  /// `seconds` as an IMF-fixdate (RFC 9110 §5.6.7), "Sun, 06 Nov 1994 08:49:37 GMT".
  public private(set) var date = InlineArray<29, UInt8>(repeating: 0x20)

  public init() { update() }

  /// Milliseconds of the monotonic clock: the unit of timers.
  public var milliseconds: Int64 { now / 1000 }

  /// Microseconds since the epoch.
  public var wallMicroseconds: Int64 { now + offset }

  /// Reads the clock; true when a new second of the wall clock has begun.
  @discardableResult
  public mutating func update() -> Bool {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    now = Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    guard now >= nextSecond else { return false }
    beginSecond()
    return true
  }

  @inline(never)
  private mutating func beginSecond() {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    let wall = Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    offset = wall - now
    nextSecond = now + 1_000_000 - Int64(time.tv_nsec) / 1000
    format(time.tv_sec)
  }

  private mutating func format(_ time: time_t) {
    seconds = time
    var time = time
    var parts = unsafe tm()
    unsafe gmtime_r(&time, &parts)
    var text = InlineArray<32, CChar>(repeating: 0)
    var output = text.mutableSpan
    unsafe output.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      unsafe _ = clx_http_date(base, buffer.count, &parts)
    }
    for index in date.indices { date[index] = UInt8(bitPattern: text[index]) }
  }
}
