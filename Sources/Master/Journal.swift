// Journal — the log files as the master keeps them: it opens and rotates them (it alone may have the rights),
// writes its own lines, and lends them to the workers.
//
// Invariant: `LogFiles` always holds open files; where another cannot be opened, the old one stays.

import Kernel
import Plan
import Telemetry

/// The open log files that one plan asks for, shared by the generations whose plans ask for the same.
final class LogFiles {
  let log: LogPlan
  let access: AccessLogPlan
  /// nil: standard output.
  private var errorFile: LogFile?
  private var accessFile: LogFile?

  init(_ log: LogPlan, _ access: AccessLogPlan) throws(ListenerFailure) {
    self.log = log
    self.access = access
    do throws(LogFileError) {
      if log.file.isEmpty { errorFile = nil } else { errorFile = try LogFile(log) }
      if access.enabled, !access.file.isEmpty { accessFile = try LogFile(path: access.file) } else { accessFile = nil }
    } catch {
      throw ListenerFailure(reason: "\(error)")
    }
  }

  /// The file that is written now; empty: standard output.
  var errorPath: String {
    switch errorFile {
    case .some(let file): file.currentPath
    case .none: ""
    }
  }
  var accessPath: String {
    switch accessFile {
    case .some(let file): file.currentPath
    case .none: ""
    }
  }
  var hasFiles: Bool { errorFile != nil || accessFile != nil }
  var hasErrorFile: Bool { errorFile != nil }
  var hasAccessFile: Bool { accessFile != nil }

  /// Duplicates for a worker: the error log's file, then the access log's, as far as there are any.
  func lend() throws(Errno) -> DescriptorList {
    var list = DescriptorList()
    if let file = try errorDuplicate() { list.append(file) }
    if let file = try accessFile?.duplicate() { list.append(file) }
    return list
  }

  func errorDuplicate() throws(Errno) -> Descriptor? { try errorFile?.duplicate() }

  func accessDuplicate() throws(Errno) -> Descriptor? { try accessFile?.duplicate() }

  /// Opens the files anew. Returns what went wrong.
  func reopen() -> [String] {
    var problems: [String] = []
    do throws(LogFileError) { try errorFile?.reopen() } catch { problems.append("\(error)") }
    do throws(LogFileError) { try accessFile?.reopen() } catch { problems.append("\(error)") }
    return problems
  }

  /// Turns to the next file where one is due. True when writers need new descriptors. Cheap when nothing is due.
  func rotate() -> (turned: Bool, problems: [String]) {
    var turned = false
    var problems: [String] = []
    do throws(LogFileError) { turned = try errorFile?.rotateIfDue() ?? false } catch { problems.append("\(error)") }
    do throws(LogFileError) { turned = try (accessFile?.rotateIfDue() ?? false) || turned } catch { problems.append("\(error)") }
    return (turned, problems)
  }
}

/// Writes the master's lines to whichever files are current.
final class Journal {
  private(set) var files: LogFiles
  /// Whether lines also go to standard output: in the foreground.
  let hasConsole: Bool
  private let log: EventLog

  init(_ files: LogFiles, hasConsole: Bool) {
    self.files = files
    self.hasConsole = hasConsole
    log = EventLog(
      level: files.log.level, console: hasConsole ? try? Descriptor.standard(1) : nil, file: (try? files.errorDuplicate()) ?? nil,
      syslog: files.log.syslog)
  }

  /// Turns to these files and their plan's level; or, when they are the same, to what they have been reopened as.
  func use(_ files: LogFiles) {
    self.files = files
    log.level = files.log.level
    log.replace(file: (try? files.errorDuplicate()) ?? nil, syslog: files.log.syslog)
  }

  /// Lines that could not be written so far.
  var lost: UInt64 { log.lost }

  func write(_ level: LogPlan.Level, _ text: String) { log.write(level, Self.plain(text)) }

  /// Complaints about a configuration name their severity, which stands before every line here.
  private static func plain(_ text: String) -> String {
    for severity in [": warning: ", ": error: "] {
      if let range = text.firstRange(of: severity) { return text[..<range.lowerBound] + ": " + text[range.upperBound...] }
    }
    return text
  }

  /// A line that no level suppresses.
  func mark(_ text: String) { log.mark(text) }
}
