// RateLimits — the zones of a plan, made ready: of rate limits, and of limits on what is under way.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Wire

/// What the zones said of a request, for its response. The tightest of those that applied, or the one that refused.
struct RateNote: BitwiseCopyable {
  /// Index of the zone; negative: none applied.
  var zone: Int32 = -1
  var isRefused = false
  /// The zone is not to be asked now, and its fallback says no.
  var isUnavailable = false
  /// The request waits for what a zone will say.
  var isWaiting = false
  /// Whole tokens left.
  var remaining: Int64 = 0
  /// Microseconds until there is a token, and until a refused request would be admitted.
  var untilToken: Int64 = 0
  var untilAdmitted: Int64 = 0
  /// Microseconds that the request is held.
  var wait: Int64 = 0
}

/// A zone.
struct RateZone: BitwiseCopyable {
  let limiter: RateLimiter<RateTable>
  let rule: KeyRule
  /// Keys are kept.
  let isTracked: Bool
  /// Seconds in which an empty bucket fills: the window that RateLimit-Policy names.
  let window: Int64
  /// Tokens in a full bucket, wherever that is.
  let capacity: Int64
  /// A server has its buckets; those in shared memory are for when it does not answer.
  let isStored: Bool
}

/// A zone of the limits on what is under way.
struct ConcurrencyZone: BitwiseCopyable {
  let limiter: ConcurrencyLimiter<ConcurrencyTable>
  let rule: KeyRule
  /// Index into the plan's zones.
  let index: Int32
  let isOfConnections: Bool
}

/// All zones of a worker.
struct RateLimits: ~Copyable {
  /// Whether requests are looked at.
  let isActive: Bool
  let plan: RateLimitPlan
  let concurrencyPlan: ConcurrencyLimitPlan
  private(set) var zones: BoundedArray<RateZone>
  /// Of them: those of requests first, then those of connections.
  private(set) var concurrencyZones: BoundedArray<ConcurrencyZone>
  let requestZoneCount: Int
  /// Whether requests under way are counted, and whether connections are.
  var countsRequests: Bool { requestZoneCount > 0 }
  let countsConnections: Bool
  /// Requests that are held until their tokens are there, and how many that are.
  var delayed: Slab<DelayedRequest>
  var delayedCount = 0
  /// What is counted of clients.
  var holds: Slab<Hold>
  private(set) var keys: RequestKeys
  /// Tokens that a request of each route takes; empty: one.
  private(set) var costs: BoundedArray<Int64>
  /// The key being put together.
  var key: Buffer
  /// Header lines being put together.
  var lines = Buffer(capacity: 512)

