// EventLine — the text of one event line.
//
// Invariant: a line has no control character but the line feed at its end, and at most `limit` bytes, which a
// pipe takes in one piece.

import Plan

enum EventLine {
  /// The longest line, line feed included.
  static let limit = 4096

  /// The level as logs print it.
  static func name(_ level: LogPlan.Level) -> String {
    switch level {
    case .trace: "trace"
    case .debug: "debug"
    case .info: "info"
    case .warn: "warning"
    case .error: "error"
    case .critical: "critical"
    }
  }

  /// The level for a terminal.
  static func coloured(_ level: LogPlan.Level) -> String {
    let colour = switch level {
    case .trace: "37"
    case .debug: "36"
    case .info: "32"
    case .warn: "33;1"
    case .error: "31;1"
    case .critical: "1;41"
    }
    return "\u{1b}[\(colour)m\(name(level))\u{1b}[0m"
  }

  /// `time`, microseconds since the epoch, in the local time zone: `2026-01-31 23:59:59.123`.
  static func stamp(_ time: Int64) -> String {
    let civil = CivilTime(local: Int(time / 1_000_000))
    let date = "\(civil.year)-\(padded(civil.month, 2))-\(padded(civil.day, 2))"
    let clock = "\(padded(civil.hour, 2)):\(padded(civil.minute, 2)):\(padded(civil.second, 2))"
    return "\(date) \(clock).\(padded(Int(time % 1_000_000) / 1000, 3))"
  }

  static func padded(_ value: Int, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }

  /// `prefix`, as it is, and `message`, made harmless, as one line.
  static func line(_ prefix: String, _ message: String) -> [UInt8] {
    var line = Array(prefix.utf8)
    for scalar in message.unicodeScalars {
      let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
      let text = isControl ? "?" : String(Character(scalar))
      if line.count + text.utf8.count > limit - 4 {
        line += "...".utf8
        break
      }
      line += text.utf8
    }
    line.append(UInt8(ascii: "\n"))
    return line
  }
}
