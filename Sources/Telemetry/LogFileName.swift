// LogFileName — the names of rotated log files: `<stem>-YYYY-MM-DD[-N]<.ext>`.
//
// Pure: which names belong to a log, which of them is the newest, which must go.

/// The pattern that the files of one log are named after.
struct LogFilePattern: Equatable {
  /// With a slash at its end; empty for the current directory.
  let directory: String
  let stem: String
  /// With its dot, or empty.
  let suffix: String

  /// Takes `path` apart; nil when its last part cannot be a file's name.
  init?(path: String) {
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

  func path(of file: LogFileName) -> String {
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
struct LogFileName: Equatable, Comparable, Sendable {
  var date: Int
  var sequence: Int

  static func < (a: LogFileName, b: LogFileName) -> Bool { (a.date, a.sequence) < (b.date, b.sequence) }

  /// The files to remove so that `limit` are left: empty ones first, then the oldest, never `current`.
  static func surplus(_ files: [(name: LogFileName, size: Int)], keeping limit: Int, current: LogFileName) -> [LogFileName] {
    let candidates = files.filter { $0.name != current }.sorted { a, b in
      (a.size == 0) != (b.size == 0) ? a.size == 0 : a.name < b.name
    }
    let excess = candidates.count + 1 - max(1, limit)
    return candidates.prefix(max(0, excess)).map(\.name)
  }
}
