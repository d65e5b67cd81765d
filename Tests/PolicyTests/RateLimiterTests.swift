// A zone's cells against a bucket that counts tokens the slow way; and many processes at once, interleaved at every access to
// the shared words and killed there, against what they may admit at most.

import Testing

@testable import Policy
@testable import SharedState

/// Words in ordinary memory.
private final class PlainMemory: RateMemory {
  let setCount: Int
  var words: [UInt64]

  init(sets: Int) {
    setCount = sets
    words = Array(repeating: 0, count: sets * RateTable.ways)
  }

  func load(set: Int, way: Int) -> UInt64 { words[set * RateTable.ways + way] }

  func exchange(set: Int, way: Int, expected: UInt64, desired: UInt64) -> Bool {
    let index = set * RateTable.ways + way
    guard words[index] == expected else { return false }
    words[index] = desired
    return true
  }
}

/// Words between any two accesses to which other processes may act; and a process may die after any of its own.
private final class ContendedMemory: RateMemory {
  let setCount: Int
  private let plain: PlainMemory
  /// What another process does meanwhile; the argument says how deep it is in others' accesses.
  var meanwhile: (Int) -> Void = { _ in }
  private var depth = 0
  private var random: Generator
  private var isDead = false
  private(set) var kills = 0
  private(set) var interruptions = 0

  init(sets: Int, seed: UInt64) {
    setCount = sets
    plain = PlainMemory(sets: sets)
    random = Generator(state: seed)
  }

  private func pause() {
    guard depth < 4, random.next() % 4 == 0 else { return }
    depth += 1
    interruptions += 1
    let wasDead = isDead
    isDead = false
    meanwhile(depth)
    isDead = wasDead
    depth -= 1
  }

  func load(set: Int, way: Int) -> UInt64 {
    pause()
    return plain.load(set: set, way: way)
  }

  func exchange(set: Int, way: Int, expected: UInt64, desired: UInt64) -> Bool {
    pause()
    guard !isDead else { return false }
    let isDone = plain.exchange(set: set, way: way, expected: expected, desired: desired)
    pause()
    // Killed after the write: nobody hears of what was admitted.
    if isDone, random.next() % 64 == 0 {
      isDead = true
      kills += 1
      return false
    }
    return isDone
  }

  func run(_ body: () -> Void) {
    isDead = false
    body()
  }
}

private struct Generator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

