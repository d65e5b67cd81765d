// Racing — a second attempt to connect beside a first that takes long, where an endpoint has addresses of both families (RFC 8305 §5).
//
// Both attempts belong to one connection: one exchange, one place in the pool, one handle, which is the token of both sockets. The first that
// succeeds becomes its socket, the other is closed. So whoever holds the connection need not know that there were two.

import Kernel
import Memory

/// What has become of two attempts.
public enum Race {
  /// Neither has come to an end.
  case open
  /// One has failed, the other goes on.
  case halved
  case won(byRival: Bool)
  case lost(Errno)
}

extension Backends {
  /// Whether the address behind the one that is being connected to is of the other family, so that it can be tried beside it.
  public func hasRival(_ handle: Handle) -> Bool {
    let pool = Int(connections[handle].pool), next = Int(connections[handle].lastAddress) + 1
    guard !connections[handle].isRacing, next < addressCount(of: pool), connections[handle].lastAddress == connections[handle].address else { return false }
    return hasRival(pool, after: next - 1)
  }

  /// Whether the address of a pool behind this one is of the other family.
  public func hasRival(_ pool: Int, after address: Int) -> Bool {
    guard address >= 0, address + 1 < addressCount(of: pool) else { return false }
    return endpoints[pool].addresses[address].family != endpoints[pool].addresses[address + 1].family
  }

  /// Begins the second attempt. Should it fail at once, the first is left alone.
  /// - Parameter watch: registers the socket.
  public mutating func race(_ handle: Handle, watch: (borrowing Socket, Handle) throws(Errno) -> Void) {
    let pool = Int(connections[handle].pool)
    connections[handle].lastAddress += 1
    do throws(Errno) {
      var isConnected = false
      let socket = try Socket.connect(to: endpoints[pool].addresses[Int(connections[handle].lastAddress)], isConnected: &isConnected)
      try watch(socket, handle)
      connections[handle].rival = socket
      connections[handle].isRacing = true
    } catch {}
  }

  /// Something has happened on one of the sockets: settles what can be.
  public mutating func settleRace(_ handle: Handle) -> Race {
    switch (connections[handle].socket.attempt, connections[handle].rival.attempt) {
    case (.connected, _):
      connections[handle].dropRival()
      return .won(byRival: false)
    case (_, .connected):
      connections[handle].promoteRival()
      return .won(byRival: true)
    case (.pending, .pending): return .open
    case (.pending, .failed):
      connections[handle].dropRival()
      return .halved
    case (.failed, .pending):
      connections[handle].promoteRival()
      return .halved
    case (.failed, .failed(let error)):
      connections[handle].dropRival()
      return .lost(error)
    }
  }
}
