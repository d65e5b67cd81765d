// BreakerTable — the cells of all circuit breakers, in one segment that all workers write.
//
// Layout: header page | entries of three pages: cells and name, then the probes | one word per worker row and entry.
// Pages that were never written cost no memory.
//
// Invariants: what the cells of an entry mean is known to Policy alone (see Breaker); each is one word that changes by one
// compare-and-exchange, or a total that is only added to, so that a process that is killed at any instruction leaves a
// valid table behind. The words of a row are written by its worker alone, and cleared by the master when that has died.
// Names are written by the master, before any worker is told of them. Numbers that come from outside are checked.

import Kernel
import Synchronization

/// Where the words of an entry are. Those from `probes` on are one for each probe.
public enum BreakerCell {
  @inlinable public static var state: Int { 0 }
  /// Failures in a row.
  @inlinable public static var streak: Int { 1 }
  /// Microseconds of the monotonic clock of the last report, and of the last failure.
  @inlinable public static var reportedAt: Int { 2 }
  @inlinable public static var failedAt: Int { 3 }
  /// Microseconds of one cell of the window.
  @inlinable public static var width: Int { 4 }
  /// The limit of requests under way that has been found out, and when it was lowered last.
  @inlinable public static var limit: Int { 24 }
  @inlinable public static var loweredAt: Int { 25 }
  /// The shortest times of two stretches of time, by turns.
  @inlinable public static var shortest: Int { 26 }
  /// The cells of the window.
  @inlinable public static var window: Int { 8 }
  @inlinable public static var windowCount: Int { 16 }
  /// Totals, in the order of `BreakerTotal`.
  static var totals: Int { 32 }
  static var nameLength: Int { 63 }
  static var name: Int { 64 }
  @inlinable public static var probes: Int { 512 }
  /// Probes at most at the same time.
  @inlinable public static var probeLimit: Int { 1000 }
}

/// What is counted of a breaker, by all workers and for good.
public enum BreakerTotal: Int, Sendable, CaseIterable {
  case opened, halfOpened, closed
  /// Requests refused, and those that would have been but for a dry run.
  case refused, spared
  /// Retries that the budget has refused, and those that would have been.
  case budgetRefused, budgetSpared
  /// Requests refused because too many were under way, or waited for a connection.
  case crowdRefused, queueRefused
}

/// What a breaker's decisions need of the place where its cells are.
public protocol BreakerMemory {
  func load(_ cell: Int) -> UInt64
  /// For cells that are hints only.
  func store(_ cell: Int, _ value: UInt64)
  /// Puts `desired` in the place of `expected`; false when something else was there.
  func exchange(_ cell: Int, expected: UInt64, desired: UInt64) -> Bool
}

/// What a worker has under way through one breaker.
public struct BreakerLoad: Equatable, Sendable, BitwiseCopyable {
  public var attempts: UInt64
  /// Those of them that are retries.
  public var retries: UInt64
  /// Requests that wait for a connection.
  public var waiting: UInt64

  public init(attempts: UInt64 = 0, retries: UInt64 = 0, waiting: UInt64 = 0) {
    self.attempts = attempts
    self.retries = retries
    self.waiting = waiting
  }

  @usableFromInline static var one: (attempt: UInt64, retry: UInt64, waiting: UInt64) { (1, 1 << 24, 1 << 44) }

  init(word: UInt64) {
    self.init(attempts: word & 0xff_ffff, retries: word >> 24 & 0xf_ffff, waiting: word >> 44)
  }
}

/// The cells of one breaker, as one worker sees them.
@safe
public struct BreakerCells: BreakerMemory, @unchecked Sendable, BitwiseCopyable {
  @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>
  /// The word of this worker's own row, and that of the first row; the others are `stride` words apart.
  @usableFromInline let own: UnsafeMutablePointer<Atomic<UInt64>>
  private let firstRow: UnsafeMutablePointer<Atomic<UInt64>>
  private let stride: Int
  private let rowsUsed: UnsafeMutablePointer<Atomic<UInt64>>

  fileprivate init(
    _ cells: UnsafeMutablePointer<Atomic<UInt64>>, own: UnsafeMutablePointer<Atomic<UInt64>>, firstRow: UnsafeMutablePointer<Atomic<UInt64>>,
    stride: Int, rowsUsed: UnsafeMutablePointer<Atomic<UInt64>>
  ) {
    unsafe self.cells = cells
    unsafe self.own = own
    unsafe self.firstRow = firstRow
    self.stride = stride
    unsafe self.rowsUsed = rowsUsed
  }

  @usableFromInline
  static var cellLimit: Int { BreakerCell.probes + BreakerCell.probeLimit }

  @inlinable @inline(__always)
  public func load(_ cell: Int) -> UInt64 {
    precondition(cell >= 0 && cell < Self.cellLimit)
    return unsafe (cells + cell).pointee.load(ordering: .acquiring)
  }

