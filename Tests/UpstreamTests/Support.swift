// Support — listening sockets to connect to, and plans of upstreams.

import Glibc
import Kernel
import Memory
import Plan
import Testing

@testable import Upstream

/// A backend that accepts connections and does nothing else.
struct SilentBackend: ~Copyable {
  let listener: Listener
  let port: UInt16

  init() throws {
    let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
    let listener = try Listener(at: address, backlog: 64, reusePort: false)
    let bound = listener.address
    port = try #require(bound).port
    self.listener = listener
  }

  /// The next connection, which has been made.
  borrowing func accept() throws -> Socket {
    for _ in 0..<200 {
      switch listener.accept() {
      case .accepted(let socket, _): return socket
      case .failed(.wouldBlock): usleep(5000)
      case .failed(let error): throw error
      }
    }
    throw Errno.wouldBlock
  }
}

func upstream(port: UInt16, connections: Int = 4, idle: Int = 4, lifetime: Int = 0, requests: Int = 0) -> UpstreamPlan {
  var plan = UpstreamPlan(name: "u", host: "localhost", port: port, addresses: ["127.0.0.1"])
  plan.pool.maxConnections = connections
  plan.pool.maxIdleConnections = idle
  plan.pool.maxLifetime = lifetime
  plan.pool.maxRequests = requests
  return plan
}

extension Backends {
  /// Opens a connection to the upstream's first address, connected or not.
  mutating func openOne(_ pool: Int = 0, now: Int64 = 0) -> Handle? {
    let lease = open(pool, address: 0, now: now) { _, _ throws(Errno) in }
    switch lease {
    case .connected(let handle): return handle
    case .connecting(let handle):
      established(handle)
      return handle
    default: return nil
    }
  }
}

/// A condition as it is: `#expect` takes apart what it is given, which noncopyable values do not bear.
func holds(_ condition: Bool) -> Bool { condition }
