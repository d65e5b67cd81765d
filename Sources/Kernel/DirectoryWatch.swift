// DirectoryWatch — noticing that something has happened in directories (inotify).
//
// Directories are watched, not files: a file that is replaced, or the symbolic link to it, or one on the way to it, shows
// as a change of the directory it stands in. What has happened is not told apart; whoever watches looks again.

import CLinux

/// A set of directories that are watched.
public struct DirectoryWatch: ~Copyable {
  private let descriptor: Descriptor
  /// The number of each watch.
  private var watches: [String: CInt] = [:]

  public init() throws(Errno) { descriptor = try Descriptor(owning: clx_watch_open()) }

  /// Readable when something has happened.
  public var raw: CInt { descriptor.raw }

  /// Watches `directories` and no others. Returns those that cannot be watched, with the reason.
  public mutating func watch(_ directories: Set<String>) -> [(directory: String, error: Errno)] {
    var problems: [(String, Errno)] = []
    let old = watches
    watches = [:]
    for directory in directories.sorted() {
      // A directory may have been replaced by another of its name: the watch is on the directory, not on its name.
      let watch = unsafe clx_watch_add(descriptor.raw, directory)
      if watch >= 0 { watches[directory] = watch } else { problems.append((directory, Errno.current)) }
    }
    let kept = Set(watches.values)
    for watch in Set(old.values) where !kept.contains(watch) { _ = clx_watch_remove(descriptor.raw, watch) }
    return problems
  }

  /// Whether something has happened since the last call.
  public func hasChanged() -> Bool { clx_watch_drain(descriptor.raw) > 0 }
}

extension Files {
  /// The directories whose change can make `path`, which is absolute, lead to another file: the one it stands in, and those
  /// of each symbolic link on the way.
  public static func directories(onTheWayTo path: String) -> Set<String> {
    var found: Set<String> = []
    var rest = path.split(separator: "/").map(String.init)[...]
    var current = ""
    var links = 0
    while let name = rest.popFirst() {
      if name == "." { continue }
      if name == ".." {
        current = current.isEmpty ? "" : String(current[..<(current.lastIndex(of: "/") ?? current.startIndex)])
        continue
      }
      let next = current + "/" + name
      guard let target = target(ofLink: next), links < 40 else {
        if rest.isEmpty { found.insert(current.isEmpty ? "/" : current) }
        current = next
        continue
      }
      links += 1
      found.insert(current.isEmpty ? "/" : current)
      if target.hasPrefix("/") { current = "" }
      rest = (target.split(separator: "/").map(String.init) + rest)[...]
    }
    return found
  }

  /// Where a symbolic link leads; nil when `path` is none.
  private static func target(ofLink path: String) -> String? {
    var space = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe clx_link_target(path, &space, space.count)
    guard count > 0 else { return nil }
    return String(decoding: space.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
