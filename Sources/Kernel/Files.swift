// Files — the few things the master does with paths: what is there, directories, whole small files.

import CLinux

/// What the file system says about a path, symbolic links not followed.
public struct FileFacts: Equatable, Sendable {
  public enum Kind: Sendable { case regular, directory, socket, symbolicLink, other }

  public let kind: Kind
  public let permissions: UInt32
  public let owner: UInt32
  public let device: UInt64
  public let inode: UInt64

  /// nil when there is nothing at `path`, or it cannot be looked at.
  public init?(path: String) {
    var mode: UInt32 = 0
    var owner: uid_t = 0
    var device: UInt64 = 0
    var inode: UInt64 = 0
    guard unsafe clx_path_facts(path, &mode, &owner, &device, &inode) == 0 else { return nil }
    kind = switch mode & 0o170000 {
    case 0o100000: .regular
    case 0o040000: .directory
    case 0o140000: .socket
    case 0o120000: .symbolicLink
    default: .other
    }
    permissions = mode & 0o7777
    self.owner = owner
    self.device = device
    self.inode = inode
  }
}

public enum Files {
  public static var currentDirectory: String {
    var space = [CChar](repeating: 0, count: Int(PATH_MAX))
    return unsafe space.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress, unsafe getcwd(base, buffer.count) != nil else { return "/" }
      return unsafe String(cString: base)
    }
  }

  /// `path` itself when it is absolute, else seen from the current directory.
  public static func absolute(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    let directory = currentDirectory
    return directory.hasSuffix("/") ? directory + path : directory + "/" + path
  }

  /// The directory that contains `path`: "/" for "/x", "." for "x".
  public static func directory(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  public static func makeDirectory(_ path: String, mode: UInt32) throws(Errno) {
    guard unsafe mkdir(path, mode_t(mode)) == 0 else { throw Errno.current }
  }

  /// Removes a file; nothing there is no error.
  public static func remove(_ path: String) { unsafe unlink(path) }

  public static func setMode(_ path: String, _ mode: UInt16) { unsafe chmod(path, mode_t(mode)) }

  /// Writes all of `text` to a descriptor, as far as it will take it.
  /// False when it could not all be written; the reason is in `Errno.current`.
  @discardableResult
  public static func write(_ text: String, to raw: CInt) -> Bool {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { unsafe CLinux.write(raw, $0.baseAddress! + done, $0.count - done) }
      if count < 0, Errno.current == .interrupted { continue }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }

  /// Writes once to a socket: nil when it takes nothing now, 0 when it is broken.
  public static func writeOnce(_ bytes: [UInt8], to raw: CInt) -> Int? {
    while true {
      let count = unsafe bytes.withUnsafeBytes { unsafe send(raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
      if count >= 0 { return count }
      switch Errno.current {
      case .interrupted: continue
      case .wouldBlock: return nil
      default: return 0
      }
    }
  }

  /// Reads once, up to `limit` bytes: nil when nothing waits, empty at the end or on an error.
  public static func read(_ raw: CInt, limit: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: limit)
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { unsafe CLinux.read(raw, $0.baseAddress!, $0.count) }
      if count < 0 {
        let error = Errno.current
        if error == .interrupted { continue }
        return error == .wouldBlock ? nil : []
      }
      return Array(bytes.prefix(count))
    }
  }

  /// Standard error, for the time before there is a log.
  public static func complain(_ text: String) { write(text + "\n", to: 2) }
}
