// RandomPlan — plans in which every field is drawn at random, from a seed so that a failure can be repeated.

import HTTPModel
import Plan

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

  mutating func int() -> Int {
    switch next() % 4 {
    case 0: Int(truncatingIfNeeded: next() % 3) - 1
    case 1: Int(truncatingIfNeeded: next())
    case 2: Bool.random(using: &self) ? .max : .min
    default: Int(next() % 100_000)
    }
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
  mutating func flag() -> Bool { next() & 1 == 0 }
  mutating func short() -> UInt16 { UInt16(truncatingIfNeeded: next()) }

  mutating func text() -> String {
    let alphabet = Array("abc/:*{}\u{0}\n\"\\é😀 ")
    return String((0..<below(20)).map { _ in alphabet[below(alphabet.count)] })
  }

  mutating func bytes() -> [UInt8] { (0..<below(40)).map { _ in UInt8(truncatingIfNeeded: next()) } }

  mutating func ranges() -> [AddressRange] {
    (0..<below(3)).map { _ in
      let first: PeerAddress = flag() ? PeerAddress(ipv4: UInt32(truncatingIfNeeded: next())) : flag() ? PeerAddress(ipv6: next(), next()) : .unix
      return AddressRange(first: first, length: int())
    }
  }

  mutating func rules() -> AddressRulePlan {
    var rules = AddressRulePlan()
    rules.allow = ranges()
    rules.deny = ranges()
    return rules
  }

  mutating func texts() -> [String] { (0..<below(4)).map { _ in text() } }
}

