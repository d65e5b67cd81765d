// EventThrottle — keeps one kind of event from flooding the log.
//
// A token bucket per key: `burst` lines at once, then one each second. Invariant: at most `capacity` keys are
// kept; when they are used up, those that owe no report are forgotten first.

/// A kind of event: what happened, and to what.
public struct EventKey: Hashable, Sendable {
  /// What happened, as a short name.
  public let name: String
  /// To what: an index, say of an upstream.
  public let subject: Int

  public init(_ name: String, _ subject: Int = 0) {
    self.name = name
    self.subject = subject
  }
}

struct EventThrottle {
  private struct Bucket {
    var tokens: Int
    /// When the tokens were last counted, in microseconds.
    var counted: Int64
    var suppressed = 0
  }

  static let burst = 10
  static let capacity = 256
  /// Microseconds per token.
  static let interval: Int64 = 1_000_000

  private var buckets: [EventKey: Bucket] = [:]

  /// Whether an event may be written: the number of those of its kind left out before it, or nil when it must be left out, too.
  mutating func admit(_ key: EventKey, at time: Int64) -> Int? {
    if buckets.count >= EventThrottle.capacity, buckets[key] == nil { makeRoom() }
    var bucket = buckets[key] ?? Bucket(tokens: EventThrottle.burst, counted: time)
    refill(&bucket, at: time)
    defer { buckets[key] = bucket }
    guard bucket.tokens > 0 else {
      bucket.suppressed += 1
      return nil
    }
    bucket.tokens -= 1
    defer { bucket.suppressed = 0 }
    return bucket.suppressed
  }

  /// The kinds that have left out events and are quiet again, with their numbers; forgets kinds with full buckets.
  mutating func settle(at time: Int64) -> [(EventKey, Int)] {
    var reports: [(EventKey, Int)] = []
    for (key, var bucket) in buckets {
      refill(&bucket, at: time)
      guard bucket.tokens > 1 || bucket.tokens == EventThrottle.burst else { continue }
      if bucket.suppressed > 0 { reports.append((key, bucket.suppressed)) }
      bucket.suppressed = 0
      buckets[key] = bucket.tokens == EventThrottle.burst ? nil : bucket
    }
    return reports.sorted { ($0.0.name, $0.0.subject) < ($1.0.name, $1.0.subject) }
  }

  private func refill(_ bucket: inout Bucket, at time: Int64) {
    // A clock that was set back must not silence a kind for long.
    if time < bucket.counted { bucket.counted = time }
    let gained = (time - bucket.counted) / EventThrottle.interval
    bucket.tokens = Int(min(Int64(EventThrottle.burst), Int64(bucket.tokens) + gained))
    bucket.counted += gained * EventThrottle.interval
  }

  private mutating func makeRoom() {
    let quiet = buckets.filter { $0.value.suppressed == 0 }.map(\.key)
    for key in quiet { buckets[key] = nil }
    if quiet.isEmpty { buckets.removeAll() }
  }
}
