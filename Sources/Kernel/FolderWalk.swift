// FolderWalk — names below a directory resolved step by step, where there is no openat2: a kernel before 5.6, or a sandbox that
// forbids what it cannot look into (RestrictSUIDSGID= of systemd, the filters of older container runtimes).
//
// Invariant: each step goes from an open directory and follows no link by itself; ".." goes back to a directory that was passed on the
// way. So nothing leads above the first, whatever is renamed meanwhile.

import CLinux

/// The way from a directory to a name below it.
struct FolderWalk: ~Copyable {
  /// Links on one way, and directories below each other; as many as the kernel follows.
  private static let linkLimit = 40
  private static let depthLimit = 512
  private static let lengthLimit = 4096

  private let root: CInt
  private let follows: Bool
  /// Open directories below the root, each in the one before.
  private var passed: [CInt] = []
  /// What is still to be gone, without a NUL.
  private var rest: [CChar]
  private var linkCount = 0

  private init(_ root: CInt, _ name: Span<UInt8>, follows: Bool) {
    self.root = root
    self.follows = follows
    rest = []
    rest.reserveCapacity(name.count)
    for index in name.indices where name[index] != 0 { rest.append(CChar(bitPattern: name[index])) }
  }

  deinit { for directory in passed { close(directory) } }

  /// Opens what is called `name`, seen from `root`, for reading.
  static func open(_ root: borrowing Descriptor, _ name: Span<UInt8>, _ links: Folder.Links) throws(Errno) -> Descriptor {
    var walk = FolderWalk(root.raw, name, follows: links == .beneath)
    if links == .all { return try Descriptor(owning: unsafe clx_open_any(root.raw, walk.rest + [0])) }
    guard walk.rest.first != Self.slash else { throw Errno(EXDEV) }
    while true {
      if let file = try walk.step() { return file }
    }
  }

  private static var slash: CChar { 0x2f }
  private static var dot: CChar { 0x2e }
  private var current: CInt { passed.last ?? root }

  /// Goes on by one part of the name; returns the file once it is reached.
  private mutating func step() throws(Errno) -> Descriptor? {
    rest.removeFirst(rest.firstIndex { $0 != Self.slash } ?? rest.count)
    guard !rest.isEmpty else { return try Descriptor(owning: unsafe clx_open_any(current, ".")) }
    let length = rest.firstIndex(of: Self.slash) ?? rest.count
    let part = rest[..<length] + [0]
    rest.removeFirst(length)
    if part.dropLast() == [Self.dot] { return nil }
    if part.dropLast() == [Self.dot, Self.dot] {
      guard let left = passed.popLast() else { throw Errno(EXDEV) }
      close(left)
      return nil
    }
    let isLast = rest.isEmpty
    let found = unsafe clx_open_part(current, Array(part), isLast ? 1 : 0)
    if found < 0 {
      let error = Errno.current
      guard error.number == (isLast ? ELOOP : ENOTDIR) else { throw error }
      try follow(Array(part), or: error)
      return nil
    }
    if isLast { return try Descriptor(owning: found) }
    guard passed.count < Self.depthLimit else {
      close(found)
      throw Errno(ENAMETOOLONG)
    }
    passed.append(found)
    return nil
  }

  /// Puts what the link `part` says in its place. `error`: if it is none.
  private mutating func follow(_ part: [CChar], or error: Errno) throws(Errno) {
    var target = [CChar](repeating: 0, count: Self.lengthLimit)
    let count = unsafe readlinkat(current, part, &target, target.count)
    guard count > 0 else { throw error }
    linkCount += 1
    guard follows, linkCount <= Self.linkLimit else { throw Errno(ELOOP) }
    guard target[0] != Self.slash else { throw Errno(EXDEV) }
    guard count + rest.count < Self.lengthLimit else { throw Errno(ENAMETOOLONG) }
    rest = target[..<count] + rest
  }
}
