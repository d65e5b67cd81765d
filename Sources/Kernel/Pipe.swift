// Pipe — bytes on their way from one socket to another without being copied (splice).
//
// Invariant: `count` is what is in the pipe; it is filled only while it is empty, so that a socket that gives nothing
// is known to have nothing (of a pipe that may be full, the kernel would say the same).

import CLinux

/// A non-blocking pipe between two sockets.
public struct Pipe: ~Copyable {
  private let reading: Descriptor
  private let writing: Descriptor
  /// Bytes it takes at most; fewer, where they come in small pieces.
  public let capacity: Int
  /// Bytes in it.
  public private(set) var count = 0

  /// Makes a pipe of `size` bytes, or of what the system's limits for pipes allow.
  /// - Throws: EMFILE, ENFILE.
  public init(size: Int) throws(Errno) {
    var ends: (CInt, CInt) = (-1, -1)
    let granted = unsafe clx_sized_pipe(&ends.0, &ends.1, CInt(clamping: size))
    guard granted >= 0 else { throw Errno.current }
    let reading = try Descriptor(owning: ends.0), writing = try Descriptor(owning: ends.1)
    self.reading = reading
    self.writing = writing
    capacity = Int(granted)
  }

  /// Moves at most `limit` bytes out of `socket` into the pipe, which must be empty.
  public mutating func fill(from socket: borrowing Socket, limit: Int) -> Transfer {
    guard count == 0 else { return .blocked }
    let outcome = Socket.transfer(clx_splice(socket.descriptor.raw, writing.raw, min(limit, capacity), 0))
    if case .moved(let moved) = outcome { count = moved }
    return outcome
  }

  /// Moves what is in the pipe on to `socket`, as much as it takes.
  /// - Parameter hasMore: more bytes will follow at once.
  public mutating func drain(to socket: borrowing Socket, hasMore: Bool) -> Transfer {
    let outcome = Socket.transfer(clx_splice(reading.raw, socket.descriptor.raw, count, hasMore ? 1 : 0))
    if case .moved(let moved) = outcome { count -= min(moved, count) }
    return outcome
  }
}
