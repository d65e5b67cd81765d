// LogFilter — which lines of a log are wanted, and what is in them. Pure.

/// What is wanted of a log: all that is said has to hold.
struct LogFilter {
  /// As settings call them.
  static let levels = ["trace", "debug", "info", "warn", "error", "critical"]

  var level: String?
  var status: String?
  var text: String?

  func passes(_ line: String) -> Bool {
    if let text, !line.contains(text) { return false }
    if let level, let least = Self.levels.firstIndex(of: level) {
      guard let event = LogLine(line), let found = Self.levels.firstIndex(of: event.level), found >= least else { return false }
    }
    if let status, let wanted = Self.pattern(status) {
      guard let found = Self.status(in: line), wanted.contains(found) else { return false }
    }
    return true
  }

  /// The statuses that `404` or `5xx` stands for.
  static func pattern(_ text: String) -> ClosedRange<Int>? {
    if text.count == 3, text.hasSuffix("xx"), let first = text.first?.wholeNumberValue, 1...5 ~= first { return first * 100...first * 100 + 99 }
    guard let number = Int(text), 100...599 ~= number else { return nil }
    return number...number
  }

  /// The status in a line of the access log: JSON, or the common format.
  static func status(in line: String) -> Int? {
    if line.hasPrefix("{") { return JSONValue(line).flatMap { $0["http.response.status_code"].number ?? $0["status"].number }.map { Int(clamping: $0) } }
    let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
    guard parts.count > 2 else { return nil }
    return parts[2].split(separator: " ").first.flatMap { Int($0) }
  }
}

/// A line of the error log, taken apart: `[2026-01-31 23:59:59.123] [gateway] [warning] message`.
struct LogLine {
  let time: String
  /// As settings call it.
  let level: String
  let message: String

  /// Nil: the line is of another kind.
  init?(_ line: String) {
    guard line.hasPrefix("["), let timeEnd = line.firstRange(of: "] ["), let nameEnd = line[timeEnd.upperBound...].firstRange(of: "] ["),
      let levelEnd = line[nameEnd.upperBound...].firstRange(of: "] ")
    else { return nil }
    let printed = line[nameEnd.upperBound..<levelEnd.lowerBound]
    let level = printed == "warning" ? "warn" : String(printed)
    guard LogFilter.levels.contains(level) else { return nil }
    time = String(line[line.index(after: line.startIndex)..<timeEnd.lowerBound])
    self.level = level
    message = String(line[levelEnd.upperBound...])
  }

  /// A line of either log as a JSON object: what is one already stays as it is, an event has its parts, and another format is text.
  static func json(_ line: String) -> String {
    if line.hasPrefix("{"), JSONValue(line) != nil { return line }
    guard let event = LogLine(line) else { return "{\"line\":\(JSONValue.quoted(line))}" }
    return "{\"time\":\(JSONValue.quoted(event.time)),\"level\":\(JSONValue.quoted(event.level)),\"message\":\(JSONValue.quoted(event.message))}"
  }
}
