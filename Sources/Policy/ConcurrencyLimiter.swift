// ConcurrencyLimiter — whether a key may have one more under way, by what the words of a ConcurrencyTable say.
//
// A word is 44 bits of the key's hash and a count of 20 bits; 0 is a free one. In the column of each worker a key has one word at most, in
// the first of two sets or, where that was full, in the second. Who asks counts itself in its own column first and sums up all columns then, with a full
// barrier in between: of several at the same time the last one sees all, so that no sum exceeds the limit. Whoever is over it takes its count back.

import CLinux
import Memory
import SharedState

/// What came of asking.
public enum ConcurrencyOutcome: Equatable, Sendable, BitwiseCopyable {
  /// It is counted, in this place of the column, until `leave`.
  case entered(place: Int32)
  /// As many are under way as may.
  case full
  /// There is no word for one more key.
  case noRoom
}

/// One zone, as one worker sees it.
public struct ConcurrencyLimiter<Memory: ConcurrencyMemory> {
  public let memory: Memory
  /// What a key may have under way.
  public let limit: UInt64
  /// The worker's own.
  public let column: Int

  public init(_ memory: Memory, limit: Int, column: Int) {
    self.memory = memory
    self.limit = UInt64(clamping: min(max(0, limit), Int(ConcurrencyWord.most)))
    self.column = column
  }

  /// Counts one more of the key that hashes to `hash`, if that is not too many.
  @inline(__always)
  public func enter(_ hash: UInt64) -> ConcurrencyOutcome {
    let tag = ConcurrencyWord.tag(of: hash)
    let first = set(hash), second = set(hash << 32 | hash >> 32)
    guard let place = find(column, tag, first, second) ?? vacancy(first, second) else { return .noRoom }
    let word = memory.load(column: column, place: place)
    let own = ConcurrencyWord.tag(in: word) == tag ? ConcurrencyWord.count(in: word) : 0
    // Others that ask at the same instant and are refused as well are gone the next time.
    for _ in 0..<8 {
      memory.store(ConcurrencyWord.word(tag, own &+ 1), column: column, place: place)
      memory.fence()
      if own &+ 1 &+ others(tag, first, second) <= limit { return .entered(place: Int32(truncatingIfNeeded: place)) }
      memory.store(own == 0 ? 0 : ConcurrencyWord.word(tag, own), column: column, place: place)
      if own &+ others(tag, first, second) >= limit { return .full }
    }
    return .full
  }

  /// One that was counted in `place` is over.
  public func leave(_ place: Int32) {
    let place = Int(place)
    let word = memory.load(column: column, place: place), count = ConcurrencyWord.count(in: word)
    memory.store(count <= 1 ? 0 : word &- 1, column: column, place: place)
  }

  /// What all workers have under way of the key that hashes to `hash`.
  public func underWay(_ hash: UInt64) -> UInt64 {
    let tag = ConcurrencyWord.tag(of: hash), first = set(hash), second = set(hash << 32 | hash >> 32)
    var sum: UInt64 = 0
    for column in 0..<memory.columnsUsed { sum &+= count(column, tag, first, second) }
    return sum
  }

  private func set(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash.multipliedFullWidth(by: UInt64(truncatingIfNeeded: memory.setCount)).high) }

  /// What workers other than this one have under way.
  private func others(_ tag: UInt64, _ first: Int, _ second: Int) -> UInt64 {
    var sum: UInt64 = 0
    for other in 0..<memory.columnsUsed where other != column { sum &+= count(other, tag, first, second) }
    return sum
  }

  private func count(_ column: Int, _ tag: UInt64, _ first: Int, _ second: Int) -> UInt64 {
    guard let place = find(column, tag, first, second) else { return 0 }
    let word = memory.load(column: column, place: place)
    // It may have become another key's since.
    return ConcurrencyWord.tag(in: word) == tag ? ConcurrencyWord.count(in: word) : 0
  }

  private func find(_ column: Int, _ tag: UInt64, _ first: Int, _ second: Int) -> Int? {
    if let place = find(column, tag, first) { return place }
    return memory.hasSpread(column: column) ? find(column, tag, second) : nil
  }

  private func find(_ column: Int, _ tag: UInt64, _ set: Int) -> Int? {
    for place in set * ConcurrencyTable.ways..<(set + 1) * ConcurrencyTable.ways where ConcurrencyWord.tag(in: memory.load(column: column, place: place)) == tag {
      return place
    }
    return nil
  }

  /// A free word of this worker's.
  private func vacancy(_ first: Int, _ second: Int) -> Int? {
    if let place = find(column, 0, first) { return place }
    guard let place = find(column, 0, second) else { return nil }
    memory.noteSpread(column: column)
    return place
  }
}

extension ConcurrencyLimiter: BitwiseCopyable where Memory: BitwiseCopyable {}

extension ConcurrencyLimiter where Memory == ConcurrencyTable {
  /// `enter` for `key`, made for the shared words: one call for those who are in other modules.
  public func ask(_ key: Span<UInt8>) -> ConcurrencyOutcome {
    enter(unsafe key.withUnsafeBytes { unsafe clx_siphash(memory.seed.low, memory.seed.high, $0.baseAddress, $0.count) })
  }

  /// Keys that are under way, how much they have together, and how much one of them has.
  public var population: (keys: Int, sum: UInt64, most: UInt64) {
    var tags: [UInt64: UInt64] = [:]
    for column in 0..<memory.columnsUsed {
      for place in 0..<memory.placeCount {
        let word = memory.load(column: column, place: place)
        guard word != 0 else { continue }
        tags[ConcurrencyWord.tag(in: word), default: 0] += ConcurrencyWord.count(in: word)
      }
    }
    return (tags.count, tags.values.reduce(0, +), tags.values.max() ?? 0)
  }
}

/// What a word of a ConcurrencyTable means.
enum ConcurrencyWord {
  static let countBits: UInt64 = 20
  static let most: UInt64 = 1 << countBits - 2

  /// The bits of `hash` that tell its key from others; never 0.
  static func tag(of hash: UInt64) -> UInt64 { max(1, hash & (1 << (64 - countBits) - 1)) }
  static func tag(in word: UInt64) -> UInt64 { word >> countBits }
  static func count(in word: UInt64) -> UInt64 { word & (1 << countBits - 1) }
  static func word(_ tag: UInt64, _ count: UInt64) -> UInt64 { tag << countBits | count }
}
