// LogTime — the time as logs print it, formatted once per second.

import Glibc
import Memory

/// A calendar time.
struct CivilTime: Equatable, Sendable {
  var year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0
  /// Minutes ahead of UTC.
  var offset = 0

  /// `seconds` since the epoch in UTC.
  init(utc seconds: Int) {
    var time = time_t(seconds)
    var parts = unsafe tm()
    unsafe gmtime_r(&time, &parts)
    unsafe self.init(parts)
  }

  /// `seconds` since the epoch in the local time zone.
  init(local seconds: Int) {
    var time = time_t(seconds)
    var parts = unsafe tm()
    unsafe localtime_r(&time, &parts)
    unsafe self.init(parts)
  }

  private init(_ parts: tm) {
    unsafe year = Int(parts.tm_year) + 1900
    unsafe month = Int(parts.tm_mon) + 1
    unsafe day = Int(parts.tm_mday)
    unsafe hour = Int(parts.tm_hour)
    unsafe minute = Int(parts.tm_min)
    unsafe second = Int(parts.tm_sec)
    unsafe offset = parts.tm_gmtoff / 60
  }

  /// The calendar day as a number that grows: 20260131.
  var date: Int { year * 10_000 + month * 100 + day }
}

/// The wall clock, in microseconds since the epoch.
func wallClock() -> Int64 {
  var now = timespec()
  unsafe clock_gettime(CLOCK_REALTIME, &now)
  return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
}

/// The two time texts of access logs, for one second.
struct LogTime {
  private var seconds = Int.min
  /// "2026-01-31T23:59:59."
  private(set) var iso = InlineArray<20, UInt8>(repeating: 0x30)
  /// "31/Jan/2026:23:59:59 +0000"
  private(set) var local = InlineArray<26, UInt8>(repeating: 0x30)

  @inline(__always)
  mutating func update(seconds: Int) {
    if seconds != self.seconds { format(seconds) }
  }

  @inline(never)
  private mutating func format(_ seconds: Int) {
    self.seconds = seconds
    let utc = CivilTime(utc: seconds)
    LogTime.write("0000-00-00T00:00:00.", into: iso.mutableSpan)
    LogTime.put(utc.year, 4, at: 0, in: iso.mutableSpan)
    LogTime.put(utc.month, 2, at: 5, in: iso.mutableSpan)
    LogTime.put(utc.day, 2, at: 8, in: iso.mutableSpan)
    LogTime.put(utc.hour, 2, at: 11, in: iso.mutableSpan)
    LogTime.put(utc.minute, 2, at: 14, in: iso.mutableSpan)
    LogTime.put(utc.second, 2, at: 17, in: iso.mutableSpan)
    let here = CivilTime(local: seconds)
    LogTime.write("00/\(LogTime.months[here.month - 1])/0000:00:00:00 \(here.offset < 0 ? "-" : "+")0000", into: local.mutableSpan)
    LogTime.put(here.day, 2, at: 0, in: local.mutableSpan)
    LogTime.put(here.year, 4, at: 7, in: local.mutableSpan)
    LogTime.put(here.hour, 2, at: 12, in: local.mutableSpan)
    LogTime.put(here.minute, 2, at: 15, in: local.mutableSpan)
    LogTime.put(here.second, 2, at: 18, in: local.mutableSpan)
    LogTime.put(abs(here.offset) / 60 * 100 + abs(here.offset) % 60, 4, at: 22, in: local.mutableSpan)
  }

  static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  private static func write(_ text: String, into output: consuming MutableSpan<UInt8>) {
    var index = 0
    for byte in text.utf8 where index < output.count {
      output[index] = byte
      index += 1
    }
  }

  private static func put(_ value: Int, _ digits: Int, at start: Int, in output: consuming MutableSpan<UInt8>) {
    var rest = max(0, value)
    for index in (start..<start + digits).reversed() {
      output[index] = UInt8(0x30 + rest % 10)
      rest /= 10
    }
  }
}
