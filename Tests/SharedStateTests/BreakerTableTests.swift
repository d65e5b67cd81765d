// The segment of circuit breakers: found by name, written by many, cleared for the dead.

import Kernel
import Testing

@testable import SharedState

@Suite struct BreakerTableTests {
  @Test func everyProcessSeesTheSameWords() throws {
    let file = try BreakerTable.create()
    let one = try BreakerTable(file), other = try BreakerTable(file)
    #expect(other.entry(named: "a") == nil && other.cells(named: "a", row: 0) == nil)
    #expect(one.claim("a") == 0 && one.claim("größer als b") == 1 && one.claim("a") == 0)
    let mine = try #require(one.cells(named: "größer als b", row: 0)), theirs = try #require(other.cells(named: "größer als b", row: 1))
    #expect(mine.exchange(BreakerCell.state, expected: 0, desired: 42) && theirs.load(BreakerCell.state) == 42)
    #expect(!theirs.exchange(BreakerCell.state, expected: 0, desired: 43))
    #expect(theirs.exchange(BreakerCell.probes + BreakerCell.probeLimit - 1, expected: 0, desired: 7))
    theirs.count(.opened)
    #expect(mine.value(of: .opened) == 1)
    #expect(one.cells(named: "a", row: 0)?.load(BreakerCell.state) == 0)
  }

  @Test func whatIsUnderWayIsSummedAndDroppedWithItsWorker() throws {
    let file = try BreakerTable.create()
    let table = try BreakerTable(file)
    _ = table.claim("x")
    let entry = try #require(table.claim("y"))
    for row in 0..<3 { table.use(row: row) }
    let cells = try (0..<3).map { try #require(table.cells(entry, row: $0)) }
    for cell in cells { cell.beginAttempt(isRetry: false) }
    cells[2].beginAttempt(isRetry: true)
    cells[1].beginWaiting()
    #expect(cells[0].underWay() == BreakerLoad(attempts: 4, retries: 1, waiting: 1))
    table.clear(row: 2)
    #expect(cells[0].underWay() == BreakerLoad(attempts: 2, retries: 0, waiting: 1))
    cells[0].endAttempt(isRetry: false)
    cells[1].endWaiting()
    #expect(cells[2].underWay() == BreakerLoad(attempts: 1))
    #expect(table.cells(0, row: 0)?.underWay() == BreakerLoad())
  }

  @Test func entriesAreUsedAgainEmpty() throws {
    let table = try BreakerTable(try BreakerTable.create())
    let entry = try #require(table.claim("gone"))
    table.use(row: 0)
    let cells = try #require(table.cells(entry, row: 0))
    #expect(cells.exchange(BreakerCell.state, expected: 0, desired: 9))
    cells.beginAttempt(isRetry: true)
    cells.count(.refused)
    table.free(entry)
    #expect(table.entry(named: "gone") == nil && table.entries.isEmpty)
    #expect(table.claim("new") == entry && cells.load(BreakerCell.state) == 0 && cells.value(of: .refused) == 0 && cells.underWay() == BreakerLoad())
  }

  @Test func thereIsAnEnd() throws {
    let table = try BreakerTable(try BreakerTable.create())
    #expect(table.claim("") == nil && table.claim(String(repeating: "n", count: BreakerTable.nameLimit + 1)) == nil)
    let long = String(repeating: "n", count: BreakerTable.nameLimit)
    #expect(table.claim(long) == 0 && table.entry(named: long) == 0)
    for number in 1..<BreakerTable.capacity { #expect(table.claim("\(number)") == number) }
    #expect(table.claim("one more") == nil)
    #expect(table.cells(BreakerTable.capacity, row: 0) == nil && table.cells(-1, row: 0) == nil && table.cells(0, row: Scoreboard.capacity) == nil)
    table.clear(row: -1)
    table.use(row: Scoreboard.capacity)
    table.free(BreakerTable.capacity)
  }

  @Test func refusesOtherFiles() throws {
    let file = try MemoryFile.table(size: BreakerTable.byteCount, name: "other")
    #expect(throws: Errno.protocolViolation) { _ = try BreakerTable(file) }
    let board = try Scoreboard.create()
    #expect(throws: (any Error).self) { _ = try BreakerTable(board) }
  }
}
