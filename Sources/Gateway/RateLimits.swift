// RateLimits — the zones of a plan, made ready: what each applies to, what its key is made of, its bucket and its table.
//
// Lists of a zone are ranges of two tables that all zones share, so that a zone is a plain value.

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
  /// Whole tokens left.
  var remaining: Int64 = 0
  /// Microseconds until there is a token, and until a refused request would be admitted.
  var untilToken: Int64 = 0
  var untilAdmitted: Int64 = 0
}

/// A zone.
struct RateZone: BitwiseCopyable {
  let limiter: RateLimiter<RateTable>
  /// Ranges of `RateLimits.parts` and `RateLimits.prefixes`.
  let parts: Extent
  let prefixes: Extent
  /// What counts of an IPv6 address.
  let highMask: UInt64
  let lowMask: UInt64
  /// Seconds in which an empty bucket fills: the window that RateLimit-Policy names.
  let window: Int64
}

/// A part of a key: its kind, and where the name is of the field or cookie.
struct RatePart: BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable { case clientAddress, path, header, cookie, tlsSubject, routeParameter }

  let kind: Kind
  let name: Extent
  /// Of a route's parameter: which of them, counted over all parts.
  var parameter: Int32 = 0
}

/// All zones of a worker.
struct RateLimits: ~Copyable {
  let isActive: Bool
  let plan: RateLimitPlan
  private(set) var zones: BoundedArray<RateZone>
  private(set) var parts: BoundedArray<RatePart>
  private(set) var prefixes: BoundedArray<Extent>
  /// Names of fields and cookies, and path prefixes.
  private(set) var texts: Buffer
  /// Tokens that a request of each route takes; empty: one.
  private(set) var costs: BoundedArray<Int64>
  /// By parameter and route: which of the route's captures it is; negative: the route has no such parameter.
  private var captures: BoundedArray<Int16>
  private let routeCount: Int
  /// The key being put together.
  var key: Buffer
  /// Header lines being put together.
  var lines = Buffer(capacity: 512)

  /// - Parameter keyLimit: bytes of a request's head, which no key is longer than by much.
  ///   - routes: those of the gateway, and the names of the captures of each.
  init(_ plan: RateLimitPlan, tables: [RateTable], keyLimit: Int, routes: [RoutePlan] = [], captures names: (Int) -> [String] = { _ in [] }) {
    self.plan = plan
    let count = plan.isActive && tables.count == plan.zones.count ? plan.zones.count : 0
    isActive = count > 0
    zones = BoundedArray(capacity: max(1, count))
    parts = BoundedArray(capacity: max(1, count * RateKey.partLimit))
    prefixes = BoundedArray(capacity: max(1, plan.zones.reduce(0) { $0 + $1.appliesTo.count }))
    var texts = Buffer(capacity: plan.zones.reduce(16) { $0 + $1.key.utf8.count + $1.appliesTo.reduce(0) { $0 + $1.utf8.count } })
    routeCount = routes.count
    let hasCosts = count > 0 && routes.contains { $0.rules.rateLimitCost != 1 }
    costs = BoundedArray(capacity: max(1, routes.count))
    for route in routes where hasCosts { _ = costs.append(Int64(max(0, route.rules.rateLimitCost))) }
    let parameterLimit = max(1, count * RateKey.partLimit)
    captures = BoundedArray(capacity: parameterLimit * max(1, routes.count))
    var parameters = 0
    key = Buffer(capacity: count > 0 ? 4 * keyLimit + 256 : 0)
    for (zone, table) in zip(plan.zones, tables) where count > 0 {
      let firstPart = parts.count, firstPrefix = prefixes.count
      // The key has been looked at when the configuration was read.
      for part in (try? RateKey(parsing: zone.key))?.parts ?? [] {
        let ready: RatePart =
          switch part {
          case .clientAddress: RatePart(kind: .clientAddress, name: Extent(0..<0))
          case .path: RatePart(kind: .path, name: Extent(0..<0))
          case .tlsSubject: RatePart(kind: .tlsSubject, name: Extent(0..<0))
          case .header(let name): RatePart(kind: .header, name: RateLimits.add(name, to: &texts))
          case .cookie(let name): RatePart(kind: .cookie, name: RateLimits.add(name, to: &texts))
          case .routeParameter: RatePart(kind: .routeParameter, name: Extent(0..<0), parameter: Int32(parameters))
          }
        if case .routeParameter(let name) = part {
          parameters += 1
          for route in routes.indices { _ = captures.append(Int16(clamping: names(route).firstIndex(of: name) ?? -1)) }
        }
        _ = parts.append(ready)
      }
      for prefix in zone.appliesTo { _ = prefixes.append(RateLimits.add(prefix, to: &texts)) }
      let bits = min(max(zone.ipv6Prefix, 0), 128)
      let bucket = zone.bucket
      _ = zones.append(
        RateZone(
          limiter: RateLimiter(table, bucket), parts: Extent(firstPart..<parts.count), prefixes: Extent(firstPrefix..<prefixes.count),
          highMask: RateLimits.mask(min(bits, 64)), lowMask: RateLimits.mask(max(0, bits - 64)),
          window: Int64(max(1, (Double(bucket.capacity) / bucket.rate).rounded(.up)))))
    }
    self.texts = texts
  }

  private static func add(_ text: String, to texts: inout Buffer) -> Extent {
    let start = texts.count
    texts.append(Array(text.utf8).span)
    return Extent(start..<texts.count)
  }

  /// A word whose first `bits` are set.
  private static func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : ~0 << UInt64(64 - bits) }

  /// Which capture of `route` the parameter is; negative: none.
  func capture(_ parameter: Int32, _ route: Int) -> Int {
    let place = Int(parameter) * routeCount + route
    return route >= 0 && route < routeCount && place < captures.count ? Int(captures.span[place]) : -1
  }

  /// Tokens that a request of `route` takes.
  @inline(__always)
  func cost(_ route: Int) -> Int64 { route >= 0 && route < costs.count ? costs.span[route] : 1 }

  /// Whether the zone is for `path`.
  func applies(_ zone: RateZone, to path: Span<UInt8>) -> Bool {
    if zone.prefixes.isEmpty { return true }
    for index in Int(zone.prefixes.lower)..<Int(zone.prefixes.upper) {
      if path.isBelow(prefixes.span[index].text(in: texts.bytes)) { return true }
    }
    return false
  }

  /// Appends the lines that tell the client about `note`.
  mutating func compose(_ note: RateNote) {
    lines.removeAll()
    guard plan.includeHeaders, note.zone >= 0, Int(note.zone) < zones.count else { return }
    let zone = zones.span[Int(note.zone)]
    let capacity = Int(clamping: zone.limiter.bucket.capacity)
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

  private static func seconds(_ microseconds: Int64) -> Int { Int(clamping: min(microseconds, 1 << 50) / 1_000_000 + (microseconds % 1_000_000 > 0 ? 1 : 0)) }

  /// Brings old entries of all tables up to date where that is due; to be called about once a second.
  func sweep(microseconds: Int64) {
    for index in 0..<zones.count { zones.span[index].limiter.sweepIfDue(microseconds: microseconds) }
  }
}

extension Span<UInt8> {
  /// Whether the path is `prefix`, or below it: on the boundary of a segment.
  func isBelow(_ prefix: Span<UInt8>) -> Bool {
    guard count >= prefix.count else { return false }
    for index in prefix.indices where self[index] != prefix[index] { return false }
    return count == prefix.count || prefix.isEmpty || prefix[prefix.count - 1] == 0x2f || self[prefix.count] == 0x2f
  }
}
