// RateLimitPlan — how many requests whom is allowed, over all workers.

/// Rate limits. Zones are looked at in their order; the first that refuses ends it.
public struct RateLimitPlan: Equatable, Sendable {
  public var enabled = false
  /// Requests that would be refused are only counted and logged.
  public var dryRun = false
  /// Status of a refusal.
  public var status = 429
  /// Whether responses say how much is left.
  public var includeHeaders = true
  /// Requests that each worker holds at the same time until their tokens are there.
  public var maxDelayed = 1000
  public var zones: [RateZonePlan] = []

  public init() {}

  /// Whether any request is looked at.
  public var isActive: Bool { enabled && !zones.isEmpty }
}

/// One zone: a bucket for each key.
public struct RateZonePlan: Equatable, Sendable {
  public var name = ""
  /// Thousandths of a token per second.
  public var rate = 1000
  /// Tokens that may be taken at once.
  public var capacity = 1
  /// Tokens that may be owed: requests that take them are held until they are there.
  public var delay = 0
  /// What a bucket is for, such as `client_ip+header:X-Api-Key` (see Policy's RateKey).
  public var key = "client_ip"
  /// Bits of an IPv6 client's address that count.
  public var ipv6Prefix = 64
  /// Keys the zone remembers at least.
  public var maxEntries = 100_000
  /// Path prefixes, on segment boundaries; empty: every path.
  public var appliesTo: [String] = []
  /// Whether the keys that ask most are kept, so that they can be shown.
  public var trackKeys = false

  public init() {}
}
