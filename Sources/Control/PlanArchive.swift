// PlanArchive — the plan as bytes, for the sealed memory file from which workers read it.
//
// Writer and reader are the same program, so there are no versions to bridge; the tag at the front only
// refuses what is no plan at all. Each part of the plan describes its fields once (see Archive).

import HTTPModel
import Plan

extension Plan {
  private static var tag: UInt64 { 0x3130_6e61_6c70_7767 }  // "gwplan01"

  /// The plan as bytes.
  public var archived: [UInt8] {
    var archive = Archive()
    var tag = Plan.tag
    archive.number(&tag)
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  /// The plan that `bytes` hold; nil when they hold none.
  public init?(archived bytes: [UInt8]) {
    var archive = Archive(reading: bytes)
    var tag: UInt64 = 0
    archive.number(&tag)
    guard tag == Plan.tag else { return nil }
    self.init()
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  private mutating func describe(to archive: inout Archive) {
    archive.number(&workers)
    archive.list(&listeners, blank: ListenerPlan(address: .ip("", port: 0))) { $1.describe(to: &$0) }
    archive.number(&maxDrainingGenerations)
    archive.number(&limits.maxConnections)
    archive.number(&limits.maxHeaderSize)
    archive.number(&limits.maxHeaderCount)
    archive.number(&limits.maxBodySize)
    archive.number(&timeouts.idle)
    archive.number(&timeouts.request)
    archive.number(&timeouts.send)
    archive.number(&timeouts.shutdownDrain)
    archive.number(&timeouts.workerStart)
    archive.number(&http1.highWater)
    archive.number(&http1.lowWater)
    archive.choice(&http1.halfClose)
    archive.flag(&serverHeader)
    archive.flag(&health)
    archive.flag(&stats)
    archive.choice(&log.level)
    archive.text(&log.file)
    archive.number(&log.maxFileSize)
    archive.number(&log.maxFiles)
    archive.flag(&accessLog.enabled)
    archive.text(&accessLog.file)
    archive.text(&accessLog.format)
    archive.number(&accessLog.bufferSize)
    archive.number(&accessLog.flushInterval)
    archive.text(&identity.user)
    archive.text(&identity.group)
    archive.list(&upstreams, blank: UpstreamPlan(name: "", host: "", port: 0, addresses: [])) { $1.describe(to: &$0) }
    archive.list(&routes, blank: RoutePlan(pattern: "", methods: [], action: .health)) { $1.describe(to: &$0) }
  }
}

extension ListenerPlan {
  fileprivate mutating func describe(to archive: inout Archive) {
    var kind: UInt8 = 0
    var name = ""
    var number: UInt16 = 0
    switch address {
    case .ip(let host, let port): (kind, name, number) = (0, host, port)
    case .unix(let path, let mode): (kind, name, number) = (1, path, mode)
    }
    archive.number(&kind)
    archive.text(&name)
    archive.number(&number)
    switch kind {
    case 0: address = .ip(name, port: number)
    case 1: address = .unix(name, mode: number)
    default: archive.fail()
    }
    archive.number(&backlog)
    archive.flag(&ipv6Only)
  }
}

extension UpstreamPlan {
  fileprivate mutating func describe(to archive: inout Archive) {
    archive.text(&name)
    archive.text(&host)
    archive.number(&port)
    archive.list(&addresses, blank: "") { $0.text(&$1) }
    archive.choice(&requestMode)
    archive.number(&pool.maxConnections)
    archive.number(&pool.maxIdleConnections)
    archive.number(&pool.connectTimeout)
    archive.number(&pool.idleTimeout)
    archive.number(&pool.maxLifetime)
    archive.number(&pool.maxRequests)
  }
}

extension RoutePlan {
  fileprivate mutating func describe(to archive: inout Archive) {
    archive.list(&hosts, blank: "") { $0.text(&$1) }
    archive.text(&pattern)
    var bits = methods.rawValue
    archive.number(&bits)
    methods = MethodSet(rawValue: bits)
    action.describe(to: &archive)
  }
}

extension RouteAction {
  fileprivate mutating func describe(to archive: inout Archive) {
    var kind: UInt8 =
      switch self {
      case .forward: 0
      case .respond: 1
      case .redirect: 2
      case .health: 3
      case .stats: 4
      }
    archive.number(&kind)
    switch kind {
    case 0:
      var plan = ForwardPlan(upstream: 0)
      if case .forward(let own) = self { plan = own }
      plan.describe(to: &archive)
      self = .forward(plan)
    case 1:
      var plan = RespondPlan()
      if case .respond(let own) = self { plan = own }
      archive.number(&plan.status)
      archive.list(&plan.headers, blank: HeaderPlan(name: "", value: "")) {
        $0.text(&$1.name)
        $0.text(&$1.value)
      }
      archive.text(&plan.body)
      self = .respond(plan)
    case 2:
      var plan = RedirectPlan(to: "")
      if case .redirect(let own) = self { plan = own }
      archive.text(&plan.to)
      archive.number(&plan.status)
      self = .redirect(plan)
    case 3: self = .health
    case 4: self = .stats
    default: archive.fail()
    }
  }
}

extension ForwardPlan {
  fileprivate mutating func describe(to archive: inout Archive) {
    archive.number(&upstream)
    archive.flag(&stripPrefix)
    archive.flag(&originalPath)
    archive.number(&responseTimeout)
    archive.choice(&buffering)
    archive.number(&relayBufferLimit)
    archive.number(&autoStreamThreshold)
    archive.number(&streamIdleTimeout)
    archive.number(&streamMaxDuration)
    archive.choice(&http10)
    archive.flag(&forwardTrailers)
    archive.flag(&setForwardedFor)
    archive.flag(&setForwardedProto)
    archive.flag(&setForwardedHost)
    archive.flag(&setVia)
    archive.flag(&rewriteHost)
  }
}
