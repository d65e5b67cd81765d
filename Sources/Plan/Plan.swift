// Plan — the resolved configuration: everything a worker needs to serve, and nothing it would have to look up.
//
// A plan is made by `Configuration` from text, environment and flags, has passed every check, and is
// immutable from then on. Names have become indices and durations milliseconds; host names of listeners are addresses, those of backends
// remain names, for their addresses may change at any time.
// The master seals it into a memory file; each worker of a generation reads the same one.

import HTTPModel

/// The resolved configuration of one generation.
public struct Plan: Equatable, Sendable {
  /// Worker processes; at least 1 (0 in the configuration has become the number of processors).
  public var workers = 3
  public var listeners: [ListenerPlan] = []
  /// Generations that may drain at the same time; a reload beyond it hurries the oldest.
  public var maxDrainingGenerations = 4
  public var limits = LimitPlan()
  public var timeouts = TimeoutPlan()
  public var http1 = HTTP1Plan()
  public var http2 = HTTP2Plan()
  /// Whether responses made by the gateway carry `Server: gateway`.
  public var serverHeader = true
  public var health = true
  public var stats = true
  public var log = LogPlan()
  public var accessLog = AccessLogPlan()
  public var identity = IdentityPlan()
  public var tickets = TicketPlan()
  public var rateLimit = RateLimitPlan()
  public var concurrencyLimit = ConcurrencyLimitPlan()
  public var dns = DNSPlan()
  /// What upstreams are called whose addresses are looked up while they are in use; each once.
  public var names: [NamePlan] = []
  public var clientAddress = ClientAddressPlan()
  public var compression = CompressionPlan()
  /// Who is let in at all.
  public var access = AddressRulePlan()
  /// Whom upstreams trust.
  public var authorities: [AuthorityPlan] = []
  public var upstreams: [UpstreamPlan] = []
  /// In order of the configuration: `routes` first, then the `route_prefix` of each upstream, then the local endpoints.
  public var routes: [RoutePlan] = []

  public init() {}
}

/// One address to accept connections on.
public struct ListenerPlan: Equatable, Sendable {
  public enum Address: Equatable, Sendable {
    /// A literal IPv4 or IPv6 address without brackets, and a port (0: chosen by the kernel, kept across reloads).
    case ip(String, port: UInt16)
    /// An absolute path, and the permission bits of the socket file.
    case unix(String, mode: UInt16)
  }

  public var address: Address
  /// What it is called: sockets that a service manager hands over under this name are it. Empty: nothing.
  public var name: String
  /// Connections the kernel queues per worker before it drops new ones.
  public var backlog: Int
  /// For `::` and other IPv6 addresses: refuse IPv4 clients.
  public var ipv6Only: Bool
  /// Nil: clients speak in the clear.
  public var tls: TLSPlan?
  /// Whether clients may speak HTTP/2 on it.
  public var http2: Bool
  /// Who is let in on it.
  public var access = AddressRulePlan()
  /// Whether every connection begins with a header of the PROXY protocol, and from whom that is accepted (empty: from everybody).
  public var proxyProtocol = false
  public var proxyProtocolSources: [AddressRange] = []

  public init(address: Address, name: String = "", backlog: Int = 4096, ipv6Only: Bool = false, tls: TLSPlan? = nil, http2: Bool = true) {
    self.name = name
    self.http2 = http2
    self.address = address
    self.backlog = backlog
    self.ipv6Only = ipv6Only
    self.tls = tls
  }
}

/// Bounds on what a client may send. 0 means no bound, except where a ceiling is given.
public struct LimitPlan: Equatable, Sendable {
  /// Client connections over all workers.
  public var maxConnections = 10_000
  /// Bytes of request target plus name, value and 4 for each header field. 0 means the ceiling, 1 MiB.
  public var maxHeaderSize = 8192
  /// Header fields in one request.
  public var maxHeaderCount = 100
  /// Bytes of a request body.
  public var maxBodySize = 1 << 20
  /// Bytes of a message that a WebSocket endpoint of the gateway takes, after decompression.
  public var maxWebSocketMessageSize = 16 << 20

