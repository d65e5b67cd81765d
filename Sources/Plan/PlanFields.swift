// PlanFields — the fields of the plan as a whole and of what all of it shares, in the order in which they are written and read. Those of other parts are in ListenerFields, UpstreamFields and RouteFields.
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
