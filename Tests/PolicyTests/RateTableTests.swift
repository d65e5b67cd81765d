// The table of a zone at its full size, in a real segment: what it holds, whom a flood of new keys pushes out, and what a decision
// then costs, counted in accesses to the shared words.

import Kernel
import Testing

@testable import Policy
@testable import SharedState

/// A table that counts what is done to it, and looks at every key that is pushed out.
private final class WatchedTable: RateMemory {
  let table: RateTable
  let bucket: RateBucket
  /// Where the clock stands, as a moment.
  var now: UInt64 = 0
  private(set) var loads = 0
  private(set) var exchanges = 0
  /// Keys that had to go, and those of them that had to go before one whose bucket was fuller.
  private(set) var pushedOut = 0
  private(set) var pushedOutOfTurn = 0

  init(_ table: RateTable, _ bucket: RateBucket) {
    self.table = table
    self.bucket = bucket
  }

  var setCount: Int { table.setCount }

  func begin() { (loads, exchanges) = (0, 0) }

  func load(set: Int, way: Int) -> UInt64 {
    loads += 1
    return table.load(set: set, way: way)
  }

  func exchange(set: Int, way: Int, expected: UInt64, desired: UInt64) -> Bool {
    exchanges += 1
    if expected != 0, RateCell.tag(in: expected) != RateCell.tag(in: desired) {
      pushedOut += 1
      let own = RateBucket.distance(RateCell.moment(expected), from: now)
      for other in 0..<RateTable.ways {
        let word = table.load(set: set, way: other)
        if word == 0 || RateBucket.distance(RateCell.moment(word), from: now) < own {
          pushedOutOfTurn += 1
          break
        }
      }
    }
    return table.exchange(set: set, way: way, expected: expected, desired: desired)
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

@Suite struct RateTableTests {
  private static let entries = 1_000_000

  @Test func aMillionKeysLieInTheMemoryThatIsDeclared() throws {
    let declared = RateTable.byteCount(entries: Self.entries)
    let file = try RateTable.create(entries: Self.entries, seed: (1, 2), now: 1)
    #expect(declared == 8 * Self.entries + 4096)
    _ = try SharedMapping(file, byteCount: declared)
    #expect(throws: Errno.self) { _ = try SharedMapping(file, byteCount: declared + 1) }
    let table = try RateTable(file)
    #expect(table.capacity >= Self.entries)

    // Every one of them is known again: keys spread evenly, as many as there are places.
    let limiter = RateLimiter(table, RateBucket(rate: 0.001, capacity: 4))
    let sets = UInt64(table.setCount)
    let stride = UInt64.max / sets
    func key(_ number: Int) -> UInt64 {
      let set = UInt64(number) % sets, way = UInt64(number) / sets
      return (set * stride + stride / 2) & ~0x3f_ffff | (way + 1)
    }
    let now: Int64 = 1_000_000_000
    for number in 0..<Self.entries { _ = limiter.take(key(number), cost: 1 + Int64(number % 4), microseconds: now) }
    var wrong = 0
    for number in 0..<Self.entries where limiter.take(key(number), cost: 0, microseconds: now).remaining != Int64(3 - number % 4) { wrong += 1 }
    #expect(wrong == 0)
  }

  /// An attacker who has a new key for every request: keys that are being limited stay so, and a decision takes as many steps as ever.
  @Test func aFloodOfKeysPushesOutInTheirTurnOnly() throws {
    let bucket = RateBucket(rate: 1, capacity: 5)
    let watched = WatchedTable(try RateTable(try RateTable.create(entries: Self.entries, seed: (3, 4), now: 1)), bucket)
    let limiter = RateLimiter(watched, bucket)
    var random = Generator(state: 11)
    let limited = (0..<200).map { _ in random.next() }
    var admitted = [Int](repeating: 0, count: limited.count)
    let start: Int64 = 5_000_000_000
    var now = start, mostLoads = 0, mostExchanges = 0
    // In three seconds more keys than there is room for.
    let flood = 1_500_000
    for step in 0..<flood {
      if step % 2 == 0 { now += 4 }
      watched.now = bucket.moment(now)
      watched.begin()
      _ = limiter.take(random.next(), microseconds: now)
      mostLoads = max(mostLoads, watched.loads)
      mostExchanges = max(mostExchanges, watched.exchanges)
      guard step % 50 == 0 else { continue }
      let key = step / 50 % limited.count
      if limiter.take(limited[key], microseconds: now).isAdmitted { admitted[key] += 1 }
    }
    #expect(watched.pushedOut > flood / 4)
    #expect(watched.pushedOutOfTurn == 0)
    // One look at the set for the key, and one for a place; nothing is searched, moved or cleared.
    #expect(mostLoads <= 2 * RateTable.ways && mostExchanges == 1)
    // Nobody who is limited has got a new bucket.
    let seconds = Int((now - start) / 1_000_000)
    #expect(seconds == 3)
    for count in admitted { #expect((5...5 + seconds + 1).contains(count)) }
  }

  @Test func hashesAreThoseOfSipHash13() throws {
    let seed: (low: UInt64, high: UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    let limiter = RateLimiter(try RateTable(try RateTable.create(entries: 8, seed: seed, now: 1)), RateBucket(rate: 1, capacity: 1))
    for length in 0...70 {
      let key = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
      #expect(limiter.hash(key.span) == sipHash13(seed.low, seed.high, key), "\(length)")
    }
  }

  /// The definition, byte by byte.
  private func sipHash13(_ low: UInt64, _ high: UInt64, _ bytes: [UInt8]) -> UInt64 {
    var v: [UInt64] = [low ^ 0x736f_6d65_7073_6575, high ^ 0x646f_7261_6e64_6f6d, low ^ 0x6c79_6765_6e65_7261, high ^ 0x7465_6462_7974_6573]
    func rotate(_ x: UInt64, _ bits: UInt64) -> UInt64 { x << bits | x >> (64 - bits) }
    func round() {
      v[0] &+= v[1]
      v[2] &+= v[3]
      v[1] = rotate(v[1], 13) ^ v[0]
      v[3] = rotate(v[3], 16) ^ v[2]
      v[0] = rotate(v[0], 32)
      v[2] &+= v[1]
      v[0] &+= v[3]
      v[1] = rotate(v[1], 17) ^ v[2]
      v[3] = rotate(v[3], 21) ^ v[0]
      v[2] = rotate(v[2], 32)
    }
    var padded = bytes
    while padded.count % 8 != 7 { padded.append(0) }
    padded.append(UInt8(truncatingIfNeeded: bytes.count))
    for start in stride(from: 0, to: padded.count, by: 8) {
      let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(padded[start + $1]) << UInt64(8 * $1) }
      v[3] ^= word
      round()
      v[0] ^= word
    }
    v[2] ^= 0xff
    for _ in 0..<3 { round() }
    return v[0] ^ v[1] ^ v[2] ^ v[3]
  }
}