  public init() {}
}

/// Durations in milliseconds; 0 means none.
public struct TimeoutPlan: Equatable, Sendable {
  /// A keep-alive connection without a request.
  public var idle = 300_000
  /// First byte to end of a request's head; and, of a body, the longest pause between two reads
  /// (for a body that is collected before it is used: the whole of it).
  public var request = 30_000
  /// The longest time a client may take none of the bytes that wait for it.
  public var send = 30_000
  /// From the request to stop, or the end of a generation, until what is left is cut off.
  public var shutdownDrain = 30_000
  /// From spawning a worker until it must have reported ready.
  public var workerStart = 10_000
  /// How long a worker may show no sign of life before it is killed and replaced; 0: for good.
  public var workerHeartbeat = 15_000

  public init() {}
}

/// What is particular to HTTP/1.1 clients.
public struct HTTP1Plan: Equatable, Sendable {
  /// What a client's FIN means while it waits for an answer (TCP cannot tell the two apart).
  public enum HalfClose: UInt8, Equatable, Sendable {
    /// It has finished sending and still reads: answer, then close.
    case answer
    /// It has gone: cancel the request.
    case cancel
  }

  /// Request-body bytes waiting for a backend above which the client is no longer read.
  public var highWater = 262_144
  /// …and below which it is read again.
  public var lowWater = 65_536
  public var halfClose = HalfClose.answer

  public init() {}
}

/// What is particular to HTTP/2 clients. Sizes are bytes.
public struct HTTP2Plan: Equatable, Sendable {
  public var enabled = true
  /// Streams a client may have open at the same time.
  public var maxConcurrentStreams = 100
  /// Body bytes a client may send on one stream, and on all of a connection, before some have been passed on.
  public var initialWindow = 65_535
  public var connectionWindow = 1 << 20
  public var maxFrameSize = 16_384
  /// Names, values and 32 for each field of a header section.
  public var maxHeaderListSize = 65_536
  /// Whether what responses name for preloading is pushed to clients that take it.
  public var enablePush = false
  /// Request-body bytes waiting for a backend above which no more are taken from the stream.
  public var highWater = 262_144
  /// …and below which they are again.
  public var lowWater = 65_536
  /// Bytes passed on after which a client is told that it may send as many more.
  public var windowUpdate = 32_768
  public var floods = HTTP2FloodPlan()

  public init() {}
}

/// What one HTTP/2 client may send in ten seconds before its connection is ended; 0: any number.
public struct HTTP2FloodPlan: Equatable, Sendable {
  public var resets = 100
  public var settings = 100
  public var pings = 50
  public var emptyFrames = 100
  public var windowUpdates = 1_000
  public var priorities = 1_000
  /// In one header section.
  public var continuations = 8

  public init() {}
}

/// Whom workers run as. Empty: as the master does.
public struct IdentityPlan: Equatable, Sendable {
  public var user = ""
  public var group = ""

  public init() {}
}

/// One backend service.
public struct UpstreamPlan: Equatable, Sendable {
  public enum RequestMode: UInt8, Equatable, Sendable {
    /// Body bytes go to the backend as they arrive.
    case streaming
    /// The whole body is collected first.
    case buffered
  }

  public enum ProxyProtocol: UInt8, Equatable, Sendable { case off, v1, v2 }

  public var name: String
  /// As configured, for Host and for messages.
  public var host: String
  public var port: UInt16
  /// The literal address that `host` is; empty where it is a name, and where there are `endpoints`.
  public var addresses: [String]
  /// Index into `Plan.names`, where `host` is a name; -1: it is none, or there are `endpoints`.
  public var lookup = -1
  /// Where its requests go, instead of `host` alone; empty: to `addresses`, the next one when one cannot be connected to.
  public var endpoints: [EndpointPlan] = []
  public var balance = BalancePlan()
  public var health = HealthPlan()
  public var requestMode = RequestMode.streaming
  /// The header of the PROXY protocol that connections begin with.
  public var proxyProtocol = ProxyProtocol.off
  public var pool = PoolPlan()
  public var http2 = BackendHTTP2Plan()
  public var breaker = BreakerPlan()
  /// Nil: in the clear.
  public var tls: UpstreamTLSPlan?

