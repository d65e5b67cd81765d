// DNSPlan — how names of backends are resolved, and which there are.

/// How names are resolved. Durations in milliseconds.
public struct DNSPlan: Equatable, Sendable {
  /// Which addresses of a name are used.
  public enum Family: UInt8, Equatable, Sendable, CaseIterable {
    /// IPv4 addresses if there are any; IPv6 addresses otherwise, or where an IPv4 address does not answer in time.
    case v4Preferred
    /// The other way round.
    case v6Preferred
    case v4Only, v6Only
  }

  public var family = Family.v4Preferred
  /// `address:port`, IPv6 in brackets; empty: those that the system is set up with.
  public var servers: [String] = []
  /// For one name, all queries together.
  public var resolveTimeout = 5_000
  /// For all names at the start, where they are required.
  public var overallTimeout = 15_000
  /// Queries of one worker at the same time.
  public var maxInFlight = 32
  /// Bounds of what records say about how long they are good.
  public var minTTL = 1_000
  public var maxTTL = 3_600_000
  /// The longest pause after an answer that there is nothing, or no answer.
  public var negativeTTL = 5_000
  /// Whether addresses are kept that could not be refreshed when their time was over.
  public var staleOnError = true
  /// …for how long; 0: for good.
  public var staleLimit = 86_400_000
  /// Whether a generation that cannot resolve all names does not start.
  public var required = false

  public init() {}

  /// A number for these rules: what was resolved by others may no longer be good.
  public var fingerprint: UInt64 {
    var writer = PlanWriter()
    var rules = self
    rules.code(with: &writer)
    return writer.bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}

/// A name to be resolved.
public struct NamePlan: Hashable, Sendable {
  public var host: String
  /// Whether its SRV records (RFC 2782) say where the service is.
  public var isService: Bool

  public init(host: String, isService: Bool = false) {
    self.host = host
    self.isService = isService
  }
}
