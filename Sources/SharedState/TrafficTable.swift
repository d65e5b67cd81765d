// TrafficTable — requests, failures and latencies of each route and upstream, in a segment that `gatewayctl top` reads.
//
// Layout: header page | the names of all rows, each behind its length (two bytes), up to a full page | for each column (worker slot of the
// generation) and row, a record: requests, failures, microseconds, and buckets of the histogram in halves of words.
// Pages that were never written cost no memory.
//
// Invariants: a column is written by one worker at a time, with relaxed atomics; whoever reads sees counts of about the same moment. A worker
// that takes the place of a dead one goes on with its column. Numbers in the file are checked before they are used.

import Kernel
import Synchronization

/// The counts of one row, of one or all workers.
public struct TrafficCounts: Equatable, Sendable {
  public var requests: UInt64 = 0
  /// Those with a status of 500 or above, or without a response.
  public var failures: UInt64 = 0
  /// Of all of them.
  public var microseconds: UInt64 = 0
  public var buckets = [UInt32](repeating: 0, count: LatencyBucket.count)

  public init() {}

  /// What has come since `before`, which was read from the same row.
  public func since(_ before: TrafficCounts) -> TrafficCounts {
    var difference = TrafficCounts()
    difference.requests = requests &- before.requests
    difference.failures = failures &- before.failures
    difference.microseconds = microseconds &- before.microseconds
    for index in buckets.indices { difference.buckets[index] = buckets[index] &- before.buckets[index] }
    return difference
  }

  public mutating func add(_ other: TrafficCounts) {
    requests &+= other.requests
    failures &+= other.failures
    microseconds &+= other.microseconds
    for index in buckets.indices { buckets[index] &+= other.buckets[index] }
  }

  /// Microseconds within which this share of the requests was answered: the upper bound of the bucket that it falls into, a quarter
  /// above the truth at most. Nil when there were none.
  public func quantile(_ share: Double) -> Int64? {
    let total = buckets.reduce(UInt64(0)) { $0 &+ UInt64($1) }
    guard total > 0 else { return nil }
    let rank = max(1, UInt64((Double(total) * min(max(share, 0), 1)).rounded(.up)))
    var seen: UInt64 = 0
    for (index, count) in buckets.enumerated() {
      seen &+= UInt64(count)
      if seen >= rank { return LatencyBucket.upperBound(of: index) }
    }
    return LatencyBucket.upperBound(of: buckets.count - 1)
  }
}

/// Buckets of latencies: below 32 µs one, then four for each doubling, up to two minutes.
public enum LatencyBucket {
  public static let count = 88
  @usableFromInline static var smallest: Int { 5 }

  /// The bucket of a latency in microseconds.
  @inlinable @inline(__always)
  public static func index(of microseconds: Int64) -> Int {
    // Exponent and first two bits of the fraction stand side by side in a floating-point number.
    let position = Int(truncatingIfNeeded: Double(max(0, microseconds)).bitPattern >> 50) &- ((1023 &+ smallest) &* 4 &- 1)
    return min(max(position, 0), count &- 1)
  }

  /// Microseconds that no latency in the bucket exceeds; of the last bucket, those that its latencies begin with.
  public static func upperBound(of index: Int) -> Int64 {
    guard index > 0 else { return 31 }
    let start = { (index: Int) -> Int64 in
      let exponent = (index - 1) / 4 + smallest
      return Int64(4 + (index - 1) % 4) << Int64(exponent - 2)
    }
    return index >= count - 1 ? start(count - 1) : start(index + 1) - 1
  }
}

/// The table, mapped into this process.
@safe
public struct TrafficTable: @unchecked Sendable, BitwiseCopyable {
  static let headerBytes = 4096
  @usableFromInline static let recordBytes = 384
  static let bucketBase = 32
  static let magic: UInt64 = 0x6369_6666_6172_7464  // "dtraffic" in memory order
  static let version: UInt64 = 1
  static let rowLimit = 1 << 20
  static let columnLimit = 4096
  /// The beginning of a name that is kept.
  static let nameLimit = 256

  /// What the file's name begins with; the number of the generation follows.
  public static var fileName: String { "gateway traffic " }

  private enum HeaderCell: Int { case magic, version, routes, upstreams, columns, nameBytes }

  @usableFromInline let records: UnsafeMutableRawPointer
  private let names: UnsafeRawPointer
  private let nameBytes: Int
  private let mapping: SharedMapping
  public let routes: Int
  public let upstreams: Int
  public let columns: Int

  /// Routes, what no route has taken, and upstreams.
  @inlinable public var rows: Int { routes &+ 1 &+ upstreams }

  private static func rounded(_ bytes: Int) -> Int { (bytes + 4095) & ~4095 }

