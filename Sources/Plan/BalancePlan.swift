// BalancePlan — how the requests of an upstream are divided among its endpoints.

/// Which endpoint a request goes to.
public struct BalancePlan: Equatable, Sendable {
  public enum Policy: UInt8, Equatable, Sendable {
    /// The less loaded of two that are drawn.
    case powerOfTwo
    /// One after the other.
    case roundRobin
    /// The least loaded of all.
    case leastRequests
    /// The one that the request's key belongs to.
    case hash
  }

  public var policy = Policy.powerOfTwo
  /// What of a request is its key, with `hash`; see `BalanceKey` in Policy.
  public var hashKey = "client_ip"
  /// Percent of the average load above which an endpoint's keys go to others, with `hash`; 0: none.
  public var loadBound = 0
  /// Milliseconds in which an endpoint that comes back comes to its full share; 0: at once.
  public var slowStart = 0
  public var sticky = StickyPlan()

  public init() {}
}

/// The cookie that binds a client to an endpoint.
public struct StickyPlan: Equatable, Sendable {
  public enum SameSite: UInt8, Equatable, Sendable { case unset, lax, strict, none }

  /// Its name; empty: there is none.
  public var cookie = ""
  /// Makes values that nobody can make up who does not know it.
  public var secret = ""
  public var path = "/"
  /// Empty: the host alone.
  public var domain = ""
  /// Milliseconds; 0: until the browser is closed.
  public var maxAge = 0
  public var isHTTPOnly = true
  public var isSecure = false
  public var sameSite = SameSite.lax

  public init() {}
}
