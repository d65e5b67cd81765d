// Records of names: all processes see the same, and a writer that dies leaves nothing that could be mistaken for a record.

import Kernel
import Testing

@testable import SharedState

@Suite struct NameTableTests {
  @Test func everyProcessSeesTheSameRecords() throws {
    let file = try NameTable.create(keys: [1, 2, 3], rules: 0)
    let one = try NameTable(file), other = try NameTable(file)
    #expect(one.count == 3 && one.read(0) == nil && one.version(of: 0) == 0)
    #expect(one.publish(2, [1, 2, 3], now: 1_000))
    #expect(other.read(2) == [1, 2, 3] && other.epoch == 1 && other.version(of: 2) == 1)
    #expect(other.publish(2, [], now: 1_001))
    #expect(one.read(2) == [] && one.version(of: 2) == 2 && one.epoch == 2)
    #expect(one.publish(0, Array(repeating: .max, count: NameTable.wordLimit), now: 1_000))
    #expect(other.read(0)?.count == NameTable.wordLimit && other.read(1) == nil && other.read(2) == [])
  }

  @Test func numbersAreChecked() throws {
    let table = try NameTable(try NameTable.create(keys: [1], rules: 0))
    #expect(!table.publish(1, [1], now: 0) && !table.publish(-1, [1], now: 0))
    #expect(!table.publish(0, Array(repeating: 0, count: NameTable.wordLimit + 1), now: 0))
    #expect(table.read(1) == nil && table.read(-1) == nil && table.version(of: 7) == 0)
  }

  @Test func aRecordLeftUnfinishedIsNoneAndIsWrittenAnew() throws {
    let table = try NameTable(try NameTable.create(keys: [1, 2], rules: 0))
    #expect(table.publish(0, [7], now: 1_000))
    table.abandon(0, now: 5_000)
    #expect(table.read(0) == nil)
    // The writer may be alive.
    #expect(!table.publish(0, [8], now: 6_999))
    #expect(table.publish(0, [8], now: 7_001))
    #expect(table.read(0) == [8])
  }

  @Test func theClockOfClaimsGoesRound() throws {
    let table = try NameTable(try NameTable.create(keys: [1], rules: 0))
    table.abandon(0, now: Int64(UInt32.max) - 100)
    #expect(!table.publish(0, [1], now: Int64(UInt32.max) + 100))
    #expect(table.publish(0, [1], now: Int64(UInt32.max) + 3_000))
    #expect(table.read(0) == [1])
  }

  @Test func wordsOfTwoWritersAreNoRecord() throws {
    let file = try NameTable.create(keys: [1], rules: 0)
    let table = try NameTable(file)
    #expect(table.publish(0, [1, 2, 3], now: 1_000))
    // Somebody who slept writes on, after another has finished.
    let mapping = try SharedMapping(file, byteCount: NameTable.byteCount(names: 1))
    unsafe mapping.base.storeBytes(of: 9, toByteOffset: NameTable.recordStart(names: 1) + (NameTable.prefixWords + 1) * 8, as: UInt64.self)
    #expect(table.read(0) == nil)
    #expect(table.publish(0, [4], now: 2_000))
    #expect(table.read(0) == [4])
  }

  @Test func saysWhoseRecordsItHas() throws {
    let keys = [NameTable.key("a.test", isService: false), NameTable.key("a.test", isService: true), NameTable.key("b.test", isService: false)]
    #expect(Set(keys).count == 3)
    let file = try NameTable.create(keys: keys, rules: 7)
    let table = try NameTable(file)
    #expect(table.keys == keys && table.rules == 7)
    // Keys of more names than stand on a page.
    let many = (0..<1_000).map { NameTable.key("host-\($0).test", isService: false) }
    let large = try NameTable(try NameTable.create(keys: many, rules: 0))
    #expect(large.publish(0, [1], now: 1_000) && large.publish(999, [2], now: 1_000))
    #expect(large.keys == many && large.read(0) == [1] && large.read(999) == [2])
  }

  @Test func refusesOtherFiles() throws {
    let file = try MemoryFile.table(size: 65_536, name: "other")
    #expect(throws: Errno.protocolViolation) { _ = try NameTable(file) }
    let board = try Scoreboard.create()
    #expect(throws: Errno.protocolViolation) { _ = try NameTable(board) }
  }
}