func randomPlan(_ seed: UInt64) -> Plan {
  var r = Seeded(seed)
  var plan = Plan()
  plan.workers = 1 + r.below(1000)
  plan.maxDrainingGenerations = r.int()
  plan.limits.maxConnections = r.int()
  plan.limits.maxHeaderSize = r.int()
  plan.limits.maxHeaderCount = r.int()
  plan.limits.maxBodySize = r.int()
  plan.limits.maxWebSocketMessageSize = r.int()
  plan.rateLimit.enabled = r.flag()
  plan.rateLimit.dryRun = r.flag()
  plan.rateLimit.status = r.int()
  plan.rateLimit.includeHeaders = r.flag()
  plan.rateLimit.maxDelayed = r.int()
  plan.rateLimit.zones = (0..<r.below(3)).map { _ in
    var zone = RateZonePlan()
    zone.name = r.text()
    zone.rate = r.int()
    zone.capacity = r.int()
    zone.delay = r.int()
    zone.trackKeys = r.flag()
    zone.key = r.text()
    zone.ipv6Prefix = r.int()
    zone.maxEntries = r.int()
    zone.appliesTo = r.texts()
    zone.backend = r.text()
    zone.fallback = RateZonePlan.Fallback.allCases[r.below(3)]
    zone.fallbackShare = r.int()
    zone.batch = r.int()
    return zone
  }
  plan.concurrencyLimit.enabled = r.flag()
  plan.concurrencyLimit.dryRun = r.flag()
  plan.concurrencyLimit.status = r.int()
  plan.concurrencyLimit.zones = (0..<r.below(3)).map { _ in
    var zone = ConcurrencyZonePlan()
    zone.name = r.text()
    zone.subject = ConcurrencyZonePlan.Subject.allCases[r.below(2)]
    zone.limit = r.int()
    zone.key = r.text()
    zone.ipv6Prefix = r.int()
    zone.maxEntries = r.int()
    zone.appliesTo = r.texts()
    return zone
  }
  plan.rateLimit.redis.timeout = r.int()
  plan.rateLimit.redis.failureThreshold = r.int()
  plan.rateLimit.redis.retryInterval = r.int()
  plan.rateLimit.redis.keyPrefix = r.text()
  plan.dns.family = DNSPlan.Family.allCases[r.below(4)]
  plan.dns.servers = r.texts()
  plan.dns.resolveTimeout = r.int()
  plan.dns.overallTimeout = r.int()
  plan.dns.maxInFlight = r.int()
  plan.dns.minTTL = r.int()
  plan.dns.maxTTL = r.int()
  plan.dns.negativeTTL = r.int()
  plan.dns.staleOnError = r.flag()
  plan.dns.staleLimit = r.int()
  plan.dns.required = r.flag()
  plan.names = (0..<r.below(4)).map { _ in NamePlan(host: r.text(), isService: r.flag()) }
  plan.rateLimit.stores = (0..<r.below(3)).map { _ in
    var store = RateStorePlan()
    store.label = r.text()
    store.host = r.text()
    store.port = UInt16(r.below(65536))
    store.unix = r.text()
    store.lookup = r.below(plan.names.count + 1) - 1
    store.user = r.text()
    store.password = r.text()
    store.database = r.int()
    return store
  }
  for index in plan.rateLimit.zones.indices { plan.rateLimit.zones[index].store = r.below(plan.rateLimit.stores.count + 1) - 1 }
  plan.clientAddress.trusted = r.ranges()
  plan.clientAddress.source = r.flag() ? .xForwardedFor : .forwarded
  plan.access = r.rules()
  plan.compression.enabled = r.flag()
  plan.compression.order = (0..<r.below(4)).map { _ in [.gzip, .brotli, .zstd][r.below(3)] }
  plan.compression.types = r.texts()
  plan.compression.minLength = r.int()
  plan.compression.gzipLevel = r.int()
  plan.compression.brotliLevel = r.int()
  plan.compression.zstdLevel = r.int()
  plan.timeouts.idle = r.int()
  plan.timeouts.request = r.int()
  plan.timeouts.send = r.int()
  plan.timeouts.shutdownDrain = r.int()
  plan.timeouts.workerStart = r.int()
  plan.timeouts.workerHeartbeat = r.int()
  plan.http1.highWater = r.int()
  plan.http1.lowWater = r.int()
  plan.http1.halfClose = r.flag() ? .answer : .cancel
  plan.http2.enabled = r.flag()
  plan.http2.maxConcurrentStreams = r.int()
  plan.http2.initialWindow = r.int()
  plan.http2.connectionWindow = r.int()
  plan.http2.maxFrameSize = r.int()
  plan.http2.maxHeaderListSize = r.int()
  plan.http2.enablePush = r.flag()
  plan.http2.highWater = r.int()
  plan.http2.lowWater = r.int()
  plan.http2.windowUpdate = r.int()
  plan.http2.floods.resets = r.int()
  plan.http2.floods.settings = r.int()
  plan.http2.floods.pings = r.int()
  plan.http2.floods.emptyFrames = r.int()
  plan.http2.floods.windowUpdates = r.int()
  plan.http2.floods.priorities = r.int()
  plan.http2.floods.continuations = r.int()
  plan.serverHeader = r.flag()
  plan.health = r.flag()
  plan.stats = r.flag()
  plan.log.level = LogPlan.Level.allCases[r.below(6)]
  plan.log.file = r.text()
  plan.log.maxFileSize = r.int()
  plan.log.maxFiles = r.int()
  func syslog() -> SyslogPlan? {
    guard r.flag() else { return nil }
    var plan = SyslogPlan()
    plan.server = r.text()
    plan.facility = SyslogPlan.Facility.allCases[r.below(SyslogPlan.Facility.allCases.count)]
    plan.tag = r.text()
    return plan
  }
  plan.log.syslog = syslog()
  plan.accessLog.syslog = syslog()
  plan.accessLog.samplePercent = r.int()
  plan.accessLog.alwaysFromStatus = r.int()
  plan.accessLog.alwaysAfter = r.int()
  plan.accessLog.enabled = r.flag()
  plan.accessLog.file = r.text()
  plan.accessLog.format = r.text()
  plan.accessLog.bufferSize = r.int()
  plan.accessLog.flushInterval = r.int()
  plan.identity.user = r.text()
  plan.identity.group = r.text()
  plan.tickets.rotation = r.int()
  plan.tickets.keys = r.int()
  plan.listeners = (0..<r.below(4)).map { _ in
    var listener = ListenerPlan(
      address: r.flag() ? .ip(r.text(), port: r.short()) : .unix(r.text(), mode: r.short()), name: r.text(), backlog: r.int(), ipv6Only: r.flag(),
      tls: r.flag() ? nil : randomTLS(&r), http2: r.flag())
    listener.access = r.rules()
    listener.proxyProtocol = r.flag()
    listener.proxyProtocolSources = r.ranges()
    return listener
  }
  plan.authorities = (0..<r.below(3)).map { _ in
    var authority = AuthorityPlan(file: r.text(), certificates: r.bytes())
    authority.revocationFile = r.text()
    authority.revocations = r.bytes()
    return authority
  }
  plan.upstreams = (0..<1 + r.below(4)).map { _ in
    var upstream = UpstreamPlan(name: r.text(), host: r.text(), port: r.short(), addresses: r.texts() + ["::1"])
    upstream.lookup = plan.names.isEmpty ? -1 : r.below(plan.names.count + 1) - 1
    upstream.endpoints = (0..<r.below(4)).map { _ in
      var endpoint = EndpointPlan()
      endpoint.host = r.text()
      endpoint.port = r.short()
      endpoint.addresses = r.texts() + ["::1"]
      endpoint.lookup = plan.names.isEmpty ? -1 : r.below(plan.names.count + 1) - 1
      endpoint.unix = r.flag() ? "" : r.text()
      endpoint.weight = 1 + r.below(1000)
      endpoint.isBackup = r.flag()
      return endpoint
    }
    upstream.health.check.kind = [.none, .http, .tcp, .grpc][r.below(4)]
    upstream.health.check.interval = r.int()
    upstream.health.check.timeout = r.int()
    upstream.health.check.unhealthyAfter = r.int()
    upstream.health.check.healthyAfter = r.int()
    upstream.health.check.port = r.int()
    upstream.health.check.path = r.text()
    upstream.health.check.host = r.text()
    upstream.health.check.statuses = r.texts()
    upstream.health.check.body = r.text()
    upstream.health.check.service = r.text()
    upstream.health.outliers.enabled = r.flag()
    upstream.health.outliers.consecutiveFailures = r.int()
    upstream.health.outliers.successGap = r.int()
    upstream.health.outliers.latencyFactor = r.int()
    upstream.health.outliers.interval = r.int()
    upstream.health.outliers.minRequests = r.int()
    upstream.health.outliers.baseEjection = r.int()
    upstream.health.outliers.maxEjection = r.int()
    upstream.health.outliers.maxEjected = r.int()
    upstream.health.panicThreshold = r.int()
    upstream.balance.policy = [.powerOfTwo, .roundRobin, .leastRequests, .hash][r.below(4)]
    upstream.balance.hashKey = r.text()
    upstream.balance.loadBound = r.int()
    upstream.balance.slowStart = r.int()
    upstream.balance.sticky.cookie = r.text()
    upstream.balance.sticky.secret = r.text()
    upstream.balance.sticky.path = r.text()
    upstream.balance.sticky.domain = r.text()
    upstream.balance.sticky.maxAge = r.int()
    upstream.balance.sticky.isHTTPOnly = r.flag()
    upstream.balance.sticky.isSecure = r.flag()
    upstream.balance.sticky.sameSite = [.unset, .lax, .strict, .none][r.below(4)]
    upstream.requestMode = r.flag() ? .streaming : .buffered
    upstream.proxyProtocol = [.off, .v1, .v2][r.below(3)]
    upstream.pool.maxConnections = r.int()
    upstream.pool.maxIdleConnections = r.int()
    upstream.pool.connectTimeout = r.int()
    upstream.pool.attemptDelay = r.int()
    upstream.pool.idleTimeout = r.int()
    upstream.pool.learnsIdleTimeout = r.flag()
    upstream.pool.maxLifetime = r.int()
    upstream.pool.maxRequests = r.int()
    upstream.http2.enabled = r.flag()
    upstream.http2.prefer = [.auto, .always, .never][r.below(3)]
    upstream.http2.maxConcurrentStreams = r.int()
    upstream.http2.initialWindow = r.int()
    upstream.http2.maxFrameSize = r.int()
    upstream.http2.headerTableSize = r.int()
    upstream.http2.maxHeaderListSize = r.int()
    upstream.http2.pingIdle = r.int()
    upstream.http2.pingTimeout = r.int()
    upstream.http2.goAwayDrainTimeout = r.int()
    upstream.http2.saturation = r.int()
    upstream.http2.preconnectWatermark = r.int()
    upstream.breaker.enabled = r.flag()
    upstream.breaker.dryRun = r.flag()
    upstream.breaker.scope = BreakerPlan.Scope.allCases[r.below(2)]
    upstream.breaker.maxEjection = r.int()
    upstream.breaker.consecutiveFailures = r.int()
    upstream.breaker.failureRate = r.int()
    upstream.breaker.minimumVolume = r.int()
    upstream.breaker.window = r.int()
    upstream.breaker.probes = r.int()
    upstream.breaker.baseOpenDuration = r.int()
    upstream.breaker.maxOpenDuration = r.int()
    upstream.breaker.retryBudget = r.int()
    upstream.breaker.retryMinimum = r.int()
    upstream.breaker.maxRequests = r.int()
    upstream.breaker.maxPending = r.int()
    upstream.breaker.isAdaptive = r.flag()
    upstream.breaker.adaptiveMinimum = r.int()
    upstream.breaker.adaptiveMaximum = r.int()
    upstream.breaker.adaptiveTolerance = r.int()
    upstream.tls = r.flag() ? nil : randomUpstreamTLS(&r)
    return upstream
  }
  plan.routes = (0..<r.below(8)).map { _ in
    var route = RoutePlan(
      hosts: r.texts(), pattern: r.text(), methods: MethodSet(rawValue: r.short()), action: randomAction(&r, upstreams: plan.upstreams.count),
      rules: randomRules(&r, upstreams: plan.upstreams.count))
    route.access = r.rules()
    route.compresses = r.flag()
    return route
  }
  return plan
}

