// Keys of a zone that ask most: counted, named, never missing when they ask often enough, and halved in time.

import Synchronization
import Testing

@testable import SharedState

@Suite struct RateTrackingTests {
  private func table() throws -> RateTable { try RateTable(try RateTable.create(entries: 8, isTracked: true, seed: (1, 2), now: 1)) }

  private func hash(_ number: Int) -> UInt64 {
    var z = UInt64(number) &* 0x9e37_79b9_7f4a_7c15 &+ 1
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    return z ^ z >> 27
  }

  @Test func keysAreCountedAndNamed() throws {
    let table = try table()
    for number in 0..<50 {
      let key = Array("key \(number)".utf8)
      for turn in 0...number { table.track(hash(number), key.span, isRefused: turn % 2 == 1) }
    }
    let top = table.hottest(3)
    #expect(top.map { String(decoding: $0.bytes, as: UTF8.self) } == ["key 49", "key 48", "key 47"])
    #expect(top.map(\.asked) == [50, 49, 48] && top.map(\.surplus) == [0, 0, 0] && top.map(\.refused) == [25, 24, 24])
  }

  @Test func longKeysAreCutAndOthersAreWhole() throws {
    let table = try table()
    let long = (0..<500).map { UInt8(truncatingIfNeeded: $0) }
    for (number, length) in [0, 1, 7, 8, 9, RateTable.textLimit - 1, RateTable.textLimit, RateTable.textLimit + 1, 500].enumerated() {
      for _ in 0...number { table.track(hash(number), long.span.extracting(first: length), isRefused: false) }
    }
    for key in table.hottest(100) {
      let length = [0, 1, 7, 8, 9, RateTable.textLimit - 1, RateTable.textLimit, RateTable.textLimit + 1, 500][Int(key.asked) - 1]
      #expect(key.bytes == Array(long.prefix(min(length, RateTable.textLimit))) && key.isCut == (length > RateTable.textLimit))
    }
  }

  @Test func whoAsksOftenIsNotMissedInACrowd() throws {
    let table = try table()
    let hot = Array("hot".utf8), other = Array("other".utf8)
    for turn in 0..<200_000 { if turn % 100 == 0 { table.track(1 << 40 | 99, hot.span, isRefused: false) } else { table.track(hash(turn), other.span, isRefused: false) } }
    guard let found = table.hottest(1024).first(where: { $0.bytes == hot }) else {
      Issue.record("the key that asks most is not there")
      return
    }
    #expect(found.asked >= 2000 && found.asked - found.surplus <= 2000)
    #expect(table.hottest(1)[0].bytes == hot)
  }

  @Test func aTextThatIsNotTheKeysIsNotShown() throws {
    let table = try table()
    let key = Array("secret".utf8), second = Array("other".utf8)
    table.track(77, key.span, isRefused: false)
    // Somebody was killed after it had taken the place, and before it had written.
    let place = try #require((0..<RateTable.trackedLimit).first { unsafe table.tracked[$0 * RateTable.trackedBytes / 8].load(ordering: .relaxed) == 77 })
    unsafe table.tracked[place * RateTable.trackedBytes / 8].store(78, ordering: .relaxed)
    #expect(table.hottest(1).map(\.bytes) == [[]])
    unsafe table.tracked[place * RateTable.trackedBytes / 8 + TrackedCell.check.rawValue].store(0, ordering: .relaxed)
    table.track(78, second.span, isRefused: false)
    #expect(table.hottest(1).map(\.bytes) == [second])
  }

  @Test func countsAreHalvedWhenItIsTime() throws {
    let table = try table()
    let key = Array("k".utf8)
    for _ in 0..<9 { table.track(5, key.span, isRefused: true) }
    table.decayIfDue(microseconds: RateTable.decayInterval - 10)
    #expect(table.hottest(1)[0].asked == 9)
    table.decayIfDue(microseconds: RateTable.decayInterval + 10)
    table.decayIfDue(microseconds: RateTable.decayInterval + 20)
    #expect(table.hottest(1)[0].asked == 4 && table.hottest(1)[0].refused == 4)
  }

  @Test func nothingIsKeptWhereItMayNot() throws {
    let table = try RateTable(try RateTable.create(entries: 8, seed: (1, 2), now: 1))
    table.track(5, [1, 2, 3].span, isRefused: false)
    table.decayIfDue(microseconds: 1 << 40)
    #expect(table.trackedSets == 0 && table.hottest(10).isEmpty)
    #expect(RateTable.byteCount(entries: 8, isTracked: true) == RateTable.byteCount(entries: 8) + 256 * 1024)
  }
}
