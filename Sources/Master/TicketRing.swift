// TicketRing — the keys of session tickets over time: the newest encrypts, older ones still decrypt, the oldest is forgotten.
//
// The master makes them, so that all workers of all generations have the same, and none is written anywhere.

/// Keys, and when the next one is due.
struct TicketRing {
  private(set) var keys: [[UInt8]]
  /// Milliseconds of the monotonic clock at which the newest was made.
  private(set) var madeAt: Int64

  init(_ key: [UInt8], now: Int64) {
    keys = [key]
    madeAt = now
  }

  /// Goes on with the keys of the program before this one; nil when there are none.
  init?(_ keys: [[UInt8]], madeAt: Int64) {
    guard !keys.isEmpty else { return nil }
    self.keys = keys
    self.madeAt = madeAt
  }

  /// One behind the other, the newest first.
  var bytes: [UInt8] { keys.flatMap { $0 } }

  /// When the next key is due.
  func dueAt(rotation: Int) -> Int64 { madeAt + Int64(max(1, rotation)) }

  /// Puts a new key before the others, of which so many stay that there are `count`.
  mutating func rotate(_ key: [UInt8], keeping count: Int, now: Int64) {
    keys = Array(([key] + keys).prefix(max(1, count)))
    madeAt = now
  }
}