private func randomRules(_ r: inout Seeded, upstreams: Int) -> RouteRulesPlan {
  func edits() -> HeaderEditPlan {
    func headers() -> [HeaderPlan] { (0..<r.below(3)).map { _ in HeaderPlan(name: r.text(), value: r.text()) } }
    var edits = HeaderEditPlan()
    edits.remove = r.texts()
    edits.set = headers()
    edits.fallback = headers()
    edits.add = headers()
    edits.keepEmpty = r.flag()
    edits.always = r.flag()
    return edits
  }
  var rules = RouteRulesPlan()
  rules.request = edits()
  rules.response = edits()
  rules.bounds.maxBodySize = r.flag() ? nil : r.int()
  rules.bounds.requestTimeout = r.flag() ? nil : r.int()
  rules.bounds.sendTimeout = r.flag() ? nil : r.int()
  rules.rateLimitCost = r.int()
  if r.flag() {
    var log = RouteLogPlan()
    log.enabled = r.flag()
    log.samplePercent = r.int()
    rules.accessLog = log
  }
  rules.rewrite = r.text()
  if r.flag() {
    var cors = CORSPlan()
    cors.origins = r.texts()
    cors.methods = r.texts()
    cors.headers = r.texts()
    cors.exposed = r.texts()
    cors.credentials = r.flag()
    cors.maxAge = r.int()
    rules.cors = cors
  }
  rules.split.key = r.text()
  rules.split.arms = (0..<r.below(3)).map { _ in
    var arm = SplitArmPlan()
    arm.name = r.text()
    arm.upstream = r.below(upstreams)
    arm.weight = r.int()
    arm.when = (0..<r.below(3)).map { _ in HeaderPlan(name: r.text(), value: r.text()) }
    return arm
  }
  if r.flag() {
    var mirror = MirrorPlan()
    mirror.name = r.text()
    mirror.upstream = r.below(upstreams)
    mirror.percent = r.int()
    mirror.maxConcurrent = r.int()
    mirror.maxBodySize = r.int()
    mirror.timeout = r.int()
    mirror.nonIdempotent = r.flag()
    rules.mirror = mirror
  }
  return rules
}

