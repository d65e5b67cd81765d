// The listening sockets: one per slot and address, kept as long as their address is used.

import Kernel
import Plan
import Testing

@testable import Master

private func plan(_ addresses: [ListenerPlan.Address], workers: Int) -> Plan {
  var plan = Plan()
  plan.workers = workers
  plan.listeners = addresses.map { ListenerPlan(address: $0) }
  return plan
}

@Test func aPortOfZeroIsChosenOnceAndKept() throws {
  var table = ListenerTable()
  let small = plan([.ip("127.0.0.1", port: 0)], workers: 2)
  try table.claim(small)
  let key = try #require(ListenerTable.keys(of: small).first)
  let port = try #require(table.slots(of: key)?.port)
  #expect(port != 0)
  try table.open(small)
  let large = plan([.ip("127.0.0.1", port: 0)], workers: 4)
  try table.claim(large)
  #expect(table.slots(of: key)?.port == port)
  #expect(table.sockets(of: large).map(\.slot) == [0, 1, 2, 3])
  #expect(table.slots(of: key)?.text == "127.0.0.1:\(port)")
}

@Test func twoPortsOfZeroAreTwoPorts() throws {
  var table = ListenerTable()
  let both = plan([.ip("127.0.0.1", port: 0), .ip("127.0.0.1", port: 0)], workers: 1)
  try table.claim(both)
  let ports = ListenerTable.keys(of: both).compactMap { table.slots(of: $0)?.port }
  #expect(Set(ports).count == 2)
}

@Test func surplusSocketsStayAndAreCounted() throws {
  var table = ListenerTable()
  let four = plan([.ip("127.0.0.1", port: 0)], workers: 4)
  try table.claim(four)
  try table.open(four)
  let two = plan([.ip("127.0.0.1", port: 0)], workers: 2)
  try table.claim(two)
  table.retain(Set(ListenerTable.keys(of: two)), trim: true)
  #expect(table.slotCount(of: ListenerTable.keys(of: two), workers: 2) == 4)
}

@Test func whatAnAbandonedGenerationClaimedGoesAgain() throws {
  var table = ListenerTable()
  let one = plan([.ip("127.0.0.1", port: 0)], workers: 1)
  try table.claim(one)
  try table.open(one)
  try table.claim(plan([.ip("127.0.0.1", port: 0)], workers: 3))
  table.retain(Set(ListenerTable.keys(of: one)), trim: true)
  #expect(table.slotCount(of: ListenerTable.keys(of: one), workers: 1) == 1)
}

@Test func anAddressInUseIsRefused() throws {
  var table = ListenerTable()
  let one = plan([.ip("127.0.0.1", port: 0)], workers: 1)
  try table.claim(one)
  try table.open(one)
  let key = try #require(ListenerTable.keys(of: one).first)
  let port = try #require(table.slots(of: key)?.port)
  var stranger = ListenerTable()
  #expect(throws: ListenerFailure(reason: "cannot bind 127.0.0.1:\(port): Address already in use")) {
    try stranger.claim(plan([.ip("127.0.0.1", port: port)], workers: 1))
  }
  // The same table may: it is the owner.
  try table.claim(plan([.ip("127.0.0.1", port: 0), .ip("0.0.0.0", port: port)], workers: 1))
}

@Test func aUnixPathHasOneSocketAndGoesWithIt() throws {
  let path = "/tmp/gateway-test-\(Process.id)-\(UInt32.random(in: 0 ... .max)).sock"
  var table = ListenerTable()
  let shared = plan([.unix(path, mode: 0o640)], workers: 3)
  try table.claim(shared)
  try table.open(shared)
  #expect(table.sockets(of: shared).map(\.slot) == [nil])
  #expect(table.slotCount(of: ListenerTable.keys(of: shared), workers: 3) == 3)
  #expect(FileFacts(path: path)?.permissions == 0o640)
  table.retain([], trim: true)
  #expect(FileFacts(path: path) == nil)
}

@Test func namesAreWrittenWithUnderscores() {
  #expect(Master.snake("requestsActive") == "requests_active")
  #expect(Master.snake("waiting") == "waiting")
}

@Test func statusTextIsJSON() {
  var json = JSONText()
  json.object { json in
    json.field("a", "q\"\\\n\u{1}é")
    json.list("b") { json in
      json.field(nil, 1)
      json.field(nil, -2)
      json.object { _ in }
    }
    json.field("c", true)
    json.null("d")
  }
  #expect(json.text == #"{"a":"q\"\\\n\u0001é","b":[1,-2,{}],"c":true,"d":null}"#)
}

@Test func aSocketThatWasHandedOverIsUsedAndNotCompleted() throws {
  let made = try BoundSocket.bind(try #require(SocketAddress(host: "127.0.0.1", port: 0)), shared: false)
  try BoundSocket.listen(made, backlog: 5)
  let port = BoundSocket.port(of: made), raw = made.raw
  let one = plan([.ip("127.0.0.1", port: port)], workers: 3)
  let key = try #require(ListenerTable.keys(of: one).first)
  var table = ListenerTable()
  table.offer([
    OfferedSocket(socket: ListeningSocket(made, isListening: true), key: key, port: port, slot: 0, isShared: true, isActivated: true)
  ])
  try table.claim(one)
  try table.open(one)
  #expect(table.dropOffers().isEmpty)
  #expect(table.sockets(of: one).map(\.slot) == [nil])
  #expect(table.sockets(of: one).map { $0.socket.socket.raw } == [raw])
  #expect(table.slotCount(of: [key], workers: 3) == 3)
}

@Test func aSocketThatNobodyWantsIsGivenUp() throws {
  let made = try BoundSocket.bind(try #require(SocketAddress(host: "127.0.0.1", port: 0)), shared: true)
  let port = BoundSocket.port(of: made)
  var table = ListenerTable()
  table.offer([
    OfferedSocket(socket: ListeningSocket(made), key: ListenerKey(address: "127.0.0.1", port: port), port: port, slot: 0, isShared: false, isActivated: false)
  ])
  try table.claim(plan([.ip("127.0.0.1", port: 0)], workers: 1))
  #expect(table.dropOffers() == ["127.0.0.1:\(port)"])
  #expect(table.dropOffers().isEmpty)
}
