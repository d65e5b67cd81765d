// RateCell — what a word of a RateTable means, and how a decision changes it.
//
// A word is 22 bits that tell keys of a set apart and the 42 bits of a RateBucket's moment; 0 is a word never used.
//
// A key that is not in its set takes the place of the word whose moment is the earliest, the first of equals. Moments
// only grow as long as a set has a word without debt, and every process chooses alike; so two of them cannot give a
// key two places: whoever comes second finds the word it wanted changed, and looks again. A key in debt is thus never
// pushed out by keys that are not, however many come: those replace each other.

import CLinux
import Memory
import SharedState

/// What a rate decision gave.
public struct RateOutcome: Equatable, Sendable, BitwiseCopyable {
  public var isAdmitted: Bool
  /// Whole tokens left.
  public var remaining: Int64
  /// Microseconds until a token is there (0: one is), and, when refused, until the request would have been admitted.
  public var untilToken: Int64
  public var untilAdmitted: Int64
  /// Microseconds until the token that the request has taken is there: so long it is to be held.
  public var wait: Int64 = 0

  @inlinable
  public init(isAdmitted: Bool, remaining: Int64, untilToken: Int64, untilAdmitted: Int64, wait: Int64 = 0) {
    self.isAdmitted = isAdmitted
    self.remaining = remaining
    self.untilToken = untilToken
    self.untilAdmitted = untilAdmitted
    self.wait = wait
  }
}

/// One zone: its cells and what is allowed.
public struct RateLimiter<Memory: RateMemory> {
  public let memory: Memory
  public let bucket: RateBucket

  public init(_ memory: Memory, _ bucket: RateBucket) {
    self.memory = memory
    self.bucket = bucket
  }

  /// Takes `cost` tokens of the key that hashes to `hash`, if they are there.
  /// - Parameters:
  ///   - mayWait: tokens may be taken that are not there yet, as many as the bucket's delay.
  ///   - microseconds: of the monotonic clock. A clock that is behind refuses rather than admits.
  @inline(__always)
  public func take(_ hash: UInt64, cost: Int64 = 1, mayWait: Bool = true, microseconds: Int64) -> RateOutcome {
    let set = Int(truncatingIfNeeded: hash.multipliedFullWidth(by: UInt64(truncatingIfNeeded: memory.setCount)).high)
    let tag = RateCell.tag(of: hash)
    let now = bucket.moment(microseconds)
    let price = min(max(0, cost), bucket.capacity) &* bucket.token
    // As it nearly always is: the key is known, and is left with a token.
    for way in 0..<RateTable.ways {
      let word = memory.load(set: set, way: way)
      guard RateCell.tag(in: word) == tag else { continue }
      let debt = max(0, RateBucket.distance(RateCell.moment(word), from: now)) &+ price
      guard cost <= bucket.capacity, debt &+ bucket.token <= bucket.full,
        memory.exchange(set: set, way: way, expected: word, desired: RateCell.word(tag, now &+ UInt64(bitPattern: debt)))
      else { break }
      return RateOutcome(isAdmitted: true, remaining: bucket.tokens(debt: debt), untilToken: 0, untilAdmitted: 0)
    }
    return takeElse(set, tag, now, price, cost, mayWait)
  }

  /// Finds out about everything else.
  @inline(never)
  private func takeElse(_ set: Int, _ tag: UInt64, _ now: UInt64, _ price: Int64, _ cost: Int64, _ mayWait: Bool) -> RateOutcome {
    let depth = mayWait ? bucket.depth : bucket.full
    // Each failed exchange is another process's success. Nobody loses a thousand times in a row.
    for _ in 0..<1000 {
      let place = RateCell.find(tag, now, in: memory, set)
      let debt = max(0, place.distance)
      guard cost <= bucket.capacity, debt <= depth &- price else {
        return RateOutcome(
          isAdmitted: false, remaining: bucket.tokens(debt: debt), untilToken: bucket.microseconds(debt &+ bucket.token &- bucket.full),
          untilAdmitted: bucket.microseconds(debt &+ price &- depth))
      }
      let desired = RateCell.word(tag, now &+ UInt64(bitPattern: debt &+ price))
      if memory.exchange(set: set, way: place.way, expected: place.word, desired: desired) {
        let left = debt &+ price
        return RateOutcome(
          isAdmitted: true, remaining: bucket.tokens(debt: left),
          untilToken: left &+ bucket.token <= bucket.full ? 0 : bucket.microseconds(left &+ bucket.token &- bucket.full), untilAdmitted: 0,
          wait: left <= bucket.full ? 0 : bucket.microseconds(left &- bucket.full))
      }
    }
    return RateOutcome(isAdmitted: false, remaining: 0, untilToken: bucket.microseconds(bucket.token), untilAdmitted: bucket.microseconds(bucket.token))
  }