private func randomTLS(_ r: inout Seeded) -> TLSPlan {
  var tls = TLSPlan()
  tls.certificates = (0..<r.below(3)).map { _ in
    var certificate = CertificatePlan(certificateFile: r.text(), keyFile: r.text(), ocspFile: r.text())
    certificate.chain = r.bytes()
    certificate.key = r.bytes()
    certificate.ocsp = r.bytes()
    return certificate
  }
  tls.minVersion = r.flag() ? .tls12 : .tls13
  tls.ciphers = r.text()
  tls.cipherSuites = r.text()
  tls.groups = r.text()
  tls.clientCertificates = [.off, .request, .require][r.below(3)]
  tls.clientCAFile = r.text()
  tls.clientCA = r.bytes()
  tls.sessionTickets = r.flag()
  return tls
}

private func randomUpstreamTLS(_ r: inout Seeded) -> UpstreamTLSPlan {
  var tls = UpstreamTLSPlan()
  tls.authority = r.int()
  tls.serverName = r.text()
  tls.serverNameIsAddress = r.flag()
  tls.minVersion = r.flag() ? .tls12 : .tls13
  if r.flag() {
    var certificate = CertificatePlan(certificateFile: r.text(), keyFile: r.text())
    certificate.chain = r.bytes()
    certificate.key = r.bytes()
    tls.certificate = certificate
  }
  tls.handshakeTimeout = r.int()
  tls.resumesSessions = r.flag()
  return tls
}

