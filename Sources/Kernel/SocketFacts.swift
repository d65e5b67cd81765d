// SocketFacts — what a socket is that somebody else has made: its address, whether it listens, how it is shared.

import CLinux

public struct SocketFacts: Equatable, Sendable {
  public let address: SocketAddress
  public let isListening: Bool
  /// SO_REUSEPORT: others may have sockets at the same address, each with a queue of its own.
  public let isReusePort: Bool
  /// IPV6_V6ONLY; false for other families.
  public let isIPv6Only: Bool

  /// nil when the descriptor is no stream socket with an address.
  public init?(_ descriptor: borrowing Descriptor) {
    let raw = descriptor.raw
    guard clx_get_option(raw, SOL_SOCKET, SO_TYPE) == CInt(SOCK_STREAM.rawValue) else { return nil }
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe getsockname(raw, UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), &length)
    }
    guard result == 0 else { return nil }
    address = SocketAddress(storage: storage, length: length)
    guard address.isUnix || address.family == AF_INET || address.isIPv6 else { return nil }
    isListening = clx_get_option(raw, SOL_SOCKET, SO_ACCEPTCONN) == 1
    isReusePort = clx_get_option(raw, SOL_SOCKET, SO_REUSEPORT) == 1
    isIPv6Only = address.isIPv6 && clx_get_option(raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY) == 1
  }
}

extension BoundSocket {
  /// Makes a socket that somebody else has made as `bind` makes them: non-blocking, and without delay for what is accepted.
  public static func prepare(_ socket: borrowing Descriptor, isUnix: Bool) throws(Errno) {
    guard clx_set_nonblocking(socket.raw, true) == 0 else { throw Errno.current }
    if !isUnix { clx_set_option(socket.raw, CInt(IPPROTO_TCP), TCP_NODELAY, 1) }
  }
}
