// LogDirectory — the file-system calls of the logs.

import Glibc
import Kernel

enum LogDirectory {
  /// Makes the directory `path` and its parents, mode 0755, for the log file `file`.
  static func create(_ path: String, for file: String) throws(LogFileError) {
    var made = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
      made += part + "/"
      if unsafe mkdir(made, 0o755) != 0, errno != EEXIST {
        let code = errno
        var status = stat()
        // A directory may exist where it may not be made.
        if unsafe stat(made, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { continue }
        throw LogFileError(path: file, reason: "cannot create the directory \(made): \(text(of: code))")
      }
    }
  }

  /// Opens `path` for appending, making it with mode 0640.
  static func open(_ path: String) throws(LogFileError) -> Descriptor {
    // A pipe without a reader must fail, not wait; once open, writes are to block as usual.
    let raw = unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
    do throws(Errno) {
      let descriptor = try Descriptor(owning: raw)
      let flags = fcntl(descriptor.raw, F_GETFL)
      if flags >= 0 { _ = fcntl(descriptor.raw, F_SETFL, flags & ~O_NONBLOCK) }
      return descriptor
    } catch {
      throw LogFileError(path: path, reason: text(of: errno))
    }
  }

  static func duplicate(_ raw: CInt) throws(Errno) -> Descriptor {
    try Descriptor(owning: fcntl(raw, F_DUPFD_CLOEXEC, 3))
  }

  /// The regular files of a directory, with their sizes; empty when it cannot be read.
  static func files(in directory: String) -> [(name: String, size: Int)] {
    guard let stream = unsafe opendir(directory.isEmpty ? "." : directory) else { return [] }
    defer { unsafe closedir(stream) }
    var found: [(name: String, size: Int)] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
        unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      var status = stat()
      guard unsafe lstat(directory + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      found.append((name, Int(status.st_size)))
    }
    return found
  }

  static func remove(_ path: String) { unsafe _ = unlink(path) }

  static func text(of code: CInt) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}

extension Descriptor {
  /// A descriptor of its own for standard output, where logs go when no file is set.
  public static func standardOutput() throws(Errno) -> Descriptor { try LogDirectory.duplicate(STDOUT_FILENO) }
}
