// Journal — the log files as the master keeps them: it opens them (it alone may have the rights), writes its
// own lines, and lends them to the workers.

import Kernel
import Plan

/// The open log files that one plan asks for.
final class LogFiles {
  let log: LogPlan
  let access: AccessLogPlan
  /// nil: standard output.
  let errorFile: Descriptor?
  let accessFile: Descriptor?

  init(_ log: LogPlan, _ access: AccessLogPlan) throws(ListenerFailure) {
    let errorFile = try Self.open(log.file)
    let accessFile = try Self.open(access.enabled ? access.file : "")
    self.log = log
    self.access = access
    self.errorFile = errorFile
    self.accessFile = accessFile
  }

  private static func open(_ path: String) throws(ListenerFailure) -> Descriptor? {
    guard !path.isEmpty else { return nil }
    do { return try Files.openLog(path) } catch { throw ListenerFailure(reason: "cannot open log file \(path): \(error.text)") }
  }

  /// What a worker is sent, in the order of the message.
  var descriptors: [CInt] {
    var list: [CInt] = []
    if let raw = errorRaw { list.append(raw) }
    if let raw = accessRaw { list.append(raw) }
    return list
  }

  var errorRaw: CInt? {
    switch errorFile {
    case .some(let file): file.raw
    case .none: nil
    }
  }

  var accessRaw: CInt? {
    switch accessFile {
    case .some(let file): file.raw
    case .none: nil
    }
  }
}

/// Writes the master's lines to whichever files are current.
final class Journal {
  private(set) var files: LogFiles

  init(_ files: LogFiles) { self.files = files }

  func use(_ files: LogFiles) { self.files = files }

  /// A line that no level suppresses.
  func mark(_ text: String) {
    let frame = String(repeating: "=", count: 20)
    Files.write("[gateway] [info] \(frame) \(text) \(frame)\n", to: files.errorRaw ?? 1)
  }

  func write(_ level: LogPlan.Level, _ text: String) {
    guard level >= files.log.level else { return }
    let line = "[gateway] [\(level)] \(text)\n"
    Files.write(line, to: files.errorRaw ?? 1)
  }
}