  /// - Parameters:
  ///   - keyLimit: bytes of a request's head, which no key is longer than by much.
  ///   - routes: those of the gateway, and the names of the captures of each.
  ///   - concurrency: the limits on what is under way, their tables in the order of the plan's zones, and the worker's column in them.
  ///   - clients: connections and streams at most.
  init(
    _ plan: RateLimitPlan, tables: [RateTable], keyLimit: Int, routes: [RoutePlan] = [], captures names: (Int) -> [String] = { _ in [] },
    concurrency: ConcurrencyLimitPlan = ConcurrencyLimitPlan(), concurrencyTables: [ConcurrencyTable] = [], column: Int = 0, clients: UInt32 = 0
  ) {
    self.plan = plan
    concurrencyPlan = concurrency
    let zonePlans = plan.isActive && tables.count == plan.zones.count ? plan.zones : []
    let counted = concurrency.isActive && concurrencyTables.count == concurrency.zones.count ? Array(zip(concurrency.zones, concurrencyTables).enumerated()) : []
    // A table without a column for this worker cannot take its counts.
    let usable = counted.filter { $0.element.1.use(column: column) }
    let ordered = usable.filter { $0.element.0.subject == .requests } + usable.filter { $0.element.0.subject == .connections }
    let draft = RequestKeyDraft(
      zonePlans.map { ($0.key, $0.ipv6Prefix, $0.appliesTo) } + ordered.map { ($0.element.0.key, $0.element.0.ipv6Prefix, $0.element.0.appliesTo) },
      routes: routes.count, captures: names)
    keys = RequestKeys(draft)
    zones = BoundedArray(capacity: max(1, zonePlans.count))
    for (index, zone) in zonePlans.enumerated() {
      let bucket = zone.bucket
      _ = zones.append(
        RateZone(
          limiter: RateLimiter(tables[index], bucket), rule: draft.rules[index], isTracked: tables[index].trackedSets > 0,
          window: Int64(max(1, (Double(zone.capacity) / (Double(max(1, zone.rate)) / 1000)).rounded(.up))), capacity: Int64(max(1, zone.capacity)),
          isStored: zone.store >= 0))
    }
    concurrencyZones = BoundedArray(capacity: max(1, ordered.count))
    for (place, (index, (zone, table))) in ordered.enumerated() {
      _ = concurrencyZones.append(
        ConcurrencyZone(
          limiter: ConcurrencyLimiter(table, limit: zone.limit, column: column), rule: draft.rules[zonePlans.count + place], index: Int32(index),
          isOfConnections: zone.subject == .connections))
    }
    // Locals: an expression that captures what is initialised in part, as the operand of "||" does, would have it destroyed.
    let requestZones = ordered.count { $0.element.0.subject == .requests }
    let hasRequests = !zonePlans.isEmpty || requestZones > 0, hasConnections = ordered.count > requestZones
    requestZoneCount = requestZones
    countsConnections = hasConnections
    holds = Slab(capacity: ordered.isEmpty ? 1 : UInt32(clamping: Int(clients) * ordered.count))
    let maxDelayed = plan.maxDelayed
    delayed = Slab(capacity: zonePlans.contains { $0.delay > 0 } ? UInt32(clamping: max(1, maxDelayed)) : 0)
    isActive = hasRequests
    let hasCosts = !zonePlans.isEmpty && routes.contains { $0.rules.rateLimitCost != 1 }
    costs = BoundedArray(capacity: max(1, routes.count))
    for route in routes where hasCosts { _ = costs.append(Int64(max(0, route.rules.rateLimitCost))) }
    key = Buffer(capacity: hasRequests || hasConnections ? 4 * keyLimit + 256 : 0)
  }

  /// Tokens that a request of `route` takes.
  @inline(__always)
  func cost(_ route: Int) -> Int64 { route >= 0 && route < costs.count ? costs.span[route] : 1 }

  /// Appends the lines that tell the client about `note`.
  mutating func compose(_ note: RateNote) {
    lines.removeAll()
    guard !note.isUnavailable else { return plan.includeHeaders ? composeRetry() : () }
    guard plan.includeHeaders, note.zone >= 0, Int(note.zone) < zones.count else { return }
    let zone = zones.span[Int(note.zone)]
    let capacity = Int(clamping: zone.capacity)
    lines.append("RateLimit-Policy: ")
    lines.append(decimal: capacity)
    lines.append(";w=")
    lines.append(decimal: Int(clamping: zone.window))
    lines.append("\r\nRateLimit: limit=")
    lines.append(decimal: capacity)
    lines.append(", remaining=")
    lines.append(decimal: Int(clamping: note.remaining))
    lines.append(", reset=")
    lines.append(decimal: RateLimits.seconds(note.untilToken))
    lines.append("\r\n")
    guard note.isRefused else { return }
    lines.append("Retry-After: ")
    lines.append(decimal: max(1, RateLimits.seconds(note.untilAdmitted)))
    lines.append("\r\n")
  }

  /// Says when a server that does not answer will have been tried again.
  private mutating func composeRetry() {
    lines.append("Retry-After: ")
    lines.append(decimal: max(1, (plan.redis.retryInterval + 999) / 1000))
    lines.append("\r\n")
  }

  private static func seconds(_ microseconds: Int64) -> Int { Int(clamping: min(microseconds, 1 << 50) / 1_000_000 + (microseconds % 1_000_000 > 0 ? 1 : 0)) }

  /// Brings old entries of all tables up to date where that is due; to be called about once a second.
  func sweep(microseconds: Int64) {
    for index in 0..<zones.count { zones.span[index].limiter.sweepIfDue(microseconds: microseconds) }
  }
}
