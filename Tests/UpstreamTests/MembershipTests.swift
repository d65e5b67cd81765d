// MembershipTests — endpoints that come, go and change while connections are in use.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Testing

@testable import Upstream

@Suite struct MembershipTests {
  private func endpoint(_ number: Int, port: UInt16 = 1, weight: Int = 1, isBackup: Bool = false) throws -> Endpoint {
    let address = try #require(SocketAddress(host: "127.0.0.1", port: port))
    return Endpoint(name: "e\(number)", addresses: [address], weight: weight, isBackup: isBackup)
  }

  private func make(_ port: UInt16, table: EndpointTable? = nil) -> Backends {
    Backends([upstream(port: port, connections: 8, idle: 8)], worker: 0, of: 1, capacity: 64, table: table)
  }

  private func choices(_ backends: inout Backends, _ tried: [Int] = []) -> Set<Int> {
    var ones = TriedEndpoints()
    for one in tried { ones.append(UInt32(one)) }
    var found: Set<Int> = []
    for number in UInt64(0)..<64 {
      if let pool = backends.choose(0, BalanceQuestion(random: number &* 0x9e37_79b9_7f4a_7c15, tried: ones), now: 0) { found.insert(pool) }
    }
    return found
  }

  @Test func oneIsNotChosen() throws {
    var backends = make(1)
    #expect(holds(backends.sets[0].sole == 0))
    #expect(choices(&backends) == [0])
  }

  @Test func membersComeAndGo() throws {
    let backend = try SilentBackend()
    var backends = make(backend.port)
    let opened = [backends.openOne(), backends.openOne()]
    let idle = try #require(opened[0]), busy = try #require(opened[1])
    #expect(holds(backends.giveBack(idle, now: 0)))
    let list = try [endpoint(1, port: backend.port), endpoint(2, port: backend.port)]
    let retired = backends.update(0, list, now: 0)
    #expect(retired == [0])
    #expect(holds(backends.sets[0].sole == -1 && backends.pools[0].isRetired))
    #expect(choices(&backends) == [1, 2])
    // What was idle is gone at once; what was in use goes with its exchange.
    #expect(holds(!backends.connections.contains(idle) && backends.connections.contains(busy)))
    #expect(holds(!backends.giveBack(busy, now: 0)))
    #expect(holds(backends.pools[0].connections == 0 && backends.sets[0].connections == 0))
    let again = backends.update(0, Array(list.reversed()), now: 0)
    #expect(again.isEmpty)
    #expect(choices(&backends) == [1, 2])
    let none = backends.update(0, [], whenEmpty: .destinationUnavailable, now: 0)
    #expect(Set(none) == [1, 2])
    #expect(holds(backends.sets[0].faultWhenNone == .destinationUnavailable))
    #expect(choices(&backends).isEmpty)
    _ = backends.update(0, [list[0]], now: 0)
    #expect(holds(backends.sets[0].sole >= 0 && backends.sets[0].faultWhenNone == .noHealthyEndpoint))
  }

  @Test func anotherAddressIsAnotherPool() throws {
    var backends = make(1)
    _ = backends.update(0, try [endpoint(1, port: 1)], now: 0)
    let before = backends.sets[0].sole
    _ = backends.update(0, try [endpoint(1, port: 1, weight: 5)], now: 0)
    #expect(holds(backends.sets[0].sole == before))
    let retired = backends.update(0, try [endpoint(1, port: 2)], now: 0)
    #expect(retired == [Int(before)] && holds(backends.sets[0].sole != before))
  }

  @Test func placesAreUsedAgain() throws {
    var backends = make(1)
    for round in 0..<1000 { _ = backends.update(0, try [endpoint(round)], now: 0) }
    #expect(holds(backends.pools.count < 100))
    #expect(holds(backends.name(of: Int(backends.sets[0].sole)) == "e999"))
  }

