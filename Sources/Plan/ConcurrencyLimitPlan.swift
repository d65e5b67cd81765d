// ConcurrencyLimitPlan — how much whom is allowed at the same time, over all workers.

/// Limits on what is under way. Zones are looked at in their order; the first that refuses ends it.
public struct ConcurrencyLimitPlan: Equatable, Sendable {
  public var enabled = false
  /// What would be refused is only counted and logged.
  public var dryRun = false
  /// Status of a refusal.
  public var status = 429
  public var zones: [ConcurrencyZonePlan] = []

  public init() {}

  /// Whether anything is looked at.
  public var isActive: Bool { enabled && !zones.isEmpty }
}

/// One zone: a bound for each key.
public struct ConcurrencyZonePlan: Equatable, Sendable {
  /// What is counted.
  public enum Subject: UInt8, Equatable, Sendable, CaseIterable {
    /// From the time that a request's head has been understood until its response has been sent.
    case requests
    /// Connections of clients, from the accept to the close.
    case connections
  }

  public var name = ""
  public var subject = Subject.requests
  /// What a key may have at the same time.
  public var limit = 1
  /// What a bound is for, as of a RateZonePlan.
  public var key = "client_ip"
  /// Bits of an IPv6 client's address that count.
  public var ipv6Prefix = 64
  /// Keys that may have something under way in one worker at the same time.
  public var maxEntries = 16_384
  /// Path prefixes, on segment boundaries; empty: every path.
  public var appliesTo: [String] = []

  public init() {}
}
