// ConcurrencySegments — the tables of limits on what is under way: made with a generation, kept over reloads as long as they are large enough.
//
// They hold counts alone, so that a zone with another limit goes on with its table, and old generations count in it with the new one. A zone with
// another key, or more entries or workers than its table has room for, begins anew; what old workers have under way is not counted then.

import Kernel
import Plan
import SharedState

/// One zone's table. The file stays open as long as some generation uses it.
final class ConcurrencySegment {
  /// As it was when the table was made: its limit and paths may have changed since.
  let zone: ConcurrencyZonePlan
  let file: SharedFile
  let table: ConcurrencyTable

  private init(_ zone: ConcurrencyZonePlan, columns: Int) throws(Errno) {
    var random = SystemRandomNumberGenerator()
    let file = try ConcurrencyTable.create(entries: zone.maxEntries, columns: columns, seed: (low: random.next(), high: random.next()))
    table = try ConcurrencyTable(file)
    self.file = SharedFile(file)
    self.zone = zone
  }

  /// A table that an earlier master has left.
  init(_ zone: ConcurrencyZonePlan, existing file: SharedFile) throws(Errno) {
    table = try ConcurrencyTable(file.descriptor)
    self.file = file
    self.zone = zone
  }

  /// The segments for `plan`: those of `previous` whose zones count the same, and new ones.
  static func make(for plan: Plan, previous: [ConcurrencySegment]) throws(Errno) -> [ConcurrencySegment] {
    guard plan.concurrencyLimit.isActive else { return [] }
    let columns = ConcurrencyTable.columns(workers: plan.workers, generations: plan.maxDrainingGenerations + 2)
    var segments: [ConcurrencySegment] = []
    for zone in plan.concurrencyLimit.zones {
      if let known = previous.first(where: { $0.zone.name == zone.name && $0.serves(zone, columns) }) {
        segments.append(known)
      } else {
        segments.append(try ConcurrencySegment(zone, columns: columns))
      }
    }
    return segments
  }

  private func serves(_ other: ConcurrencyZonePlan, _ columns: Int) -> Bool {
    zone.key == other.key && zone.ipv6Prefix == other.ipv6Prefix && zone.subject == other.subject && zone.maxEntries == other.maxEntries && table.columnCount >= columns
  }
}

extension Master {
  /// Drops what the worker of a row of the scoreboard, which has ended, had under way.
  func dropConcurrency(_ row: Int) {
    var dropped: [ObjectIdentifier] = []
    for segment in generations.values.flatMap(\.concurrency) where !dropped.contains(ObjectIdentifier(segment)) {
      segment.table.drop(column: row)
      dropped.append(ObjectIdentifier(segment))
    }
  }
}
