// A plan comes out of its bytes as it went in, whatever is set.

import HTTPModel
import Plan
import Testing

@testable import Control

/// A plan in which no value is the default.
private var unusual: Plan {
  var plan = Plan()
  plan.workers = 17
  plan.listeners = [
    ListenerPlan(address: .ip("::", port: 443), backlog: 17, ipv6Only: true), ListenerPlan(address: .unix("/run/x.sock", mode: 0o600)),
  ]
  plan.maxDrainingGenerations = 9
  plan.limits.maxConnections = 1
  plan.limits.maxHeaderSize = 2
  plan.limits.maxHeaderCount = 3
  plan.limits.maxBodySize = 4
  plan.timeouts.idle = 5
  plan.timeouts.request = 6
  plan.timeouts.send = 7
  plan.timeouts.shutdownDrain = 8
  plan.timeouts.workerStart = 9
  plan.http1.highWater = 10
  plan.http1.lowWater = 11
  plan.http1.halfClose = .cancel
  plan.serverHeader = false
  plan.health = false
  plan.stats = false
  plan.log.level = .critical
  plan.log.file = "/var/log/é.log"
  plan.log.maxFileSize = 12
  plan.log.maxFiles = 13
  plan.accessLog.enabled = true
  plan.accessLog.file = "/a"
  plan.accessLog.format = "$status"
  plan.accessLog.bufferSize = 14
  plan.accessLog.flushInterval = 15
  plan.identity.user = "u"
  plan.identity.group = "g"
  var upstream = UpstreamPlan(name: "n", host: "h", port: 65_535, addresses: ["192.0.2.1", "2001:db8::1"])
  upstream.requestMode = .buffered
  upstream.pool.maxConnections = 16
  upstream.pool.maxIdleConnections = 17
  upstream.pool.connectTimeout = 18
  upstream.pool.idleTimeout = 19
  upstream.pool.maxLifetime = 20
  upstream.pool.maxRequests = 21
  plan.upstreams = [upstream, UpstreamPlan(name: "", host: "", port: 0, addresses: [])]
  var forward = ForwardPlan(upstream: 1)
  forward.stripPrefix = true
  forward.originalPath = true
  forward.responseTimeout = 22
  forward.buffering = .never
  forward.relayBufferLimit = 23
  forward.autoStreamThreshold = 24
  forward.streamIdleTimeout = 25
  forward.streamMaxDuration = 26
  forward.http10 = .buffer
  forward.forwardTrailers = true
  forward.setForwardedFor = false
  forward.setForwardedProto = false
  forward.setForwardedHost = false
  forward.setVia = false
  forward.rewriteHost = false
  plan.routes = [
    RoutePlan(hosts: ["a", "*.b"], pattern: "/x/*rest", methods: .any, action: .forward(forward)),
    RoutePlan(
      pattern: "/y", methods: [MethodSet(.get)], action: .respond(RespondPlan(status: 418, headers: [HeaderPlan(name: "A", value: "b")], body: "tea"))),
    RoutePlan(pattern: "/z", methods: [], action: .redirect(RedirectPlan(to: "https://{host}{uri}", status: 302))),
    RoutePlan(pattern: "/health", methods: [MethodSet(.get)], action: .health), RoutePlan(pattern: "/stats", methods: [], action: .stats),
  ]
  return plan
}

@Test func aPlanComesBack() {
  #expect(Plan(archived: unusual.archived) == unusual)
  #expect(Plan(archived: Plan().archived) == Plan())
}

@Test func bytesThatAreNoPlanAreRefused() {
  let bytes = unusual.archived
  for count in 0..<bytes.count { #expect(Plan(archived: Array(bytes.prefix(count))) == nil) }
  #expect(Plan(archived: bytes + [0]) == nil)
  #expect(Plan(archived: [UInt8](repeating: 0xff, count: 100)) == nil)
}

@Test func damagedPlansNeverTrap() {
  let bytes = unusual.archived
  for index in bytes.indices {
    var damaged = bytes
    damaged[index] ^= 0xff
    _ = Plan(archived: damaged)
  }
}

/// Each field of the plan, changed alone, must change the bytes: one that is not archived would not.
@Test func noFieldIsForgotten() {
  func leaves(_ value: Any) -> Int {
    let mirror = Mirror(reflecting: value)
    return mirror.children.isEmpty ? 1 : mirror.children.reduce(0) { $0 + leaves($1.value) }
  }
  // When this fails, a field was added: archive it, set it above, and count it here.
  #expect(leaves(ForwardPlan(upstream: 0)) == 16)
  #expect(leaves(UpstreamPlan(name: "", host: "", port: 0, addresses: [""])) == 11)
  #expect(leaves(LimitPlan()) == 4)
  #expect(leaves(TimeoutPlan()) == 5)
  #expect(leaves(HTTP1Plan()) == 3)
  #expect(leaves(LogPlan()) == 4)
  #expect(leaves(AccessLogPlan()) == 5)
  #expect(leaves(IdentityPlan()) == 2)
  #expect(Mirror(reflecting: Plan()).children.count == 14)
}
