// LogsCommand — the end of a log, and what comes, filtered.
//
// A file that is rotated meanwhile is read to its end, and then the one that has taken its place.

import ArgumentParser
import Control
import Glibc
import Kernel

struct LogsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Show the end of the error log or the access log, and follow it.",
    discussion: "A gateway under systemd that logs to standard output: journalctl -u gatewayd.")

  @OptionGroup var instance: InstanceOptions

  @Flag(name: .customLong("access"), help: "The access log instead of the error log.")
  var isAccess = false

  @Flag(name: .shortAndLong, help: "Go on with what comes, until Ctrl-C.")
  var follow = false

  @Option(name: [.customShort("n"), .customLong("lines")], help: ArgumentHelp("Lines of the past that are shown (default 20).", valueName: "number"))
  var lines: Digits?

  @Option(name: .customLong("level"), help: ArgumentHelp("Only messages that are at least so severe: debug, info, warn, error, critical.", valueName: "level"))
  var level: String?

  @Option(name: .customLong("status"), help: ArgumentHelp("Only requests with this status, or class of it: 404, 5xx.", valueName: "status"))
  var status: String?

  @Option(name: .customLong("contains"), help: ArgumentHelp("Only lines with this text.", valueName: "text"))
  var contains: String?

  func validate() throws {
    if level != nil, isAccess { throw ValidationError("--level is for the error log") }
    if status != nil, !isAccess { throw ValidationError("--status is for the access log (--access)") }
    if let level, !LogFilter.levels.contains(level) { throw ValidationError("\"\(level)\" is no level (\(LogFilter.levels.joined(separator: ", ")))") }
    if let status, LogFilter.pattern(status) == nil { throw ValidationError("\"\(status)\" is no status such as 404 or 5xx") }
  }

  func run() throws {
    let gateway = try instance.running()
    let filter = LogFilter(level: level, status: status, text: contains)
    guard var path = try gateway.status()["logs"][isAccess ? "access" : "error"].string, !path.isEmpty else {
      Terminal.complain("\(Product.daemon) does not write this log to a file")
      throw Outcome.failed
    }
    guard var file = LogTail(path) else {
      Terminal.complain("\(path) cannot be read: \(Errno.current.text)")
      throw Outcome.failed
    }
    for line in file.lines().filter(filter.passes).suffix(lines?.value ?? 20) { Terminal.print(line) }
    while follow {
      for line in file.lines() where filter.passes(line) { Terminal.print(line) }
      Poll.pause(milliseconds: 200)
      guard file.isReplaced || !gateway.isRunning else { continue }
      // What was written before it was replaced comes first.
      for line in file.lines() where filter.passes(line) { Terminal.print(line) }
      guard gateway.isRunning else { return }
      if let now = try? gateway.status()["logs"][isAccess ? "access" : "error"].string, !now.isEmpty { path = now }
      if let next = LogTail(path) { file = next }
    }
  }
}

/// A log file that is read as it grows.
struct LogTail: ~Copyable {
  private let path: String
  private let file: Descriptor
  private var rest: [UInt8] = []

  init?(_ path: String) {
    guard let file = try? Descriptor(owning: unsafe open(path, O_RDONLY | O_CLOEXEC)) else { return nil }
    self.file = file
    self.path = path
  }

  /// Whether another file stands under its name.
  var isReplaced: Bool {
    var own = stat(), there = stat()
    guard unsafe fstat(file.raw, &own) == 0, unsafe stat(path, &there) == 0 else { return true }
    return own.st_ino != there.st_ino || own.st_dev != there.st_dev
  }

  /// The whole lines that have come since.
  mutating func lines() -> [String] {
    while let part = Files.read(file.raw, limit: 1 << 16), !part.isEmpty { rest += part }
    guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    let lines = rest[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { Cell(String(decoding: $0, as: UTF8.self)).text }
    rest = Array(rest[(end + 1)...])
    return lines
  }
}

/// Which lines are wanted. Pure.
struct LogFilter {
  static let levels = ["trace", "debug", "info", "warn", "error", "critical"]

  var level: String?
  var status: String?
  var text: String?

  func passes(_ line: String) -> Bool {
    if let text, !line.contains(text) { return false }
    if let level, let least = Self.levels.firstIndex(of: level) {
      guard let found = Self.levels.firstIndex(where: { line.contains("] [\($0)] ") }), found >= least else { return false }
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
