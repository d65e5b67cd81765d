// Occupancy — what a gateway holds at the moment, counted: for tests, which expect it to hold nothing when everybody has gone.

import Kernel
import Memory
import Upstream

/// How many records of each kind are in use, and how many bytes wait in them.
package struct Occupancy: Equatable, Sendable {
  /// Client connections and the streams on them, and what carries them.
  package var clients = 0
  package var secured = 0
  package var streams = 0
  package var multiplexers = 0
  package var exchanges = 0
  package var recoveries = 0
  package var tunnels = 0
  package var pipes = 0
  /// Connections to backends and the streams on them, and what carries them.
  package var backends = 0
  package var securedBackends = 0
  package var backendStreams = 0
  package var backendSessions = 0
  /// Exchanges in the queues of pools, and connections on which they wait.
  package var waiting = 0
  package var opening = 0
  /// The most bytes that wait for one client (but for responses that are collected first), for one backend, that have come on one
  /// stream of a backend and are not passed on, and that one request has left to be sent again.
  package var clientBacklog = 0
  package var backendBacklog = 0
  package var streamBacklog = 0
  package var keptBody = 0

  package init() {}

  /// Whether nothing is held.
  package var isEmpty: Bool { self == Occupancy() }
}

extension Gateway {
  /// Counts what is held. Not for the hot path.
  package var occupancy: Occupancy {
    mutating get {
      var result = Occupancy()
      result.clients = Self.count(clients)
      result.secured = Self.count(secured)
      result.streams = Self.count(streams)
      result.multiplexers = Self.count(multiplexers)
      result.exchanges = Self.count(exchanges)
      result.recoveries = Self.count(recoveries)
      result.tunnels = Self.count(tunnels)
      result.pipes = Self.count(pipes)
      result.backends = Self.count(backends.connections)
      result.securedBackends = Self.count(securedBackends)
      result.backendStreams = Self.count(backendStreams)
      result.backendSessions = Self.count(backendSessions)
      for upstream in plan.upstreams.indices {
        result.waiting += Int(backends.sets[upstream].waiting)
        for pool in backends.sets[upstream].members { result.opening += Int(backends.pools[Int(pool)].opening) }
      }
      var next = clients.nextHandle(from: 0)
      while let client = next {
        // What has been collected may be long, and is still there when it is on its way.
        let isWhole = clients[client].exchange.map { exchanges[$0].flags.contains(.delivering) } ?? false
        if !isWhole, !clients[client].flags.contains(.holding) { result.clientBacklog = max(result.clientBacklog, clients[client].backlog.count) }
        next = clients.nextHandle(from: client.index + 1)
      }
      next = backends.connections.nextHandle(from: 0)
      while let backend = next {
        result.backendBacklog = max(result.backendBacklog, backends.connections[backend].backlog.count)
        next = backends.connections.nextHandle(from: backend.index + 1)
      }
      next = backendStreams.nextHandle(from: 0)
      while let stream = next {
        result.streamBacklog = max(result.streamBacklog, backendStreams[stream].incoming.count)
        next = backendStreams.nextHandle(from: stream.index + 1)
      }
      next = exchanges.nextHandle(from: 0)
      while let exchange = next {
        result.keptBody = max(result.keptBody, exchanges[exchange].requestBody.count)
        next = exchanges.nextHandle(from: exchange.index + 1)
      }
      return result
    }
  }

  private static func count<Element: ~Copyable>(_ slab: borrowing Slab<Element>) -> Int {
    var count = 0
    var next = slab.nextHandle(from: 0)
    while let handle = next {
      count += 1
      next = slab.nextHandle(from: handle.index + 1)
    }
    return count
  }
}
