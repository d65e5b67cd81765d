// LogFileName — the names of rotated log files: `<stem>-YYYY-MM-DD[-N]<.ext>`.
//
// Pure: which names belong to a log, which of them is the newest, which must go.

/// The pattern that the files of one log are named after.
package struct LogFilePattern: Equatable {
  /// With a slash at its end; empty for the current directory.
  let directory: String
  let stem: String
  /// With its dot, or empty.
  let suffix: String

  private init(directory: String, stem: String, suffix: String) { (self.directory, self.stem, self.suffix) = (directory, stem, suffix) }

  /// Takes `path` apart; nil when its last part cannot be a file's name.
  package init?(path: String) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard let name = parts.last, !name.isEmpty, name != ".", name != ".." else { return nil }
    directory = String(path.dropLast(name.count))
    if let dot = name.lastIndex(of: "."), dot != name.startIndex {
      stem = String(name[..<dot])
      suffix = String(name[dot...])
    } else {
      stem = String(name)
      suffix = ""
    }
  }

  /// The log that the file at `path` belongs to, and its place in it; nil when it is not named like one that was begun by date.
  package static func of(rotated path: String) -> (pattern: LogFilePattern, name: LogFileName)? {
    guard let whole = LogFilePattern(path: path) else { return nil }
    let parts = whole.stem.split(separator: "-", omittingEmptySubsequences: false)
    // A date has three parts, and a number may follow.
    for count in [3, 4] where parts.count > count {
      let pattern = LogFilePattern(directory: whole.directory, stem: parts.dropLast(count).joined(separator: "-"), suffix: whole.suffix)
      if let name = pattern.parse(whole.stem + whole.suffix) { return (pattern, name) }
    }
    return nil
  }

  /// The files that were begun after the one at `old` and before that at `new`, in their order: a thousand at most. Where the day has changed,
  /// those of the new one.
  package static func paths(between old: String, and new: String) -> [String] {
    guard let old = of(rotated: old), let new = of(rotated: new), old.pattern == new.pattern else { return [] }
    let first = old.name.date == new.name.date ? old.name.sequence + 1 : 0
    guard first < new.name.sequence else { return [] }
    return (first..<new.name.sequence).suffix(1000).map { new.pattern.path(of: LogFileName(date: new.name.date, sequence: $0)) }
  }

  /// The files that were begun before the one at `path`, the newest first.
  package static func paths(before path: String) -> [String] {
    guard let (pattern, current) = of(rotated: path) else { return [] }
    let names = LogDirectory.files(in: pattern.directory).compactMap { pattern.parse($0.name) }
    return names.filter { $0 < current }.sorted(by: >).map(pattern.path(of:))
  }

  package func path(of file: LogFileName) -> String {
    let year = EventLine.padded(file.date / 10_000, 4)
    let month = EventLine.padded(file.date / 100 % 100, 2)
    let day = EventLine.padded(file.date % 100, 2)
    let sequence = file.sequence == 0 ? "" : "-\(file.sequence)"
    return "\(directory)\(stem)-\(year)-\(month)-\(day)\(sequence)\(suffix)"
  }

  /// What `name`, without directory, says; nil when it does not belong to the log.
  func parse(_ name: String) -> LogFileName? {
    guard name.utf8.count > stem.utf8.count + 1 + suffix.utf8.count, name.hasPrefix(stem + "-"), name.hasSuffix(suffix) else { return nil }
    let middle = name.utf8.dropFirst(stem.utf8.count + 1).dropLast(suffix.utf8.count)
    let parts = middle.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard parts.count == 3 || parts.count == 4, parts[0].count == 4, parts[1].count == 2, parts[2].count == 2 else { return nil }
    let numbers = parts.compactMap { LogFilePattern.number($0) }
    guard numbers.count == parts.count, 1...12 ~= numbers[1], 1...31 ~= numbers[2] else { return nil }
    if parts.count == 4, numbers[3] == 0 || parts[3].first == UInt8(ascii: "0") { return nil }
    return LogFileName(date: numbers[0] * 10_000 + numbers[1] * 100 + numbers[2], sequence: parts.count == 4 ? numbers[3] : 0)
  }

  private static func number(_ digits: Substring.UTF8View.SubSequence) -> Int? {
    guard 1...9 ~= digits.count, digits.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
    return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }
}

/// One file of a log: its local date as 20260131, and the how-manieth of that day, from 0.
package struct LogFileName: Equatable, Comparable, Sendable {
  var date: Int
  var sequence: Int

  package static func < (a: LogFileName, b: LogFileName) -> Bool { (a.date, a.sequence) < (b.date, b.sequence) }

  /// The files to remove so that `limit` are left: empty ones first, then the oldest, never `current`.
  static func surplus(_ files: [(name: LogFileName, size: Int)], keeping limit: Int, current: LogFileName) -> [LogFileName] {
    let candidates = files.filter { $0.name != current }.sorted { a, b in
      (a.size == 0) != (b.size == 0) ? a.size == 0 : a.name < b.name
    }
    let excess = candidates.count + 1 - max(1, limit)
    return candidates.prefix(max(0, excess)).map(\.name)
  }
}