private func randomAction(_ r: inout Seeded, upstreams: Int) -> RouteAction {
  switch r.below(7) {
  case 5:
    var files = StaticPlan(root: r.text())
    files.index = r.texts()
    files.fallback = r.text()
    files.hidden = r.flag()
    files.links = [.none, .beneath, .all][r.below(3)]
    files.cacheControl = r.text()
    files.otherType = r.text()
    files.charset = r.text()
    files.types = (0..<r.below(3)).map { _ in
      var type = MediaTypePlan()
      type.suffixes = r.texts()
      type.type = r.text()
      return type
    }
    files.precompressed = (0..<r.below(3)).map { _ in [.gzip, .brotli, .zstd][r.below(3)] }
    return .files(files)
  case 0:
    return .respond(RespondPlan(status: r.short(), headers: (0..<r.below(3)).map { _ in HeaderPlan(name: r.text(), value: r.text()) }, body: r.text()))
  case 1: return .redirect(RedirectPlan(to: r.text(), status: r.short()))
  case 2: return .health
  case 3: return .stats
  case 4:
    var echo = EchoPlan()
    echo.subprotocols = r.texts()
    echo.compression = r.flag()
    echo.contextTakeover = r.flag()
    echo.windowBits = r.int()
    echo.idleTimeout = r.int()
    echo.pingInterval = r.int()
    return .echo(echo)
  default:
    var forward = ForwardPlan(upstream: r.below(upstreams))
    forward.stripPrefix = r.flag()
    forward.originalPath = r.flag()
    forward.timeout = r.int()
    forward.sendTimeout = r.int()
    forward.responseTimeout = r.int()
    forward.buffering = [.auto, .always, .never][r.below(3)]
    forward.relayBufferLimit = r.int()
    forward.autoStreamThreshold = r.int()
    forward.streamIdleTimeout = r.int()
    forward.streamMaxDuration = r.int()
    forward.http10 = r.flag() ? .close : .buffer
    forward.forwardTrailers = r.flag()
    forward.setForwardedFor = r.flag()
    forward.setForwardedProto = r.flag()
    forward.setForwardedHost = r.flag()
    forward.setForwarded = r.flag()
    forward.setVia = r.flag()
    forward.rewriteHost = r.flag()
    forward.setClientCertificate = r.flag()
    forward.webSocket = r.flag()
    forward.webSocketIdleTimeout = r.int()
    forward.webSocketPingInterval = r.int()
    forward.rewriteLocation = r.flag()
    forward.rewriteCookiePath = r.flag()
    forward.hedgeDelay = r.int()
    forward.hedgeLimit = r.int()
    forward.retry.maxRetries = r.int()
    forward.retry.onConnectFailure = r.flag()
    forward.retry.onDisconnect = r.flag()
    forward.retry.onTimeout = r.flag()
    forward.retry.on5xx = r.flag()
    forward.retry.statuses = StatusSet([400 + r.below(200), 400 + r.below(200), 599])
    forward.retry.nonIdempotent = r.flag()
    forward.retry.bufferSize = r.int()
    forward.retry.attemptTimeout = r.int()
    forward.retry.backoffBase = r.int()
    forward.retry.backoffLimit = r.int()
    forward.retry.retryAfterLimit = r.int()
    return .forward(forward)
  }
}
