// EndpointTable — the segment in which each endpoint of an upstream has a row: who may use it, how it fares, and what is in flight on it.
//
// Layout: header page | rows of `rowBytes`: ten lines of eight words (state, statistics, name, and seven for its circuit breaker), then one 32-bit
// count for each worker process, which is its column: its row in the scoreboard. A row is found by its key, a hash of the names of the upstream and
// the endpoint, within `reach` places of where the key belongs. So it is the same row for all generations of workers.
//
// Invariants: a row is claimed by one compare-and-exchange of its key; the name is written by whoever claims it, before others can find it. A column is
// written by its worker alone, with plain stores; what a worker that was killed has left in its column the master drops (`dropColumn`).
// Every other word is changed by itself, with single stores or compare-and-exchange. Row and column numbers are checked before use.

import Kernel
import Synchronization

/// What somebody has ordered for an endpoint.
public enum EndpointAdministration: UInt64, Sendable, CaseIterable {
  case enabled
  /// It gets nothing new, but for clients that are bound to it by a cookie.
  case draining
  /// It gets nothing new at all, and its health is not looked at.
  case disabled

  public var text: String {
    switch self {
    case .enabled: "enabled"
    case .draining: "draining"
    case .disabled: "disabled"
    }
  }
}

/// A word of an endpoint's row. The raw value is its position.
public enum EndpointCell: Int, Sendable {
  // Line 0: state.
  case key
  /// A hash of the upstream's name alone.
  case upstream
  /// `EndpointAdministration`.
  case administration
  /// `EndpointHealth`, one word.
  case health
  /// `EndpointEjection`, one word.
  case ejection
  /// Failures one after the other, of requests.
  case consecutiveFailures
  /// Milliseconds of the monotonic clock at which it has come back, or has come to be; for slow start.
  case backSince
  /// Seconds of the monotonic clock at which somebody has last said that it exists.
  case touched
  // Line 1: statistics, totals since the row was claimed.
  case requests
  case failures
  /// Microseconds, of all answered requests together.
  case latency
  /// Requests that were answered: what `latency` is divided by.
  case answers
  /// Health checks made, and those that failed.
  case checks, failedChecks
  /// Times that it was ejected.
  case ejections
  /// Why the last check failed, or it was ejected: a number that Policy knows.
  case reason
  // From line 3 on: the circuit breaker (EndpointBreakerCells).
  case breaker = 24
}

/// The endpoints' rows, mapped into this process.
@safe
public struct EndpointTable: @unchecked Sendable, BitwiseCopyable {
  static let headerBytes = 4096
  /// Places in which a key is looked for.
  static let reach = 64
  @inlinable static var metaBytes: Int { 640 }
  static let nameWord = 16
  /// Where, in the header page, the counts of news begin.
  static let newsWord = 256
  /// Groups of upstreams of which news is told apart.
  public static let newsCount = 256
  /// Bytes of a name that are kept.
  public static let nameLimit = 64
  static let magic: UInt64 = 0x7374_6e69_6f70_6e65  // "enpoints" in memory order
  static let version: UInt64 = 3
  /// A row that nobody has touched for so many seconds may be given to another endpoint.
  static let patience: Int64 = 900

  /// Differs when the places of things do.
  public static var layout: UInt64 {
    LayoutHash.of([Int(version), headerBytes, metaBytes, nameWord, EndpointCell.breaker.rawValue, HeaderCell.columnsUsed.rawValue, newsWord, newsCount])
  }

  private enum HeaderCell: Int { case magic, version, rows, columns, epoch, lease, columnsUsed }

  @usableFromInline let base: UnsafeMutableRawPointer
  public let rowCount: Int
  public let columnCount: Int
  @usableFromInline let rowBytes: Int
  private let mapping: SharedMapping

  /// Rows for so many endpoints, with room for as many as come and go by DNS.
  public static func rows(endpoints: Int, upstreams: Int) -> Int {
    let wanted = max(64, min(1 << 22, endpoints) * 3 / 2 + min(1 << 20, upstreams) * 4)
    return 1 << (Int.bitWidth - (wanted - 1).leadingZeroBitCount)
  }

  /// Columns for so many workers: those that serve, those that will, and those that drain. Processes beyond it share no counts.
  public static func columns(workers: Int) -> Int { max(16, min(1024, (3 * workers + 15) / 16 * 16)) }

  static func rowBytes(columns: Int) -> Int { metaBytes + (columns * 4 + 63) / 64 * 64 }

