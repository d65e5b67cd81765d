// LogsCommand — the end of a log, and what comes, filtered.
//
// A file that is rotated meanwhile is read to its end, and then the one that has taken its place.

import ArgumentParser
import Control
import Glibc
import Kernel
import Telemetry

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

  @Option(name: .customLong("level"), help: ArgumentHelp("Only messages that are at least so severe: trace, debug, info, warn, error, critical.", valueName: "level"), completion: .list(LogFilter.levels))
  var level: String?

  @Option(name: .customLong("status"), help: ArgumentHelp("Only requests with this status, or class of it: 404, 5xx.", valueName: "status"))
  var status: String?

  @OptionGroup var output: JSONOptions

  @Option(name: .customLong("contains"), help: ArgumentHelp("Only lines with this text.", valueName: "text"))
  var contains: String?

  func validate() throws {
    if level != nil, isAccess { throw ValidationError("--level is for the error log") }
    if status != nil, !isAccess { throw ValidationError("--status is for the access log (--access)") }
    if let level, level != "warning", !LogFilter.levels.contains(level) { throw ValidationError("\"\(level)\" is no level (\(LogFilter.levels.joined(separator: ", ")))") }
    if let status, LogFilter.pattern(status) == nil { throw ValidationError("\"\(status)\" is no status such as 404 or 5xx") }
  }

  func run() throws {
    let gateway = try instance.running()
    let filter = LogFilter(level: level == "warning" ? "warn" : level, status: status, text: contains)
    guard var path = try gateway.status()["logs"][isAccess ? "access" : "error"].string, !path.isEmpty else {
      Terminal.complain("\(Product.daemon) does not write this log to a file")
      throw Outcome.failed
    }
    guard var file = LogTail(path) else {
      Terminal.complain("\(path) cannot be read: \(Errno.current.text)")
      throw Outcome.failed
    }
    let wanted = lines?.value ?? 20
    let present = file.lines()
    if let status, !present.isEmpty, present.suffix(3).allSatisfy({ LogFilter.status(in: $0) == nil }) {
      Terminal.complain("the lines of \(path) do not tell their status in a way that --status \(status) can read: it knows the formats json and combined")
      throw Outcome.failed
    }
    var past = Array(present.filter(filter.passes).suffix(wanted))
    // The files before this one, the newest first, as far as they are needed.
    for earlier in LogFilePattern.paths(before: path).prefix(100) where past.count < wanted {
      guard var passed = LogTail(earlier) else { continue }
      past = Array((passed.lines().filter(filter.passes) + past).suffix(wanted))
    }
    for line in past { show(line) }
    var turns = 0
    while follow {
      for line in file.lines() where filter.passes(line) { show(line) }
      Poll.pause(milliseconds: 200)
      turns += 1
      // A file that is full keeps its name, and the next one has another: the gateway knows.
      guard file.isReplaced || turns % 5 == 0 || !gateway.isRunning else { continue }
      var now = path
      if gateway.isRunning, let told = try? gateway.status()["logs"][isAccess ? "access" : "error"].string, !told.isEmpty { now = told }
      guard file.isReplaced || now != path || !gateway.isRunning else { continue }
      // What was written before it was replaced comes first, and then what was begun and filled meanwhile.
      for line in file.lines() where filter.passes(line) { show(line) }
      guard gateway.isRunning else { return Terminal.remark("\(Product.daemon) (PID \(gateway.process)) has ended") }
      for between in LogFilePattern.paths(between: path, and: now) {
        if var passed = LogTail(between) { for line in passed.lines() where filter.passes(line) { show(line) } }
      }
      if let next = LogTail(now) {
        file = next
        path = now
      }
    }
  }

  private func show(_ line: String) { Terminal.print(output.isJSON ? LogLine.json(line) : line) }
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