  /// Brings moments long past up to `microseconds`: they mean the same, and will not wrap around.
  /// - Parameter all: bring up all of them: nobody has looked for so long that past and future cannot be told apart.
  public func refresh(all: Bool = false, microseconds: Int64) {
    let now = bucket.moment(microseconds)
    for set in 0..<memory.setCount {
      for way in 0..<RateTable.ways {
        let word = memory.load(set: set, way: way)
        guard word != 0, all || RateBucket.distance(RateCell.moment(word), from: now) < -RateBucket.horizon / 4 else { continue }
        // Whoever is faster has brought it up to date by itself.
        _ = memory.exchange(set: set, way: way, expected: word, desired: RateCell.word(RateCell.tag(in: word), now))
      }
    }
  }
}

extension RateLimiter: BitwiseCopyable where Memory: BitwiseCopyable {}

extension RateLimiter where Memory == RateTable {
  /// `take`, made for the shared cells: one call for those who are in other modules.
  /// - Parameter hash: of the key (`hash`).
  public func ask(_ hash: UInt64, cost: Int64, mayWait: Bool, microseconds: Int64) -> RateOutcome {
    take(hash, cost: cost, mayWait: mayWait, microseconds: microseconds)
  }

  /// The keyed hash of `key`, for `take`. Tables with the same seed have the same.
  public func hash(_ key: Span<UInt8>) -> UInt64 {
    unsafe key.withUnsafeBytes { unsafe clx_siphash(memory.seed.low, memory.seed.high, $0.baseAddress, $0.count) }
  }

  /// Notes that `key` has asked, where keys are kept.
  public func track(_ hash: UInt64, _ key: Span<UInt8>, isRefused: Bool) { memory.track(hash, key, isRefused: isRefused) }

  /// Keys that are known, those of them whose bucket is not full, and those that have less than a token.
  public func population(microseconds: Int64) -> (known: Int, owing: Int, short: Int) {
    let now = bucket.moment(microseconds)
    var known = 0, owing = 0, short = 0
    for set in 0..<memory.setCount {
      for way in 0..<RateTable.ways {
        let word = memory.load(set: set, way: way)
        guard word != 0 else { continue }
        known += 1
        let debt = RateBucket.distance(RateCell.moment(word), from: now)
        if debt > 0 { owing += 1 }
        if debt > bucket.full &- bucket.token { short += 1 }
      }
    }
    return (known, owing, short)
  }

  /// Looks through the table when that is due. Cheap when it is not.
  public func sweepIfDue(microseconds: Int64) {
    memory.decayIfDue(microseconds: microseconds)
    let interval = bucket.sweepInterval
    guard let last = memory.claimSweep(now: microseconds, interval: interval) else { return }
    refresh(all: last > 0 && microseconds - last > 4 * interval, microseconds: microseconds)
  }
}

enum RateCell {
  /// Where a key is, or may go.
  struct Place {
    var way: Int
    var word: UInt64
    /// Units from now to its moment; for a place to be taken over, 0.
    var distance: Int64
  }

  /// The bits of `hash` that tell its key from others of the set; never 0.
  @inline(__always)
  static func tag(of hash: UInt64) -> UInt64 {
    let tag = hash & (1 << 22 - 1)
    return tag == 0 ? 1 : tag
  }

  @inline(__always)
  static func tag(in word: UInt64) -> UInt64 { word >> UInt64(RateBucket.momentBits) }

  @inline(__always)
  static func moment(_ word: UInt64) -> UInt64 { word & RateBucket.momentMask }

  @inline(__always)
  static func word(_ tag: UInt64, _ moment: UInt64) -> UInt64 { tag << UInt64(RateBucket.momentBits) | moment & RateBucket.momentMask }

  /// The key's own word, or else the one with the earliest moment.
  @inline(never)
  static func find(_ tag: UInt64, _ now: UInt64, in memory: some RateMemory, _ set: Int) -> Place {
    var oldest = Place(way: 0, word: 0, distance: .max)
    for way in 0..<RateTable.ways {
      let word = memory.load(set: set, way: way)
      let distance = word == 0 ? Int64.min : RateBucket.distance(moment(word), from: now)
      if self.tag(in: word) == tag { return Place(way: way, word: word, distance: distance) }
      if distance < oldest.distance { oldest = Place(way: way, word: word, distance: distance) }
    }
    oldest.distance = 0
    return oldest
  }
}