  /// Creates the segment's file, its header written; for the master.
  public static func create(rows: Int, columns: Int) throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: headerBytes + rows * rowBytes(columns: columns), name: "gateway endpoints")
    let header = try SharedMapping(file, byteCount: headerBytes)
    func put(_ cell: HeaderCell, _ value: UInt64) {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
    }
    put(.version, version)
    put(.rows, UInt64(rows))
    put(.columns, UInt64(columns))
    put(.epoch, 1)
    put(.magic, magic)
    return file
  }

  /// Maps the segment in `file`. Refuses one of another kind or version, or that is too short (EPROTO).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let header = try SharedMapping(file, byteCount: Self.headerBytes)
    func get(_ cell: HeaderCell) -> UInt64 {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }
    let rows = get(.rows), columns = get(.columns)
    guard get(.magic) == Self.magic, get(.version) == Self.version, rows > 0, rows <= 1 << 23, rows.nonzeroBitCount == 1, columns > 0, columns <= 4096 else {
      throw .protocolViolation
    }
    rowCount = Int(rows)
    columnCount = Int(columns)
    rowBytes = Self.rowBytes(columns: Int(columns))
    mapping = try SharedMapping(file, byteCount: Self.headerBytes + Int(rows) * rowBytes)
    unsafe base = mapping.base
  }

  // MARK: Keys

  /// The key of an upstream, and of an endpoint of it; never 0.
  public static func key(upstream: String, endpoint: String = "") -> UInt64 { StableHash.of(upstream, endpoint) }

  /// The row of `key`; nil when there is none.
  public func find(_ key: UInt64) -> Int? {
    for step in 0..<min(Self.reach, rowCount) {
      let row = place(key, step)
      let found = value(.key, row)
      if found == key { return row }
      // A row that was claimed once belongs to somebody ever after: whoever came later than this stands before the first that was not.
      if found == 0 { return nil }
    }
    return nil
  }

  /// The row of an endpoint, which is claimed where there is none; nil when there is no room.
  /// - Parameter now: milliseconds of the monotonic clock.
  public func claim(upstream: String, endpoint: String, now: Int64) -> Int? {
    let key = Self.key(upstream: upstream, endpoint: endpoint)
    let seconds = UInt64(clamping: max(1, now / 1000))
    if let row = find(key) {
      store(seconds, .touched, row)
      return row
    }
    for isForced in [false, true] {
      var step = 0
      while step < min(Self.reach, rowCount) {
        let row = place(key, step)
        let old = settledKey(row)
        // Somebody else may have claimed it for the same endpoint in the meantime: two rows for one must not be.
        if old == key { return row }
        step += 1
        guard old == 0 || isForced && Int64(clamping: seconds) - Int64(clamping: value(.touched, row)) > Self.patience else { continue }
        // Touched first, so that nobody else takes it for forgotten; what is left of another endpoint is cleared before the key shows.
        store(seconds, .touched, row)
        guard exchange(.key, row, expected: old, desired: Self.reserved) else {
          step -= 1
          continue
        }
        clear(row)
        store(Self.key(upstream: upstream), .upstream, row)
        write(name: endpoint, row)
        store(seconds, .touched, row)
        store(key, .key, row)
        return row
      }
    }
    return nil
  }

  /// A key that no endpoint has: the row is being made. One whose maker was killed is forgotten like any other.
  private static let reserved = UInt64.max

  /// The key of a row, which is waited for while somebody makes the row; not for long, as its maker may have been killed.
  private func settledKey(_ row: Int) -> UInt64 {
    var key = value(.key, row), patience = 200_000
    while key == Self.reserved, patience > 0 {
      key = value(.key, row)
      patience -= 1
    }
    return key
  }

  private func place(_ key: UInt64, _ step: Int) -> Int { (Int(truncatingIfNeeded: key >> 8) &+ step) & (rowCount - 1) }

  private func clear(_ row: Int) {
    for word in 1..<(Self.metaBytes / 8) { unsafe cell(row, word).pointee.store(0, ordering: .relaxed) }
    for column in 0..<columnCount { publish(0, row: row, column: column) }
  }

  private func write(name: String, _ row: Int) {
    var words = [UInt64](repeating: 0, count: Self.nameLimit / 8)
    for (index, byte) in name.utf8.prefix(Self.nameLimit).enumerated() { words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8) }
    for (index, word) in words.enumerated() { unsafe cell(row, Self.nameWord + index).pointee.store(word, ordering: .relaxed) }
  }

  /// What the endpoint of a row is called; the beginning, where that is longer than `nameLimit` bytes.
  public func name(_ row: Int) -> String {
    var bytes: [UInt8] = []
    for index in 0..<Self.nameLimit {
      let word = unsafe cell(row, Self.nameWord + index / 8).pointee.load(ordering: .relaxed)
      let byte = UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
      if byte == 0 { break }
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The rows in use of one upstream.
  public func rows(ofUpstream name: String) -> [Int] {
    let key = Self.key(upstream: name)
    return (0..<rowCount).filter { isUsed($0) && value(.upstream, $0) == key }
  }

  /// Whether a row belongs to some endpoint.
  public func isUsed(_ row: Int) -> Bool {
    let key = value(.key, row)
    return key != 0 && key != Self.reserved
  }

  /// Says that the endpoint of a row still exists. Milliseconds of the monotonic clock.
  public func touch(_ row: Int, now: Int64) { store(UInt64(clamping: max(1, now / 1000)), .touched, row) }

  // MARK: Words

  @inlinable @inline(__always)
  func cell(_ row: Int, _ word: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(row >= 0 && row < rowCount && word >= 0 && word < EndpointTable.metaBytes / 8)
    return unsafe (base + (4096 &+ row &* rowBytes &+ word &* 8)).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inlinable @inline(__always)
  public func value(_ word: EndpointCell, _ row: Int) -> UInt64 { unsafe cell(row, word.rawValue).pointee.load(ordering: .relaxed) }

  @inlinable @inline(__always)
  public func store(_ value: UInt64, _ word: EndpointCell, _ row: Int) { unsafe cell(row, word.rawValue).pointee.store(value, ordering: .releasing) }

  @inlinable @inline(__always)
  public func add(_ amount: UInt64, _ word: EndpointCell, _ row: Int) {
    unsafe _ = cell(row, word.rawValue).pointee.wrappingAdd(amount, ordering: .relaxed)
  }

  @inlinable @inline(__always)
  public func exchange(_ word: EndpointCell, _ row: Int, expected: UInt64, desired: UInt64) -> Bool {
    unsafe cell(row, word.rawValue).pointee.compareExchange(expected: expected, desired: desired, ordering: .acquiringAndReleasing).exchanged
  }

  /// The cells of the circuit breaker of a row.
  public func breaker(_ row: Int) -> EndpointBreakerCells { unsafe EndpointBreakerCells(cell(row, EndpointCell.breaker.rawValue)) }

  public func administration(_ row: Int) -> EndpointAdministration { EndpointAdministration(rawValue: value(.administration, row)) ?? .enabled }

  /// Gives an order for an endpoint; all workers see it.
  /// - Parameter now: milliseconds of the monotonic clock.
  public func set(_ administration: EndpointAdministration, _ row: Int, now: Int64 = 0) {
    if administration == .enabled, self.administration(row) != .enabled, now > 0 { store(UInt64(now), .backSince, row) }
    store(administration.rawValue, .administration, row)
    announce(row)
  }

  // MARK: In flight

  @inlinable @inline(__always)
  func count(_ row: Int, _ column: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount)
    return unsafe (base + (4096 &+ row &* rowBytes &+ EndpointTable.metaBytes &+ column &* 4)).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// What the worker of `column` has in flight on an endpoint.
  @inlinable @inline(__always)
  public func publish(_ inFlight: UInt32, row: Int, column: Int) { unsafe count(row, column).pointee.store(inFlight, ordering: .relaxed) }

  /// What all workers have in flight on an endpoint.
  /// - Parameter columns: those that have been used, as `columnsUsed` says.
  @inlinable @inline(__always)
  public func inFlight(_ row: Int, columns: Int) -> UInt32 {
    var sum: UInt32 = 0
    for column in 0..<min(columns, columnCount) { sum &+= unsafe count(row, column).pointee.load(ordering: .relaxed) }
    return sum
  }

  /// Columns up to the last that was ever used.
  public var columnsUsed: Int { min(columnCount, Int(clamping: unsafe header(.columnsUsed).pointee.load(ordering: .relaxed))) }

  /// Has the others look at `column` as well; false: it has none, and what it has in flight is known to itself alone.
  public func use(column: Int) -> Bool {
    guard column >= 0, column < columnCount else { return false }
    while true {
      let used = unsafe header(.columnsUsed).pointee.load(ordering: .relaxed)
      if used > column { return true }
      if unsafe header(.columnsUsed).pointee.compareExchange(expected: used, desired: UInt64(column + 1), ordering: .relaxed).exchanged { return true }
    }
  }

  /// Drops what a worker that has ended has left; for the master.
  public func dropColumn(_ column: Int) {
    guard column >= 0, column < columnCount else { return }
    for row in 0..<rowCount where value(.key, row) != 0 { publish(0, row: row, column: column) }
  }

  // MARK: News

  private func header(_ cell: HeaderCell) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (mapping.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Another number whenever some endpoint's standing has changed.
  public var epoch: UInt64 { unsafe header(.epoch).pointee.load(ordering: .acquiring) }

  /// Has all workers look anew at the standing of the upstream that the endpoint of a row belongs to.
  public func announce(_ row: Int) {
    unsafe _ = newsCell(Self.group(ofUpstream: value(.upstream, row))).pointee.wrappingAdd(1, ordering: .relaxed)
    unsafe _ = header(.epoch).pointee.wrappingAdd(1, ordering: .releasing)
  }

  /// Has all workers look anew at the standing of all endpoints.
  public func announceAll() {
    for group in 0..<Self.newsCount { unsafe _ = newsCell(group).pointee.wrappingAdd(1, ordering: .relaxed) }
    unsafe _ = header(.epoch).pointee.wrappingAdd(1, ordering: .releasing)
  }

  /// The group of an upstream, by its key.
  public static func group(ofUpstream key: UInt64) -> Int { Int(truncatingIfNeeded: key & UInt64(newsCount - 1)) }

  /// Another number whenever some endpoint's standing in a group of upstreams has changed. To be read after `epoch`.
  public func news(ofGroup group: Int) -> UInt64 { unsafe newsCell(group & (Self.newsCount - 1)).pointee.load(ordering: .relaxed) }

  private func newsCell(_ group: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (mapping.base + (Self.newsWord + group) * 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  // MARK: The lease

  /// Takes the lease, or renews it: who has it checks the endpoints for all. A later generation takes it from an earlier one, whoever from one whose time is over.
  /// - Parameters:
  ///   - row: of the scoreboard.
  ///   - until: when it ends unless it is renewed; both in milliseconds of the monotonic clock.
  public func lead(generation: UInt64, row: Int, now: Int64, until: Int64) -> Bool {
    let own = UInt16(truncatingIfNeeded: generation), place = UInt16(truncatingIfNeeded: row)
    let old = unsafe header(.lease).pointee.load(ordering: .acquiring)
    let holder = UInt16(truncatingIfNeeded: old >> 16), holderRow = UInt16(truncatingIfNeeded: old)
    let ends = Int64(clamping: old >> 32) * 10
    let isOwn = old != 0 && holder == own && holderRow == place
    let isLater = Int16(bitPattern: own &- holder) > 0
    guard old == 0 || isOwn || isLater || ends <= now || ends > now + 60_000 else { return false }
    let new = (UInt64(clamping: max(0, until / 10)) & 0xffff_ffff) << 32 | UInt64(own) << 16 | UInt64(place)
    return unsafe header(.lease).pointee.compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
  }

  /// Gives the lease up, if the worker of `row` has it: itself, or the master when it has ended.
  public func ceaseToLead(row: Int) {
    let old = unsafe header(.lease).pointee.load(ordering: .acquiring)
    guard old != 0, UInt16(truncatingIfNeeded: old) == UInt16(truncatingIfNeeded: row) else { return }
    unsafe _ = header(.lease).pointee.compareExchange(expected: old, desired: 0, ordering: .acquiringAndReleasing)
  }

  /// The row of the scoreboard of whoever has the lease; nil: nobody.
  public var leader: Int? {
    let word = unsafe header(.lease).pointee.load(ordering: .acquiring)
    return word == 0 ? nil : Int(UInt16(truncatingIfNeeded: word))
  }

  // MARK: Another table

  /// Takes over what `older` knows, but for what is in flight; for the master, when a new plan needs a larger table.
  public func copy(from older: EndpointTable) {
    for row in 0..<older.rowCount where older.isUsed(row) {
      let key = older.value(.key, row)
      for step in 0..<min(Self.reach, rowCount) {
        let target = place(key, step)
        guard value(.key, target) == 0 else { continue }
        for word in 1..<(Self.metaBytes / 8) {
          unsafe cell(target, word).pointee.store(older.cell(row, word).pointee.load(ordering: .relaxed), ordering: .relaxed)
        }
        store(key, .key, target)
        break
      }
    }
  }
}
