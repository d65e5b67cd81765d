// The segment of a concurrency zone: what is made can be mapped, what is not such a zone cannot, and its size is what is declared.

import Kernel
import Testing

@testable import SharedState

@Suite struct ConcurrencyTableTests {
  @Test func everyProcessSeesTheSameWords() throws {
    let file = try ConcurrencyTable.create(entries: 100, columns: 64, seed: (1, 2))
    let one = try ConcurrencyTable(file), other = try ConcurrencyTable(file)
    #expect(one.setCount == 25 && one.columnCount == 64 && one.seed == (1, 2) && one.columnsUsed == 0)
    #expect(one.use(column: 5) && other.columnsUsed == 6)
    one.store(42, column: 5, place: 199)
    one.noteSpread(column: 5)
    #expect(other.load(column: 5, place: 199) == 42 && other.hasSpread(column: 5) && !other.hasSpread(column: 4))
    other.drop(column: 5)
    #expect(one.load(column: 5, place: 199) == 0 && !one.hasSpread(column: 5))
    one.countRefusal(isSpared: false)
    other.countRefusal(isSpared: true)
    #expect(one.refusals == (made: 1, spared: 1))
  }

  @Test func memoryIsWhatIsDeclared() throws {
    let size = ConcurrencyTable.byteCount(entries: 1024, columns: 64)
    #expect(size == 8192 + 64 * 1024 * 16)
    let file = try ConcurrencyTable.create(entries: 1024, columns: 64, seed: (1, 2))
    _ = try SharedMapping(file, byteCount: size)
    #expect(throws: Errno.self) { _ = try SharedMapping(file, byteCount: size + 1) }
  }

  @Test(arguments: [(1, 6, 64), (16, 6, 128), (64, 6, 512), (4096, 64, 4096)])
  func thereAreColumnsForGenerationsThatDrain(workers: Int, generations: Int, columns: Int) {
    #expect(ConcurrencyTable.columns(workers: workers, generations: generations) == columns)
  }

  @Test func refusesOtherFiles() throws {
    let file = try MemoryFile.table(size: 8192, name: "other")
    #expect(throws: Errno.protocolViolation) { _ = try ConcurrencyTable(file) }
    let rates = try RateTable.create(entries: 8, seed: (1, 2), now: 1)
    #expect(throws: Errno.protocolViolation) { _ = try ConcurrencyTable(rates) }
  }
}
