// HeldTokens — what a worker knows of keys without asking: tokens that it has taken and not spent, and keys that have none for a while.
//
// A refusal needs no second question: a debt only grows but for the passing of time, which is known. So it holds until the moment that the server
// has named, counted from when it was asked; at most a second, so that a bucket that an operator has deleted is noticed. Tokens that are held are
// spent within a second, or lost: more than that is never admitted.
//
// Invariant: an entry about which a question is under way is not given to another key.

import Memory

/// What is known of one key. Microseconds of the monotonic clock.
struct HeldEntry: BitwiseCopyable {
  var key: UInt64 = 0
  var tokens: Int64 = 0
  /// When they are lost.
  var spendUntil: Int64 = 0
  /// What the server had left.
  var remaining: Int64 = 0
  /// Requests that cost as much are refused until then; and when the server would admit one, and has a token.
  var refusedCost: Int64 = 0
  var refusedUntil: Int64 = 0
  var admittedAt: Int64 = 0
  var tokenAt: Int64 = 0
  /// The question under way whose answer brings tokens; 0: none.
  var question: UInt64 = 0
}

/// What is said of a request without asking.
public enum HeldAnswer: Equatable {
  case admitted(remaining: Int64)
  case refused(remaining: Int64, untilToken: Int64, untilAdmitted: Int64)
  /// The server has to be asked, or, where `question` is not 0, is being asked.
  case unknown(question: UInt64)
}

/// The keys of one zone that a worker knows something of.
public struct HeldTokens: ~Copyable {
  static let ways = 4
  /// Microseconds that tokens and refusals are kept at most.
  public static let lifetime: Int64 = 1_000_000

  private var entries: BoundedArray<HeldEntry>
  private let sets: Int

  /// - Parameter sets: a power of two; four keys each.
  public init(sets: Int = 1024) {
    self.sets = max(1, sets)
    entries = BoundedArray(capacity: self.sets * HeldTokens.ways)
    for _ in 0..<self.sets * HeldTokens.ways { _ = entries.append(HeldEntry()) }
  }

  /// Decides about a request that costs `cost`, if that can be; tokens that admit it are spent.
  public mutating func decide(_ key: UInt64, cost: Int64, now: Int64) -> HeldAnswer {
    guard let place = place(of: key) else { return .unknown(question: 0) }
    if entries[place].tokens >= cost, now < entries[place].spendUntil {
      entries[place].tokens -= cost
      return .admitted(remaining: entries[place].remaining + entries[place].tokens)
    }
    let entry = entries[place]
    if now < entry.refusedUntil, cost >= entry.refusedCost {
      return .refused(remaining: entry.remaining, untilToken: max(0, entry.tokenAt - now), untilAdmitted: max(0, entry.admittedAt - now))
    }
    return .unknown(question: entry.question)
  }

  /// Notes that `question` is under way. False when there is no room: then nobody can join it.
  public mutating func begin(_ key: UInt64, question: UInt64) -> Bool {
    guard let place = place(of: key) ?? roomFor(key) else { return false }
    entries[place].question = question
    return true
  }

  /// The question about a key is over, whatever it has brought.
  public mutating func end(_ key: UInt64, question: UInt64) {
    if let place = place(of: key), entries[place].question == question { entries[place].question = 0 }
  }

  /// Keeps tokens that have been taken and not spent.
  public mutating func keep(_ key: UInt64, tokens: Int64, remaining: Int64, now: Int64) {
    guard let place = place(of: key) ?? roomFor(key) else { return }
    let left = now < entries[place].spendUntil ? entries[place].tokens : 0
    entries[place].tokens = left + tokens
    entries[place].spendUntil = now + HeldTokens.lifetime
    entries[place].remaining = remaining
    entries[place].refusedUntil = 0
  }

  /// Keeps in mind that a request which costs `cost` was refused.
  /// - Parameter askedAt: when the question went out: the server has counted from a later moment.
  public mutating func refuse(_ key: UInt64, cost: Int64, _ verdict: StoreVerdict, askedAt: Int64) {
    guard let place = place(of: key) ?? roomFor(key) else { return }
    entries[place].refusedCost = cost
    entries[place].admittedAt = askedAt + min(verdict.untilAdmitted, 1 << 52)
    entries[place].tokenAt = askedAt + min(verdict.untilToken, 1 << 52)
    entries[place].refusedUntil = min(entries[place].admittedAt, askedAt + HeldTokens.lifetime)
    entries[place].remaining = verdict.remaining
  }

  // MARK: Places

  private func first(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(sets)).high) * HeldTokens.ways }

  private func place(of key: UInt64) -> Int? {
    let first = first(key)
    for place in first..<first + HeldTokens.ways where entries.span[place].key == key { return place }
    return nil
  }

  /// Gives the entry that is worth least to `key`.
  private mutating func roomFor(_ key: UInt64) -> Int? {
    let first = first(key)
    var best: Int?
    var worth = Int64.max
    for place in first..<first + HeldTokens.ways where entries.span[place].question == 0 {
      let entry = entries.span[place]
      let other = max(entry.refusedUntil, entry.tokens > 0 ? entry.spendUntil : 0)
      if other < worth { (best, worth) = (place, other) }
    }
    guard let best else { return nil }
    entries[best] = HeldEntry()
    entries[best].key = key
    return best
  }
}
