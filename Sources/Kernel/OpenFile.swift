// OpenFile — files below a directory, opened so that no name leads out of it, and sent without passing through memory.
//
// Invariant: a name is resolved by the kernel, as a whole and relative to the directory (openat2 with RESOLVE_BENEATH), or step by step
// where that cannot be had (FolderWalk); nothing is looked at by name twice, so that nothing can be exchanged in between.

import CLinux

/// A directory whose files are served.
public struct Folder: ~Copyable {
  /// Which symbolic links are followed.
  public enum Links: CInt, Sendable { case none, beneath, all }

  private let descriptor: Descriptor

  /// Opens the directory at `path`, which ends in a NUL.
  public init(_ path: Span<UInt8>) throws(Errno) {
    precondition(path.count > 0 && path[path.count - 1] == 0)
    let raw = unsafe path.withUnsafeBytes { unsafe clx_open_directory($0.baseAddress?.assumingMemoryBound(to: CChar.self)) }
    descriptor = try Descriptor(owning: raw)
  }

  /// Opens what is called `name`, which ends in a NUL, for reading; whatever it is.
  public func open(_ name: Span<UInt8>, _ links: Links) throws(Errno) -> OpenFile {
    precondition(name.count > 0 && name[name.count - 1] == 0)
    guard Self.hasOpenBelow else { return try OpenFile(FolderWalk.open(descriptor, name, links)) }
    let raw = unsafe name.withUnsafeBytes { unsafe clx_open_below(descriptor.raw, $0.baseAddress?.assumingMemoryBound(to: CChar.self), links.rawValue) }
    return try OpenFile(Descriptor(owning: raw))
  }

  /// Whether the kernel resolves whole names, and lets us ask for it.
  private static let hasOpenBelow = clx_has_open_below() != 0

  /// As `open`, step by step; for tests.
  package func walk(_ name: Span<UInt8>, _ links: Links) throws(Errno) -> OpenFile { try OpenFile(FolderWalk.open(descriptor, name, links)) }
}

/// A file opened for reading.
public struct OpenFile: ~Copyable {
  public enum Kind: Sendable, BitwiseCopyable { case regular, directory, other }

  private let descriptor: Descriptor
  public let kind: Kind
  /// Bytes, when it was opened.
  public let size: Int
  /// When it was last modified: seconds since the epoch, and nanoseconds.
  public let modified: Int64
  public let nanoseconds: UInt32

  init(_ descriptor: consuming Descriptor) throws(Errno) {
    var facts = clx_file()
    guard unsafe clx_look_at(descriptor.raw, &facts) == 0 else { throw Errno.current }
    kind = facts.mode & 0o170000 == 0o100000 ? .regular : facts.mode & 0o170000 == 0o040000 ? .directory : .other
    size = Int(max(0, facts.size))
    modified = facts.seconds
    nanoseconds = facts.nanoseconds
    self.descriptor = descriptor
  }

  /// Reads once, at most `limit` bytes from `offset` on, appending them to `output`. `ended`: there are none.
  public func read(at offset: Int, limit: Int, into output: inout OutputRawSpan) -> Transfer {
    unsafe output.withUnsafeMutableBytes { storage, filled in
      let room = min(limit, storage.count - filled)
      guard room > 0, let base = storage.baseAddress else { return .moved(0) }
      let count = unsafe pread(descriptor.raw, base + filled, room, off_t(offset))
      if count > 0 { filled += count }
      return Socket.transfer(count)
    }
  }

  /// Sends at most `count` bytes from `offset` on, which moves behind them. `ended`: there are none.
  public func send(to socket: borrowing Socket, at offset: inout Int, count: Int) -> Transfer {
    var position = Int64(offset)
    let sent = unsafe clx_send_file(socket.descriptor.raw, descriptor.raw, &position, max(0, count))
    offset = Int(position)
    return Socket.transfer(sent)
  }

  /// Tells the kernel that what is from `offset` on will be read in order.
  public func willRead(from offset: Int, count: Int) { clx_will_read(descriptor.raw, Int64(offset), Int64(count)) }
}

extension Socket {
  /// As `send`; more will follow at once, so that the kernel may wait for it.
  public func sendMore(_ bytes: Span<UInt8>) -> Transfer {
    unsafe bytes.withUnsafeBytes { storage in
      guard let base = storage.baseAddress else { return .moved(0) }
      return Socket.transfer(unsafe clx_send_more(descriptor.raw, base, storage.count))
    }
  }
}

extension Errno {
  /// There is nothing of that name, or a link leads where it may not.
  public var isMissing: Bool { [ENOENT, ENOTDIR, ELOOP, EXDEV, ENAMETOOLONG, EINVAL].contains(number) }
  /// The trouble is with what is read, not with whom it is sent to.
  public var isOfStorage: Bool { [EIO, ENOMEM, EOVERFLOW, EINVAL, ESTALE, EBADF].contains(number) }
  /// It may not be opened, or is nothing that can be read.
  public var isForbidden: Bool { [EACCES, EPERM, ENXIO, ENODEV].contains(number) }
}