  @inlinable @inline(__always)
  public func store(_ cell: Int, _ value: UInt64) {
    precondition(cell >= 0 && cell < Self.cellLimit)
    unsafe (cells + cell).pointee.store(value, ordering: .relaxed)
  }

  @inlinable @inline(__always)
  public func exchange(_ cell: Int, expected: UInt64, desired: UInt64) -> Bool {
    precondition(cell >= 0 && cell < Self.cellLimit)
    return unsafe (cells + cell).pointee.compareExchange(expected: expected, desired: desired, ordering: .acquiringAndReleasing).exchanged
  }

  // MARK: Totals

  public func count(_ total: BreakerTotal) {
    unsafe _ = (cells + BreakerCell.totals + total.rawValue).pointee.wrappingAdd(1, ordering: .relaxed)
  }

  public func value(of total: BreakerTotal) -> UInt64 { unsafe (cells + BreakerCell.totals + total.rawValue).pointee.load(ordering: .relaxed) }

  // MARK: What is under way

  /// Nobody else writes the word, so that a plain load and store will do.
  @inlinable @inline(__always)
  public func beginAttempt(isRetry: Bool) { add(isRetry ? BreakerLoad.one.attempt | BreakerLoad.one.retry : BreakerLoad.one.attempt) }

  @inlinable @inline(__always)
  public func endAttempt(isRetry: Bool) { add(0 &- (isRetry ? BreakerLoad.one.attempt | BreakerLoad.one.retry : BreakerLoad.one.attempt)) }

  public func beginWaiting() { add(BreakerLoad.one.waiting) }
  public func endWaiting() { add(0 &- BreakerLoad.one.waiting) }

  @inlinable @inline(__always)
  func add(_ amount: UInt64) { unsafe own.pointee.store(own.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed) }

  /// What all workers have under way. Whoever has counted itself before it asks is among them, and so is everybody who
  /// did so earlier: of several who ask at the same time, at least the last one sees all.
  public func underWay() -> BreakerLoad {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    var sum = BreakerLoad()
    for row in 0..<min(Scoreboard.capacity, unsafe Int(clamping: rowsUsed.pointee.load(ordering: .acquiring))) {
      let word = unsafe (firstRow + row * stride).pointee.load(ordering: .relaxed)
      guard word != 0 else { continue }
      let load = BreakerLoad(word: word)
      sum.attempts += load.attempts
      sum.retries += load.retries
      sum.waiting += load.waiting
    }
    return sum
  }
}

/// All breakers, mapped into this process.
@safe
public struct BreakerTable: @unchecked Sendable, BitwiseCopyable {
  /// Breakers in a segment.
  public static var capacity: Int { 2048 }
  /// Bytes of a breaker's name at most.
  public static var nameLimit: Int { 1024 }

  static let headerBytes = 4096
  static let entryBytes = 3 * 4096
  static let rowsOffset = headerBytes + capacity * entryBytes
  /// Size of the whole segment.
  public static let byteCount = rowsOffset + Scoreboard.capacity * capacity * 8

  static let magic: UInt64 = 0x7372_656b_6165_7262  // "breakers" in memory order
  static let version: UInt64 = 1

  private enum HeaderCell: Int { case magic, version, layout, entriesUsed, rowsUsed }

  private let mapping: SharedMapping

