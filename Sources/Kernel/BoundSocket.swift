// BoundSocket — sockets that the master binds: separately from listening, so that an address can be claimed
// and proved free before a single connection is taken from whoever serves it now.

import CLinux

public enum BoundSocket {
  /// An IP socket bound to `address` and not yet listening.
  /// - Parameter shared: SO_REUSEPORT, one queue per socket. Without it the bind fails when any socket listens there.
  public static func bind(_ address: SocketAddress, shared: Bool, ipv6Only: Bool = false) throws(Errno) -> Descriptor {
    let socket = try Descriptor(owning: clx_socket(address.family))
    if !address.isUnix {
      guard clx_set_option(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1) == 0 else { throw Errno.current }
      if shared, clx_set_option(socket.raw, SOL_SOCKET, SO_REUSEPORT, 1) != 0 { throw Errno.current }
      // Accepted sockets inherit it: one call here saves one per connection.
      clx_set_option(socket.raw, CInt(IPPROTO_TCP), TCP_NODELAY, 1)
    }
    if address.isIPv6, clx_set_option(socket.raw, CInt(IPPROTO_IPV6), IPV6_V6ONLY, ipv6Only ? 1 : 0) != 0 { throw Errno.current }
    let bound = unsafe address.withSockaddr { unsafe CLinux.bind(socket.raw, $0, $1) }
    guard bound == 0 else { throw Errno.current }
    return socket
  }

  /// Begins to listen, or changes the backlog of a socket that listens already.
  public static func listen(_ socket: borrowing Descriptor, backlog: Int) throws(Errno) {
    guard CLinux.listen(socket.raw, CInt(clamping: backlog)) == 0 else { throw Errno.current }
  }

  /// The port a bound IP socket has; 0 if it has none.
  public static func port(of socket: borrowing Descriptor) -> UInt16 {
    UInt16(clamping: max(0, clx_socket_port(socket.raw)))
  }

  /// Connects to a Unix stream socket; the result blocks, each read and write for at most `milliseconds` (0: for good).
  public static func connect(unixPath path: String, milliseconds: CInt = 0) throws(Errno) -> Descriptor {
    guard let address = SocketAddress(unixPath: path) else { throw .other(ENAMETOOLONG) }
    let socket = try Descriptor(owning: clx_socket(AF_UNIX))
    guard clx_set_nonblocking(socket.raw, false) == 0, clx_set_timeouts(socket.raw, milliseconds) == 0 else { throw Errno.current }
    guard unsafe address.withSockaddr({ unsafe CLinux.connect(socket.raw, $0, $1) }) == 0 else { throw Errno.current }
    return socket
  }

  /// Binds a Unix stream socket at `path`, where nothing, or a socket nobody listens on any more, may be;
  /// sets its permission bits before it can be connected to.
  /// - Throws: `.addressInUse` when somebody listens there, `.exists` when something else is there.
  public static func bind(unixPath path: String, mode: UInt16) throws(Errno) -> Descriptor {
    guard let address = SocketAddress(unixPath: path) else { throw .other(ENAMETOOLONG) }
    if let found = FileFacts(path: path) {
      guard found.kind == .socket else { throw .exists }
      guard !isServed(path) else { throw .addressInUse }
      unsafe unlink(path)
    }
    let socket = try bind(address, shared: false)
    guard unsafe chmod(path, mode_t(mode)) == 0 else {
      let error = Errno.current
      unsafe unlink(path)
      throw error
    }
    return socket
  }

  /// Whether somebody listens on the Unix socket at `path`.
  public static func isServed(_ path: String) -> Bool {
    guard let socket = try? connect(unixPath: path, milliseconds: 1000) else { return Errno.current != .other(ECONNREFUSED) }
    return socket.raw >= 0
  }

  /// Accepts a waiting connection on a Unix socket, with what the kernel knows of the other side.
  public static func accept(_ socket: borrowing Descriptor) -> LocalPeer? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    guard let accepted = try? Descriptor(owning: unsafe clx_accept(socket.raw, &storage, &length)),
      let peer = PeerCredentials(of: accepted)
    else { return nil }
    return LocalPeer(socket: accepted, credentials: peer)
  }
}

/// A connection on a Unix socket and who made it.
@frozen
public struct LocalPeer: ~Copyable {
  public let socket: Descriptor
  public let credentials: PeerCredentials
}

/// Who is at the other end of a Unix socket, as the kernel vouches.
public struct PeerCredentials: Equatable, Sendable {
  public let process: ProcessID
  public let user: UInt32
  public let group: UInt32

  public init?(of socket: borrowing Descriptor) {
    var pid: pid_t = 0
    var uid: uid_t = 0
    var gid: gid_t = 0
    guard unsafe clx_peer(socket.raw, &pid, &uid, &gid) == 0 else { return nil }
    process = pid
    user = uid
    group = gid
  }
}
