// ExchangePlan — what the gateway under test is told to do: one upstream, and a route for each way of forwarding.

import HTTPModel
import Plan

enum ExchangePlan {
  /// The ways of forwarding; a request's first path segment is its number.
  static let routes = 8
  /// Bytes that may wait for one client and for one backend; a piece that has been read goes on top.
  static let relayLimit = 64 << 10
  static let highWater = 48 << 10
  /// …and that are held back, to be sent in one piece or again.
  static let holdLimit = 128 << 10
  static let replayLimit = 32 << 10

  static func make(isHTTP2: Bool, variant: Int) -> Plan {
    var plan = Plan()
    plan.workers = 1
    plan.listeners = [ListenerPlan(address: .ip("127.0.0.1", port: 8080))]
    plan.limits.maxConnections = 8
    plan.limits.maxBodySize = 256 << 10
    plan.timeouts.idle = 5_000
    plan.timeouts.request = 2_000
    plan.timeouts.send = 2_000
    plan.http1.highWater = highWater
    plan.http1.lowWater = highWater / 4
    plan.http1.halfClose = variant & 1 == 0 ? .answer : .cancel
    plan.http2.highWater = highWater
    plan.http2.lowWater = highWater / 4
    plan.accessLog.enabled = true
    plan.accessLog.format = "$path $status $fault $attempts"
    plan.log.level = .critical

    var upstream = UpstreamPlan(name: "backend", host: "127.0.0.1", port: 9000, addresses: variant & 2 == 0 ? ["127.0.0.1"] : ["127.0.0.1", "127.0.0.2"])
    upstream.pool.maxConnections = 2
    upstream.pool.maxIdleConnections = 2
    upstream.pool.connectTimeout = 1_000
    upstream.pool.idleTimeout = 10_000
    upstream.pool.maxRequests = variant & 4 == 0 ? 0 : 3
    upstream.http2.enabled = isHTTP2
    upstream.http2.prefer = .always
    upstream.http2.pingIdle = 3_000
    upstream.http2.pingTimeout = 1_000
    upstream.http2.goAwayDrainTimeout = 2_000
    upstream.http2.initialWindow = 32 << 10
    upstream.http2.saturation = variant & 8 == 0 ? 0 : 50
    upstream.http2.maxConcurrentStreams = 4
    plan.upstreams = [upstream]
    for number in 0..<routes { plan.routes.append(RoutePlan(pattern: "/\(number)/*rest", methods: .any, action: .forward(route(number)))) }
    return plan
  }

  /// Whether requests with side effects may be sent twice.
  static func repeatsAll(_ route: Int) -> Bool { route == 3 }

  private static func route(_ number: Int) -> ForwardPlan {
    var plan = ForwardPlan(upstream: 0)
    plan.sendTimeout = 2_000
    plan.responseTimeout = 2_000
    plan.streamIdleTimeout = 2_000
    plan.relayBufferLimit = relayLimit
    plan.autoStreamThreshold = holdLimit
    plan.retry.bufferSize = replayLimit
    plan.retry.backoffBase = 25
    switch number {
    case 1, 3:
      plan.retry.maxRetries = 2
      plan.retry.on5xx = true
      plan.retry.onTimeout = true
      plan.retry.attemptTimeout = 500
      plan.retry.nonIdempotent = number == 3
    case 2:
      plan.hedgeDelay = 50
      plan.hedgeLimit = 2
      plan.retry.maxRetries = 1
    case 4:
      plan.buffering = .always
      plan.timeout = 4_000
    case 5:
      plan.buffering = .never
      plan.forwardTrailers = true
      plan.streamMaxDuration = 3_000
    case 6:
      plan.http10 = .buffer
      plan.stripPrefix = true
      plan.rewriteLocation = true
      plan.rewriteCookiePath = true
      plan.retry.maxRetries = 3
      plan.retry.on5xx = true
      plan.retry.backoffBase = 0
    case 7:
      // Long bodies go through a pipe.
      plan.relayBufferLimit = 256 << 10
    default: break
    }
    return plan
  }
}
