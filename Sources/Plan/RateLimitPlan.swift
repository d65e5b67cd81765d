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
  /// How zones that several gateways share are asked about.
  public var redis = RedisPlan()
  /// The servers that zones have their buckets on.
  public var stores: [RateStorePlan] = []

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
  /// The address of the Redis server that has the zone's buckets, as it is configured; empty: they are in shared memory.
  public var backend = ""
  /// What happens to requests while that server does not answer.
  public var fallback = Fallback.local
  /// Thousandths of rate and capacity that hold here meanwhile.
  public var fallbackShare = 1000
  /// Tokens that a worker takes at once.
  public var batch = 1
  /// Index into `RateLimitPlan.stores`; negative: the buckets are in shared memory.
  public var store = -1

  public init() {}

  /// What to do without an answer.
  public enum Fallback: UInt8, CaseIterable, Sendable {
    case allow, deny
    /// The buckets in shared memory decide.
    case local
  }
}

/// What holds for all zones with a `backend`.
public struct RedisPlan: Equatable, Sendable {
  /// Milliseconds that a request waits for an answer.
  public var timeout = 100
  /// Failures in a row after which nobody waits any more.
  public var failureThreshold = 5
  /// Milliseconds from then to the next try, and between tries.
  public var retryInterval = 1000
  /// What the names of all keys begin with.
  public var keyPrefix = "gateway"

  public init() {}
}

/// A Redis server.
public struct RateStorePlan: Equatable, Sendable {
  /// `redis://host:port/db`: for people, without user and password.
  public var label = ""
  /// Name or literal; empty with `unix`.
  public var host = ""
  public var port: UInt16 = 6379
  /// Absolute path of a Unix socket; empty: there is none.
  public var unix = ""
  /// Index into `Plan.names`; negative: `host` is a literal.
  public var lookup = -1
  public var user = ""
  public var password = ""
  public var database = 0

  public init() {}
}
