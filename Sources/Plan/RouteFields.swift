// RouteFields — the fields of routes and of what they do, in the order in which they are written and read.
//
// A field added to a structure is added here, and `Plan.version` raised; the tests compare the number of fields.

import HTTPModel

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
