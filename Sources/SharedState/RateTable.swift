// RateTable — the cells of one rate-limit zone, in a segment that all workers write.
//
// Layout: header page | sets of eight words, one cache line each | the keys that ask most, where they are kept (RateTracking). A word is the whole state of one key, so that it changes by
// one compare-and-exchange or not at all: a process that is killed at any instruction leaves a valid table behind.
//
// Invariants: what a word means is known to Policy alone (see RateCell); the header is written once, before the file is passed
// on. A set number is reduced to those there are before use.

import Kernel
import Synchronization

/// What a rate decision needs of the place where its cells are.
public protocol RateMemory {
  /// Sets of `RateTable.ways` words.
  var setCount: Int { get }
  func load(set: Int, way: Int) -> UInt64
  /// Puts `desired` in the place of `expected`; false when something else was there.
  func exchange(set: Int, way: Int, expected: UInt64, desired: UInt64) -> Bool
}

/// A zone's cells, mapped into this process.
@safe
public struct RateTable: RateMemory, @unchecked Sendable, BitwiseCopyable {
  /// Words in a set.
  public static let ways = 8
  static let headerBytes = 4096
  static let magic: UInt64 = 0x7365_6e6f_7a65_7461  // "atezones" in memory order
  static let version: UInt64 = 2

  /// Differs when the places of things or the meaning of a word do.
  public static var layout: UInt64 { LayoutHash.of([Int(version), headerBytes, ways, HeaderCell.decayedAt.rawValue, TrackedCell.text.rawValue, trackedBytes]) }

  private enum HeaderCell: Int { case magic, version, sets, seedLow, seedHigh, sweptAt, refusals, wouldBeRefusals, trackedSets, decayedAt, storeIsAway }

  @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>
  public let setCount: Int
  /// The key of the hash, drawn when the table was made: clients cannot choose who they share a set with.
  public let seed: (low: UInt64, high: UInt64)
  /// Sets of keys that are kept with their text; 0: none are.
  public let trackedSets: Int
  let tracked: UnsafeMutablePointer<Atomic<UInt64>>
  private let mapping: SharedMapping

  /// Sets for at least `entries` keys.
  public static func sets(for entries: Int) -> Int { max(1, (min(max(1, entries), 1 << 34) + ways - 1) / ways) }

  /// Bytes of a segment for at least `entries` keys: 8 for each, and a page; and 256 for each of `trackedLimit` keys, where they are kept.
  public static func byteCount(entries: Int, isTracked: Bool = false) -> Int {
    headerBytes + sets(for: entries) * ways * 8 + (isTracked ? trackedLimit * trackedBytes : 0)
  }

  /// Creates the segment's file, its header written; for the master.
  /// - Parameters:
  ///   - entries: keys it holds at least.
  ///   - isTracked: the keys that ask most are kept.
  ///   - seed: of the hash.
  ///   - now: microseconds of the monotonic clock.
  public static func create(entries: Int, isTracked: Bool = false, seed: (low: UInt64, high: UInt64), now: Int64) throws(Errno) -> Descriptor {
    let size = byteCount(entries: entries, isTracked: isTracked)
    let file = try MemoryFile.table(size: size, name: "gateway rate limit")
    let header = try SharedMapping(file, byteCount: headerBytes)
    func put(_ cell: HeaderCell, _ value: UInt64) {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
    }
    put(.version, version)
    put(.sets, UInt64(sets(for: entries)))
    put(.seedLow, seed.low)
    put(.seedHigh, seed.high)
    put(.sweptAt, UInt64(clamping: now))
    put(.decayedAt, UInt64(clamping: now))
    put(.trackedSets, UInt64(isTracked ? trackedLimit / ways : 0))
    put(.magic, magic)
    return file
  }

