// RoutePlan — which requests go where, and what is done with them there.

import HTTPModel

/// One route: the requests it takes and the one action for them.
public struct RoutePlan: Equatable, Sendable {
  /// Exact names or `*.example.com`, lower case, without port; empty means every host.
  public var hosts: [String]
  /// A pattern of segments: `/users/:id([0-9]+)/*rest`.
  public var pattern: String
  public var methods: MethodSet
  public var action: RouteAction
  public var rules: RouteRulesPlan
  /// Who may use it.
  public var access = AddressRulePlan()
  /// Whether its responses are compressed.
  public var compresses = false

  public init(hosts: [String] = [], pattern: String, methods: MethodSet, action: RouteAction, rules: RouteRulesPlan = RouteRulesPlan()) {
    self.hosts = hosts
    self.pattern = pattern
    self.methods = methods
    self.action = action
    self.rules = rules
  }
}

/// What a route does.
public enum RouteAction: Equatable, Sendable {
  case forward(ForwardPlan)
  case respond(RespondPlan)
  case redirect(RedirectPlan)
  case echo(EchoPlan)
  case files(StaticPlan)
  case health
  case stats
}

/// A fixed answer.
public struct RespondPlan: Equatable, Sendable {
  public var status: UInt16
  /// In order; names and values are checked (tokens; no control characters; none that concern framing).
  public var headers: [HeaderPlan]
  public var body: String

  public init(status: UInt16 = 200, headers: [HeaderPlan] = [], body: String = "") {
    self.status = status
    self.headers = headers
    self.body = body
  }
}

public struct HeaderPlan: Equatable, Sendable {
  public var name: String
  public var value: String

  public init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

/// A redirect. `to` is a template (Policy's Template) that has been checked.
public struct RedirectPlan: Equatable, Sendable {
  public var to: String
  public var status: UInt16

  public init(to: String, status: UInt16 = 308) {
    self.to = to
    self.status = status
  }
}

/// A WebSocket endpoint that sends each message back. Durations in milliseconds; 0 means none.
public struct EchoPlan: Equatable, Sendable {
  /// Those it accepts; the first that a client offers is chosen.
  public var subprotocols: [String] = []
  /// Whether permessage-deflate is agreed to.
  public var compression = true
  /// Whether the windows of compression are kept from one message to the next.
  public var contextTakeover = true
  /// Base-two logarithm of those windows, 8...15.
  public var windowBits = 12
  public var idleTimeout = 300_000
  public var pingInterval = 0

  public init() {}
}

/// How requests are forwarded to an upstream and answers relayed. Durations in milliseconds, sizes in bytes; 0 means none.
public struct ForwardPlan: Equatable, Sendable, BitwiseCopyable {
  public enum Buffering: UInt8, Equatable, Sendable, BitwiseCopyable { case auto, always, never }
  public enum HTTP10: UInt8, Equatable, Sendable, BitwiseCopyable { case close, buffer }

  /// Index into `Plan.upstreams`.
  public var upstream: Int
  public var stripPrefix = false
  /// Send the path as the client wrote it instead of the normalised one.
  public var originalPath = false
  /// From the end of the request's head to the end of the response.
  public var timeout = 0
  /// The longest time the backend may take none of the request bytes that wait for it.
  public var sendTimeout = 30_000
  public var responseTimeout = 30_000
  public var buffering = Buffering.auto
  public var relayBufferLimit = 1 << 20
  public var autoStreamThreshold = 262_144
  public var streamIdleTimeout = 30_000
  public var streamMaxDuration = 0
  public var http10 = HTTP10.close
  public var forwardTrailers = false
  public var setForwardedFor = true
  public var setForwardedProto = true
  public var setForwardedHost = true
  public var setForwarded = false
  public var setVia = true
  public var rewriteHost = true
  public var setClientCertificate = false
  /// Whether upgrades to WebSocket are passed on, and what holds for the tunnels.
  public var webSocket = true
  public var webSocketIdleTimeout = 300_000
  public var webSocketPingInterval = 0
  public var retry = RetryPlan()
  /// After how long without an answer an idempotent request is sent once more, and how often.
  public var hedgeDelay = 0
  public var hedgeLimit = 1
  /// Whether Location, and the Path of cookies, get back what strip_prefix has taken away.
  public var rewriteLocation = false
  public var rewriteCookiePath = false

  public init(upstream: Int) { self.upstream = upstream }
}
