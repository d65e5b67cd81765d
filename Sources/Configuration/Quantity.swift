// Quantity — durations and sizes: numbers in the setting's own unit, or text with a unit such as "30s".
//
// Inside, a duration is milliseconds and a size is bytes; the unit matters only at the border.

/// The unit in which a setting's plain numbers are given.
enum Unit: Equatable, Sendable {
  case milliseconds, seconds, bytes

  /// Milliseconds or bytes in one of it.
  var scale: Int { self == .seconds ? 1000 : 1 }

  var name: String {
    switch self {
    case .milliseconds: "milliseconds"
    case .seconds: "seconds"
    case .bytes: "bytes"
    }
  }

  /// The units that text may end in, with their milliseconds or bytes.
  var suffixes: [(name: String, value: Int)] {
    switch self {
    case .milliseconds, .seconds: [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
    case .bytes:
      [("B", 1), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
    }
  }

  /// A regular expression for such text.
  var pattern: String { "^[0-9]+(" + suffixes.map(\.name).joined(separator: "|") + ")$" }

  var expectation: String {
    switch self {
    case .milliseconds, .seconds: "a whole number of \(name), or text with a unit such as \"250ms\" or \"30s\""
    case .bytes: "a whole number of bytes, or text with a unit such as \"16KiB\""
    }
  }

  /// Milliseconds or bytes of text such as "30s"; nil when it is not of that form, or too large.
  func parse(_ text: String) -> Int? {
    let digits = text.utf8.prefix(while: isDigit)
    guard !digits.isEmpty, let number = Int(Substring(digits)) else { return nil }
    let suffix = text.dropFirst(digits.count)
    guard let unit = suffixes.first(where: { $0.name == suffix }) else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: unit.value)
    return overflow ? nil : value
  }

  /// The value as it is written in a file: a plain number where that is exact.
  func json(_ value: Int) -> JSON { value % scale == 0 ? .integer(value / scale) : .string("\(value)ms") }

  /// The value for people: `10ms`, `3600`.
  func text(_ value: Int) -> String { value % scale == 0 ? String(value / scale) : "\(value)ms" }
}
