// PlanFields — the fields of the plan's structures in the order in which they are written and read.
//
// A field added to a structure is added here, and `Plan.version` raised; the tests compare the number of fields.

import HTTPModel

extension Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&workers)
    coder.code(&listeners, blank: ListenerPlan(address: .ip("", port: 0))) { $0.code(with: &$1) }
    coder.code(&maxDrainingGenerations)
    limits.code(with: &coder)
    timeouts.code(with: &coder)
    http1.code(with: &coder)
    http2.code(with: &coder)
    coder.code(&serverHeader)
    coder.code(&health)
    coder.code(&stats)
    log.code(with: &coder)
    accessLog.code(with: &coder)
    identity.code(with: &coder)
    tickets.code(with: &coder)
    rateLimit.code(with: &coder)
    concurrencyLimit.code(with: &coder)
    dns.code(with: &coder)
    coder.code(&names, blank: NamePlan(host: "")) { $0.code(with: &$1) }
    clientAddress.code(with: &coder)
    compression.code(with: &coder)
    access.code(with: &coder)
    coder.code(&authorities, blank: AuthorityPlan()) { $0.code(with: &$1) }
    coder.code(&upstreams, blank: UpstreamPlan(name: "", host: "", port: 0, addresses: [])) { $0.code(with: &$1) }
    coder.code(&routes, blank: RoutePlan(pattern: "", methods: [], action: .health)) { $0.code(with: &$1) }
  }
}

extension RateLimitPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&dryRun)
    coder.code(&status)
    coder.code(&includeHeaders)
    coder.code(&maxDelayed)
    coder.code(&zones, blank: RateZonePlan()) { $0.code(with: &$1) }
    redis.code(with: &coder)
    coder.code(&stores, blank: RateStorePlan()) { $0.code(with: &$1) }
  }
}

extension ConcurrencyLimitPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&dryRun)
    coder.code(&status)
    coder.code(&zones, blank: ConcurrencyZonePlan()) { $0.code(with: &$1) }
  }
}

extension ConcurrencyZonePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&subject, of: Subject.allCases.count)
    coder.code(&limit)
    coder.code(&key)
    coder.code(&ipv6Prefix)
    coder.code(&maxEntries)
    coder.code(&appliesTo)
  }
}

extension DNSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&family, of: Family.allCases.count)
    coder.code(&servers)
    coder.code(&resolveTimeout)
    coder.code(&overallTimeout)
    coder.code(&maxInFlight)
    coder.code(&minTTL)
    coder.code(&maxTTL)
    coder.code(&negativeTTL)
    coder.code(&staleOnError)
    coder.code(&staleLimit)
    coder.code(&required)
  }
}

extension NamePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&host)
    coder.code(&isService)
  }
}

extension ClientAddressPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    trusted.code(with: &coder)
    coder.code(&source, of: 2)
  }
}

extension CompressionPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&order, blank: .gzip) { $1.code(&$0, of: 3) }
    coder.code(&types)
    coder.code(&minLength)
    coder.code(&gzipLevel)
    coder.code(&brotliLevel)
    coder.code(&zstdLevel)
  }
}

extension AddressRulePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    allow.code(with: &coder)
    deny.code(with: &coder)
  }
}

extension [AddressRange] {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&self, blank: AddressRange(first: .none, length: 0)) { range, coder in
      var kind = range.first.kind, high = range.first.high, low = range.first.low
      coder.code(&kind, of: 4)
      coder.code(&high)
      coder.code(&low)
      coder.code(&range.length)
      range.first = PeerAddress(kind, high: high, low: low)
    }
  }
}

extension RateZonePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&rate)
    coder.code(&capacity)
    coder.code(&delay)
    coder.code(&key)
    coder.code(&ipv6Prefix)
    coder.code(&maxEntries)
    coder.code(&appliesTo)
    coder.code(&trackKeys)
    coder.code(&backend)
    coder.code(&fallback, of: Fallback.allCases.count)
    coder.code(&fallbackShare)
    coder.code(&batch)
    coder.code(&store)
  }
}

extension RedisPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&timeout)
    coder.code(&failureThreshold)
    coder.code(&retryInterval)
    coder.code(&keyPrefix)
  }
}

