// EventLog — what happens to the gateway itself, one line per event, for people.
//
// Invariants: every line is written by one `write`, so lines of several processes never mix; nothing here
// throws or waits; what a message contains cannot end its line or command a terminal. Off the path of requests.
// Standard output that the service manager has connected to the journal gets entries with fields instead of lines.

import Kernel
import Plan

/// Writes event lines: `[2026-01-31 23:59:59.123] [gateway] [info] message`.
///
/// One log belongs to one thread.
public final class EventLog {
  /// Less severe events are left out.
  public var level: LogPlan.Level
  /// Lines that could not be written so far.
  public private(set) var lost: UInt64 = 0

  /// Those of them that have been told of.
  private var toldOf: UInt64 = 0
  /// The file ends in a piece of a line: the next one begins anew.
  private var isTorn = false

  private let origin: String
  private var console: Sink?
  private var journal: JournalSink?
  private var file: Sink?
  private var syslog: SyslogSink?
  private var throttle = EventThrottle()
  private let now: @Sendable () -> Int64

  /// - Parameters:
  ///   - worker: slot and generation of a worker, `0.7`; nil in the master.
  ///   - console: standard output, when the process runs in the foreground.
  ///   - file: the log file.
  ///   - syslog: the daemon that takes the place of a file.
  public convenience init(
    level: LogPlan.Level, worker: String? = nil, console: consuming Descriptor? = nil, file: consuming Descriptor? = nil, syslog: SyslogPlan? = nil
  ) {
    self.init(level: level, worker: worker, console: console, file: file, syslog: syslog, journal: Process.environment("JOURNAL_STREAM"), now: wallClock)
  }

  /// - Parameters:
  ///   - journal: device and inode of the stream to the journal, as `$JOURNAL_STREAM` has them.
  ///   - journalPath: where the journal listens.
  ///   - now: the wall clock, in microseconds since the epoch.
  init(
    level: LogPlan.Level, worker: String?, console: consuming Descriptor?, file: consuming Descriptor?, syslog: SyslogPlan? = nil,
    journal: String? = nil, journalPath: String = JournalSink.path, now: @escaping @Sendable () -> Int64
  ) {
    self.level = level
    origin = worker.map { "[worker \($0)] " } ?? ""
    if let console {
      self.journal = JournalSink.isStream(console.raw, journal) ? JournalSink(worker: worker, path: journalPath) : nil
      self.console = Sink(console)
    } else {
      self.console = nil
      self.journal = nil
    }
    if let syslog { self.syslog = SyslogSink(syslog, name: "event") } else { self.syslog = nil }
    if let file { self.file = Sink(file) } else { self.file = nil }
    self.now = now
  }

  // MARK: Writing

  /// Writes one event, unless it is less severe than `level`.
  public func write(_ level: LogPlan.Level, _ message: @autoclosure () -> String) {
    if level >= self.level { put(level, message(), at: now()) }
  }

  /// Writes one event of a kind that may come in floods: of each `key` a few lines at once and then one every second,
  /// with the number of those left out.
  public func write(_ level: LogPlan.Level, key: EventKey, _ message: @autoclosure () -> String) {
    guard level >= self.level else { return }
    let time = now()
    guard let suppressed = throttle.admit(key, at: time) else { return }
    put(level, suppressed == 0 ? message() : "\(message()) (\(suppressed) more of this kind were left out)", at: time, event: key.name)
  }

  /// Writes `text` between runs of `=`, whatever the level: `SERVER START`, `SERVER STOP`.
  public func mark(_ text: String) {
    put(.info, "========== \(text) ==========", at: now())
  }

  /// Reports kinds of events that were left out and have not come back since. To be called every few seconds.
  public func tick() {
    let time = now()
    for (key, count) in throttle.settle(at: time) {
      put(.info, "\(count) more events of the kind \"\(key.name)\" were left out", at: time)
    }
  }

  private func put(_ level: LogPlan.Level, _ message: String, at time: Int64, event: String? = nil) {
    let stamp = EventLine.stamp(time)
    // The file or the daemon is what counts; standard output does where there is neither.
    var isWritten = true
    if syslog != nil {
      let line = EventLine.line(origin, message)
      syslog?.begin(level, at: time)
      isWritten = syslog?.send(line.span.extracting(first: line.count - 1)) == true
    }
    var isSaid = false
    if journal != nil {
      let line = EventLine.line("", message)
      // A journal that takes nothing may yet take a line of the stream.
      isSaid = journal?.send(level, line.span.extracting(first: line.count - 1), event: event) == true
    }
    if console != nil, !isSaid {
      let name = console?.isTerminal == true ? EventLine.coloured(level) : EventLine.name(level)
      let line = EventLine.line("[\(stamp)] [gateway] [\(name)] \(origin)", message)
      let isShown = console?.write(line.span) == line.count
      if syslog == nil, file == nil { isWritten = isShown }
    }
    if file != nil {
      let line = EventLine.line("[\(stamp)] [gateway] [\(EventLine.name(level))] \(origin)", message)
      if isTorn, file?.write([UInt8(ascii: "\n")].span) == 1 { isTorn = false }
      let count = file?.write(line.span) ?? 0
      isWritten = count == line.count
      if count > 0 { isTorn = count < line.count }
    }
    guard isWritten else {
      lost += 1
      return
    }
    guard lost > toldOf else { return }
    let missing = lost - toldOf
    toldOf = lost
    put(.warn, "\(missing) line\(missing == 1 ? "" : "s") of this log could not be written a moment ago", at: time)
  }

  // MARK: The file

  /// Turns to another file; nil: to none. In the same way to another syslog daemon.
  public func replace(file: consuming Descriptor?, syslog: SyslogPlan? = nil) {
    if let file { self.file = Sink(file) } else { self.file = nil }
    if self.file?.isEmpty == true { isTorn = false }
    if let syslog { self.syslog = SyslogSink(syslog, name: "event") } else { self.syslog = nil }
  }
}
