// FileStamp — noticing that a file has been changed or replaced, and reading small ones whole.

import CLinux

/// What tells one state of a file from another, symbolic links followed.
public struct FileStamp: Equatable, Sendable {
  private var modified: Int64 = 0
  private var size: Int64 = 0
  private var device: UInt64 = 0
  private var inode: UInt64 = 0

  /// nil when there is no file at `path`, or it cannot be looked at.
  public init?(path: String) { guard unsafe clx_path_stamp(path, &modified, &size, &device, &inode) == 0 else { return nil } }
}

extension Files {
  /// What is in the file at `path`, as far as its first `limit` bytes; nil when it cannot be read, or is not a regular file.
  public static func contents(path: String, limit: Int) -> [UInt8]? {
    guard !path.utf8.contains(0), let file = try? Descriptor(owning: unsafe clx_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)) else { return nil }
    var isRegular = false
    var owner: uid_t = 0
    var device: UInt64 = 0, inode: UInt64 = 0
    guard unsafe clx_file_facts(file.raw, &isRegular, &owner, &device, &inode) == 0, isRegular else { return nil }
    var bytes: [UInt8] = []
    while bytes.count < limit {
      guard let part = read(file.raw, limit: min(65_536, limit - bytes.count)), !part.isEmpty else { break }
      bytes += part
    }
    return bytes
  }
}