extension RateStorePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&label)
    coder.code(&host)
    coder.code(&port)
    coder.code(&unix)
    coder.code(&lookup)
    coder.code(&user)
    coder.code(&password)
    coder.code(&database)
  }
}

extension ListenerPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    var kind = 0, text = "", number: UInt16 = 0
    switch address {
    case .ip(let literal, let port): (kind, text, number) = (0, literal, port)
    case .unix(let path, let mode): (kind, text, number) = (1, path, mode)
    }
    kind = coder.code(alternative: kind, of: 2)
    coder.code(&text)
    coder.code(&number)
    address = kind == 0 ? .ip(text, port: number) : .unix(text, mode: number)
    coder.code(&name)
    coder.code(&backlog)
    coder.code(&ipv6Only)
    coder.code(&http2)
    coder.code(&tls, blank: TLSPlan()) { $0.code(with: &$1) }
    access.code(with: &coder)
    coder.code(&proxyProtocol)
    proxyProtocolSources.code(with: &coder)
  }
}

extension TLSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&certificates, blank: CertificatePlan()) { $0.code(with: &$1) }
    coder.code(&minVersion, of: 2)
    coder.code(&ciphers)
    coder.code(&cipherSuites)
    coder.code(&groups)
    coder.code(&clientCertificates, of: 3)
    coder.code(&clientCAFile)
    coder.code(&clientCA)
    coder.code(&sessionTickets)
  }
}

extension CertificatePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&certificateFile)
    coder.code(&keyFile)
    coder.code(&ocspFile)
    coder.code(&chain)
    coder.code(&key)
    coder.code(&ocsp)
  }
}

extension UpstreamTLSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&authority)
    coder.code(&serverName)
    coder.code(&serverNameIsAddress)
    coder.code(&minVersion, of: 2)
    coder.code(&certificate, blank: CertificatePlan()) { $0.code(with: &$1) }
    coder.code(&handshakeTimeout)
    coder.code(&resumesSessions)
  }
}

extension AuthorityPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&file)
    coder.code(&certificates)
    coder.code(&revocationFile)
    coder.code(&revocations)
  }
}

extension TicketPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&rotation)
    coder.code(&keys)
  }
}

extension LimitPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&maxConnections)
    coder.code(&maxHeaderSize)
    coder.code(&maxHeaderCount)
    coder.code(&maxBodySize)
    coder.code(&maxWebSocketMessageSize)
  }
}

extension TimeoutPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&idle)
    coder.code(&request)
    coder.code(&send)
    coder.code(&shutdownDrain)
    coder.code(&workerStart)
    coder.code(&workerHeartbeat)
  }
}

extension HTTP1Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&highWater)
    coder.code(&lowWater)
    coder.code(&halfClose, of: 2)
  }
}

extension HTTP2Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&maxConcurrentStreams)
    coder.code(&initialWindow)
    coder.code(&connectionWindow)
    coder.code(&maxFrameSize)
    coder.code(&maxHeaderListSize)
    coder.code(&enablePush)
    coder.code(&highWater)
    coder.code(&lowWater)
    coder.code(&windowUpdate)
    floods.code(with: &coder)
  }
}

extension HTTP2FloodPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&resets)
    coder.code(&settings)
    coder.code(&pings)
    coder.code(&emptyFrames)
    coder.code(&windowUpdates)
    coder.code(&priorities)
    coder.code(&continuations)
  }
}

extension IdentityPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&user)
    coder.code(&group)
  }
}

extension UpstreamPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&host)
    coder.code(&port)
    coder.code(&addresses)
    coder.code(&lookup)
    coder.code(&endpoints, blank: EndpointPlan()) { $0.code(with: &$1) }
    balance.code(with: &coder)
    health.code(with: &coder)
    coder.code(&requestMode, of: 2)
    coder.code(&proxyProtocol, of: 3)
    pool.code(with: &coder)
    http2.code(with: &coder)
    breaker.code(with: &coder)
    coder.code(&tls, blank: UpstreamTLSPlan()) { $0.code(with: &$1) }
  }
}

extension BalancePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&policy, of: 4)
    coder.code(&hashKey)
    coder.code(&loadBound)
    coder.code(&slowStart)
    sticky.code(with: &coder)
  }
}

extension HealthPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    check.code(with: &coder)
    outliers.code(with: &coder)
    coder.code(&panicThreshold)
  }
}