  /// Creates the segment's file, its header written; for the master.
  public static func create() throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: byteCount, name: "gateway breakers")
    let table = BreakerTable(try SharedMapping(file, byteCount: byteCount))
    unsafe table.header(.version).pointee.store(version, ordering: .relaxed)
    unsafe table.header(.layout).pointee.store(layout, ordering: .relaxed)
    unsafe table.header(.magic).pointee.store(magic, ordering: .releasing)
    return file
  }

  private init(_ mapping: SharedMapping) { self.mapping = mapping }

  /// Maps the segment in `file`. Refuses one of another kind, version or layout (EPROTO).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let table = BreakerTable(try SharedMapping(file, byteCount: Self.byteCount))
    guard unsafe table.header(.magic).pointee.load(ordering: .acquiring) == Self.magic,
      unsafe table.header(.version).pointee.load(ordering: .relaxed) == Self.version,
      unsafe table.header(.layout).pointee.load(ordering: .relaxed) == Self.layout
    else { throw .protocolViolation }
    self = table
  }

  /// A number that differs when the places of things differ.
  public static var layout: UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for part in [
      headerBytes, entryBytes, capacity, rowsOffset, Scoreboard.capacity, BreakerCell.window, BreakerCell.windowCount, BreakerCell.totals, BreakerCell.nameLength,
      BreakerCell.probes, BreakerCell.probeLimit,
    ] { hash = (hash ^ UInt64(part)) &* 0x100_0000_01b3 }
    return hash
  }

  // MARK: Finding

  /// The breaker called `name`, as the worker of `row` sees it; nil: there is none, or no such row.
  public func cells(named name: String, row: Int) -> BreakerCells? {
    guard let entry = entry(named: name) else { return nil }
    return cells(entry, row: row)
  }

  /// The breaker `entry`.
  public func cells(_ entry: Int, row: Int) -> BreakerCells? {
    guard (0..<Self.capacity).contains(entry), (0..<Scoreboard.capacity).contains(row) else { return nil }
    return unsafe BreakerCells(
      word(at: Self.headerBytes + entry * Self.entryBytes), own: rowWord(entry, row), firstRow: rowWord(entry, 0), stride: Self.capacity,
      rowsUsed: header(.rowsUsed))
  }

  /// Which entry has `name`.
  public func entry(named name: String) -> Int? {
    let wanted = Array(name.utf8)
    return (0..<entriesUsed).first { self.name(of: $0) == wanted }
  }

  /// The bytes of an entry's name; empty: it is free.
  public func name(of entry: Int) -> [UInt8] {
    guard (0..<Self.capacity).contains(entry) else { return [] }
    let base = Self.headerBytes + entry * Self.entryBytes
    let length = unsafe Int(clamping: word(at: base + BreakerCell.nameLength * 8).pointee.load(ordering: .acquiring))
    guard length <= Self.nameLimit else { return [] }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(length)
    for position in 0..<length {
      let part = unsafe word(at: base + (BreakerCell.name + position / 8) * 8).pointee.load(ordering: .relaxed)
      bytes.append(UInt8(truncatingIfNeeded: part >> UInt64(position % 8 * 8)))
    }
    return bytes
  }

  private var entriesUsed: Int { unsafe min(Self.capacity, Int(clamping: header(.entriesUsed).pointee.load(ordering: .acquiring))) }

  // MARK: The master's side

  /// The entry of that name, or a free one that gets it, all zero; nil: there is none, or the name is too long or empty.
  public func claim(_ name: String) -> Int? {
    if let entry = entry(named: name) { return entry }
    let bytes = Array(name.utf8)
    guard (1...Self.nameLimit).contains(bytes.count), let entry = (0..<Self.capacity).first(where: { $0 >= entriesUsed || self.name(of: $0).isEmpty }) else { return nil }
    let base = Self.headerBytes + entry * Self.entryBytes
    for position in 0..<Self.entryBytes / 8 where unsafe word(at: base + position * 8).pointee.load(ordering: .relaxed) != 0 {
      unsafe word(at: base + position * 8).pointee.store(0, ordering: .relaxed)
    }
    for row in 0..<rowsUsed { unsafe rowWord(entry, row).pointee.store(0, ordering: .relaxed) }
    for start in stride(from: 0, to: bytes.count, by: 8) {
      var part: UInt64 = 0
      for position in (start..<min(start + 8, bytes.count)).reversed() { part = part << 8 | UInt64(bytes[position]) }
      unsafe word(at: base + (BreakerCell.name + start / 8) * 8).pointee.store(part, ordering: .relaxed)
    }
    unsafe word(at: base + BreakerCell.nameLength * 8).pointee.store(UInt64(bytes.count), ordering: .releasing)
    if entry >= entriesUsed { unsafe header(.entriesUsed).pointee.store(UInt64(entry + 1), ordering: .releasing) }
    return entry
  }

  /// Gives an entry up that no worker uses any more.
  public func free(_ entry: Int) {
    guard (0..<Self.capacity).contains(entry) else { return }
    unsafe word(at: Self.headerBytes + entry * Self.entryBytes + BreakerCell.nameLength * 8).pointee.store(0, ordering: .releasing)
  }

  /// The worker of `row` is about to be spawned: what it will have under way is counted from now on.
  public func use(row: Int) {
    guard (0..<Scoreboard.capacity).contains(row), row >= rowsUsed else { return }
    unsafe header(.rowsUsed).pointee.store(UInt64(row + 1), ordering: .releasing)
  }

  /// The worker of `row` has died: drops what it had under way.
  public func clear(row: Int) {
    guard (0..<Scoreboard.capacity).contains(row) else { return }
    for entry in 0..<entriesUsed where unsafe rowWord(entry, row).pointee.load(ordering: .relaxed) != 0 {
      unsafe rowWord(entry, row).pointee.store(0, ordering: .relaxed)
    }
  }

  /// The entries that have a name.
  public var entries: [Int] { (0..<entriesUsed).filter { !name(of: $0).isEmpty } }

  private var rowsUsed: Int { unsafe min(Scoreboard.capacity, Int(clamping: header(.rowsUsed).pointee.load(ordering: .acquiring))) }

  // MARK: Words

  private func header(_ cell: HeaderCell) -> UnsafeMutablePointer<Atomic<UInt64>> { unsafe word(at: cell.rawValue * 8) }

  /// Row by row, so that a worker writes pages of its own.
  private func rowWord(_ entry: Int, _ row: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe word(at: Self.rowsOffset + (row * Self.capacity + entry) * 8)
  }

  private func word(at offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(offset >= 0 && offset <= Self.byteCount - 8 && offset & 7 == 0)
    return unsafe (mapping.base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }
}
