// The segment of a zone: what is made can be mapped, what is not a zone cannot.

import Kernel
import Testing

@testable import SharedState

@Suite struct RateTableTests {
  @Test func everyProcessSeesTheSameWords() throws {
    let file = try RateTable.create(entries: 100, seed: (1, 2), now: 500)
    let one = try RateTable(file), other = try RateTable(file)
    #expect(one.setCount == 13 && one.capacity == 104 && one.seed == (1, 2))
    #expect(one.exchange(set: 12, way: 7, expected: 0, desired: 42))
    #expect(other.load(set: 12, way: 7) == 42)
    #expect(!other.exchange(set: 12, way: 7, expected: 0, desired: 43))
  }

  @Test func oneProcessSweepsWhenItIsTime() throws {
    let file = try RateTable.create(entries: 8, seed: (1, 2), now: 500)
    let one = try RateTable(file), other = try RateTable(file)
    #expect(one.claimSweep(now: 1000, interval: 1000) == nil)
    #expect(other.claimSweep(now: 1600, interval: 1000) == 500)
    #expect(one.claimSweep(now: 1601, interval: 1000) == nil)
    one.countRefusal(isSpared: false)
    other.countRefusal(isSpared: false)
    other.countRefusal(isSpared: true)
    #expect(one.refusals == (made: 2, spared: 1))
  }

  @Test func memoryIsWhatIsDeclared() {
    #expect(RateTable.byteCount(entries: 1_000_000) == 4096 + 8_000_000)
    #expect(RateTable.byteCount(entries: 0) == 4096 + 64)
  }

  @Test func refusesOtherFiles() throws {
    let file = try MemoryFile.table(size: 8192, name: "other")
    #expect(throws: Errno.protocolViolation) { _ = try RateTable(file) }
    let board = try Scoreboard.create()
    #expect(throws: Errno.protocolViolation) { _ = try RateTable(board) }
  }
}
