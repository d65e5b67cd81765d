// DumpTests — the effective configuration, written and read again, is the same configuration.

import Configuration
import HTTPModel
import Plan
import Testing

/// SplitMix64.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
  mutating func flag() -> Bool { next() & 1 == 0 }
  mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }
  mutating func time() -> Int { pick([10, 250, 1000, 1500, 60_000, 299_999]) }
  mutating func body() -> String {
    let alphabet = Array("aZ é😀\u{0}\u{1}\n\r\t\"\\/\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}#'{}[]:, ")
    return String((0..<below(30)).map { _ in pick(alphabet) })
  }
}

@Suite struct DumpTests {
  @Test func defaultsRoundTrip() throws {
    #expect(try loaded(Settings().dump()).settings == Settings())
    #expect(Settings().dump().hasPrefix("{\n    \"bind_host\": \"127.0.0.1\",\n    \"bind_port\": 8080,\n    \"listeners\": [],\n    \"workers\": 3,\n"))
  }

  @Test func randomSettingsRoundTrip() throws {
    for seed in 0..<200 {
      let settings = randomSettings(UInt64(seed))
      let dump = settings.dump()
      #expect(errors(dump) == [], "seed \(seed)")
      let again = try loaded(dump)
      #expect(again.settings == settings, "seed \(seed)")
      #expect(again.settings.dump() == dump)
    }
  }

  private func randomSettings(_ seed: UInt64) -> Settings {
    var r = Seeded(seed)
    var settings = Settings()
    settings.bindHost = r.pick(["::1", "a.test", "127.0.0.1"])
    settings.bindPort = r.below(65536)
    settings.workers = r.below(9)
    settings.maxDrainingGenerations = 1 + r.below(64)
    settings.limits.maxConnections = r.below(1000)
    settings.limits.maxHeaderSize = r.below(1 << 20)
    settings.limits.maxHeaderCount = 1 + r.below(1000)
    settings.limits.maxBodySize = r.below(1 << 40)
    settings.timeouts.idle = r.pick([0, r.time()])
    settings.timeouts.request = r.time()
    settings.limits.maxWebSocketMessageSize = r.pick([0, 1 + r.below(9999)])
    settings.timeouts.send = r.time()
    settings.timeouts.shutdownDrain = r.pick([0, 1, r.time()])
    settings.timeouts.workerStart = r.pick([1000, 1500, 300_000])
    settings.timeouts.workerHeartbeat = r.pick([0, 5000, 15_000])
    settings.http1.highWater = 1000 + r.below(1000)
    settings.http1.lowWater = r.below(1000)
    settings.http1.halfClose = r.pick([.answer, .cancel])
    settings.serverHeader = r.flag()
    settings.health = r.flag()
    settings.stats = r.flag()
    settings.log.level = r.pick(LogPlan.Level.allCases)
    settings.log.file = r.pick(["", "x.log", "/a/b"])
    settings.log.maxFileSize = 1 + r.below(9999)
    settings.log.maxFiles = 1 + r.below(9)
    settings.accessLog.enabled = r.flag()
    settings.accessLog.file = r.pick(["", "x.log"])
    settings.accessLog.format = r.pick(["json", "combined", "$status \"$remote_addr\""])
    settings.accessLog.bufferSize = 4096 + r.below(9)
    settings.accessLog.flushInterval = 10 + r.below(9)
    settings.identity.user = r.pick(["", "www-data"])
    settings.identity.group = r.pick(["", "g_1"])
    for index in 0..<r.below(3) {
      var listener = ListenerSettings()
      if r.flag() {
        listener.unix = "/run/\(index).sock"
        listener.mode = r.pick(["0600", "660"])
      } else {
        listener.host = r.pick(["::", "0.0.0.0"])
        listener.port = index
        listener.ipv6Only = r.flag()
      }
      listener.name = r.pick(["", "web-\(index)"])
      listener.backlog = 1 + r.below(100)
      settings.listeners.append(listener)
    }
    for index in 0..<1 + r.below(3) {
      var upstream = UpstreamSettings()
      upstream.name = "up \(index)é"
      upstream.host = r.pick(["two.test", "::1", "10.0.0.1"])
      upstream.port = 1 + r.below(65535)
      upstream.requestMode = r.pick([.streaming, .buffered])
      upstream.pool.maxConnections = 16 + r.below(9)
      upstream.pool.maxIdleConnections = r.below(16)
      upstream.pool.connectTimeout = r.time()
      upstream.pool.idleTimeout = r.time()
      upstream.pool.learnsIdleTimeout = r.flag()
      upstream.pool.maxLifetime = r.pick([0, r.time()])
      upstream.pool.maxRequests = r.below(9)
      if r.flag() {
        upstream.routePrefix = "/p\(index)/:id(a|[)]+)"
        upstream.methods = r.pick([[], ["GET", "POST"]])
      }
      upstream.forward = randomForward(&r)
      upstream.forward.stripPrefix = r.flag()
      upstream.forward.rewriteCookiePath = false
      settings.upstreams.append(upstream)
    }
    for index in 0..<r.below(6) {
      var route = RouteSettings()
      route.path = "/r\(index)/:id/*rest"
      route.hosts = r.pick([[], ["a.test", "*.B.test"]])
      route.methods = r.pick([[], ["GET", "HEAD", "TRACE"]])
      switch r.below(4) {
      case 0:
        route.upstream = settings.upstreams[0].name
        route.forward = r.flag() ? nil : randomForward(&r)
      case 1:
        let headers = r.pick([[], [HeaderPlan(name: "A", value: "é 1"), HeaderPlan(name: "B", value: "1"), HeaderPlan(name: "B", value: "")]])
        route.respond = RespondPlan(status: UInt16(206 + r.below(90)), headers: headers, body: r.body())
      case 2:
        var echo = EchoPlan()
        echo.subprotocols = r.pick([[], ["chat", "soap.v1"]])
        echo.compression = r.flag()
        echo.contextTakeover = r.flag()
        echo.windowBits = 9 + r.below(7)
        echo.idleTimeout = r.pick([0, r.time()])
        echo.pingInterval = r.pick([0, 100 + r.time()])
        route.echo = echo
      default: route.redirect = RedirectPlan(to: "https://{host}/{id}{query}", status: r.pick([301, 308]))
      }
      settings.routes.append(route)
    }
    return settings
  }