extension HealthCheckPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&kind, of: 4)
    coder.code(&interval)
    coder.code(&timeout)
    coder.code(&unhealthyAfter)
    coder.code(&healthyAfter)
    coder.code(&port)
    coder.code(&path)
    coder.code(&host)
    coder.code(&statuses)
    coder.code(&body)
    coder.code(&service)
  }
}

extension OutlierPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&consecutiveFailures)
    coder.code(&successGap)
    coder.code(&latencyFactor)
    coder.code(&interval)
    coder.code(&minRequests)
    coder.code(&baseEjection)
    coder.code(&maxEjection)
    coder.code(&maxEjected)
  }
}

extension StickyPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&cookie)
    coder.code(&secret)
    coder.code(&path)
    coder.code(&domain)
    coder.code(&maxAge)
    coder.code(&isHTTPOnly)
    coder.code(&isSecure)
    coder.code(&sameSite, of: 4)
  }
}

extension EndpointPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&host)
    coder.code(&port)
    coder.code(&addresses)
    coder.code(&lookup)
    coder.code(&unix)
    coder.code(&weight)
    coder.code(&isBackup)
  }
}

extension BreakerPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&scope, of: Scope.allCases.count)
    coder.code(&maxEjection)
    coder.code(&dryRun)
    coder.code(&consecutiveFailures)
    coder.code(&failureRate)
    coder.code(&minimumVolume)
    coder.code(&window)
    coder.code(&probes)
    coder.code(&baseOpenDuration)
    coder.code(&maxOpenDuration)
    coder.code(&retryBudget)
    coder.code(&retryMinimum)
    coder.code(&maxRequests)
    coder.code(&maxPending)
    coder.code(&isAdaptive)
    coder.code(&adaptiveMinimum)
    coder.code(&adaptiveMaximum)
    coder.code(&adaptiveTolerance)
  }
}

extension BackendHTTP2Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&prefer, of: 3)
    coder.code(&maxConcurrentStreams)
    coder.code(&initialWindow)
    coder.code(&maxFrameSize)
    coder.code(&headerTableSize)
    coder.code(&maxHeaderListSize)
    coder.code(&pingIdle)
    coder.code(&pingTimeout)
    coder.code(&goAwayDrainTimeout)
    coder.code(&saturation)
    coder.code(&preconnectWatermark)
  }
}

extension PoolPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&maxConnections)
    coder.code(&maxIdleConnections)
    coder.code(&connectTimeout)
    coder.code(&attemptDelay)
    coder.code(&idleTimeout)
    coder.code(&learnsIdleTimeout)
    coder.code(&maxLifetime)
    coder.code(&maxRequests)
  }
}

extension RoutePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&hosts)
    coder.code(&pattern)
    var bits = methods.rawValue
    coder.code(&bits)
    methods = MethodSet(rawValue: bits)
    action.code(with: &coder)
    access.code(with: &coder)
    coder.code(&compresses)
    rules.code(with: &coder)
  }
}

extension RouteRulesPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    request.code(with: &coder)
    response.code(with: &coder)
    bounds.code(with: &coder)
    coder.code(&rateLimitCost)
    coder.code(&rewrite)
    coder.code(&cors, blank: CORSPlan()) { $0.code(with: &$1) }
    coder.code(&split.arms, blank: SplitArmPlan()) { $0.code(with: &$1) }
    coder.code(&split.key)
    coder.code(&mirror, blank: MirrorPlan()) { $0.code(with: &$1) }
    coder.code(&accessLog, blank: RouteLogPlan()) { $0.code(with: &$1) }
  }
}

extension MirrorPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&upstream)
    coder.code(&percent)
    coder.code(&maxConcurrent)
    coder.code(&maxBodySize)
    coder.code(&timeout)
    coder.code(&nonIdempotent)
  }
}

extension CORSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&origins)
    coder.code(&methods)
    coder.code(&headers)
    coder.code(&exposed)
    coder.code(&credentials)
    coder.code(&maxAge)
  }
}

extension SplitArmPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&upstream)
    coder.code(&weight)
    coder.code(&when, blank: HeaderPlan(name: "", value: "")) { $0.code(with: &$1) }
  }
}

