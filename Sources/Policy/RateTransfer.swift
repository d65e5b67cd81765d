// RateTransfer — what was taken from the buckets of one table, brought into another one: for a zone that a reload has changed.
//
// A word does not know its whole key, only what set it was in; that is a range of hashes, and in a table with more sets a few
// of them. It goes to all: the word of the key is among them, the others are never found and grow old. What is
// transferred are tokens, so that a bucket keeps its debt when its rate or capacity changes.

import SharedState

public enum RateTransfer {
  /// Fills `new`, which nobody uses yet, from `old`, which may be in use.
  /// - Parameter microseconds: of the monotonic clock.
  public static func copy(_ old: RateLimiter<some RateMemory>, to new: RateLimiter<some RateMemory>, microseconds: Int64) {
    let then = old.bucket.moment(microseconds), now = new.bucket.moment(microseconds)
    let oldSets = UInt64(old.memory.setCount), newSets = UInt64(new.memory.setCount)
    for set in 0..<old.memory.setCount {
      // Sets of the new table that share hashes with this one.
      let first = Int(UInt64(set) * newSets / oldSets)
      let last = Int(((UInt64(set) + 1) * newSets + oldSets - 1) / oldSets) - 1
      for way in 0..<RateTable.ways {
        let word = old.memory.load(set: set, way: way)
        let debt = word == 0 ? 0 : RateBucket.distance(RateCell.moment(word), from: then)
        guard debt > 0 else { continue }
        let units = Double(debt) / Double(old.bucket.token) * Double(new.bucket.token)
        let kept = min(Int64(units), new.bucket.depth)
        for target in first...max(first, min(last, new.memory.setCount - 1)) { put(RateCell.tag(in: word), kept, now, new.memory, target) }
      }
    }
  }

  /// Puts a word in the place of an empty one, or of one with less debt.
  private static func put(_ tag: UInt64, _ debt: Int64, _ now: UInt64, _ memory: some RateMemory, _ set: Int) {
    let place = RateCell.find(tag, now, in: memory, set)
    let present = place.word == 0 ? 0 : RateBucket.distance(RateCell.moment(place.word), from: now)
    guard debt > present else { return }
    _ = memory.exchange(set: set, way: place.way, expected: place.word, desired: RateCell.word(tag, now &+ UInt64(bitPattern: debt)))
  }
}
