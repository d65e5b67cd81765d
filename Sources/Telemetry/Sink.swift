// Sink — where log lines go: a file, a pipe, a socket or a terminal.
//
// Invariant: writing never waits for a reader. A pipe is asked first whether it has room, a socket is
// written without blocking; a reader that is too slow costs lines, never traffic.

import Glibc
import Kernel

/// An open log destination.
struct Sink: ~Copyable {
  private enum Kind { case file, pipe, socket, device }

  let descriptor: Descriptor
  private let kind: Kind
  let isTerminal: Bool

  init(_ descriptor: consuming Descriptor) {
    var status = stat()
    let known = unsafe fstat(descriptor.raw, &status) == 0
    kind = switch known ? status.st_mode & S_IFMT : S_IFREG {
    case S_IFIFO: .pipe
    case S_IFSOCK: .socket
    case S_IFCHR: .device
    default: .file
    }
    isTerminal = kind == .device && isatty(descriptor.raw) == 1
    self.descriptor = descriptor
  }

  /// Whether it is a file with nothing in it.
  var isEmpty: Bool {
    var status = stat()
    let isKnown = unsafe fstat(descriptor.raw, &status) == 0
    return kind == .file && isKnown && status.st_size == 0
  }

  /// The most bytes to pass to one `write`. Writers of one pipe must stay within PIPE_BUF,
  /// or their lines mix and a write may block half-way.
  var writeLimit: Int { kind == .pipe ? Int(PIPE_BUF) : .max }

  /// Writes once and returns the bytes taken; 0 when the destination took nothing, for the reason in `errno`.
  func write(_ bytes: Span<UInt8>) -> Int {
    if kind == .pipe {
      var request = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
      guard unsafe poll(&request, 1, 0) == 1, request.revents & Int16(POLLOUT) != 0 else {
        errno = EAGAIN
        return 0
      }
    }
    return unsafe bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return 0 }
      while true {
        let count = unsafe kind == .socket
          ? send(descriptor.raw, start, bytes.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
          : Glibc.write(descriptor.raw, start, bytes.count)
        if count >= 0 { return count }
        if errno != EINTR { return 0 }
      }
    }
  }
}
