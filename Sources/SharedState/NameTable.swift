// NameTable — the segment in which workers tell each other, and those that come after them, what host names have resolved to.
//
// Layout: header page | one record of `recordBytes` for each name: state word, count of words, checksum, then `wordLimit` words. What the words
// mean is known to Resolution alone.
//
// A record's state word has a version in its upper half, and in its lower half when the writing of it began (0: it is not being written).
// Writing: claim the word by compare-and-exchange, store the words, set the word free. A writer that dies leaves the word claimed; after
// `patience` another one claims it instead. Should the first one not have died but slept, what it still writes does not agree with the
// checksum, which covers the version.
//
// Invariants: every word is a relaxed atomic; a reader that finds the word claimed or changed, or the checksum wrong, has read nothing. So a
// process that is killed, or stopped, at any instruction costs at most one record, until that is written next.

import Kernel
import Synchronization

/// The records of names, mapped into this process.
@safe
public struct NameTable: @unchecked Sendable, BitwiseCopyable {
  /// Words of a record.
  public static let wordLimit = 1040
  static let headerBytes = 4096
  static let prefixWords = 3
  static let recordWords = 1088
  static var recordBytes: Int { recordWords * 8 }
  static let magic: UInt64 = 0x7365_6d61_6e73_6464  // "ddsnames" in memory order
  static let version: UInt64 = 1
  /// Names a segment has room for at most.
  public static let nameLimit = 65_536
  /// Milliseconds after which a claim counts as that of a dead process.
  static let patience: UInt32 = 2_000

  private enum HeaderCell: Int { case magic, version, names, epoch }

  private let cells: UnsafeMutablePointer<Atomic<UInt64>>
  private let mapping: SharedMapping
  public let count: Int

  public static func byteCount(names: Int) -> Int { headerBytes + max(1, min(names, nameLimit)) * recordBytes }

  /// Creates the segment's file for `names` names; for the master.
  public static func create(names: Int) throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: byteCount(names: names), name: "gateway names")
    let header = try SharedMapping(file, byteCount: headerBytes)
    func put(_ cell: HeaderCell, _ value: UInt64) {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
    }
    put(.version, version)
    put(.names, UInt64(max(1, min(names, nameLimit))))
    put(.magic, magic)
    return file
  }

  /// Maps the segment in `file`. Refuses one of another kind or version, or that is too short for its names (EPROTO, EFBIG).
  public init(_ file: borrowing Descriptor) throws(Errno) {
    let header = try SharedMapping(file, byteCount: Self.headerBytes)
    func get(_ cell: HeaderCell) -> UInt64 {
      unsafe (header.base + cell.rawValue * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
    }
    let names = get(.names)
    guard get(.magic) == Self.magic, get(.version) == Self.version, names > 0, names <= UInt64(Self.nameLimit) else { throw .protocolViolation }
    count = Int(names)
    mapping = try SharedMapping(file, byteCount: Self.byteCount(names: count))
    unsafe cells = mapping.base.bindMemory(to: Atomic<UInt64>.self, capacity: mapping.byteCount / 8)
  }

  private func cell(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(index >= 0 && index < mapping.byteCount / 8)
    return unsafe cells + index
  }

  private func start(of name: Int) -> Int { Self.headerBytes / 8 + name * Self.recordWords }

  /// Changes with every record that is written.
  public var epoch: UInt64 { unsafe cell(HeaderCell.epoch.rawValue).pointee.load(ordering: .acquiring) }

  /// The version of a record; it changes with every writing. 0: it was never written.
  public func version(of name: Int) -> UInt64 {
    guard name >= 0, name < count else { return 0 }
    return unsafe cell(start(of: name)).pointee.load(ordering: .acquiring) >> 32
  }

  /// Writes a record.
  /// - Parameters:
  ///   - words: `wordLimit` of them at most.
  ///   - now: milliseconds of the monotonic clock.
  /// - Returns: false when there is no such record, or somebody else is writing it.
  @discardableResult
  public func publish(_ name: Int, _ words: [UInt64], now: Int64) -> Bool {
    guard name >= 0, name < count, words.count <= Self.wordLimit else { return false }
    let start = start(of: name)
    let stamp = UInt32(truncatingIfNeeded: now) | 1
    let found = unsafe cell(start).pointee.load(ordering: .acquiring)
    let claimedAt = UInt32(truncatingIfNeeded: found)
    if claimedAt != 0, stamp &- claimedAt < Self.patience { return false }
    let version = (found >> 32 &+ 1) & 0xffff_ffff
    let claim = version << 32 | UInt64(stamp)
    guard unsafe cell(start).pointee.compareExchange(expected: found, desired: claim, ordering: .acquiringAndReleasing).exchanged else { return false }
    unsafe cell(start + 1).pointee.store(UInt64(words.count), ordering: .relaxed)
    for (position, word) in words.enumerated() { unsafe cell(start + Self.prefixWords + position).pointee.store(word, ordering: .relaxed) }
    unsafe cell(start + 2).pointee.store(Self.checksum(words, version), ordering: .relaxed)
    // When the claim has been taken over, what is there is the other's, or nothing.
    _ = unsafe cell(start).pointee.compareExchange(expected: claim, desired: version << 32, ordering: .acquiringAndReleasing)
    unsafe _ = cell(HeaderCell.epoch.rawValue).pointee.wrappingAdd(1, ordering: .acquiringAndReleasing)
    return true
  }

  /// A record's words; nil when it was never written, is being written, or was left unfinished.
  public func read(_ name: Int) -> [UInt64]? {
    guard name >= 0, name < count else { return nil }
    let start = start(of: name)
    for _ in 0..<3 {
      let before = unsafe cell(start).pointee.load(ordering: .acquiring)
      guard before != 0, UInt32(truncatingIfNeeded: before) == 0 else { continue }
      let count = unsafe cell(start + 1).pointee.load(ordering: .relaxed)
      guard count <= UInt64(Self.wordLimit) else { continue }
      let sum = unsafe cell(start + 2).pointee.load(ordering: .relaxed)
      var words: [UInt64] = []
      words.reserveCapacity(Int(count))
      for position in 0..<Int(count) { words.append(unsafe cell(start + Self.prefixWords + position).pointee.load(ordering: .relaxed)) }
      atomicMemoryFence(ordering: .acquiring)
      guard unsafe cell(start).pointee.load(ordering: .relaxed) == before else { continue }
      return Self.checksum(words, before >> 32) == sum ? words : nil
    }
    return nil
  }

  /// Not against malice: all who can write are ourselves.
  static func checksum(_ words: [UInt64], _ version: UInt64) -> UInt64 {
    var sum = version &+ 0x9e37_79b9_7f4a_7c15
    for word in words {
      sum ^= word
      sum = (sum ^ sum >> 32) &* 0xd6e8_feb8_6659_fd93
    }
    return sum ^ UInt64(words.count)
  }

  /// As a writer that dies in the middle: for tests.
  func abandon(_ name: Int, now: Int64) {
    let start = start(of: name)
    let version = (unsafe cell(start).pointee.load(ordering: .relaxed) >> 32 &+ 1) & 0xffff_ffff
    unsafe cell(start).pointee.store(version << 32 | UInt64(UInt32(truncatingIfNeeded: now) | 1), ordering: .relaxed)
    unsafe cell(start + 1).pointee.store(UInt64(Self.wordLimit), ordering: .relaxed)
  }
}
