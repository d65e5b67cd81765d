// Settings — the values as they are configured, before names are resolved and routes expanded.
//
// Durations are in milliseconds and sizes in bytes. Where the plan holds a value in the same form, the plan's own
// structure is used. The initial values are the defaults; the table takes them from here.

import Plan
import TLS

/// The configuration as it was given, with defaults for the rest.
public struct Settings: Equatable, Sendable {
  private static let initial = Plan()

  public var bindHost = "127.0.0.1"
  public var bindPort = 8080
  public var tls = TLSSettings()
  /// Replaces `bindHost` and `bindPort` when it is not empty.
  public var listeners: [ListenerSettings] = []
  /// Worker processes; 0 means one per processor.
  public var workers = initial.workers
  public var maxDrainingGenerations = initial.maxDrainingGenerations
  public var limits = LimitPlan()
  public var timeouts = TimeoutPlan()
  public var http1 = HTTP1Plan()
  public var http2 = HTTP2Plan()
  public var serverHeader = initial.serverHeader
  public var health = initial.health
  public var stats = initial.stats
  public var log = LogPlan()
  public var accessLog = AccessLogPlan()
  public var identity = IdentityPlan()
  public var rateLimit = RateLimitPlan()
  public var concurrencyLimit = ConcurrencyLimitPlan()
  public var dns = DNSPlan()
  public var clientAddress = ClientAddressSettings()
  public var access = AddressRuleSettings()
  public var compression = CompressionPlan()
  public var upstreams: [UpstreamSettings] = []
  public var routes: [RouteSettings] = []

  public init() {}

  /// The configuration as JSON, every setting shown. Read again it gives equal settings.
  public func dump() -> String { SettingsTable.root.write(self).pretty + "\n" }
}

/// `tls`: for the one listener of `bindHost` and `bindPort`, and what concerns all listeners.
public struct TLSSettings: Equatable, Sendable {
  public var enabled = false
  public var certificateFile = ""
  public var keyFile = ""
  public var minVersion = TLSPlan.Version.tls12
  public var tickets = TicketPlan()

  public init() {}
}

/// `listeners[].tls`.
public struct ListenerTLSSettings: Equatable, Sendable {
  public var certificates: [CertificateSettings] = []
  public var minVersion = TLSPlan.Version.tls12
  public var ciphers = TLSServerSettings.modernCiphers
  public var cipherSuites = TLSServerSettings.modernSuites
  public var groups = TLSServerSettings.modernGroups
  public var clientCertificates = TLSPlan.ClientCertificates.off
  public var clientCAFile = ""
  public var sessionTickets = true

  public init() {}
}

/// An element of `certificates`.
public struct CertificateSettings: Equatable, Sendable {
  public var certificateFile = ""
  public var keyFile = ""
  public var ocspFile = ""

  public init() {}
}

/// An element of `listeners`.
public struct ListenerSettings: Equatable, Sendable {
  public var name = ""
  public var host = ""
  public var port: Int?
  /// Absolute path of a Unix socket; empty for none.
  public var unix = ""
  public var mode = "0660"
  public var backlog = ListenerPlan(address: .ip("", port: 0)).backlog
  public var ipv6Only = ListenerPlan(address: .ip("", port: 0)).ipv6Only
  /// Nil: in the clear.
  public var tls: ListenerTLSSettings?
  public var http2 = ListenerPlan(address: .ip("", port: 0)).http2
  public var access = AddressRuleSettings()
  public var proxyProtocol = false
  public var proxyProtocolSources: [String] = []

  public init() {}
}

/// An element of `upstreams`.
public struct UpstreamSettings: Equatable, Sendable {
  public var name = ""
  public var host = ""
  public var port = 80
  /// Whether the SRV records of `host` say where the backends are.
  public var isService = false
  /// Empty: the upstream has but one, `host`.
  public var endpoints: [EndpointSettings] = []
  public var balance = BalancePlan()
  public var health = HealthPlan()
  public var requestMode = UpstreamPlan.RequestMode.streaming
  public var proxyProtocol = UpstreamPlan.ProxyProtocol.off
  public var tls = UpstreamTLSSettings()
  public var pool = PoolPlan()
  public var http2 = BackendHTTP2Plan()
  public var breaker = BreakerSettings()
  /// Empty: no route of its own.
  public var routePrefix = ""
  public var methods: [String] = []
  /// Who may use `routePrefix`.
  public var access = AddressRuleSettings()
  public var compression = CompressionSwitch.inherit
  /// Its `upstream` has no meaning here.
  public var forward = ForwardPlan(upstream: 0)
  /// Of its own route.
  public var rules = RouteRulesPlan()

  public init() {}
}

extension UpstreamSettings {
  /// What the backends are called where nothing else says so: `host`, or the host of the first endpoint that has one.
  var calledName: String {
    if !host.isEmpty { return isService ? HostSyntax.domain(ofService: host) : host }
    guard let first = endpoints.first(where: { !$0.host.isEmpty }) else { return "" }
    return first.isService ? HostSyntax.domain(ofService: first.host) : first.host
  }
}

/// An element of `upstreams[].endpoints`.
public struct EndpointSettings: Equatable, Sendable {
  public var host = ""
  /// Nil: that of the upstream.
  public var port: Int?
  /// Absolute path of a Unix socket; empty for none.
  public var unix = ""
  public var isService = false
  public var weight = EndpointPlan().weight
  public var isBackup = false

  public init() {}

  /// As in the plan.
  func plan(_ upstream: UpstreamSettings) -> EndpointPlan {
    var plan = EndpointPlan()
    plan.host = host
    plan.port = UInt16(clamping: unix.isEmpty ? port ?? upstream.port : 0)
    plan.unix = unix
    plan.weight = weight
    plan.isBackup = isBackup
    return plan
  }
}

/// `upstreams[].circuit_breaker`.
public struct BreakerSettings: Equatable, Sendable {
  public var plan = BreakerPlan()

  public init() {}
}

/// `upstreams[].tls`.
public struct UpstreamTLSSettings: Equatable, Sendable {
  public var enabled = false
  /// Empty: those that the system trusts.
  public var authorityFile = ""
  /// Empty: nobody is asked what has been revoked.
  public var revocationFile = ""
  public var verifiesPeer = true
  /// Empty: the upstream's host.
  public var serverName = ""
  public var minVersion = TLSPlan.Version.tls12
  /// Empty, as the key's: no certificate is shown.
  public var certificateFile = ""
  public var keyFile = ""
  public var handshakeTimeout = UpstreamTLSPlan().handshakeTimeout
  public var resumesSessions = UpstreamTLSPlan().resumesSessions

  public init() {}
}

/// An element of `routes`: exactly one of `upstream`, `respond`, `redirect`, `echo` and `static` is given.
public struct RouteSettings: Equatable, Sendable {
  public var hosts: [String] = []
  public var path = ""
  public var methods: [String] = []
  /// Name of an upstream; empty for none.
  public var upstream = ""
  /// Only with `upstream`. Its `upstream` has no meaning here.
  public var forward: ForwardPlan?
  public var respond: RespondPlan?
  public var redirect: RedirectPlan?
  public var echo: EchoPlan?
  public var files: StaticPlan?
  public var compression = CompressionSwitch.inherit
  public var rules = RouteRulesPlan()
  public var access = AddressRuleSettings()

  public init() {}
}
