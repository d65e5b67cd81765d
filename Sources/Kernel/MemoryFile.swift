// MemoryFile — memory that processes share by passing a descriptor: sealed bytes, or a table of fixed size.
//
// Invariants: what was sealed can be neither changed nor resized by anyone; a shared table can be written
// but never resized, so that no access to its mapping can fault.

import CLinux

public enum MemoryFile {
  /// An anonymous file that holds `bytes` for good.
  public static func sealed(_ bytes: [UInt8], name: String) throws(Errno) -> Descriptor {
    let file = try Descriptor(owning: unsafe clx_memory_file(name))
    var written = 0
    while written < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { unsafe write(file.raw, $0.baseAddress! + written, $0.count - written) }
      if count < 0, Errno.current == .interrupted { continue }
      guard count > 0 else { throw Errno.current }
      written += count
    }
    guard clx_memory_seal(file.raw, true) == 0 else { throw Errno.current }
    return file
  }

  /// The bytes of a sealed file. Refuses one that is not sealed (EPERM) or longer than `limit` (EFBIG).
  public static func contents(of file: borrowing Descriptor, limit: Int = 256 << 20) throws(Errno) -> [UInt8] {
    guard clx_memory_seals(file.raw) == 1 else { throw .other(EPERM) }
    let size = Int(clamping: clx_file_size(file.raw))
    guard size >= 0 else { throw Errno.current }
    guard size <= limit else { throw .other(EFBIG) }
    guard size > 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: size)
    var done = 0
    while done < size {
      let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(file.raw, $0.baseAddress! + done, size - done, off_t(done)) }
      if count < 0, Errno.current == .interrupted { continue }
      guard count > 0 else { throw Errno.current }
      done += count
    }
    return bytes
  }

  /// A file of `size` bytes whose size is sealed: `beginning`, then zeroes.
  public static func table(size: Int, beginning: [UInt8] = [], name: String) throws(Errno) -> Descriptor {
    let file = try Descriptor(owning: unsafe clx_memory_file(name))
    var done = 0
    while done < min(beginning.count, size) {
      let count = unsafe beginning.withUnsafeBytes { unsafe pwrite(file.raw, $0.baseAddress! + done, min($0.count, size) - done, off_t(done)) }
      if count < 0, Errno.current == .interrupted { continue }
      guard count > 0 else { throw Errno.current }
      done += count
    }
    guard ftruncate(file.raw, off_t(size)) == 0, clx_memory_seal(file.raw, false) == 0 else { throw Errno.current }
    return file
  }
}

/// A shared, writable view of a memory file's table. It stays until the process ends, so that views
/// handed out from it can never dangle.
@safe
public struct SharedMapping: @unchecked Sendable, BitwiseCopyable {
  public let base: UnsafeMutableRawPointer
  public let byteCount: Int

  /// Maps the first `byteCount` bytes. Refuses a file whose size is not sealed (EPERM) or that is smaller (EFBIG).
  public init(_ file: borrowing Descriptor, byteCount: Int) throws(Errno) {
    guard clx_memory_seals(file.raw) != 0 else { throw .other(EPERM) }
    guard byteCount > 0, clx_file_size(file.raw) >= Int64(byteCount) else { throw .other(EFBIG) }
    guard let base = unsafe clx_map(file.raw, byteCount, true) else { throw Errno.current }
    unsafe self.base = base
    self.byteCount = byteCount
  }
}
