// RateSegments — the tables of rate limits: made with a generation, kept over reloads as long as their zones mean the same.
//
// A zone whose rate, capacity or size changes gets a new table, filled from the old one; workers of the old generation go on with theirs
// while they drain. A zone with another key begins empty.

import Kernel
import Plan
import Policy
import SharedState

/// One zone's table. The file stays open as long as some generation uses it.
final class RateSegment {
  let zone: RateZonePlan
  let file: SharedFile
  let limiter: RateLimiter<RateTable>

  /// - Parameters:
  ///   - previous: the segment of a zone of the same name, if there is one.
  ///   - seed: of the hash, where no entries are taken over.
  init(_ zone: RateZonePlan, previous: RateSegment?, seed: (low: UInt64, high: UInt64), now: Int64) throws(Errno) {
    let previous = previous.flatMap { $0.zone.key == zone.key && $0.zone.ipv6Prefix == zone.ipv6Prefix ? $0 : nil }
    let seed = previous?.limiter.memory.seed ?? seed
    let file = try RateTable.create(entries: zone.maxEntries, isTracked: zone.trackKeys, seed: seed, now: now)
    limiter = RateLimiter(try RateTable(file), zone.bucket)
    self.file = SharedFile(file)
    self.zone = zone
    if let previous { RateTransfer.copy(previous.limiter, to: limiter, microseconds: now) }
  }

  /// A table that an earlier master has left.
  init(_ zone: RateZonePlan, existing file: SharedFile) throws(Errno) {
    limiter = RateLimiter(try RateTable(file.descriptor), zone.bucket)
    self.file = file
    self.zone = zone
  }

  /// The segments for `plan`: those of `previous` whose zones are unchanged but for what they apply to, and new ones.
  static func make(for plan: RateLimitPlan, previous: [RateSegment]) throws(Errno) -> [RateSegment] {
    guard plan.isActive else { return [] }
    var segments: [RateSegment] = [], random = SystemRandomNumberGenerator()
    // One for all: what several zones ask for with one key is hashed once.
    let seed = previous.first?.limiter.memory.seed ?? (low: random.next(), high: random.next())
    for zone in plan.zones {
      let known = previous.first { $0.zone.name == zone.name }
      if let known, known.serves(zone) { segments.append(known) } else { segments.append(try RateSegment(zone, previous: known, seed: seed, now: Clock().now)) }
    }
    return segments
  }

  private func serves(_ other: RateZonePlan) -> Bool {
    zone.key == other.key && zone.ipv6Prefix == other.ipv6Prefix && zone.bucket == other.bucket && zone.trackKeys == other.trackKeys
      && zone.maxEntries == other.maxEntries
  }
}
