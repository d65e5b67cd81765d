// EndpointStanding — whether an endpoint may be used, by orders, checks and what its requests have shown: words of shared memory and their meaning.
//
// An ejection is one word: the millisecond of the monotonic clock at which it ends, and how often it has happened of late, which makes the next one longer. The
// result of checks is one word as well: a state and since when. Each changes by one compare-and-exchange or store.

import Plan

/// What checks have found.
public enum CheckedHealth: UInt64, Sendable {
  case unknown, healthy, unhealthy
}

/// The result of checks, as a word.
public struct HealthWord: BitwiseCopyable, Sendable {
  public let word: UInt64

  public init(_ word: UInt64) { self.word = word }

  /// - Parameter since: milliseconds of the monotonic clock.
  public init(_ health: CheckedHealth, since: Int64) { word = UInt64(clamping: max(0, since)) << 8 | health.rawValue }

  public var health: CheckedHealth { CheckedHealth(rawValue: word & 0xff) ?? .unknown }
  public var since: Int64 { Int64(clamping: word >> 8) }
}

/// An ejection, as a word.
public struct Ejection: BitwiseCopyable, Sendable {
  public let word: UInt64

  public init(_ word: UInt64) { self.word = word }

  private init(until: Int64, times: UInt64) { word = UInt64(clamping: max(0, until)) << 16 | min(times, 0xffff) }

  /// Milliseconds of the monotonic clock.
  public var until: Int64 { Int64(clamping: word >> 16) }
  public var times: UInt64 { word & 0xffff }

  public func isOver(now: Int64) -> Bool { until <= now }

  /// The next one, which begins now.
  public func next(_ plan: OutlierPlan, now: Int64) -> Ejection {
    let times = self.times + 1
    let duration = min(Int64(plan.baseEjection) * Int64(clamping: times), Int64(max(plan.maxEjection, plan.baseEjection)))
    return Ejection(until: now + duration, times: times)
  }

  /// It is over now, because an operator wants it to be; it counts for the length of the next one as before.
  public func lifted(now: Int64) -> Ejection { Ejection(until: min(until, now), times: times) }

  /// What is left of it when it has been over for an interval: it weighs less.
  public func forgiven(_ plan: OutlierPlan, now: Int64) -> Ejection? {
    guard times > 0, until + Int64(plan.baseEjection) <= now else { return nil }
    return Ejection(until: until, times: times - 1)
  }
}

/// How many endpoints may be ejected at one time.
public enum EjectionLimit {
  /// - Parameter endpoints: of the upstream.
  public static func count(_ plan: OutlierPlan, of endpoints: Int) -> Int { min(max(0, endpoints - 1), max(1, endpoints * plan.maxEjected / 100)) }
}

/// Why an endpoint was taken out of use. The raw value is kept in shared memory.
public enum HealthReason: UInt64, Sendable {
  case none
  // Of checks.
  case connect, timeout, tls, status, body, malformed, notServing
  // Of ejections.
  case consecutiveFailures, successRate, latency

  public var text: String {
    switch self {
    case .none: ""
    case .connect: "it cannot be connected to"
    case .timeout: "it does not answer in time"
    case .tls: "the TLS handshake fails"
    case .status: "the status is not one of those expected"
    case .body: "the body does not contain what is expected"
    case .malformed: "the answer is malformed"
    case .notServing: "it says that it does not serve"
    case .consecutiveFailures: "too many failures one after the other"
    case .successRate: "fewer of its requests succeed than of the others'"
    case .latency: "it takes longer than the others"
    }
  }
}

extension BreakerPlan {
  /// Whether each endpoint has a breaker.
  public var guardsEndpoints: Bool { enabled && scope == .endpoint }
}
