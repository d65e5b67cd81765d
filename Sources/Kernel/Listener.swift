// Listener — a listening stream socket, owned or lent by the master.

import CLinux

/// A listening socket.
public struct Listener: ~Copyable {
  public let descriptor: Descriptor

  /// Takes over a socket that listens already.
  public init(owning descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// Binds and listens. IP sockets get SO_REUSEADDR and, with `reusePort`, SO_REUSEPORT, so that each
  /// worker slot has a queue of its own; accepted sockets inherit TCP_NODELAY.
  public init(at address: SocketAddress, backlog: Int, reusePort: Bool, ipv6Only: Bool = false) throws(Errno) {
    let descriptor = try Descriptor(owning: clx_socket(address.family))
    if !address.isUnix {
      clx_set_option(descriptor.raw, SOL_SOCKET, SO_REUSEADDR, 1)
      clx_set_option(descriptor.raw, CInt(IPPROTO_TCP), TCP_NODELAY, 1)
      if reusePort, clx_set_option(descriptor.raw, SOL_SOCKET, SO_REUSEPORT, 1) != 0 { throw Errno.current }
    }
    if address.isIPv6, clx_set_option(descriptor.raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY, ipv6Only ? 1 : 0) != 0 { throw Errno.current }
    let bound = unsafe address.withSockaddr { unsafe bind(descriptor.raw, $0, $1) }
    guard bound == 0, listen(descriptor.raw, CInt(clamping: backlog)) == 0 else { throw Errno.current }
    self.descriptor = descriptor
  }

  /// The address the socket is bound to, with the port the kernel chose where 0 was asked for.
  public var address: SocketAddress? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe getsockname(descriptor.raw, UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), &length)
    }
    return result == 0 ? SocketAddress(storage: storage, length: length) : nil
  }

  /// Accepts the next waiting connection.
  public func accept() -> AcceptOutcome {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let raw = unsafe clx_accept(descriptor.raw, &storage, &length)
    guard raw >= 0 else { return .failed(Errno.current) }
    guard let owned = try? Descriptor(owning: raw) else { return .failed(.other(EBADF)) }
    return .accepted(Socket(owned), SocketAddress(storage: storage, length: length))
  }
}

/// What one accept achieved.
public enum AcceptOutcome: ~Copyable {
  case accepted(Socket, SocketAddress)
  /// `.wouldBlock` when nothing waits.
  case failed(Errno)
}
