// PIDFile — the file that says which process is the gateway, and by its lock that it lives.
//
// Invariants: the lock, not the content, is the proof of life; it is held from `acquire` to the end of the
// process. Only a regular file of our own is ever written; only the holder of the lock removes it.

import CLinux

/// Why a PID file could not be taken.
public enum PIDFileError: Error, Equatable {
  /// Another process holds the lock; its id, if the file tells.
  case running(ProcessID?)
  case notRegular
  case foreignOwner
  case system(String, Errno)

  public func text(path: String) -> String {
    switch self {
    case .running(let id?): "already running (PID \(id))"
    case .running(nil): "already running (PID file \(path) is locked)"
    case .notRegular: "PID file \(path) is not a regular file"
    case .foreignOwner: "PID file \(path) belongs to another user"
    case .system(let what, let error): "cannot \(what) PID file \(path): \(error.text)"
    }
  }
}

/// What a PID file tells to somebody who does not hold it.
public enum PIDFileState: Equatable, Sendable {
  case running(ProcessID)
  case notRunning
  /// The lock is held, but the content is no process id.
  case unreadable(String)
}

/// A PID file that is ours.
public struct PIDFile: ~Copyable {
  public let path: String
  private let file: Descriptor

  /// Creates or re-uses the file at `path`, locks it and writes our process id into it.
  public init(acquiring path: String) throws(PIDFileError) {
    // A reader that looks whether we run holds the lock for a moment; and a holder that leaves may remove
    // the file between our open and our lock. Both mean: once more.
    var attempts = 0
    while true {
      let file = try Self.open(path)
      if flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
        let error = Errno.current
        attempts += 1
        guard error == .wouldBlock || error == .interrupted else { throw .system("lock", error) }
        if attempts < 10 {
          usleep(10_000)
          continue
        }
        throw .running(Self.id(in: file.raw))
      }
      guard Self.isAt(path, file) else { continue }
      let text = "\(Process.id)\n"
      guard ftruncate(file.raw, 0) == 0 else { throw .system("truncate", .current) }
      let bytes = Array(text.utf8)
      let count = unsafe bytes.withUnsafeBytes { unsafe pwrite(file.raw, $0.baseAddress!, $0.count, 0) }
      guard count == bytes.count else { throw .system("write", .current) }
      self.path = path
      self.file = file
      return
    }
  }

  /// Goes on with a file that the program before this one, in this same process, has locked: the lock belongs to the open file.
  public init(adopting file: consuming Descriptor, path: String) {
    self.path = path
    self.file = file
  }

  /// The number of the open file, to be handed over.
  public var raw: CInt { file.raw }

  /// Removes the file, if it is still the one we locked, and gives the lock back.
  public consuming func remove() {
    if Self.isAt(path, file) { unsafe unlink(path) }
  }

  /// Whether somebody holds the file at `path`, and who.
  public static func state(of path: String) -> PIDFileState {
    let raw = unsafe clx_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0)
    guard let file = try? Descriptor(owning: raw) else {
      let error = Errno.current
      return error == .noSuchFile ? .notRunning : .unreadable("cannot open PID file \(path): \(error.text)")
    }
    guard isRegular(file) else { return .unreadable("PID file \(path) is not a regular file") }
    if flock(file.raw, LOCK_SH | LOCK_NB) == 0 { return .notRunning }
    let error = Errno.current
    guard error == .wouldBlock else { return .unreadable("cannot lock PID file \(path): \(error.text)") }
    guard let id = id(in: file.raw) else { return .unreadable("PID file \(path) is locked, but holds no process id") }
    return .running(id)
  }

  /// A positive decimal of at most 31 bytes with only white space behind it.
  public static func parse(_ bytes: [UInt8]) -> ProcessID? {
    guard bytes.count <= 31 else { return nil }
    var value: Int64 = 0
    var position = 0
    while position < bytes.count, (0x30...0x39).contains(bytes[position]) {
      value = value * 10 + Int64(bytes[position] - 0x30)
      guard value <= Int64(Int32.max) else { return nil }
      position += 1
    }
    guard position > 0, value > 0 else { return nil }
    let blank: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0d).contains($0) }
    return bytes[position...].allSatisfy(blank) ? ProcessID(value) : nil
  }

  private static func open(_ path: String) throws(PIDFileError) -> Descriptor {
    // O_NONBLOCK: to open a FIFO without a partner must not hang.
    let raw = unsafe clx_open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o644)
    let file: Descriptor
    do {
      file = try Descriptor(owning: raw)
    } catch {
      throw error == .other(ELOOP) || error == .other(EISDIR) || error == .other(ENXIO) ? .notRegular : .system("open", error)
    }
    var regular = false
    var owner: uid_t = 0
    var device: UInt64 = 0
    var inode: UInt64 = 0
    guard unsafe clx_file_facts(file.raw, &regular, &owner, &device, &inode) == 0 else { throw .system("examine", .current) }
    guard regular else { throw .notRegular }
    guard owner == geteuid() else { throw .foreignOwner }
    return file
  }

  private static func isRegular(_ file: borrowing Descriptor) -> Bool {
    var regular = false
    var owner: uid_t = 0
    var device: UInt64 = 0
    var inode: UInt64 = 0
    return unsafe clx_file_facts(file.raw, &regular, &owner, &device, &inode) == 0 && regular
  }

  private static func isAt(_ path: String, _ file: borrowing Descriptor) -> Bool {
    var regular = false
    var owner: uid_t = 0
    var device: UInt64 = 0
    var inode: UInt64 = 0
    guard unsafe clx_file_facts(file.raw, &regular, &owner, &device, &inode) == 0, let there = FileFacts(path: path) else { return false }
    return there.device == device && there.inode == inode
  }

  private static func id(in raw: CInt) -> ProcessID? {
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(raw, $0.baseAddress!, $0.count, 0) }
    return count > 0 ? parse(Array(bytes.prefix(count))) : nil
  }
}