extension RequestBoundsPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    for place in [\RequestBoundsPlan.maxBodySize, \.requestTimeout, \.sendTimeout] {
      coder.code(&self[keyPath: place], blank: 0) { $1.code(&$0) }
    }
  }
}

extension HeaderEditPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&remove)
    for place in [\HeaderEditPlan.set, \.fallback, \.add] {
      coder.code(&self[keyPath: place], blank: HeaderPlan(name: "", value: "")) { $0.code(with: &$1) }
    }
    coder.code(&keepEmpty)
    coder.code(&always)
  }
}

extension HeaderPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&name)
    coder.code(&value)
  }
}

extension RouteAction {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    var forward = ForwardPlan(upstream: 0), respond = RespondPlan(), redirect = RedirectPlan(to: ""), echo = EchoPlan(), files = StaticPlan(root: "")
    let kind =
      switch self {
      case .forward(let plan): { forward = plan; return 0 }()
      case .respond(let plan): { respond = plan; return 1 }()
      case .redirect(let plan): { redirect = plan; return 2 }()
      case .health: 3
      case .stats: 4
      case .echo(let plan): { echo = plan; return 5 }()
      case .files(let plan): { files = plan; return 6 }()
      }
    switch coder.code(alternative: kind, of: 7) {
    case 0:
      forward.code(with: &coder)
      self = .forward(forward)
    case 1:
      respond.code(with: &coder)
      self = .respond(respond)
    case 2:
      redirect.code(with: &coder)
      self = .redirect(redirect)
    case 3: self = .health
    case 4: self = .stats
    case 6:
      files.code(with: &coder)
      self = .files(files)
    default:
      echo.code(with: &coder)
      self = .echo(echo)
    }
  }
}

extension RespondPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&status)
    coder.code(&headers, blank: HeaderPlan(name: "", value: "")) { $0.code(with: &$1) }
    coder.code(&body)
  }
}

extension RedirectPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&to)
    coder.code(&status)
  }
}

extension EchoPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&subprotocols)
    coder.code(&compression)
    coder.code(&contextTakeover)
    coder.code(&windowBits)
    coder.code(&idleTimeout)
    coder.code(&pingInterval)
  }
}

extension StaticPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&root)
    coder.code(&index)
    coder.code(&fallback)
    coder.code(&hidden)
    coder.code(&links, of: 3)
    coder.code(&cacheControl)
    coder.code(&otherType)
    coder.code(&charset)
    coder.code(&types, blank: MediaTypePlan()) { type, coder in
      coder.code(&type.suffixes)
      coder.code(&type.type)
    }
    coder.code(&precompressed, blank: .gzip) { $1.code(&$0, of: 3) }
  }
}

extension ForwardPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&upstream)
    coder.code(&stripPrefix)
    coder.code(&originalPath)
    coder.code(&timeout)
    coder.code(&sendTimeout)
    coder.code(&responseTimeout)
    coder.code(&buffering, of: 3)
    coder.code(&relayBufferLimit)
    coder.code(&autoStreamThreshold)
    coder.code(&streamIdleTimeout)
    coder.code(&streamMaxDuration)
    coder.code(&http10, of: 2)
    coder.code(&forwardTrailers)
    coder.code(&setForwardedFor)
    coder.code(&setForwardedProto)
    coder.code(&setForwardedHost)
    coder.code(&setForwarded)
    coder.code(&setVia)
    coder.code(&rewriteHost)
    coder.code(&setClientCertificate)
    coder.code(&webSocket)
    coder.code(&webSocketIdleTimeout)
    coder.code(&webSocketPingInterval)
    retry.code(with: &coder)
    coder.code(&hedgeDelay)
    coder.code(&hedgeLimit)
    coder.code(&rewriteLocation)
    coder.code(&rewriteCookiePath)
  }
}

extension RetryPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&maxRetries)
    coder.code(&onConnectFailure)
    coder.code(&onDisconnect)
    coder.code(&onTimeout)
    coder.code(&on5xx)
    coder.code(&statuses.words.0)
    coder.code(&statuses.words.1)
    coder.code(&statuses.words.2)
    coder.code(&statuses.words.3)
    coder.code(&nonIdempotent)
    coder.code(&bufferSize)
    coder.code(&attemptTimeout)
    coder.code(&backoffBase)
    coder.code(&backoffLimit)
    coder.code(&retryAfterLimit)
  }
}