  /// Creates the segment's file; for the master.
  /// - Parameters:
  ///   - routes: their patterns, in the order of the plan.
  ///   - upstreams: their names.
  ///   - columns: the generation's workers.
  ///   - name: of the file; see `fileName`.
  public static func create(routes: [String], upstreams: [String], columns: Int, name: String = fileName) throws(Errno) -> Descriptor {
    var text: [UInt8] = []
    for name in routes + upstreams {
      let bytes = name.utf8.prefix(nameLimit)
      text.append(UInt8(truncatingIfNeeded: bytes.count))
      text.append(UInt8(truncatingIfNeeded: bytes.count >> 8))
      text += bytes
    }
    let rows = routes.count + 1 + upstreams.count, columns = max(1, columns)
    guard rows <= rowLimit, columns <= columnLimit else { throw .protocolViolation }
    let start = headerBytes + rounded(text.count)
    var beginning: [UInt8] = []
    for word in [magic, version, UInt64(routes.count), UInt64(upstreams.count), UInt64(columns), UInt64(text.count)] {
      for byte in 0..<8 { beginning.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * byte))) }
    }
    beginning += [UInt8](repeating: 0, count: headerBytes - beginning.count) + text
    // Not by a mapping, which would stay for as long as the master does.
    return try MemoryFile.table(size: start + rows * columns * recordBytes, beginning: beginning, name: name)
  }

  /// Maps the segment in `file`. Refuses one of another kind or version, or that is too short for what it says (EPROTO, EFBIG).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let head = try SharedMapping(file, byteCount: Self.headerBytes)
    func get(_ cell: HeaderCell) -> UInt64 {
      unsafe (head.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }
    let routes = get(.routes), upstreams = get(.upstreams), columns = get(.columns), text = get(.nameBytes), limit = UInt64(Self.rowLimit)
    guard get(.magic) == Self.magic, get(.version) == Self.version, routes < limit, upstreams < limit, routes + upstreams < limit, columns > 0,
      columns <= UInt64(Self.columnLimit), text <= limit * UInt64(Self.nameLimit + 2)
    else { throw .protocolViolation }
    self.routes = Int(routes)
    self.upstreams = Int(upstreams)
    self.columns = Int(columns)
    nameBytes = Int(text)
    let start = Self.headerBytes + Self.rounded(nameBytes)
    mapping = try SharedMapping(file, byteCount: start + Int(routes + 1 + upstreams) * Int(columns) * Self.recordBytes)
    unsafe records = mapping.base + start
    unsafe names = UnsafeRawPointer(mapping.base + Self.headerBytes)
  }

  // MARK: Counting

  /// The records of one worker.
  /// - Parameter slot: nil when there is no such column.
  public func column(_ slot: Int) -> TrafficColumn? {
    guard slot >= 0, slot < columns else { return nil }
    return unsafe TrafficColumn(base: records + slot * rows * Self.recordBytes, routes: routes, upstreams: upstreams)
  }

  // MARK: Reading

  /// The names of routes and upstreams, in the order of their rows without the one that has none.
  public func rowNames() -> [String] {
    var result: [String] = [], at = 0
    while result.count < routes + upstreams, at + 2 <= nameBytes {
      let length = unsafe Int(names.load(fromByteOffset: at, as: UInt8.self)) | Int(names.load(fromByteOffset: at + 1, as: UInt8.self)) << 8
      guard length <= nameBytes - at - 2 else { break }
      unsafe result.append(String(decoding: UnsafeRawBufferPointer(start: names + at + 2, count: length), as: UTF8.self))
      at += 2 + length
    }
    while result.count < routes + upstreams { result.append("") }
    return result
  }

  /// What all workers have counted in a row.
  public func counts(row: Int) -> TrafficCounts {
    var counts = TrafficCounts()
    guard row >= 0, row < rows else { return counts }
    for column in 0..<columns {
      let record = unsafe records + (column * rows + row) * Self.recordBytes
      let words = unsafe record.assumingMemoryBound(to: Atomic<UInt64>.self)
      let requests = unsafe words[0].load(ordering: .relaxed)
      // Most rows of a large table have never been written.
      if requests == 0 { continue }
      counts.requests &+= requests
      counts.failures &+= unsafe words[1].load(ordering: .relaxed)
      counts.microseconds &+= unsafe words[2].load(ordering: .relaxed)
      let buckets = unsafe (record + Self.bucketBase).assumingMemoryBound(to: Atomic<UInt32>.self)
      for index in 0..<LatencyBucket.count { counts.buckets[index] &+= unsafe buckets[index].load(ordering: .relaxed) }
    }
    return counts
  }
}

/// Where one worker counts.
@safe
public struct TrafficColumn: @unchecked Sendable, BitwiseCopyable {
  @usableFromInline let base: UnsafeMutableRawPointer
  @usableFromInline let routes: Int
  @usableFromInline let upstreams: Int

  @usableFromInline
  init(base: UnsafeMutableRawPointer, routes: Int, upstreams: Int) {
    unsafe self.base = base
    self.routes = routes
    self.upstreams = upstreams
  }

  /// Counts a finished request of a route; -1, or any that there is not: of none.
  @inlinable @inline(__always)
  public func count(route: Int, status: UInt16, microseconds: Int64) {
    add(row: route >= 0 && route < routes ? route : routes, failed: status >= 500 || status == 0, microseconds)
  }

  /// Counts an answer of an upstream.
  @inlinable @inline(__always)
  public func count(upstream: Int, failed: Bool, microseconds: Int64) {
    guard upstream >= 0, upstream < upstreams else { return }
    add(row: routes &+ 1 &+ upstream, failed: failed, microseconds)
  }

  @inlinable @inline(__always)
  func add(row: Int, failed: Bool, _ microseconds: Int64) {
    let record = unsafe base + row &* TrafficTable.recordBytes
    let words = unsafe record.assumingMemoryBound(to: Atomic<UInt64>.self)
    unsafe words[0].store(words[0].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    if failed { unsafe words[1].store(words[1].load(ordering: .relaxed) &+ 1, ordering: .relaxed) }
    let microseconds = max(0, microseconds)
    unsafe words[2].store(words[2].load(ordering: .relaxed) &+ UInt64(microseconds), ordering: .relaxed)
    let bucket = unsafe (record + 32).assumingMemoryBound(to: Atomic<UInt32>.self) + LatencyBucket.index(of: microseconds)
    unsafe bucket.pointee.store(bucket.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }
}
