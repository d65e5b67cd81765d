// ConcurrencyTable — how much each key of a zone has under way, counted by each worker for itself, in a segment that all workers read.
//
// Layout: header page | a line for each column | the columns, each with sets of eight words, one cache line each. A column belongs to one worker, the
// one with that row of the scoreboard; a word is a key and how often its worker has it under way. So a word has one writer, nothing is locked or
// exchanged, and what a worker that was killed has left goes with its column (`drop`).
//
// Invariants: what a word means is known to Policy alone (see ConcurrencyLimiter); the header is written once, before the file is passed on, but for
// the columns in use and the totals, which only grow. Numbers that come from outside are checked before use.

import Kernel
import Synchronization

/// What a decision about concurrency needs of the place where its words are.
public protocol ConcurrencyMemory {
  /// Sets of `ConcurrencyTable.ways` words in a column.
  var setCount: Int { get }
  /// Columns up to the last that was ever used.
  var columnsUsed: Int { get }
  func load(column: Int, place: Int) -> UInt64
  /// In the caller's own column.
  func store(_ word: UInt64, column: Int, place: Int)
  /// Whether some key of the column has ever had to go to its second set.
  func hasSpread(column: Int) -> Bool
  func noteSpread(column: Int)
  /// What was stored before is seen by everybody whose own stores this process does not see after.
  func fence()
}

/// A zone's words, mapped into this process.
@safe
public struct ConcurrencyTable: ConcurrencyMemory, @unchecked Sendable, BitwiseCopyable {
  /// Words in a set.
  @inlinable public static var ways: Int { 8 }
  static let headerBytes = 4096
  static let lineBytes = 64
  static let magic: UInt64 = 0x7972_7265_636e_6f63  // "concerry" in memory order
  static let version: UInt64 = 1
  /// Columns at most: rows of the scoreboard.
  public static var columnLimit: Int { Scoreboard.capacity }

  /// Differs when the places of things or the meaning of a word do.
  public static var layout: UInt64 { LayoutHash.of([Int(version), headerBytes, lineBytes, ways, HeaderCell.spared.rawValue]) }

  private enum HeaderCell: Int { case magic, version, sets, columns, seedLow, seedHigh, columnsUsed, refused, spared }

  @usableFromInline let lines: UnsafeMutableRawPointer
  @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>
  public let setCount: Int
  public let columnCount: Int
  /// The key of the hash, drawn when the table was made.
  public let seed: (low: UInt64, high: UInt64)
  private let mapping: SharedMapping

  /// Sets of a column that has `entries` keys under way at the same time: twice as many words, so that there is nearly always a free one.
  public static func sets(for entries: Int) -> Int { max(1, (min(max(1, entries), 1 << 20) * 2 + ways - 1) / ways) }

  /// Columns for so many workers, and for those of earlier generations that still drain.
  public static func columns(workers: Int, generations: Int) -> Int {
    let wanted = min(columnLimit, max(1, workers) * max(2, min(generations, 64)))
    return max(64, 1 << (Int.bitWidth - (wanted - 1).leadingZeroBitCount))
  }

  /// Bytes of a segment: 16 for each key and column, of which only pages that are written cost memory, and a little.
  public static func byteCount(entries: Int, columns: Int) -> Int {
    headerBytes + (columns * lineBytes + 4095) / 4096 * 4096 + columns * sets(for: entries) * ways * 8
  }

  /// Creates the segment's file, its header written; for the master.
  public static func create(entries: Int, columns: Int, seed: (low: UInt64, high: UInt64)) throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: byteCount(entries: entries, columns: columns), name: "gateway concurrency")
    let header = try SharedMapping(file, byteCount: headerBytes)
    func put(_ cell: HeaderCell, _ value: UInt64) {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
    }
    put(.version, version)
    put(.sets, UInt64(sets(for: entries)))
    put(.columns, UInt64(columns))
    put(.seedLow, seed.low)
    put(.seedHigh, seed.high)
    put(.magic, magic)
    return file
  }

  /// Maps the segment in `file`. Refuses one of another kind or version, or that is too short (EPROTO).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let header = try SharedMapping(file, byteCount: Self.headerBytes)
    func get(_ cell: HeaderCell) -> UInt64 {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }
    let sets = get(.sets), columns = get(.columns)
    guard get(.magic) == Self.magic, get(.version) == Self.version, sets > 0, sets <= 1 << 20, columns > 0, columns <= UInt64(Self.columnLimit) else {
      throw .protocolViolation
    }
    setCount = Int(sets)
    columnCount = Int(columns)
    let start = Self.headerBytes + (Int(columns) * Self.lineBytes + 4095) / 4096 * 4096
    let words = Int(columns) * Int(sets) * Self.ways
    mapping = try SharedMapping(file, byteCount: start + words * 8)
    seed = (get(.seedLow), get(.seedHigh))
    unsafe lines = mapping.base + Self.headerBytes
    unsafe cells = (mapping.base + start).bindMemory(to: Atomic<UInt64>.self, capacity: words)
  }

  private func header(_ cell: HeaderCell) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (mapping.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The words of a column.
  public var placeCount: Int { setCount * Self.ways }

  // MARK: Words

  @inlinable @inline(__always)
  func cell(_ column: Int, _ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(column >= 0 && column < columnCount && place >= 0 && place < setCount &* ConcurrencyTable.ways)
    return unsafe cells + (column &* setCount &* ConcurrencyTable.ways &+ place)
  }

  @inlinable @inline(__always)
  public func load(column: Int, place: Int) -> UInt64 { unsafe cell(column, place).pointee.load(ordering: .relaxed) }

  @inlinable @inline(__always)
  public func store(_ word: UInt64, column: Int, place: Int) { unsafe cell(column, place).pointee.store(word, ordering: .relaxed) }

  private func spread(_ column: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(column >= 0 && column < columnCount)
    return unsafe (lines + column * Self.lineBytes).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  public func hasSpread(column: Int) -> Bool { unsafe spread(column).pointee.load(ordering: .relaxed) != 0 }
  public func noteSpread(column: Int) { unsafe spread(column).pointee.store(1, ordering: .relaxed) }

  public func fence() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

  // MARK: Columns

  public var columnsUsed: Int { min(columnCount, Int(clamping: unsafe header(.columnsUsed).pointee.load(ordering: .acquiring))) }

  /// Has the others look at `column` as well; false: there is no such column.
  public func use(column: Int) -> Bool {
    guard column >= 0, column < columnCount else { return false }
    while true {
      let used = unsafe header(.columnsUsed).pointee.load(ordering: .relaxed)
      if used > column { return true }
      if unsafe header(.columnsUsed).pointee.compareExchange(expected: used, desired: UInt64(column + 1), ordering: .sequentiallyConsistent).exchanged { return true }
    }
  }

  /// Drops what a worker that has ended has left; for the master.
  public func drop(column: Int) {
    guard column >= 0, column < columnsUsed else { return }
    for place in 0..<placeCount where load(column: column, place: place) != 0 { store(0, column: column, place: place) }
    unsafe spread(column).pointee.store(0, ordering: .relaxed)
  }

  // MARK: Totals

  /// Requests or connections refused, and those that would have been but for a dry run, by all workers.
  public var refusals: (made: UInt64, spared: UInt64) {
    unsafe (header(.refused).pointee.load(ordering: .relaxed), header(.spared).pointee.load(ordering: .relaxed))
  }

  public func countRefusal(isSpared: Bool) { unsafe _ = header(isSpared ? .spared : .refused).pointee.wrappingAdd(1, ordering: .relaxed) }
}
