// LogFile — a log file as the master owns it: opened, rotated, pruned, and lent out as descriptors.
//
// Whether it is full, of another day or deleted is seen by `fstat` of its own descriptor, whoever writes to it.
//
// Invariants: there is always an open file; when another cannot be opened the old one is kept. With `maxFiles`
// above 1 the file is the newest of today; with 1 it is the configured path itself, which others may rotate.

import Glibc
import Kernel
import Plan

/// An open log file.
public struct LogFile: ~Copyable {
  /// The path as configured.
  public let path: String
  /// The file that is being written.
  public private(set) var currentPath: String

  private let pattern: LogFilePattern
  private let maxFileSize: Int
  private let maxFiles: Int
  private var current: LogFileName
  private var descriptor: Descriptor
  /// After a failure to turn to another file: when to try again, seconds since the epoch.
  private var retryAt = 0
  private static let retryAfter = 10

  /// Opens the error log of `plan`. - Precondition: `plan.file` is not empty.
  public init(_ plan: LogPlan) throws(LogFileError) {
    try self.init(path: plan.file, maxFileSize: plan.maxFileSize, maxFiles: plan.maxFiles, at: Int(wallClock() / 1_000_000))
  }

  /// Opens a log that others rotate: the access log.
  public init(path: String) throws(LogFileError) {
    try self.init(path: path, maxFileSize: 0, maxFiles: 1, at: Int(wallClock() / 1_000_000))
  }

  init(path: String, maxFileSize: Int, maxFiles: Int, at seconds: Int) throws(LogFileError) {
    guard let pattern = LogFilePattern(path: path) else { throw LogFileError(path: path, reason: "is not the name of a file") }
    try LogDirectory.create(pattern.directory, for: path)
    let today = CivilTime(local: seconds).date
    let name = maxFiles > 1 ? LogFile.nameToOpen(pattern, maxFileSize, today: today, after: nil) : LogFileName(date: today, sequence: 0)
    let currentPath = maxFiles > 1 ? pattern.path(of: name) : path
    let descriptor = try LogDirectory.open(currentPath)
    self.path = path
    self.currentPath = currentPath
    self.pattern = pattern
    self.maxFileSize = maxFileSize
    self.maxFiles = maxFiles
    current = name
    self.descriptor = descriptor
    prune()
  }

  /// A descriptor of the current file for another writer. Closed at exec unless it is passed on by number.
  public func duplicate() throws(Errno) -> Descriptor {
    try LogDirectory.duplicate(descriptor.raw)
  }

  /// Opens the file again (USR1, HUP): the configured path, or the newest file of today. On failure the old one is kept.
  public mutating func reopen() throws(LogFileError) {
    try reopen(at: Int(wallClock() / 1_000_000))
  }

  mutating func reopen(at seconds: Int) throws(LogFileError) { try turn(at: seconds, forced: false) }

  /// Turns to the next file if the current one is full, of another day or deleted. On true, writers need new descriptors.
  /// Costs one system call when nothing is due; after a failure it is tried again 10 s later.
  public mutating func rotateIfDue() throws(LogFileError) -> Bool {
    try rotateIfDue(at: Int(wallClock() / 1_000_000))
  }

  mutating func rotateIfDue(at seconds: Int) throws(LogFileError) -> Bool {
    guard isDue(at: seconds), !(retryAt - Self.retryAfter...retryAt - 1).contains(seconds) else { return false }
    retryAt = seconds + Self.retryAfter
    try turn(at: seconds, forced: true)
    return true
  }

  private func isDue(at seconds: Int) -> Bool {
    var status = stat()
    guard unsafe fstat(descriptor.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
    if status.st_nlink == 0 { return true }
    return maxFiles > 1 && (Int(status.st_size) >= maxFileSize || CivilTime(local: seconds).date != current.date)
  }

  // MARK: Turning to another file

  private mutating func turn(at seconds: Int, forced: Bool) throws(LogFileError) {
    try LogDirectory.create(pattern.directory, for: path)
    if maxFiles > 1 {
      let today = CivilTime(local: seconds).date
      let name = LogFile.nameToOpen(pattern, maxFileSize, today: today, after: forced && current.date == today ? current : nil)
      let path = pattern.path(of: name)
      descriptor = try LogDirectory.open(path)
      current = name
      currentPath = path
      prune()
    } else {
      descriptor = try LogDirectory.open(path)
    }
    retryAt = 0
  }

  /// The newest file of today if it is not full, else the next. One that is to follow another comes after it.
  private static func nameToOpen(_ pattern: LogFilePattern, _ maxFileSize: Int, today: Int, after last: LogFileName?) -> LogFileName {
    let newest = files(pattern).filter { $0.name.date == today }.max { $0.name < $1.name }
    guard let newest, last.map({ newest.name > $0 }) ?? true else {
      return LogFileName(date: today, sequence: max(newest?.name.sequence ?? 0, last?.sequence ?? -1) + (last == nil ? 0 : 1))
    }
    return newest.size < maxFileSize ? newest.name : LogFileName(date: today, sequence: newest.name.sequence + 1)
  }

  private static func files(_ pattern: LogFilePattern) -> [(name: LogFileName, size: Int)] {
    LogDirectory.files(in: pattern.directory).compactMap { file in pattern.parse(file.name).map { ($0, file.size) } }
  }

  /// Removes what is more than `maxFiles`. A file that cannot be removed is left to the next time.
  private func prune() {
    guard maxFiles > 1 else { return }
    for name in LogFileName.surplus(LogFile.files(pattern), keeping: maxFiles, current: current) {
      LogDirectory.remove(pattern.path(of: name))
    }
  }
}

/// Why a log file cannot be opened.
public struct LogFileError: Error, Equatable, CustomStringConvertible {
  public let path: String
  public let reason: String

  public var description: String { "log file \"\(path)\": \(reason)" }
}
