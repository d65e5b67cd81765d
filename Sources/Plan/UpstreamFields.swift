// UpstreamFields — the fields of upstreams, in the order in which they are written and read.
//
// A field added to a structure is added here, and `Plan.version` raised; the tests compare the number of fields.

import HTTPModel

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