  public init(name: String, host: String, port: UInt16, addresses: [String]) {
    self.name = name
    self.host = host
    self.port = port
    self.addresses = addresses
  }
}

/// One of several places that requests of an upstream go to.
public struct EndpointPlan: Equatable, Sendable {
  /// As configured; empty with `unix`.
  public var host = ""
  public var port: UInt16 = 0
  /// The literal address that `host` is; empty where it is a name.
  public var addresses: [String] = []
  /// Index into `Plan.names`, where `host` is a name; else -1.
  public var lookup = -1
  /// The absolute path of a Unix socket; empty for none.
  public var unix = ""
  /// Its share, beside those of the others; at least 1.
  public var weight = 1
  /// It is used only when none of those that are no backups can be.
  public var isBackup = false

  public static let maxWeight = 1000

  public init() {}

  /// What it is called in logs, metrics and shared memory: `app1:8080`, `[::1]:8080` or `unix:/run/app.sock`.
  public var name: String { EndpointPlan.name(host: host, port: port, unix: unix) }

  static func name(host: String, port: UInt16, unix: String) -> String {
    if !unix.isEmpty { return "unix:" + unix }
    return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }
}

extension UpstreamPlan {
  /// Its endpoints, be they one or several.
  public var allEndpoints: [EndpointPlan] {
    guard endpoints.isEmpty else { return endpoints }
    var only = EndpointPlan()
    only.host = host
    only.port = port
    only.addresses = addresses
    only.lookup = lookup
    return [only]
  }
}

/// HTTP/2 to one upstream. Sizes are bytes, durations milliseconds.
public struct BackendHTTP2Plan: Equatable, Sendable {
  public enum Preference: UInt8, Equatable, Sendable {
    /// What the backend agrees to when TLS begins.
    case auto
    /// HTTP/2; in the clear, the backend is known to speak it.
    case always
    case never
  }

  public var enabled = false
  public var prefer = Preference.auto
  /// Streams at the same time on a connection, if the backend allows as many.
  public var maxConcurrentStreams = 100
  /// Body bytes the backend may send on one stream before some have been passed on.
  public var initialWindow = 1 << 20
  public var maxFrameSize = 16_384
  public var headerTableSize = 4_096
  /// Names, values and 32 for each field of a response's header section.
  public var maxHeaderListSize = 65_536
  /// Silence after which a backend is asked for a sign of life; 0: never.
  public var pingIdle = 60_000
  /// …and how long it may take to give one; 0: any time.
  public var pingTimeout = 10_000
  /// How long streams may go on after a GOAWAY; 0: any time.
  public var goAwayDrainTimeout = 30_000
  /// Percentage of streams in use above which another connection is opened; 0: when all are in use.
  public var saturation = 0
  /// …and at which one is opened before it is needed; 0: never.
  public var preconnectWatermark = 0

  public init() {}
}

/// Connections to one upstream. Counts are for all workers together.
public struct PoolPlan: Equatable, Sendable {
  public var maxConnections = 64
  public var maxIdleConnections = 16
  /// Milliseconds for a connection to be made, and for a request to wait for one.
  public var connectTimeout = 5_000
  /// Milliseconds after which a second address is tried beside the first, where an endpoint has addresses of both families; 0: only when that has failed.
  public var attemptDelay = 250
  /// Milliseconds.
  public var idleTimeout = 90_000
  /// Whether connections are given up before the backend closes them, where that can be told.
  public var learnsIdleTimeout = true
  /// Milliseconds; 0 means none.
  public var maxLifetime = 3_600_000
  /// Requests on one connection; 0 means any number.
  public var maxRequests = 0

  public init() {}
}
