// Scoreboard — the segment in which every worker process has a row, and the master one of its own.
//
// Layout: header page | page of retired totals | identity rows of 128 bytes | one CounterPage per row.
// Rows that were never used are never touched, so the segment costs memory only for workers that lived.
//
// Invariants: a row's counters, state and heartbeat are written by its worker alone; everything else by the
// master alone; all with relaxed single-word accesses. A row number that comes from outside is checked
// before use. The master folds a dead worker's totals into the retired page between two steps of
// `foldSequence` (odd while it folds), so that a reader's sum never goes backwards.

import Kernel
import Synchronization

/// The state a row's worker is in.
public enum WorkerState: UInt64, Sendable {
  /// The row is free.
  case none
  case starting, ready, draining, dead

  public var text: String {
    switch self {
    case .none: "none"
    case .starting: "starting"
    case .ready: "ready"
    case .draining: "draining"
    case .dead: "dead"
    }
  }
}

/// What the master keeps for all to read. The raw value is the position of the cell in the header.
public enum MasterCell: Int, Sendable {
  case processID = 8
  /// Seconds since the epoch.
  case startedAt
  /// The generation that serves.
  case generation
  /// Worker slots of that generation.
  case workers
  case reloads
  case failedReloads
  /// Seconds since the epoch; 0: never.
  case lastReloadAt
  /// Workers that died and were replaced.
  case restarts
}

/// One worker's row, as read at one moment.
public struct WorkerRow: Equatable, Sendable {
  public var row: Int
  public var processID: ProcessID
  public var generation: UInt64
  public var slot: Int
  public var state: WorkerState
  /// Milliseconds of the monotonic clock at the worker's last turn.
  public var heartbeat: Int64
  /// Seconds since the epoch.
  public var startedAt: Int64
  /// How often this slot's worker has been replaced in this generation.
  public var restarts: Int
}

/// The scoreboard, mapped into this process.
@safe
public struct Scoreboard: Sendable {
  /// Rows in a segment: worker processes that may exist at the same time, draining ones included.
  public static let capacity = 4096
  static let headerBytes = 4096
  static let rowBytes = 128
  static let retiredOffset = headerBytes
  static let rowsOffset = retiredOffset + CounterPage.byteCount
  static let pagesOffset = rowsOffset + capacity * rowBytes
  /// Size of the whole segment.
  public static let byteCount = pagesOffset + capacity * CounterPage.byteCount

  static let magic: UInt64 = 0x6477_7967_6272_6473  // "sdrbgywd" in memory order
  static let version: UInt64 = 2

  private enum HeaderCell: Int { case magic, version, layout, rowsUsed, foldSequence }
  private enum RowCell: Int { case processID, generation, slot, state, heartbeat, startedAt, restarts }

  private let mapping: SharedMapping

