// NameTable — the segment in which workers tell each other, and those that come after them, what host names have resolved to.
//
// Layout: header page | a key for each name, in whole pages | one record of `recordBytes` for each name: state word, count of words, checksum, then
// `wordLimit` words. What the words mean is known to Resolution alone. By the keys, which are written once, another program knows whose the
// records are, whatever it knows of the plan that they were made for.
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
  static let version: UInt64 = 2
  /// Names a segment has room for at most.
  public static let nameLimit = 65_536
  /// Milliseconds after which a claim counts as that of a dead process.
  static let patience: UInt32 = 2_000

  /// Differs when the places of things do.
  public static var layout: UInt64 { LayoutHash.of([Int(version), headerBytes, prefixWords, recordWords, wordLimit, HeaderCell.rules.rawValue]) }

  private enum HeaderCell: Int { case magic, version, names, epoch, rules }

  private let cells: UnsafeMutablePointer<Atomic<UInt64>>
  private let mapping: SharedMapping
  public let count: Int

  /// Where records begin.
  static func recordStart(names: Int) -> Int { headerBytes + (max(1, min(names, nameLimit)) * 8 + 4095) / 4096 * 4096 }

  public static func byteCount(names: Int) -> Int { recordStart(names: names) + max(1, min(names, nameLimit)) * recordBytes }

  /// The key of a name; never 0.
  /// - Parameter isService: whether its SRV records are meant.
  public static func key(_ host: String, isService: Bool) -> UInt64 { StableHash.of(host, isService ? "srv" : "") }

  /// Creates the segment's file; for the master.
  /// - Parameters:
  ///   - keys: of the names, in their order.
  ///   - rules: a number for how they are resolved.
  public static func create(keys: [UInt64], rules: UInt64) throws(Errno) -> Descriptor {
    let file = try MemoryFile.table(size: byteCount(names: keys.count), name: "gateway names")
    let header = try SharedMapping(file, byteCount: recordStart(names: keys.count))
    func put(_ index: Int, _ value: UInt64) {
      unsafe (header.base + index * 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value, ordering: .releasing)
    }
    put(HeaderCell.version.rawValue, version)
    put(HeaderCell.names.rawValue, UInt64(max(1, min(keys.count, nameLimit))))
    put(HeaderCell.rules.rawValue, rules)
    for (position, key) in keys.prefix(nameLimit).enumerated() { put(headerBytes / 8 + position, key) }
    put(HeaderCell.magic.rawValue, magic)
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

  private func start(of name: Int) -> Int { Self.recordStart(names: count) / 8 + name * Self.recordWords }

  /// Whose records these are, in order.
  public var keys: [UInt64] { (0..<count).map { unsafe cell(Self.headerBytes / 8 + $0).pointee.load(ordering: .relaxed) } }

  /// The number for how they are resolved.
  public var rules: UInt64 { unsafe cell(HeaderCell.rules.rawValue).pointee.load(ordering: .relaxed) }

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
