// Pool — the bounds and counts of the connections that one worker has to one endpoint of an upstream.
//
// The configured counts are for all workers together; each worker gets an even share, never less than one. How many connections there may be
// in all is a matter of the upstream (see EndpointSet); how many may be idle is divided among its endpoints.

import Memory
import Plan

/// What the connections of a pool speak.
public enum PoolProtocol: UInt8, Sendable, BitwiseCopyable {
  case http1, http2
  /// What each backend agrees to when TLS begins.
  case either
}

extension PoolProtocol {
  public init(_ plan: BackendHTTP2Plan) {
    self =
      switch plan.prefer {
      case _ where !plan.enabled: .http1
      case .never: .http1
      case .always: .http2
      case .auto: .either
      }
  }
}

/// One worker's pool for one endpoint.
public struct Pool: BitwiseCopyable {
  /// Index of the upstream.
  public let upstream: UInt32
  /// The endpoint's row in shared memory; -1: it has none.
  public internal(set) var row: Int32 = -1
  /// Its breaker is open, which is not heeded because too many of the upstream's are.
  public internal(set) var isSpared = false
  /// Whether what is in flight is counted: where it takes part in a choice.
  var countsLoad = false
  /// The endpoint is no member of its upstream any more: the pool ends with its last connection.
  public internal(set) var isRetired = false
  /// Requests on their way, as far as they are counted: connections leased or being made for one, and streams.
  public internal(set) var inFlight: UInt32 = 0

  /// Of all pools of the upstream together.
  public let connectionLimit: UInt32
  public internal(set) var idleLimit: UInt32
  /// Milliseconds; 0 means none.
  public let connectTimeout: Int64
  /// As configured, or a little less than what the backend keeps to.
  public private(set) var idleTimeout: Int64
  private let configuredIdleTimeout: Int64
  private let learnsIdleTimeout: Bool
  private var idleLimitOfBackend = IdleLimit()
  public let lifetime: Int64
  /// Requests per connection; 0 means any number.
  public let requestLimit: UInt32
  public let speaks: PoolProtocol

  /// Connecting, leased and idle ones.
  public internal(set) var connections: UInt32 = 0
  public internal(set) var idle: UInt32 = 0
  /// The most recently used idle connection, and the least recently used one.
  var newest: UInt32 = .max
  var oldest: UInt32 = .max

  /// The first of its HTTP/2 sessions, linked through their records.
  public var firstSession: Handle?
  /// Connections being opened that may turn out to speak HTTP/2, or that do but have not said how much they take.
  public internal(set) var opening: UInt32 = 0
  /// A backend that could have chosen HTTP/2 has not: nobody waits to learn it again.
  public var knowsHTTP1 = false
  /// A backend that had chosen HTTP/2 has asked for HTTP/1.1: it is not offered again.
  public var wantsHTTP1 = false

  public init(_ plan: PoolPlan, upstream: Int = 0, speaks: PoolProtocol = .http1, worker: Int, of workers: Int) {
    self.upstream = UInt32(upstream)
    self.speaks = speaks
    connectionLimit = UInt32(clamping: max(1, Pool.share(plan.maxConnections, worker, workers)))
    idleLimit = UInt32(clamping: plan.maxIdleConnections == 0 ? 0 : max(1, Pool.share(plan.maxIdleConnections, worker, workers)))
    connectTimeout = Int64(plan.connectTimeout)
    idleTimeout = Int64(plan.idleTimeout)
    configuredIdleTimeout = Int64(plan.idleTimeout)
    learnsIdleTimeout = plan.learnsIdleTimeout
    lifetime = Int64(plan.maxLifetime)
    requestLimit = UInt32(clamping: plan.maxRequests)
  }

  /// A response has said how long its connection will be kept; milliseconds.
  public mutating func announceIdleLimit(_ limit: Int64, now: Int64) {
    guard learnsIdleTimeout else { return }
    idleLimitOfBackend.announce(limit, now: now)
    idleTimeout = idleLimitOfBackend.applied(to: configuredIdleTimeout)
  }

  /// The backend has closed a connection that had been idle for `duration` milliseconds.
  public mutating func observeClose(after duration: Int64, now: Int64) {
    guard learnsIdleTimeout else { return }
    idleLimitOfBackend.observeClose(after: duration, now: now)
    idleTimeout = idleLimitOfBackend.applied(to: configuredIdleTimeout)
  }

  /// Forgets what was learnt long ago.
  public mutating func refreshIdleLimit(now: Int64) {
    guard idleTimeout != configuredIdleTimeout else { return }
    idleLimitOfBackend.refresh(now: now)
    idleTimeout = idleLimitOfBackend.applied(to: configuredIdleTimeout)
  }

  /// `total` divided evenly; the first workers get what remains.
  public static func share(_ total: Int, _ worker: Int, _ workers: Int) -> Int {
    total / max(1, workers) + (worker < total % max(1, workers) ? 1 : 0)
  }
}
