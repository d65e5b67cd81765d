// RateTracking — the keys of a zone that ask most, with their text, for people to look at. Only where the zone allows it.
//
// There are `trackedLimit` places in sets of eight. A key that has none takes the place of the one of its set that has asked least, and
// inherits its count (the space-saving algorithm): so a count is too high by no more than what was inherited, and a key that asks more often
// than most is never lost, however many others come. All counts are halved every `decayInterval`.
//
// Invariants: a place is taken by one compare-and-exchange of its hash. Its text is written word by word, and valid only when its check agrees with the hash
// and the bytes: who was killed in the midst of it, or came too late, leaves a key without a text behind, and nothing worse.

import Synchronization

/// A word of a place.
enum TrackedCell: Int { case hash, asked, surplus, refused, check, text = 8 }

/// A key that has been kept.
public struct TrackedKey: Equatable, Sendable {
  public var hash: UInt64
  /// Empty: it is not known.
  public var bytes: [UInt8]
  /// Whether it was longer.
  public var isCut: Bool
  /// Requests, at most; and how many of them may have been another key's.
  public var asked: UInt64
  public var surplus: UInt64
  /// Of them: refused.
  public var refused: UInt64
}

extension RateTable {
  /// Keys that are kept, and bytes of each place.
  public static var trackedLimit: Int { 1024 }
  static var trackedBytes: Int { 256 }
  static var textLimit: Int { trackedBytes - TrackedCell.text.rawValue * 8 }
  /// Microseconds after which counts are halved.
  public static var decayInterval: Int64 { 300_000_000 }

  private func cell(_ place: Int, _ word: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(place >= 0 && place < trackedSets * Self.ways && word >= 0 && word < Self.trackedBytes / 8)
    return unsafe tracked + (place * Self.trackedBytes / 8 + word)
  }

  private func load(_ place: Int, _ word: TrackedCell) -> UInt64 { unsafe cell(place, word.rawValue).pointee.load(ordering: .acquiring) }
  private func store(_ value: UInt64, _ place: Int, _ word: TrackedCell) { unsafe cell(place, word.rawValue).pointee.store(value, ordering: .releasing) }
  private func add(_ amount: UInt64, _ place: Int, _ word: TrackedCell) {
    unsafe _ = cell(place, word.rawValue).pointee.wrappingAdd(amount, ordering: .relaxed)
  }

  /// Notes that the key `key`, which hashes to `hash`, has asked.
  public func track(_ hash: UInt64, _ key: Span<UInt8>, isRefused: Bool) {
    guard trackedSets > 0 else { return }
    let hash = max(1, hash)
    let set = Int(truncatingIfNeeded: (hash << 24 | hash >> 40).multipliedFullWidth(by: UInt64(trackedSets)).high)
    var least = set * Self.ways, fewest = UInt64.max
    for place in set * Self.ways..<(set + 1) * Self.ways {
      let owner = load(place, .hash)
      if owner == hash {
        add(1, place, .asked)
        if isRefused { add(1, place, .refused) }
        if load(place, .check) == 0 { write(hash, key, place) }
        return
      }
      let asked = owner == 0 ? 0 : load(place, .asked)
      if asked < fewest { (least, fewest) = (place, asked) }
    }
    let old = load(least, .hash)
    // Whoever is faster has it: this request is not noted.
    guard old != hash, unsafe cell(least, TrackedCell.hash.rawValue).pointee.compareExchange(expected: old, desired: hash, ordering: .acquiringAndReleasing).exchanged else { return }
    store(0, least, .check)
    store(fewest + 1, least, .asked)
    store(fewest, least, .surplus)
    store(isRefused ? 1 : 0, least, .refused)
    write(hash, key, least)
  }

  private func write(_ hash: UInt64, _ key: Span<UInt8>, _ place: Int) {
    let count = min(key.count, Self.textLimit)
    for start in stride(from: 0, to: count, by: 8) {
      var word: UInt64 = 0
      for position in start..<min(start + 8, count) { word |= UInt64(key[position]) << UInt64(8 * (position - start)) }
      unsafe cell(place, TrackedCell.text.rawValue + start / 8).pointee.store(word, ordering: .relaxed)
    }
    store(Self.check(hash, key.extracting(first: count), isCut: key.count > count), place, .check)
  }

  /// 48 bits of a hash over owner and text, and its length; never 0.
  private static func check(_ hash: UInt64, _ text: Span<UInt8>, isCut: Bool) -> UInt64 {
    var sum = hash ^ 0xcbf2_9ce4_8422_2325
    for index in text.indices { sum = (sum ^ UInt64(text[index])) &* 0x100_0000_01b3 }
    return (sum | 1) << 16 | (isCut ? 1 << 15 : 0) | UInt64(text.count)
  }

  /// The keys that have asked most, the first one most often.
  public func hottest(_ limit: Int) -> [TrackedKey] {
    var keys: [TrackedKey] = []
    for place in 0..<trackedSets * Self.ways {
      let hash = load(place, .hash)
      guard hash != 0 else { continue }
      let check = load(place, .check), length = min(Int(check & 0x7fff), Self.textLimit), isCut = check & 0x8000 != 0
      var bytes: [UInt8] = []
      for position in 0..<length {
        let word = unsafe cell(place, TrackedCell.text.rawValue + position / 8).pointee.load(ordering: .relaxed)
        bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * (position % 8))))
      }
      let asked = load(place, .asked), surplus = load(place, .surplus), refused = load(place, .refused)
      // Somebody may have been at it meanwhile.
      let isWhole = check != 0 && Self.check(hash, bytes.span, isCut: isCut) == check && load(place, .hash) == hash
      guard asked > 0 else { continue }
      keys.append(TrackedKey(hash: hash, bytes: isWhole ? bytes : [], isCut: isCut, asked: asked, surplus: min(surplus, asked), refused: min(refused, asked)))
    }
    return Array(keys.sorted { ($0.asked - $0.surplus, $0.hash) > ($1.asked - $1.surplus, $1.hash) }.prefix(max(0, limit)))
  }

  /// Halves all counts when that is due. Microseconds of the monotonic clock.
  public func decayIfDue(microseconds: Int64) {
    guard trackedSets > 0, claimDecay(now: microseconds, interval: Self.decayInterval) else { return }
    for place in 0..<trackedSets * Self.ways where load(place, .hash) != 0 {
      for word in [TrackedCell.asked, .surplus, .refused] {
        let value = load(place, word)
        unsafe _ = cell(place, word.rawValue).pointee.wrappingSubtract(value - value / 2, ordering: .relaxed)
      }
    }
  }
}