  /// Maps the segment in `file`. Refuses one of another kind or version, or that is too short for its sets (EPROTO).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let header = try SharedMapping(file, byteCount: Self.headerBytes)
    func get(_ cell: HeaderCell) -> UInt64 {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }
    let sets = get(.sets), tracked = get(.trackedSets)
    guard get(.magic) == Self.magic, get(.version) == Self.version, sets > 0, sets <= 1 << 31, tracked <= UInt64(Self.trackedLimit / Self.ways) else { throw .protocolViolation }
    let start = Self.headerBytes + Int(sets) * Self.ways * 8, size = Int(tracked) * Self.ways * Self.trackedBytes
    mapping = try SharedMapping(file, byteCount: start + size)
    trackedSets = Int(tracked)
    unsafe self.tracked = (mapping.base + start).assumingMemoryBound(to: Atomic<UInt64>.self)
    setCount = Int(sets)
    seed = (get(.seedLow), get(.seedHigh))
    unsafe cells = (mapping.base + Self.headerBytes).bindMemory(to: Atomic<UInt64>.self, capacity: Int(sets) * Self.ways)
  }

  private func header(_ cell: HeaderCell) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (mapping.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Requests refused, and those that would have been but for a dry run, by all workers.
  public var refusals: (made: UInt64, spared: UInt64) {
    unsafe (header(.refusals).pointee.load(ordering: .relaxed), header(.wouldBeRefusals).pointee.load(ordering: .relaxed))
  }

  public func countRefusal(isSpared: Bool) {
    unsafe _ = header(isSpared ? .wouldBeRefusals : .refusals).pointee.wrappingAdd(1, ordering: .relaxed)
  }

  /// Claims the duty to let counts of keys decay, likewise.
  func claimDecay(now: Int64, interval: Int64) -> Bool {
    let last = unsafe header(.decayedAt).pointee.load(ordering: .relaxed)
    guard now - Int64(clamping: last) >= interval else { return false }
    return unsafe header(.decayedAt).pointee.compareExchange(expected: last, desired: UInt64(clamping: now), ordering: .relaxed).exchanged
  }

  /// Notes that the server that has the zone's buckets does not answer, or does again. True for the one process that is first to find it.
  public func markStore(isAway: Bool) -> Bool {
    unsafe header(.storeIsAway).pointee.compareExchange(expected: isAway ? 0 : 1, desired: isAway ? 1 : 0, ordering: .relaxed).exchanged
  }

  /// Whether that was noted.
  public var storeIsAway: Bool { unsafe header(.storeIsAway).pointee.load(ordering: .relaxed) == 1 }

  /// Claims the duty to look through the table when that was last done `interval` ago; nil: it is not time, or somebody else
  /// does it. Microseconds of the monotonic clock.
  /// - Returns: when it was done last; 0: never.
  public func claimSweep(now: Int64, interval: Int64) -> Int64? {
    let last = unsafe header(.sweptAt).pointee.load(ordering: .relaxed)
    guard now - Int64(clamping: last) >= interval else { return nil }
    let isMine = unsafe header(.sweptAt).pointee.compareExchange(expected: last, desired: UInt64(clamping: now), ordering: .relaxed).exchanged
    return isMine ? Int64(clamping: last) : nil
  }

  /// Keys the table holds at most.
  public var capacity: Int { setCount * Self.ways }

  @inlinable @inline(__always)
  public func load(set: Int, way: Int) -> UInt64 {
    precondition(set >= 0 && set < setCount && way >= 0 && way < RateTable.ways)
    return unsafe (cells + (set &* RateTable.ways &+ way)).pointee.load(ordering: .relaxed)
  }

  @inlinable @inline(__always)
  public func exchange(set: Int, way: Int, expected: UInt64, desired: UInt64) -> Bool {
    precondition(set >= 0 && set < setCount && way >= 0 && way < RateTable.ways)
    return unsafe (cells + (set &* RateTable.ways &+ way)).pointee.compareExchange(expected: expected, desired: desired, ordering: .relaxed).exchanged
  }
}
