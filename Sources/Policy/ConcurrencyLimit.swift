// ConcurrencyLimit — how many requests an upstream takes without becoming slow, found out by trying.
//
// Additive increase, multiplicative decrease: while it is used to at least half, each response that comes quickly raises the limit by
// its own fraction of a request, so that a full round raises it by one; one that is slow, or none at all, lowers it by a tenth, at
// most once in the time that a response takes. Slow is what takes longer than a multiple of the shortest time of the last half a minute to a minute.
//
// The limit, and what it follows from, are words that all workers change by compare-and-exchange. What is lost when somebody is
// killed between two of them is one observation.

import Plan
import SharedState

/// The limit of one upstream.
public struct ConcurrencyLimit<Memory: BreakerMemory> {
  /// Microseconds of a stretch of time, and the least between two steps down.
  private static var stretch: Int64 { 30_000_000 }
  private static var pause: Int64 { 100_000 }
  /// One request, in the units of the limit.
  private static var one: UInt64 { 1 << 16 }

  private let memory: Memory
  private let minimum: UInt64
  private let maximum: UInt64
  private let tolerance: UInt64

  public init(_ memory: Memory, _ plan: BreakerPlan) {
    self.memory = memory
    minimum = UInt64(min(max(1, plan.adaptiveMinimum), 1 << 30))
    maximum = max(minimum, UInt64(min(max(1, plan.adaptiveMaximum), 1 << 30)))
    tolerance = UInt64(min(max(100, plan.adaptiveTolerance), 100_000))
  }

  /// How many requests may be under way now. Before anything is known: ten, as far as the bounds allow.
  public var limit: UInt64 { min(max(minimum, word / Self.one), maximum) }

  private var word: UInt64 {
    let word = memory.load(BreakerCell.limit)
    return word == 0 ? 10 * Self.one : word
  }

  /// Takes what has been seen of one attempt.
  /// - Parameters:
  ///   - latency: microseconds to the response's head; nil: there was none.
  ///   - underWay: requests when it ended, itself included.
  ///   - now: microseconds of the monotonic clock.
  public func observe(latency: Int64?, underWay: UInt64, now: Int64) {
    guard let latency else { return lower(Self.pause, now) }
    let shortest = note(UInt64(clamping: max(1, latency)), now)
    if UInt64(clamping: latency) > shortest * tolerance / 100 { return lower(max(Self.pause, latency), now) }
    guard underWay * 2 >= limit else { return }
    for _ in 0..<100 {
      let present = memory.load(BreakerCell.limit)
      let value = min(max(word, minimum * Self.one), maximum * Self.one)
      let raised = min(value + max(1, Self.one * Self.one / value), maximum * Self.one)
      if memory.exchange(BreakerCell.limit, expected: present, desired: raised) { return }
    }
  }

  private func lower(_ pause: Int64, _ now: Int64) {
    let last = memory.load(BreakerCell.loweredAt)
    guard now &- Int64(bitPattern: last) >= pause || last == 0, memory.exchange(BreakerCell.loweredAt, expected: last, desired: UInt64(bitPattern: max(1, now))) else { return }
    for _ in 0..<100 {
      let present = memory.load(BreakerCell.limit)
      let lowered = max(minimum * Self.one, min(word, maximum * Self.one) / 10 * 9)
      if memory.exchange(BreakerCell.limit, expected: present, desired: lowered) { return }
    }
  }

  /// Notes a time, and returns the shortest of this stretch and the one before: each has a word with its number and its time.
  private func note(_ latency: UInt64, _ now: Int64) -> UInt64 {
    // Never that of a word which nobody has written.
    let number = (UInt64(clamping: now / Self.stretch) & 0x7f_ffff) + 1
    let latency = min(latency, 1 << 40 - 1)
    let place = BreakerCell.shortest + Int(number & 1)
    var shortest = latency
    for _ in 0..<100 {
      let word = memory.load(place)
      let isOfNow = word >> 40 == number
      if isOfNow { shortest = min(latency, word & (1 << 40 - 1)) }
      if isOfNow, shortest < latency || word & (1 << 40 - 1) == latency { break }
      if memory.exchange(place, expected: word, desired: number << 40 | latency) { break }
    }
    let other = memory.load(BreakerCell.shortest + Int((number & 1) ^ 1))
    if other >> 40 == number &- 1, other & (1 << 40 - 1) > 0 { shortest = min(shortest, other & (1 << 40 - 1)) }
    return shortest
  }
}

extension ConcurrencyLimit: BitwiseCopyable where Memory: BitwiseCopyable {}