  private func randomForward(_ r: inout Seeded) -> ForwardPlan {
    var forward = ForwardPlan(upstream: 0)
    forward.stripPrefix = r.flag()
    forward.originalPath = r.flag()
    forward.timeout = r.pick([0, r.time()])
    forward.sendTimeout = r.pick([0, r.time()])
    forward.responseTimeout = r.pick([0, r.time()])
    forward.buffering = r.pick([.auto, .always, .never])
    forward.relayBufferLimit = 16384 + r.below(9999)
    forward.autoStreamThreshold = r.below(16384)
    forward.streamIdleTimeout = r.pick([0, r.time()])
    forward.streamMaxDuration = r.pick([0, r.time()])
    forward.http10 = r.pick([.close, .buffer])
    forward.forwardTrailers = r.flag()
    forward.setForwardedFor = r.flag()
    forward.setForwardedProto = r.flag()
    forward.setForwardedHost = r.flag()
    forward.setVia = r.flag()
    forward.rewriteHost = r.flag()
    forward.webSocket = r.flag()
    forward.webSocketIdleTimeout = r.pick([0, r.time()])
    forward.webSocketPingInterval = r.pick([0, 100 + r.time()])
    forward.rewriteLocation = r.flag()
    forward.rewriteCookiePath = forward.stripPrefix && !forward.originalPath && r.flag()
    forward.hedgeDelay = r.pick([0, r.time()])
    forward.hedgeLimit = 1 + r.below(3)
    forward.retry.maxRetries = r.below(11)
    forward.retry.onConnectFailure = r.flag()
    forward.retry.onDisconnect = r.flag()
    forward.retry.onTimeout = r.flag()
    forward.retry.on5xx = r.flag()
    forward.retry.statuses = r.pick([StatusSet(), StatusSet([400, 429, 503, 599])])
    forward.retry.nonIdempotent = r.flag()
    forward.retry.bufferSize = r.below(1 << 20)
    forward.retry.attemptTimeout = r.pick([0, r.time()])
    forward.retry.backoffBase = 1 + r.below(99)
    forward.retry.backoffLimit = 100 + r.below(999)
    forward.retry.retryAfterLimit = r.below(9999)
    return forward
  }
}
