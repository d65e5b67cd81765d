// What a master leaves to the next one: written and read again, and read by one that is another version.

import Control
import Kernel
import Plan
import SharedState
import Testing

@testable import Master

private func zonedPlan() -> Plan {
  var plan = Plan()
  plan.rateLimit.enabled = true
  var zone = RateZonePlan()
  zone.name = "all"
  plan.rateLimit.zones = [zone]
  return plan
}

private func inventory(_ segments: [SegmentEntry] = []) -> Inventory {
  let key = ListenerKey(address: "::1", port: 8080, isUnix: false, ipv6Only: true, occurrence: 2)
  return Inventory([SocketEntry(key: key, port: 8080, slot: 3, isShared: true, isActivated: false, file: 7)], segments, meaningOf: zonedPlan())
}

@Test func anInventoryReadsAsItWasWritten() throws {
  let written = inventory([SegmentEntry(kind: 1, name: "", layout: 5, file: 9), SegmentEntry(kind: 2, name: "all", layout: 6, file: 10)])
  #expect(Inventory(decoding: written.encoded) == written)
}

@Test func whatIsNoInventoryIsRefusedWhereverItEnds() {
  let bytes = inventory().encoded
  for count in bytes.indices { #expect(Inventory(decoding: Array(bytes[..<count])) == nil) }
  var other = bytes
  other[8] &+= 1  // the form's version
  #expect(Inventory(decoding: other) == nil)
}

@Test func segmentsOfThisLayoutAreTakenOver() throws {
  let board = SharedFile(try Scoreboard.create())
  let table = SharedFile(try RateTable.create(entries: 100, seed: (low: 1, high: 2), now: 0))
  let list = inventory([
    SegmentEntry(kind: 1, name: "", layout: Scoreboard.layout, file: 1), SegmentEntry(kind: 2, name: "all", layout: RateTable.layout, file: 2),
  ])
  var inheritance = Inheritance()
  inheritance.take(list) { $0 == 1 ? board : $0 == 2 ? table : nil }
  #expect(inheritance.board === board)
  #expect(inheritance.rates.map { $0.file.descriptor.raw } == [table.descriptor.raw])
  #expect(inheritance.notes.count == 1)
}

@Test func segmentsOfAnotherLayoutBeginAnewAndThatIsSaid() throws {
  let board = SharedFile(try Scoreboard.create())
  let table = SharedFile(try RateTable.create(entries: 100, seed: (low: 1, high: 2), now: 0))
  let list = inventory([
    SegmentEntry(kind: 1, name: "", layout: Scoreboard.layout ^ 1, file: 1), SegmentEntry(kind: 2, name: "all", layout: RateTable.layout ^ 1, file: 2),
    SegmentEntry(kind: 99, name: "later", layout: 1, file: 1),
  ])
  var inheritance = Inheritance()
  inheritance.take(list) { $0 == 1 ? board : $0 == 2 ? table : nil }
  #expect(inheritance.board == nil && inheritance.rates.isEmpty)
  #expect(inheritance.notes.filter { $0.level == .warn }.count == 3)
}

/// The segments that lie beside the scoreboard, and whose rows are its rows: what is in `file` of kind `kind` with `layout`, as it is taken over.
private func takeOver(_ kind: SegmentKind, _ name: String, layout: UInt64, _ file: SharedFile, withBoard: Bool = true) throws -> Inheritance {
  let board = SharedFile(try Scoreboard.create())
  let boards = withBoard ? [SegmentEntry(kind: SegmentKind.scoreboard.rawValue, name: "", layout: Scoreboard.layout, file: 1)] : []
  var plan = zonedPlan()
  var zone = ConcurrencyZonePlan()
  zone.name = "few"
  plan.concurrencyLimit.enabled = true
  plan.concurrencyLimit.zones = [zone]
  var inheritance = Inheritance()
  inheritance.take(Inventory([], boards + [SegmentEntry(kind: kind.rawValue, name: name, layout: layout, file: 2)], meaningOf: plan)) {
    $0 == 1 ? board : $0 == 2 ? file : nil
  }
  return inheritance
}

@Test func endpointsBreakersAndConcurrencyAreTakenOverByTheirLayout() throws {
  let endpoints = SharedFile(try EndpointTable.create(rows: 64, columns: 16))
  let breakers = SharedFile(try BreakerTable.create())
  let few = SharedFile(try ConcurrencyTable.create(entries: 64, columns: 16, seed: (low: 1, high: 2)))
  func warnings(_ inheritance: Inheritance, _ text: String) -> Int { inheritance.notes.filter { $0.level == .warn && $0.text.contains(text) }.count }

  #expect(try takeOver(.endpoints, "", layout: EndpointTable.layout, endpoints).endpoints?.file === endpoints)
  #expect(try takeOver(.breakers, "", layout: BreakerTable.layout, breakers).breakers === breakers)
  #expect(try takeOver(.concurrencyZone, "few", layout: ConcurrencyTable.layout, few).concurrency.map { $0.file.descriptor.raw } == [few.descriptor.raw])

  let otherEndpoints = try takeOver(.endpoints, "", layout: EndpointTable.layout ^ 1, endpoints)
  #expect(otherEndpoints.endpoints == nil && warnings(otherEndpoints, "the table of endpoints") == 1)
  let otherBreakers = try takeOver(.breakers, "", layout: BreakerTable.layout ^ 1, breakers)
  #expect(otherBreakers.breakers == nil && warnings(otherBreakers, "they begin closed") == 1)
  let otherFew = try takeOver(.concurrencyZone, "few", layout: ConcurrencyTable.layout ^ 1, few)
  #expect(otherFew.concurrency.isEmpty && warnings(otherFew, "concurrency limit \"few\"") == 1)

  // A file that is something else than its entry says.
  #expect(try takeOver(.endpoints, "", layout: EndpointTable.layout, breakers).endpoints == nil)
  #expect(try takeOver(.breakers, "", layout: BreakerTable.layout, endpoints).breakers == nil)
  #expect(try takeOver(.concurrencyZone, "few", layout: ConcurrencyTable.layout, endpoints).concurrency.isEmpty)

  // Without the scoreboard that they belong to, their rows mean nothing.
  #expect(try takeOver(.endpoints, "", layout: EndpointTable.layout, endpoints, withBoard: false).endpoints == nil)
  #expect(try takeOver(.breakers, "", layout: BreakerTable.layout, breakers, withBoard: false).breakers == nil)
  #expect(try takeOver(.concurrencyZone, "few", layout: ConcurrencyTable.layout, few, withBoard: false).concurrency.isEmpty)
}

@Test func aSegmentThatIsNotWhatTheListSaysIsNotTrusted() throws {
  let table = SharedFile(try RateTable.create(entries: 100, seed: (low: 1, high: 2), now: 0))
  let list = inventory([SegmentEntry(kind: 1, name: "", layout: Scoreboard.layout, file: 1)])
  var inheritance = Inheritance()
  inheritance.take(list) { _ in table }
  #expect(inheritance.board == nil)
}

@Test func aRowOfADeadProcessIsFreed() throws {
  let board = try Scoreboard(try Scoreboard.create())
  let living = try #require(board.claim(generation: 1, slot: 0, startedAt: 0, restarts: 0))
  board.assign(Process.id, row: living)
  let dead = try #require(board.claim(generation: 1, slot: 1, startedAt: 0, restarts: 0))
  board.assign(Int32.max, row: dead)
  board.page(dead)?.add(.requests, 3)
  #expect(board.retireDead().map(\.row) == [living])
  #expect(board.row(dead) == nil && board.sum(of: .requests) == 3)
}