@Suite struct RateLimiterTests {
  @Test(arguments: [(1.0, 5), (0.001, 1), (1000, 100), (3.7, 12), (1e9, 1 << 39), (250_000, 1)] as [(Double, Int64)])
  func admitsWhatABucketWouldHold(rate: Double, capacity: Int64) {
    let bucket = RateBucket(rate: rate, capacity: capacity)
    let limiter = RateLimiter(PlainMemory(sets: 1), bucket)
    var random = Generator(state: UInt64(capacity) ^ rate.bitPattern)
    var tokens = Double(capacity), now: Int64 = 1_234_567_890_123, last = now
    for _ in 0..<20_000 {
      let pause = Double(random.next() % 3000) / 1000 / rate * 1e6
      now += Int64(min(pause, 1e12))
      tokens = min(Double(capacity), tokens + Double(now - last) * rate / 1e6)
      last = now
      let cost = Int64(random.next() % 3)
      let outcome = limiter.take(7 << 40 | 7, cost: cost, microseconds: now)
      // Where the two differ by less than a thousandth of a token either may be right.
      if abs(tokens - Double(cost)) > 0.001 + tokens * 1e-9 { #expect(outcome.isAdmitted == (tokens >= Double(cost))) }
      if outcome.isAdmitted { tokens -= Double(cost) }
      #expect(abs(Double(outcome.remaining) - tokens) <= 1.01 + tokens * 1e-9)
    }
  }

  @Test func saysWhenATokenWillBeThere() {
    let limiter = RateLimiter(PlainMemory(sets: 1), RateBucket(rate: 2, capacity: 2))
    let now: Int64 = 5_000_000
    #expect(limiter.take(1, microseconds: now) == RateOutcome(isAdmitted: true, remaining: 1, untilToken: 0, untilAdmitted: 0))
    #expect(limiter.take(1, microseconds: now) == RateOutcome(isAdmitted: true, remaining: 0, untilToken: 500_000, untilAdmitted: 0))
    let refused = limiter.take(1, cost: 2, microseconds: now + 100_000)
    #expect(!refused.isAdmitted && refused.remaining == 0)
    #expect((399_000...401_000).contains(refused.untilToken) && (899_000...901_000).contains(refused.untilAdmitted))
    // When it said so, it is.
    #expect(limiter.take(1, microseconds: now + 100_000 + refused.untilToken + 1).isAdmitted)
  }

  @Test func costsMoreThanThereCanBeAreRefused() {
    let limiter = RateLimiter(PlainMemory(sets: 1), RateBucket(rate: 1, capacity: 3))
    #expect(!limiter.take(1, cost: 4, microseconds: 0).isAdmitted)
    #expect(limiter.take(1, cost: 3, microseconds: 0).isAdmitted)
    #expect(limiter.take(2, cost: 0, microseconds: 0).isAdmitted)
    #expect(limiter.take(2, cost: -5, microseconds: 0).remaining == 3)
  }

  @Test func manyKeysDoNotPushOutOneThatIsLimited() {
    let limiter = RateLimiter(PlainMemory(sets: 64), RateBucket(rate: 1, capacity: 5))
    var random = Generator(state: 3), now: Int64 = 1_000_000_000
    let limited: UInt64 = 0xdead_beef_0123_4567
    for _ in 0..<5 { #expect(limiter.take(limited, microseconds: now).isAdmitted) }
    for turn in 0..<100_000 {
      now += 5
      _ = limiter.take(random.next(), microseconds: now)
      if turn % 1000 == 0 { #expect(!limiter.take(limited, microseconds: now).isAdmitted) }
    }
  }

  @Test func momentsLongPastDoNotComeBack() {
    let bucket = RateBucket(rate: 1e6, capacity: 10)
    let limiter = RateLimiter(PlainMemory(sets: 4), bucket)
    var now: Int64 = 1000
    for key in 1...32 as ClosedRange<UInt64> { _ = limiter.take(key << 58 | key, cost: 10, microseconds: now) }
    // Three times round the clock of 42 bits.
    for _ in 0..<(3 * (4_398_046_511_104 / 512) / bucket.sweepInterval + 1) {
      now += bucket.sweepInterval
      limiter.refresh(microseconds: now)
    }
    for key in 1...32 as ClosedRange<UInt64> { #expect(limiter.take(key << 58 | key, cost: 10, microseconds: now).isAdmitted) }
  }

  @Test(arguments: 0..<8 as Range<UInt64>)
  func interleavedAndKilledNeverAdmitsTooMuch(seed: UInt64) {
    let capacity: Int64 = 20
    let bucket = RateBucket(rate: 1000, capacity: capacity)
    let memory = ContendedMemory(sets: 2, seed: seed)
    let limiter = RateLimiter(memory, bucket)
    var random = Generator(state: seed &* 77)
    let keys: [UInt64] = [1, 2, 3, 4, 5, 1 << 63 | 1, 1 << 63 | 9, 1 << 63 | 77]
    let start: Int64 = 987_654_321
    var now = start
    var admitted = [Int64](repeating: 0, count: keys.count)
    var decisions = 0
    func act() {
      decisions += 1
      let key = Int(random.next() % UInt64(keys.count))
      now += Int64(random.next() % 40)
      // A process may act on a clock it read a while ago.
      let clock = now - Int64(random.next() % 200)
      memory.run {
        if limiter.take(keys[key], microseconds: clock).isAdmitted { admitted[key] += 1 }
      }
    }
    memory.meanwhile = { _ in act() }
    while decisions < 150_000 { act() }
    #expect(memory.kills > 100 && memory.interruptions > 1000)
    for count in admitted {
      let most = Double(capacity) + Double(now - start) / 1000
      #expect(Double(count) <= most)
      // Nor is more lost than what those took that were killed, and what the clocks are behind.
      #expect(Double(count + Int64(memory.kills)) >= min(most * 0.5, 100))
    }
  }

  @Test func noTokenIsLostOrMadeUnderContention() {
    // Nobody is killed, every key asks more often than it may: exactly the capacity and what the time has brought is admitted.
    let bucket = RateBucket(rate: 1000, capacity: 50)
    let limiter = RateLimiter(PlainMemory(sets: 1), bucket)
    var admitted = 0
    for step in 0..<200_000 where limiter.take(99, microseconds: 1_000_000 + Int64(step) * 100).isAdmitted { admitted += 1 }
    #expect((50 + 19_999...50 + 20_000).contains(admitted))
  }

  @Test(arguments: [(16, 16), (16, 64), (64, 16), (13, 40), (40, 13), (1, 7), (7, 1)])
  func debtsComeAlongToAnotherTable(from: Int, to: Int) {
    let now: Int64 = 77_000_000
    let old = RateLimiter(PlainMemory(sets: from), RateBucket(rate: 1, capacity: 10))
    let new = RateLimiter(PlainMemory(sets: to), RateBucket(rate: 4, capacity: 20))
    var random = Generator(state: 5)
    // No more keys than the smaller table has room for.
    let keys = (0..<min(from, to) * 2).map { _ in random.next() }
    for (index, key) in keys.enumerated() { _ = old.take(key, cost: Int64(index % 11), microseconds: now) }
    RateTransfer.copy(old, to: new, microseconds: now)
    var wrong = 0
    for (index, key) in keys.enumerated() where new.take(key, cost: 0, microseconds: now).remaining != Int64(20 - index % 11) { wrong += 1 }
    // A crowded set may have to let one go.
    #expect(wrong <= keys.count / 8)
  }
}