  /// Creates the segment's file, zeroed and with its header written; for the master.
  public static func create() throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: byteCount, name: "gateway scoreboard")
    let board = Scoreboard(try SharedMapping(file, byteCount: byteCount))
    board.header(.version).store(version, ordering: .relaxed)
    board.header(.layout).store(layout, ordering: .relaxed)
    board.header(.magic).store(magic, ordering: .releasing)
    return file
  }

  private init(_ mapping: SharedMapping) { self.mapping = mapping }

  /// Maps the segment in `file`. Refuses one of another kind, version or layout (EPROTO).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let board = Scoreboard(try SharedMapping(file, byteCount: Self.byteCount))
    guard board.header(.magic).load(ordering: .acquiring) == Self.magic,
      board.header(.version).load(ordering: .relaxed) == Self.version,
      board.header(.layout).load(ordering: .relaxed) == Self.layout
    else { throw .protocolViolation }
    self = board
  }

  /// A number that differs when the places of things differ. (New counters at the end of their page do not move anything.)
  public static var layout: UInt64 {
    LayoutHash.of([
      headerBytes, rowBytes, capacity, CounterPage.byteCount, CounterPage.faultBase, retiredOffset, rowsOffset, pagesOffset, Counter.waiting.rawValue, RowCell.restarts.rawValue, MasterCell.restarts.rawValue,
    ])
  }

  // MARK: The worker's side

  /// The counters of `row`; nil when there is no such row.
  public func page(_ row: Int) -> CounterPage? {
    guard (0..<Self.capacity).contains(row) else { return nil }
    return unsafe CounterPage(at: mapping.base + Self.pagesOffset + row * CounterPage.byteCount)
  }

  /// Says which state the worker of `row` is in.
  public func set(_ state: WorkerState, row: Int) { store(.state, row, state.rawValue) }

  /// Shows that the worker of `row` still turns. `milliseconds` of the monotonic clock.
  public func beat(row: Int, milliseconds: Int64) { store(.heartbeat, row, UInt64(bitPattern: milliseconds)) }

  // MARK: Reading

  /// The rows in use, in order of their number.
  public func rows() -> [WorkerRow] { (0..<rowsUsed).compactMap(row) }

  /// What `number` holds now; nil when there is no such row or it is free.
  public func row(_ number: Int) -> WorkerRow? {
    guard (0..<rowsUsed).contains(number), let state = WorkerState(rawValue: load(.state, number)), state != .none else { return nil }
    return WorkerRow(
      row: number, processID: ProcessID(truncatingIfNeeded: load(.processID, number)), generation: load(.generation, number),
      slot: Int(clamping: load(.slot, number)), state: state, heartbeat: Int64(bitPattern: load(.heartbeat, number)),
      startedAt: Int64(bitPattern: load(.startedAt, number)), restarts: Int(clamping: load(.restarts, number)))
  }

  /// The sum of a counter over all workers that live and, for totals, all that ever lived.
  public func sum(of counter: Counter) -> UInt64 { consistently { $0.value(of: counter) } }

  /// The sum of the occurrences of a fault.
  public func faults(_ index: UInt8) -> UInt64 { consistently { $0.faults(index) } }

  private func consistently(_ read: (borrowing CounterPage) -> UInt64) -> UInt64 {
    // A master that died while folding leaves the sequence odd for good: after some attempts any sum will do.
    var sum: UInt64 = 0
    for _ in 0..<1000 {
      let before = header(.foldSequence).load(ordering: .acquiring)
      sum = read(retired)
      for number in 0..<rowsUsed where load(.state, number) != WorkerState.none.rawValue {
        if let page = page(number) { sum &+= read(page) }
      }
      atomicMemoryFence(ordering: .acquiring)
      if before & 1 == 0, header(.foldSequence).load(ordering: .relaxed) == before { break }
    }
    return sum
  }

  /// A cell of the master's.
  public func value(of cell: MasterCell) -> UInt64 { word(cell.rawValue * 8).load(ordering: .relaxed) }

  // MARK: The master's side

  public func store(_ cell: MasterCell, _ value: UInt64) { word(cell.rawValue * 8).store(value, ordering: .relaxed) }

  /// Takes a free row for a worker that is about to be spawned; nil when all are in use.
  public func claim(generation: UInt64, slot: Int, startedAt: Int64, restarts: Int) -> Int? {
    guard let row = (0..<Self.capacity).first(where: { $0 >= rowsUsed || load(.state, $0) == WorkerState.none.rawValue }) else { return nil }
    store(.processID, row, 0)
    store(.generation, row, generation)
    store(.slot, row, UInt64(slot))
    store(.heartbeat, row, 0)
    store(.startedAt, row, UInt64(bitPattern: startedAt))
    store(.restarts, row, UInt64(restarts))
    store(.state, row, WorkerState.starting.rawValue)
    if row >= rowsUsed { header(.rowsUsed).store(UInt64(row + 1), ordering: .releasing) }
    return row
  }

  /// Notes which process has the row.
  public func assign(_ id: ProcessID, row: Int) { store(.processID, row, UInt64(id)) }

  /// Folds the totals of a worker that has ended into the retired ones, drops its gauges, and frees its row.
  public func retire(_ row: Int) {
    guard (0..<rowsUsed).contains(row), load(.state, row) != WorkerState.none.rawValue, let page = page(row) else { return }
    let sequence = header(.foldSequence)
    sequence.store((sequence.load(ordering: .relaxed) | 1), ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    page.fold(into: retired)
    store(.state, row, WorkerState.none.rawValue)
    sequence.store(sequence.load(ordering: .relaxed) &+ 1, ordering: .releasing)
  }

  /// Counts log lines that the master could not write.
  public func addLinesDropped(_ count: UInt64) { retired.add(.logLinesDropped, count) }

  // MARK: Cells

  private var retired: CounterPage { unsafe CounterPage(at: mapping.base + Self.retiredOffset) }

  private var rowsUsed: Int { min(Self.capacity, Int(clamping: header(.rowsUsed).load(ordering: .acquiring))) }

  private func load(_ cell: RowCell, _ row: Int) -> UInt64 {
    guard (0..<Self.capacity).contains(row) else { return 0 }
    return word(Self.rowsOffset + row * Self.rowBytes + cell.rawValue * 8).load(ordering: .relaxed)
  }

  private func store(_ cell: RowCell, _ row: Int, _ value: UInt64) {
    guard (0..<Self.capacity).contains(row) else { return }
    word(Self.rowsOffset + row * Self.rowBytes + cell.rawValue * 8).store(value, ordering: .relaxed)
  }

  private func header(_ cell: HeaderCell) -> SharedWord { word(cell.rawValue * 8) }

  private func word(_ offset: Int) -> SharedWord {
    precondition(offset >= 0 && offset <= Self.byteCount - 8 && offset & 7 == 0)
    return unsafe SharedWord(mapping.base + offset)
  }
}

/// One aligned word of a segment.
@safe
private struct SharedWord {
  private let cell: UnsafeMutablePointer<Atomic<UInt64>>

  init(_ base: UnsafeMutableRawPointer) { unsafe cell = base.assumingMemoryBound(to: Atomic<UInt64>.self) }

  func load(ordering: AtomicLoadOrdering) -> UInt64 {
    switch ordering {
    case .relaxed: unsafe cell.pointee.load(ordering: .relaxed)
    default: unsafe cell.pointee.load(ordering: .acquiring)
    }
  }

  func store(_ value: UInt64, ordering: AtomicStoreOrdering) {
    switch ordering {
    case .relaxed: unsafe cell.pointee.store(value, ordering: .relaxed)
    default: unsafe cell.pointee.store(value, ordering: .releasing)
    }
  }
}
