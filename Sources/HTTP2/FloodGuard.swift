// FloodGuard — counts, per connection, frames that cost their sender next to nothing, and says when there are too many.
//
// Counts begin anew when a window of time is over. Invariant: no count exceeds its limit without `flood` being set.

struct FloodGuard {
  /// Milliseconds in which the limits apply.
  static let window: Int64 = 10_000

  private let limits: FloodLimits
  private var counts = InlineArray<7, UInt32>(repeating: 0)
  private var windowEnd: Int64 = 0
  /// The limit that was exceeded first.
  private(set) var flood: Flood?

  init(_ limits: FloodLimits) { self.limits = limits }

  /// Milliseconds of the monotonic clock.
  mutating func timeIs(_ now: Int64) {
    guard now >= windowEnd else { return }
    windowEnd = now &+ Self.window
    for index in counts.indices { counts[index] = 0 }
  }

  /// Counts one; false when that is one too many.
  mutating func count(_ kind: Flood) -> Bool {
    let index = Int(kind.rawValue)
    let (sum, overflow) = counts[index].addingReportingOverflow(1)
    counts[index] = overflow ? .max : sum
    let limit = limit(kind)
    guard limit > 0, sum > limit || overflow else { return true }
    if flood == nil { flood = kind }
    return false
  }

  /// A header section begins: its CONTINUATION frames are counted by themselves.
  mutating func headerSectionBegan() { counts[Int(Flood.continuations.rawValue)] = 0 }

  /// A DATA frame has been sent; for each, a client may send a few WINDOW_UPDATE frames. Tiny ones, which only a client that
  /// gives its windows back by the byte makes us send, do not count.
  mutating func dataWasSent(_ count: Int, isLast: Bool) {
    guard count >= 1024 || isLast else { return }
    let index = Int(Flood.windowUpdates.rawValue)
    counts[index] -= min(counts[index], 4)
  }

  private func limit(_ kind: Flood) -> Int {
    switch kind {
    case .resets: limits.resets
    case .settings: limits.settings
    case .pings: limits.pings
    case .emptyFrames: limits.emptyFrames
    case .windowUpdates: limits.windowUpdates
    case .priorities: limits.priorities
    case .continuations: limits.continuations
    }
  }
}
