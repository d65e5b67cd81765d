// BackendsTests — leasing, giving back and closing connections, against a backend that only accepts.

import Kernel
import Memory
import Plan
import Testing

@testable import Upstream

@Suite struct BackendsTests {
  @Test func theNewestIdleConnectionIsReusedFirst() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne(), backends.openOne()]
    let handles = opened.compactMap { $0 }
    try #require(handles.count == 3)
    for handle in handles { #expect(holds(backends.giveBack(handle, now: 0))) }
    #expect(holds(backends.pools[0].idle == 3 && backends.pools[0].connections == 3))
    for handle in handles.reversed() {
      let reused = backends.reuse(0, now: 0, checked: true)
      #expect(reused == handle)
      #expect(holds(backends.connections[handle].isReused && backends.connections[handle].requests == 2))
    }
    let more = backends.reuse(0, now: 0, checked: true)
    #expect(more == nil)
    #expect(holds(backends.pools[0].idle == 0 && backends.pools[0].connections == 3))
  }

  @Test func aFullPoolLeasesNothing() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, connections: 2)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne(), backends.openOne()]
    #expect(opened[0] != nil && opened[1] != nil && opened[2] == nil)
    guard case .exhausted = backends.open(0, address: 0, now: 0, watch: { _, _ throws(Errno) in }) else {
      Issue.record("a third connection of two")
      return
    }
  }

  @Test func anIdleConnectionMakesRoom() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, connections: 2)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne()]
    let first = try #require(opened[0]), second = try #require(opened[1])
    #expect(holds(backends.giveBack(second, now: 0)))
    #expect(holds(backends.giveBack(first, now: 0)))
    let third = backends.openOne()
    #expect(third != nil)
    // The one that had been idle longest is gone.
    #expect(holds(!backends.connections.contains(second) && backends.connections.contains(first)))
    #expect(holds(backends.pools[0].connections == 2 && backends.pools[0].idle == 1))
  }

  @Test func noMoreAreKeptThanMayBeIdle() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, idle: 1)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne()]
    let first = try #require(opened[0]), second = try #require(opened[1])
    #expect(holds(backends.giveBack(first, now: 0)))
    #expect(holds(!backends.giveBack(second, now: 0)))
    #expect(holds(!backends.connections.contains(second)))
    #expect(holds(backends.pools[0].connections == 1 && backends.pools[0].idle == 1))
  }

  @Test func oldConnectionsAreRetired() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, lifetime: 1000)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(now: 0), backends.openOne(now: 500)]
    let first = try #require(opened[0]), second = try #require(opened[1])
    #expect(holds(backends.giveBack(second, now: 600)))
    #expect(holds(backends.giveBack(first, now: 999)))
    let reused = backends.reuse(0, now: 1000, checked: false)
    #expect(reused == second)
    #expect(holds(!backends.connections.contains(first)))
    #expect(holds(!backends.giveBack(second, now: 1500)))
    #expect(holds(backends.pools[0].connections == 0))
  }

  @Test func requestsAreCounted() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, requests: 3)], worker: 0, of: 1, capacity: 16)
    let opened = backends.openOne()
    let handle = try #require(opened)
    for _ in 0..<2 {
      #expect(holds(backends.giveBack(handle, now: 0)))
      let reused = backends.reuse(0, now: 0, checked: false)
      #expect(reused == handle)
    }
    #expect(holds(!backends.giveBack(handle, now: 0)))
    #expect(holds(!backends.connections.contains(handle)))
  }

  /// A connection that the backend has closed, or on which it said something unasked, is not used again.
  @Test(arguments: [false, true])
  func staleConnectionsAreNotReused(_ speaks: Bool) throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port)], worker: 0, of: 1, capacity: 16)
    let opened = backends.openOne()
    let handle = try #require(opened)
    let peer = try backend.accept()
    #expect(holds(backends.giveBack(handle, now: 0)))
    let reused = backends.reuse(0, now: 0, checked: true)
    #expect(reused == handle)
    #expect(holds(backends.giveBack(handle, now: 0)))
    if speaks { _ = peer.send([0x48].span) } else { peer.endSending() }
    let again = backends.reuse(0, now: 0, checked: true)
    #expect(again == nil)
    #expect(holds(!backends.connections.contains(handle) && backends.pools[0].connections == 0 && backends.pools[0].idle == 0))
  }

  @Test func whatTheEventLoopHasNotedCountsWithoutACheck() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne()]
    let first = try #require(opened[0]), second = try #require(opened[1])
    #expect(holds(backends.giveBack(first, now: 0)))
    #expect(holds(backends.giveBack(second, now: 0)))
    backends.connections[first].hasEnded = true
    backends.connections[second].isReadable = true
    let reused = backends.reuse(0, now: 0, checked: false)
    #expect(reused == nil)
    #expect(holds(backends.pools[0].connections == 0))
  }

  @Test func closingAnIdleConnectionInTheMiddle() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port)], worker: 0, of: 1, capacity: 16)
    let opened = [backends.openOne(), backends.openOne(), backends.openOne()]
    let handles = opened.compactMap { $0 }
    try #require(handles.count == 3)
    for handle in handles { #expect(holds(backends.giveBack(handle, now: 0))) }
    backends.close(handles[1])
    backends.close(handles[1])
    #expect(holds(backends.pools[0].idle == 2 && backends.pools[0].connections == 2))
    let first = backends.reuse(0, now: 0, checked: false), second = backends.reuse(0, now: 0, checked: false)
    #expect(first == handles[2] && second == handles[0])
  }

  @Test func aWatchThatFailsLeavesNothing() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port)], worker: 0, of: 1, capacity: 16)
    guard case .failed(.wouldBlock) = backends.open(0, address: 0, now: 0, watch: { _, _ throws(Errno) in throw .wouldBlock }) else {
      Issue.record("the error is lost")
      return
    }
    #expect(holds(backends.pools[0].connections == 0 && backends.connections.nextHandle(from: 0) == nil))
  }

  @Test func addressesThatAreNotThere() throws {
    var backends = Backends([upstream(port: 1)], worker: 0, of: 1, capacity: 16)
    guard case .failed = backends.open(0, address: 1, now: 0, watch: { _, _ throws(Errno) in }) else {
      Issue.record("there is no second address")
      return
    }
    #expect(holds(backends.addressCount(of: 0) == 1))
    #expect(holds(backends.describe(address: 0, of: 0) == "127.0.0.1:1" && backends.describe(address: 1, of: 0) == "?"))
  }

  @Test func theCapacityIsOverAllPools() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port), upstream(port: backend.port)], worker: 0, of: 1, capacity: 2)
    let opened = [backends.openOne(0), backends.openOne(1), backends.openOne(0)]
    #expect(opened[0] != nil && opened[1] != nil && opened[2] == nil)
    #expect(holds(backends.pools[0].connections == 1 && backends.pools[1].connections == 1))
  }

  /// Random leases: the counts of the pool agree with what is there, and no connection is leased twice.
  @Test(arguments: 1...10)
  func countsAgree(_ seed: UInt64) throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, connections: 6, idle: 3)], worker: 0, of: 1, capacity: 16)
    var state = seed
    func roll(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var leased: [Handle] = []
    var idle: [Handle] = []
    for _ in 0..<200 {
      switch roll(5) {
      case 0, 1:
        if let handle = backends.reuse(0, now: 0, checked: false) {
          #expect(handle == idle.popLast())
          leased.append(handle)
        } else {
          #expect(idle.isEmpty)
          if let handle = backends.openOne() { leased.append(handle) } else { #expect(leased.count == 6) }
        }
      case 2, 3:
        guard !leased.isEmpty else { continue }
        let handle = leased.remove(at: roll(leased.count))
        if backends.giveBack(handle, now: 0) { idle.append(handle) } else { #expect(idle.count == 3) }
      default:
        guard !leased.isEmpty else { continue }
        backends.close(leased.remove(at: roll(leased.count)))
      }
      #expect(holds(Int(backends.pools[0].connections) == leased.count + idle.count && Int(backends.pools[0].idle) == idle.count))
      #expect(Set((leased + idle).map(\.token)).count == leased.count + idle.count)
    }
  }
}

// MARK: HTTP/2

@Suite struct MultiplexedBackendsTests {
  private func backends(_ port: UInt16, connections: Int = 2) -> Backends {
    var plan = upstream(port: port, connections: connections)
    plan.http2.enabled = true
    plan.http2.prefer = .always
    return Backends([plan], worker: 0, of: 1, capacity: 16)
  }

  private func open(_ backends: inout Backends) throws -> Handle {
    let lease = backends.open(0, address: 0, now: 0, mayMultiplex: true) { _, _ throws(Errno) in }
    switch lease {
    case .connected(let handle), .connecting(let handle): return handle
    default: throw Errno.wouldBlock
    }
  }

  @Test func whatAConnectionSpeaksIsWaitedForUntilItIsSettled() throws {
    let backend = try SilentBackend()
    var backends = backends(backend.port)
    let first = try open(&backends)
    #expect(holds(backends.pools[0].speaks == .http2 && backends.pools[0].opening == 1))
    backends.multiplex(first, session: Handle(index: 0, generation: 1))
    #expect(holds(backends.pools[0].opening == 1 && backends.connections[first].state == .multiplexed))
    backends.settleProtocol(first)
    backends.settleProtocol(first)
    #expect(holds(backends.pools[0].opening == 0))
    let second = try open(&backends)
    #expect(holds(backends.pools[0].opening == 1 && !backends.hasRoom(0)))
    backends.close(second)
    #expect(holds(backends.pools[0].opening == 0 && backends.hasRoom(0)))
    let third = try open(&backends)
    backends.established(third)
    #expect(holds(backends.pools[0].opening == 0 && backends.connections[third].state == .leased))
  }

  @Test func streamsAreNoConnections() throws {
    let backend = try SilentBackend()
    var backends = backends(backend.port, connections: 1)
    let connection = try open(&backends)
    backends.multiplex(connection, session: Handle(index: 0, generation: 1))
    let carrier = Handle(index: 5, generation: 3)
    let added = [
      backends.addStream(of: connection, carrier: carrier, requests: 1, now: 0), backends.addStream(of: connection, carrier: carrier, requests: 2, now: 0),
    ]
    let first = try #require(added[0]), second = try #require(added[1])
    #expect(holds(backends.pools[0].connections == 1 && backends.connections[first].takesBody && !backends.connections[connection].takesBody))
    #expect(holds(backends.connections[first].carriage == .stream && backends.connections[first].carrier == carrier))
    #expect(holds(!backends.connections[first].isReused && backends.connections[second].isReused))
    backends.close(first)
    backends.close(second)
    #expect(holds(backends.pools[0].connections == 1 && !backends.connections.contains(first)))
    backends.close(connection)
    #expect(holds(backends.pools[0].connections == 0))
  }
}
