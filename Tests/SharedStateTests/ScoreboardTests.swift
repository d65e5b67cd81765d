// The scoreboard: rows are claimed and retired, totals only grow, gauges go with their worker.

import Kernel
import Testing

@testable import SharedState

/// Lends the page of a row (a page may not be copied, so `#require` cannot carry it).
private func with(_ row: Int, of board: Scoreboard, _ body: (borrowing CounterPage) -> Void) {
  guard let page = board.page(row) else {
    Issue.record("no page")
    return
  }
  body(page)
}

private func hasPage(_ row: Int, _ board: Scoreboard) -> Bool {
  guard let page = board.page(row) else { return false }
  return page.value(of: .requests) == 0
}

private func board() throws -> Scoreboard { try Scoreboard(try Scoreboard.create()) }

@Test func aSumCountsEveryWorker() throws {
  let board = try board()
  for slot in 0..<3 {
    let row = try #require(board.claim(generation: 1, slot: slot, startedAt: 0, restarts: 0))
    with(row, of: board) {
      $0.add(.requests, UInt64(10 + slot))
      $0.add(.connectionsActive, 2)
    }
  }
  #expect(board.sum(of: .requests) == 33)
  #expect(board.sum(of: .connectionsActive) == 6)
  #expect(board.rows().map(\.slot) == [0, 1, 2])
}

@Test func retiringKeepsTotalsAndDropsGauges() throws {
  let board = try board()
  let first = try #require(board.claim(generation: 1, slot: 0, startedAt: 5, restarts: 0))
  with(first, of: board) {
    $0.add(.requests, 7)
    $0.add(.connectionsActive, 3)
    $0.count(fault: 4)
  }
  board.retire(first)
  #expect(board.sum(of: .requests) == 7)
  #expect(board.sum(of: .connectionsActive) == 0)
  #expect(board.faults(4) == 1)
  #expect(board.rows().isEmpty)
  // Once only.
  board.retire(first)
  #expect(board.sum(of: .requests) == 7)

  let second = try #require(board.claim(generation: 2, slot: 0, startedAt: 6, restarts: 1))
  #expect(second == first)
  #expect(hasPage(second, board))
  with(second, of: board) { $0.add(.requests) }
  #expect(board.sum(of: .requests) == 8)
}

@Test func aRowTellsWhoseItIs() throws {
  let board = try board()
  let row = try #require(board.claim(generation: 9, slot: 4, startedAt: 1_700_000_000, restarts: 2))
  board.assign(4711, row: row)
  board.set(.draining, row: row)
  board.beat(row: row, milliseconds: 123)
  #expect(
    board.row(row)
      == WorkerRow(row: row, processID: 4711, generation: 9, slot: 4, state: .draining, heartbeat: 123, startedAt: 1_700_000_000, restarts: 2))
}

@Test func rowsThatAreNoneAreHarmless() throws {
  let board = try board()
  for row in [-1, 0, Scoreboard.capacity, Int.max, Int.min] {
    #expect(board.row(row) == nil)
    board.set(.ready, row: row)
    board.retire(row)
  }
  #expect(!hasPage(-1, board))
  #expect(!hasPage(Scoreboard.capacity, board))
}

@Test func rowsRunOut() throws {
  let board = try board()
  for _ in 0..<Scoreboard.capacity { #expect(board.claim(generation: 1, slot: 0, startedAt: 0, restarts: 0) != nil) }
  #expect(board.claim(generation: 1, slot: 0, startedAt: 0, restarts: 0) == nil)
  board.retire(500)
  #expect(board.claim(generation: 1, slot: 0, startedAt: 0, restarts: 0) == 500)
}

@Test func twoMappingsShowTheSame() throws {
  let file = try Scoreboard.create()
  let one = try Scoreboard(file)
  let other = try Scoreboard(file)
  let row = try #require(one.claim(generation: 1, slot: 0, startedAt: 0, restarts: 0))
  with(row, of: other) { $0.add(.responses2xx, 5) }
  one.store(.generation, 3)
  #expect(one.sum(of: .responses2xx) == 5)
  #expect(other.value(of: .generation) == 3)
}

@Test func aForeignFileIsRefused() throws {
  let empty = try MemoryFile.table(size: Scoreboard.byteCount, name: "test")
  #expect((try? Scoreboard(empty)) == nil)
  let short = try MemoryFile.table(size: 4096, name: "test")
  #expect((try? Scoreboard(short)) == nil)
}

@Test func thereIsRoomForEveryCounterAndEveryFault() {
  #expect(Counter.allCases.count <= CounterPage.faultBase)
  #expect((CounterPage.faultBase + Int(UInt8.max) + 1) * 8 <= CounterPage.byteCount)
}