  @Test func backupsWaitForTheOthersToGo() throws {
    let table = try EndpointTable(try EndpointTable.create(rows: 64, columns: 16))
    var backends = make(1, table: table)
    _ = backends.update(0, try [endpoint(1), endpoint(2), endpoint(3, isBackup: true)], now: 0)
    let members = backends.sets[0].members.map { Int($0) }
    #expect(choices(&backends) == [members[0], members[1]])
    for member in members[0..<2] { table.set(.draining, Int(backends.pools[member].row)) }
    #expect(choices(&backends) == [members[2]])
    table.set(.disabled, Int(backends.pools[members[2]].row))
    #expect(choices(&backends).isEmpty)
    table.set(.enabled, Int(backends.pools[members[1]].row))
    #expect(choices(&backends) == [members[1]])
  }

  @Test func onlyTheUpstreamsThatChangedAreLookedAt() throws {
    let file = try EndpointTable.create(rows: 64, columns: 16)
    let table = try EndpointTable(file)
    var plans = [upstream(port: 1), upstream(port: 1)]
    plans[1].name = "other"
    var backends = Backends(plans, worker: 0, of: 1, capacity: 16, table: try EndpointTable(file), column: 1)
    for index in 0..<2 { _ = backends.update(index, try [endpoint(1), endpoint(2)], now: 0) }
    let first = backends.sets[0].members.map { Int($0) }, second = backends.sets[1].members.map { Int($0) }
    #expect(holds(!backends.refreshIfNeeded(now: 0)))
    // One order is told, the other is not: it is seen when the upstream is looked at next.
    table.store(EndpointAdministration.disabled.rawValue, .administration, Int(backends.pools[first[0]].row))
    table.set(.disabled, Int(backends.pools[second[0]].row))
    #expect(holds(backends.refreshIfNeeded(now: 0)))
    #expect(holds(backends.sets[0].balancer.count == 2 && backends.sets[1].balancer.count == 1))
    #expect(holds(!backends.refreshIfNeeded(now: 0)))
  }

  @Test func whatIsInFlightIsShared() throws {
    let backend = try SilentBackend()
    let file = try EndpointTable.create(rows: 64, columns: 16)
    let table = try EndpointTable(file)
    var plan = upstream(port: 0)
    plan.endpoints = [1, 2].map { _ in EndpointPlan() }
    for index in 0..<2 {
      plan.endpoints[index].host = "127.0.0.\(index + 1)"
      plan.endpoints[index].addresses = ["127.0.0.1"]
      plan.endpoints[index].port = backend.port
    }
    var one = Backends([plan], worker: 0, of: 2, capacity: 16, table: table, column: 3)
    var other = Backends([plan], worker: 1, of: 2, capacity: 16, table: try EndpointTable(file), column: 5)
    let opened = one.openOne(0)
    let handle = try #require(opened)
    #expect(holds(one.pools[0].inFlight == 1 && other.pools.load(of: 0) == 1 && other.pools.load(of: 1) == 0))
    #expect(choices(&other) == [1])
    #expect(holds(one.giveBack(handle, now: 0)))
    #expect(holds(other.pools.load(of: 0) == 0))
    let reused = one.reuse(0, now: 0, checked: false)
    #expect(reused == handle && holds(other.pools.load(of: 0) == 1))
    one.close(handle)
    #expect(holds(other.pools.load(of: 0) == 0))
  }

  @Test func theBoundIsTheUpstreams() throws {
    let backend = try SilentBackend()
    var backends = Backends([upstream(port: backend.port, connections: 2)], worker: 0, of: 1, capacity: 16)
    _ = backends.update(0, try [endpoint(1, port: backend.port), endpoint(2, port: backend.port)], now: 0)
    let pools = backends.sets[0].members.map { Int($0) }
    let opened = [backends.openOne(pools[0]), backends.openOne(pools[0])]
    let first = try #require(opened[0])
    #expect(holds(opened[1] != nil && !backends.hasRoom(pools[1])))
    let refused = backends.openOne(pools[1])
    #expect(refused == nil)
    // The idle connection of the one endpoint gives way to one of the other.
    #expect(holds(backends.giveBack(first, now: 0)))
    let third = backends.openOne(pools[1])
    #expect(third != nil && holds(!backends.connections.contains(first) && backends.sets[0].connections == 2))
  }
}
