// SettingsTable — every setting, a row each. Whatever is known about a setting stands here; the decoder's checks,
// the effective dump, the JSON Schema and the reference are made from it. Defaults are the initial values of
// `Settings` and of the plan's structures.
//
// Ranges of durations are in milliseconds; below ten there is no timer.

import Plan

enum SettingsTable {
  static let day = 86_400_000
  static let year = 365 * day
  static let maxSize = 1 << 40

  static let root = SettingTable<Settings>(
    Settings(),
    [
      .annotation("$schema", "Where an editor finds the schema of this file; not used by the gateway."),
      .text("bind_host", \.bindHost, .host, "Address to accept connections on.").variable("BIND_HOST"),
      .integer("bind_port", \.bindPort, 0...65535, "Port to accept connections on; 0 lets the system choose one, which is logged.").variable("BIND_PORT"),
      .list("listeners", \.listeners, listener, "Several addresses to accept connections on, instead of bind_host and bind_port."),
      .integer("workers", \.workers, 1...1024, zero: "one per processor", "Worker processes.").alias("worker_threads").variable("WORKERS", "WORKER_THREADS"),
      .integer("max_connections", \.limits.maxConnections, 1...10_000_000, zero: "no limit", "Client connections over all workers.")
        .variable("MAX_CONNECTIONS"),
      .quantity("max_header_size", \.limits.maxHeaderSize, .bytes, 1...(1 << 20), zero: "the ceiling, 1 MiB", "Size of a request's target and header fields together.")
        .variable("MAX_HEADER_SIZE"),
      .integer("max_header_count", \.limits.maxHeaderCount, 1...1000, "Header fields in one request.").variable("MAX_HEADER_COUNT"),
      .quantity("max_body_size", \.limits.maxBodySize, .bytes, 1...maxSize, zero: "no limit", "Size of a request's body.").variable("MAX_BODY_SIZE"),
      .quantity(
        "max_ws_message_size", \.limits.maxWebSocketMessageSize, .bytes, 1...maxSize, zero: "no limit",
        "Size of a message to a WebSocket endpoint of the gateway, after decompression.")
        .variable("MAX_WS_MESSAGE_SIZE"),
      .quantity("idle_timeout_sec", \.timeouts.idle, .seconds, 10...year, zero: "none", "How long a connection may stay open without a request.")
        .variable("IDLE_TIMEOUT"),
      .quantity("request_timeout_sec", \.timeouts.request, .seconds, 10...year, zero: "none", "How long a request's head may take to arrive, and a pause in its body.")
        .variable("REQUEST_TIMEOUT"),
      .quantity("send_timeout_sec", \.timeouts.send, .seconds, 10...year, zero: "none", "How long a client may take none of the response.").variable("SEND_TIMEOUT"),
      .quantity("shutdown_drain_timeout_sec", \.timeouts.shutdownDrain, .seconds, 0...300_000, "How long requests in flight may take to finish after a stop or reload.")
        .variable("SHUTDOWN_DRAIN_TIMEOUT"),
      .quantity("worker_start_timeout_sec", \.timeouts.workerStart, .seconds, 1000...300_000, "How long a worker may take to become ready.")
        .variable("WORKER_START_TIMEOUT"),
      .quantity(
        "worker_heartbeat_timeout_sec", \.timeouts.workerHeartbeat, .seconds, 3000...3_600_000, zero: "for good",
        "How long a worker may show no sign of life before it is killed and replaced; under a systemd watchdog at most half of its time.")
        .variable("WORKER_HEARTBEAT_TIMEOUT"),
      .integer("max_draining_generations", \.maxDrainingGenerations, 1...64, "Old generations of workers that may drain at the same time; a reload beyond it hurries the oldest.")
        .variable("MAX_DRAINING_GENERATIONS"),
      .text("user", \.identity.user, .account, mayBeEmpty: true, "Account that workers run as when the gateway is started as root; empty: no change.").variable("USER"),
      .text("group", \.identity.group, .account, mayBeEmpty: true, "Group that workers run as; empty: the group of user.").variable("GROUP"),
      .boolean("server_header", \.serverHeader, "Whether responses made by the gateway carry \"Server: gateway\".").variable("SERVER_HEADER"),
      .boolean("health_endpoint", \.health, "Whether GET /health is answered.").variable("HEALTH_ENDPOINT"),
      .boolean("stats_endpoint", \.stats, "Whether GET /stats is answered.").variable("STATS_ENDPOINT"),
      .section("tls", \.tls, tls, "TLS for bind_host and bind_port, and session tickets for all listeners."),
      .section("log", \.log, log, "The error log."),
      .section("access_log", \.accessLog, accessLog, "The access log."),
      .section("http1", \.http1, http1, "HTTP/1.1 clients."),
      .section("http2", \.http2, http2, "HTTP/2 clients."),
      .list("upstreams", \.upstreams, upstream, "Backends."),
      .list("routes", \.routes, route, "Which requests are answered how; tried before the route_prefix of any upstream."),
      .section("rate_limit", \.rateLimit, rateLimit, "How many requests whom is allowed, over all workers."),
      .section("concurrency_limit", \.concurrencyLimit, concurrencyLimit, "How many requests or connections whom is allowed at the same time, over all workers."),
      .section("dns", \.dns, dns, "How names of backends are resolved, again and again while they are in use."),
      .section("client_address", \.clientAddress, clientAddress, "How the address of a client is found that comes through proxies."),
      .section("compression", \.compression, compression, "Compression of responses: forwarded ones, fixed answers and files."),
      .later("auth"), .later("observability"),
    ] + Setting.addressRules(\.access, " at all"))

  static let listener = SettingTable<ListenerSettings>(
    ListenerSettings(),
    [
      .text("name", \.name, .descriptorName, mayBeEmpty: true, "Name; the socket that systemd passes under it (FileDescriptorName=) is used. Each listener has another.")
        .example("web"),
      .text("host", \.host, .host, mayBeEmpty: true, "Address to accept connections on; needs a port.").example("::"),
      .integer("port", \.port, 0...65535, "Port to accept connections on; 0 lets the system choose.").example(8080),
      .text("unix", \.unix, .socketPath, mayBeEmpty: true, "Path of a Unix socket, instead of host and port."),
      .text("mode", \.mode, .fileMode, "Permissions of the Unix socket."),
      .integer("backlog", \.backlog, 1...1_048_576, "Connections the system keeps waiting for each worker."),
      .boolean("ipv6_only", \.ipv6Only, "Whether an IPv6 address refuses IPv4 clients."),
      .boolean("http2", \.http2, "Whether clients may speak HTTP/2 on it, as far as http2.enabled allows."),
      .optional("tls", \.tls, listenerTLS, "TLS: clients speak it on this address, and nothing else."),
      .boolean("proxy_protocol", \.proxyProtocol, "Whether every connection begins with a header of the PROXY protocol (version 1 or 2), before TLS; one that does not is closed."),
      .texts("proxy_protocol_from", \.proxyProtocolSources, .addressRange, "Addresses of proxies that may connect, with proxy_protocol; none given: everybody may, and say who it is."),
    ] + Setting.addressRules(\.access, " on this listener"))

  private static let versions: [(name: String, value: TLSPlan.Version)] = [("1.2", .tls12), ("1.3", .tls13)]

  static let tls = SettingTable<TLSSettings>(
    TLSSettings(),
    [
      .boolean("enabled", \.enabled, "Whether clients of bind_host and bind_port speak TLS.").variable("TLS_ENABLED"),
      .text("cert_file", \.certificateFile, .file, mayBeEmpty: true, "PEM file: the certificate, then those that lead to its issuer.").variable("TLS_CERT"),
      .text("key_file", \.keyFile, .file, mayBeEmpty: true, "PEM file: the certificate's key, without a password.").variable("TLS_KEY"),
      .choice("min_version", \.minVersion, versions, "The oldest version of TLS that is spoken.").variable("TLS_MIN_VERSION"),
      .section("session_tickets", \.tickets, tickets, "The keys of session tickets; all workers share them, and they outlive a reload."),
    ])

  private static let tickets = SettingTable<TicketPlan>(
    TicketPlan(),
    [
      .quantity("rotation_sec", \.rotation, .seconds, 1000...604_800_000, "Time after which a new key encrypts new tickets."),
      .integer("keys", \.keys, 1...16, "Keys known at one time. A ticket is good for rotation_sec times one less (at least once, at most seven days)."),
    ])

  static let listenerTLS = SettingTable<ListenerTLSSettings>(
    ListenerTLSSettings(),
    [
      .list("certificates", \.certificates, certificate, "Certificates, chosen by the name that a client asks for: exact names before wildcards, the first for others; RSA and ECDSA side by side."),
      .choice("min_version", \.minVersion, versions, "The oldest version of TLS that is spoken."),
      .text("ciphers", \.ciphers, .ciphers, "Ciphers for TLS 1.2, in OpenSSL's syntax, in order of preference."),
      .text("cipher_suites", \.cipherSuites, .cipherSuites, "Cipher suites for TLS 1.3, separated by colons, in order of preference."),
      .text("groups", \.groups, .groups, "Groups for the key exchange, separated by colons, in order of preference."),
      .choice(
        "client_certificates", \.clientCertificates, [("off", .off), ("request", .request), ("require", .require)],
        "Whether clients are asked for a certificate. With \"request\" they may have none; one that is sent must be good."),
      .text("client_ca_file", \.clientCAFile, .file, mayBeEmpty: true, "PEM file: the authorities that issue certificates of clients."),
      .boolean("session_tickets", \.sessionTickets, "Whether clients can resume a session."),
    ])

  private static let certificate = SettingTable<CertificateSettings>(
    CertificateSettings(),
    [
      .text("cert_file", \.certificateFile, .file, "PEM file: the certificate, then those that lead to its issuer.")
        .required(example: "/etc/gateway/tls/fullchain.pem"),
      .text("key_file", \.keyFile, .file, "PEM file: the certificate's key, without a password.").required(example: "/etc/gateway/tls/key.pem"),
      .text("ocsp_file", \.ocspFile, .file, mayBeEmpty: true, "DER file: an OCSP response to staple."),
    ])

  static let http1 = SettingTable<HTTP1Plan>(
    HTTP1Plan(),
    [
      .choice("half_close", \.halfClose, [("answer", .answer), ("cancel", .cancel)], "When a client closes its sending side while it waits: answer it, or cancel the request."),
      .section("streaming", \.self, watermarks, "Request bodies on their way to a backend."),
    ])

  private static let watermarks = SettingTable<HTTP1Plan>(
    HTTP1Plan(),
    [
      .quantity("high_water_bytes", \.highWater, .bytes, 1...(1 << 30), "Bytes waiting for the backend above which the client is no longer read."),
      .quantity("low_water_bytes", \.lowWater, .bytes, 0...(1 << 30), "Bytes waiting below which it is read again; less than high_water_bytes."),
    ])

  static let http2 = SettingTable<HTTP2Plan>(
    HTTP2Plan(),
    [
      .boolean("enabled", \.enabled, "Whether HTTP/2 is spoken, where a listener allows it.").variable("HTTP2_ENABLED"),
      .integer("max_concurrent_streams", \.maxConcurrentStreams, 1...1_000_000, "Streams a client may have open at the same time; more are refused.")
        .variable("HTTP2_MAX_CONCURRENT_STREAMS"),
      .quantity("initial_window_size", \.initialWindow, .bytes, 1...2_147_483_647, "Body bytes a client may send on a stream before some have been passed on.")
        .variable("HTTP2_INITIAL_WINDOW_SIZE"),
      .quantity("connection_window_size", \.connectionWindow, .bytes, 65_535...2_147_483_647, "…and on all streams of a connection together.")
        .variable("HTTP2_CONNECTION_WINDOW_SIZE"),
      .quantity("max_frame_size", \.maxFrameSize, .bytes, 16_384...16_777_215, "The longest frame accepted.").variable("HTTP2_MAX_FRAME_SIZE"),
      .quantity("max_header_list_size", \.maxHeaderListSize, .bytes, 4096...(16 << 20), "Names, values and 32 for each field of a request; a stream with more is reset. max_header_size holds as well.")
        .variable("HTTP2_MAX_HEADER_LIST_SIZE"),
      .boolean("enable_push", \.enablePush, "Whether what a response's Link fields ask to be preloaded is pushed, to clients that take it; browsers no longer do.").variable("HTTP2_ENABLE_PUSH"),
      .section("streaming", \.self, http2Streaming, "Request bodies on their way to a backend."),
      .section("flood", \.floods, http2Floods, "What one client may send in ten seconds before its connection is ended."),
    ])

  private static let http2Streaming = SettingTable<HTTP2Plan>(
    HTTP2Plan(),
    [
      .quantity("high_water_bytes", \.highWater, .bytes, 1...(1 << 30), "Bytes waiting for the backend above which no more are taken from the stream."),
      .quantity("low_water_bytes", \.lowWater, .bytes, 0...(1 << 30), "Bytes waiting below which they are again; less than high_water_bytes."),
      .quantity("window_update_bytes", \.windowUpdate, .bytes, 1...(1 << 30), "Bytes passed on after which the client may send as many more; at most a quarter of the window."),
    ])

  private static let http2Floods = SettingTable<HTTP2FloodPlan>(
    HTTP2FloodPlan(),
    [
      .integer("max_resets", \.resets, 1...1_000_000_000, zero: "no limit", "Streams reset by the client, or for its mistakes."),
      .integer("max_settings", \.settings, 1...1_000_000_000, zero: "no limit", "SETTINGS frames."),
      .integer("max_pings", \.pings, 1...1_000_000_000, zero: "no limit", "PING frames."),
      .integer("max_empty_frames", \.emptyFrames, 1...1_000_000_000, zero: "no limit", "DATA, HEADERS and CONTINUATION frames without content that end nothing."),
      .integer("max_window_updates", \.windowUpdates, 1...1_000_000_000, zero: "no limit", "WINDOW_UPDATE frames beyond four for each DATA frame of a useful size."),
      .integer("max_priorities", \.priorities, 1...1_000_000_000, zero: "no limit", "PRIORITY and PRIORITY_UPDATE frames."),
      .integer("max_continuations", \.continuations, 1...1_000_000_000, zero: "no limit", "CONTINUATION frames of one header section."),
    ])

  static let dns = SettingTable<DNSPlan>(
    DNSPlan(),
    [
      .choice(
        "lookup_family", \.family, [("v4_preferred", .v4Preferred), ("v6_preferred", .v6Preferred), ("v4_only", .v4Only), ("v6_only", .v6Only)],
        "Which addresses of a name are used. Of a name that has both kinds, those of the other kind are second addresses of the same endpoints.")
        .variable("DNS_LOOKUP_FAMILY"),
      .texts("servers", \.servers, .nameServer, "Servers to ask; none given: those of /etc/resolv.conf."),
      .quantity("resolve_timeout_ms", \.resolveTimeout, .milliseconds, 100...60_000, "Time for one name, all its queries together.").variable("DNS_RESOLVE_TIMEOUT_MS"),
      .quantity("overall_timeout_ms", \.overallTimeout, .milliseconds, 100...300_000, "Time for all names when a generation of workers starts, with required.")
        .variable("DNS_OVERALL_TIMEOUT_MS"),
      .integer("resolver_max_inflight", \.maxInFlight, 1...1024, "Queries of one worker at the same time; others wait."),
      .quantity("min_ttl_sec", \.minTTL, .seconds, 100...day, "The shortest time for which an answer is good, whatever it says."),
      .quantity("max_ttl_sec", \.maxTTL, .seconds, 100...day, "The longest."),
      .quantity("negative_ttl_sec", \.negativeTTL, .seconds, 100...day, "The longest pause before a name is looked up again that has not been found, or for which no server has answered."),
      .boolean("stale_on_error", \.staleOnError, "Whether addresses stay in use whose time is over, as long as no server answers.").variable("DNS_STALE_ON_ERROR"),
      .quantity("stale_max_sec", \.staleLimit, .seconds, 100...year, zero: "for good", "…for how long."),
      .boolean(
        "required", \.required,
        "Whether the gateway does not start, or refuses a reload, when a name cannot be resolved. Otherwise requests for its upstream are answered 503 until it can be."),
    ])

  static let upstream = SettingTable<UpstreamSettings>(
    UpstreamSettings(),
    [
      .text("name", \.name, .name, "Name for routes, logs and metrics; each upstream has another.").required(example: "demo"),
      .text(
        "host", \.host, .backendHost, mayBeEmpty: true,
        "Host name or address of the backend; each address of a name is an endpoint, and they are kept up to date (see dns). With endpoints, only what they are called in Host and TLS; empty: the first of them.")
        .example("127.0.0.1"),
      .integer("port", \.port, 1...65535, "Port of the backend, and of endpoints that give none.").example(9001),
      .boolean("srv", \.isService, "Whether the SRV records of host say where the backends are, with ports, weights and priorities."),
      .list("endpoints", \.endpoints, endpoint, "Several backends that requests are divided among, instead of host alone."),
      .section("balance", \.balance, balance, "How requests are divided among the endpoints."),
      .section("health", \.health, HealthSettings.table, "How it is found out whether the endpoints can be used."),
      .choice("request_mode", \.requestMode, [("streaming", .streaming), ("buffered", .buffered)], "Whether a body is sent on as it arrives, or collected first."),
      .choice(
        "proxy_protocol", \.proxyProtocol, [("off", .off), ("v1", .v1), ("v2", .v2)],
        "The header of the PROXY protocol that connections to the backend begin with, before TLS. Each connection then serves one request."),
      .section("pool", \.pool, pool, "Connections to the backend, over all workers."),
      .section("proxy", \.self, proxy, "A route to the backend, and how requests are forwarded on it."),
      .section("tls", \.tls, upstreamTLS, "TLS to the backend."),
      .section("http2", \.http2, upstreamHTTP2, "HTTP/2 to the backend."),
      .section("circuit_breaker", \.breaker, breaker, "When the backend is left alone for a while, by all workers together, and how many retries it is spared."),
    ])

  private static let balance = SettingTable<BalancePlan>(
    BalancePlan(),
    [
      .choice(
        "policy", \.policy, [("power_of_two", .powerOfTwo), ("round_robin", .roundRobin), ("least_requests", .leastRequests), ("hash", .hash)],
        "Who gets a request: the less loaded of two endpoints drawn by weight; one after the other by weight; the least loaded of all; or the one that a key of the request belongs to."),
      .section("hash", \.self, balanceHash, "With policy \"hash\": what the key is."),
      .quantity("slow_start_sec", \.slowStart, .seconds, 100...3_600_000, zero: "at once", "Time in which an endpoint that comes back comes to its full share."),
      .section("sticky", \.sticky, sticky, "A cookie that binds a client to the endpoint that has answered it first."),
    ])

  private static let balanceHash = SettingTable<BalancePlan>(
    BalancePlan(),
    [
      .text("key", \.hashKey, .balanceKey, "What of a request is its key: client_ip, path, header:NAME, cookie:NAME or param:NAME, a parameter of the route's pattern. Without it a request goes by power_of_two."),
      .integer("load_bound_percent", \.loadBound, 101...1000, zero: "no bound", "An endpoint with more than so many percent of the average load passes keys on to others."),
    ])

  private static let sticky = SettingTable<StickyPlan>(
    StickyPlan(),
    [
      .text("cookie", \.cookie, .token, mayBeEmpty: true, "Name of the cookie; empty: clients are not bound."),
      .text("secret", \.secret, .any, mayBeEmpty: true, "Makes the cookie's values, together with the names of upstream and endpoint: without it nobody can make one up. The same on all machines that serve a site."),
      .text("path", \.path, .cookiePath, "Path of the cookie."),
      .text("domain", \.domain, .host, mayBeEmpty: true, "Domain of the cookie; empty: the host of the request alone."),
      .quantity("max_age_sec", \.maxAge, .seconds, 1000...year, zero: "until the browser is closed", "How long the cookie is kept."),
      .boolean("http_only", \.isHTTPOnly, "Whether scripts cannot read the cookie."),
      .boolean("secure", \.isSecure, "Whether the cookie is sent over TLS only."),
      .choice("same_site", \.sameSite, [("lax", .lax), ("strict", .strict), ("none", .none), ("unset", .unset)], "With which requests of other sites the cookie is sent."),
    ])

  private static let endpoint = SettingTable<EndpointSettings>(
    EndpointSettings(),
    [
      .text("host", \.host, .backendHost, mayBeEmpty: true, "Host name or address; each address of a name is an endpoint, and they are kept up to date (see dns).").example("10.0.0.1"),
      .integer("port", \.port, 1...65535, "Port; without it, that of the upstream.").example(8080),
      .boolean("srv", \.isService, "Whether the SRV records of host say where the backends are, with ports, weights and priorities."),
      .text("unix", \.unix, .socketPath, mayBeEmpty: true, "Path of a Unix socket, instead of host and port."),
      .integer("weight", \.weight, 1...EndpointPlan.maxWeight, "Its share of the requests, beside the weights of the others."),
      .boolean("backup", \.isBackup, "Used only when none of those that are no backups can be."),
    ])

  private static let upstreamTLS = SettingTable<UpstreamTLSSettings>(
    UpstreamTLSSettings(),
    [
      .boolean("enabled", \.enabled, "Whether the backend is spoken to in TLS; its port is then 443 by default."),
      .text("ca_file", \.authorityFile, .file, mayBeEmpty: true, "PEM file: the authorities that are trusted, one or several; empty: those that the system trusts."),
      .text(
        "crl_file", \.revocationFile, .file, mayBeEmpty: true,
        "PEM file: revocation lists, one of each authority on the way from the backend's certificate to a trusted root; empty: none are consulted."),
      .boolean("verify_peer", \.verifiesPeer, "Whether the backend's certificate must lead to a trusted authority and be good for its name."),
      .text(
        "sni_hostname", \.serverName, .host, mayBeEmpty: true,
        "Name that the backend is asked for, its certificate must be good for, and the Host of requests; empty: host. Of an address, only the certificate is asked."),
      .choice("min_version", \.minVersion, versions, "The oldest version of TLS that is spoken."),
      .text("cert_file", \.certificateFile, .file, mayBeEmpty: true, "PEM file: a certificate for backends that ask for one, then those that lead to its issuer."),
      .text("key_file", \.keyFile, .file, mayBeEmpty: true, "PEM file: the certificate's key, without a password."),
      .quantity(
        "handshake_timeout_ms", \.handshakeTimeout, .milliseconds, 10...600_000, zero: "as pool.connect_timeout_ms allows",
        "Time for the TLS handshake; pool.connect_timeout_ms limits it together with the connect."),
      .boolean("session_resumption", \.resumesSessions, "Whether new connections resume sessions of earlier ones."),
    ])

  static let pool = SettingTable<PoolPlan>(
    PoolPlan(),
    [
      .integer("max_connections", \.maxConnections, 1...1_000_000, "Connections at the same time."),
      .integer("max_idle_connections", \.maxIdleConnections, 0...1_000_000, "Unused connections kept; at most max_connections, to which the default is lowered."),
      .quantity("connect_timeout_ms", \.connectTimeout, .milliseconds, 10...600_000, "Time for a connection to be made, and for a request to wait for one."),
      .quantity(
        "connection_attempt_delay_ms", \.attemptDelay, .milliseconds, 10...10_000, zero: "when the first has failed",
        "Where an endpoint has addresses of both families: time after which the second is tried beside the first; the connection that is made first is used."),
      .quantity("idle_timeout_sec", \.idleTimeout, .seconds, 10...year, "How long an unused connection is kept."),
      .boolean(
        "learn_idle_timeout", \.learnsIdleTimeout,
        "Give unused connections up a little before the backend would close them, as far as its Keep-Alive fields or its earlier closes tell."),
      .quantity("max_lifetime_sec", \.maxLifetime, .seconds, 10...year, zero: "no limit", "Age after which a connection is not used again."),
      .integer("max_requests_per_conn", \.maxRequests, 1...1_000_000_000, zero: "no limit", "Requests after which a connection is not used again."),
    ])

  private static let proxy = SettingTable<UpstreamSettings>(
    UpstreamSettings(),
    [
      .text("route_prefix", \.routePrefix, .pattern, mayBeEmpty: true, "Path prefix or pattern of requests that go to this upstream; empty: only routes that name it.").example("/api"),
      .texts("methods", \.methods, .method, "Methods accepted on route_prefix; none given: all."),
    ] + Setting.addressRules(\.access, " on route_prefix") + [.compressionSwitch(\.compression)] + forward.settings.map { $0.lifted(\.forward) } + routeRules.settings.map { $0.lifted(\.rules) })

  /// How requests are forwarded: `proxy` of an upstream, and of a route that names one.
  static let forward = SettingTable<ForwardPlan>(
    ForwardPlan(upstream: 0),
    [
      .boolean("strip_prefix", \.stripPrefix, "Send \"/\" and what the pattern's catch-all has matched as the path, not what stands before it."),
      .boolean("forward_original_path", \.originalPath, "Send the path as the client wrote it, not the normalised one."),
      .quantity(
        "timeout_ms", \.timeout, .milliseconds, 10...day, zero: "none",
        "How long an exchange may take in all, from the end of the request's head to the end of the response."),
      .quantity(
        "send_timeout_ms", \.sendTimeout, .milliseconds, 10...day, zero: "none",
        "How long the backend may take nothing of a request that waits for it. Where it is not given, response_timeout_ms holds, or 30000 without that."),
      .quantity("response_timeout_ms", \.responseTimeout, .milliseconds, 10...day, zero: "none", "How long the backend may take to answer with a header."),
      .choice("buffering", \.buffering, [("auto", .auto), ("always", .always), ("never", .never)], "Whether a response is collected before it is sent on."),
      .quantity("relay_buffer_limit_bytes", \.relayBufferLimit, .bytes, 16_384...67_108_864, "What is held of a response that the client takes slowly; 256 KiB at most while its rest is known to be longer, as that does not free the backend."),
      .quantity(
        "auto_stream_content_length_threshold_bytes", \.autoStreamThreshold, .bytes, 0...67_108_864,
        "With buffering \"auto\", size from which a response is not collected; at most relay_buffer_limit_bytes."),
      .quantity("stream_idle_timeout_sec", \.streamIdleTimeout, .seconds, 10...3_600_000, zero: "none", "How long the backend may pause within a response.").alias("stream_idle_timeout_ms", .milliseconds),
      .quantity("stream_max_duration_sec", \.streamMaxDuration, .seconds, 10...day, zero: "none", "How long a response may take in all."),
      .choice("h10_streaming", \.http10, [("close", .close), ("buffer", .buffer)], "To HTTP/1.0 clients: end a response of unknown length by closing, or collect it first."),
      .boolean("forward_trailers", \.forwardTrailers, "Send on the trailer fields of responses."),
      .boolean("websocket", \.webSocket, "Pass on upgrades to WebSocket; otherwise such requests are forwarded without the upgrade."),
      .quantity(
        "websocket_idle_timeout_sec", \.webSocketIdleTimeout, .seconds, 10...year, zero: "none",
        "How long nothing may pass through a WebSocket, in either direction, before it is closed."),
      .quantity(
        "websocket_ping_interval_sec", \.webSocketPingInterval, .seconds, 100...day, zero: "none",
        "How long nothing may pass through a WebSocket before both sides are sent a ping."),
      .section("header_rewrite", \.self, headerRewrite, "Header fields of forwarded requests."),
      .section("response_rewrite", \.self, responseRewrite, "Addresses in responses, for backends that do not know how they are reached."),
      .section("retry", \.retry, retry, "When a request that has failed at the backend is sent again."),
      .section("hedge", \.self, hedge, "Sending a request once more while the first is still under way; for idempotent methods without a body. The first answer wins."),
      .later("auth"),
    ])

  private static let responseRewrite = SettingTable<ForwardPlan>(
    ForwardPlan(upstream: 0),
    [
      .boolean("location", \.rewriteLocation, "Put before the path in Location what strip_prefix has taken away, and make a path of an address that names the upstream's host."),
      .boolean("cookie_path", \.rewriteCookiePath, "Put before the Path of cookies what strip_prefix has taken away."),
    ])

  private static let headerRewrite = SettingTable<ForwardPlan>(
    ForwardPlan(upstream: 0),
    [
      .boolean("set_x_forwarded_for", \.setForwardedFor, "Append the client's address to X-Forwarded-For."),
      .boolean("set_x_forwarded_proto", \.setForwardedProto, "Set X-Forwarded-Proto."),
      .boolean("set_x_forwarded_host", \.setForwardedHost, "Set X-Forwarded-Host."),
      .boolean("set_forwarded", \.setForwarded, "Append the client's address, host and scheme to Forwarded (RFC 7239)."),
      .boolean("set_via_header", \.setVia, "Append to Via, in requests and responses."),
      .boolean("rewrite_host", \.rewriteHost, "Send the upstream's host as Host; otherwise the client's."),
      .boolean(
        "set_client_certificate", \.setClientCertificate,
        "Send the subject and SHA-256 fingerprint of a client's verified certificate as X-Client-Cert-Subject and X-Client-Cert-Fingerprint. What clients send under these names is never forwarded."),
    ])

  static let route = SettingTable<RouteSettings>(
    RouteSettings(),
    [
      .texts("hosts", \.hosts, .hostPattern, "Host names, exact or \"*.example.com\"; none given: every host."),
      .text("path", \.path, .pattern, "Pattern such as \"/users/:id([0-9]+)/*rest\"; matches exactly unless it ends in a catch-all.").required(example: "/old/*rest"),
      .texts("methods", \.methods, .method, "Methods; none given: all for an upstream, GET and HEAD otherwise."),
      .text("upstream", \.upstream, .name, mayBeEmpty: true, "Forward to the upstream of this name. A route has exactly one of upstream, split, respond, redirect, echo and static.").example("demo"),
      .optional("proxy", \.forward, forward, "With upstream: how requests are forwarded. Independent of the upstream's own proxy."),
      .optional("respond", \.respond, respond, "Answer with fixed content."),
      .optional("redirect", \.redirect, redirect, "Answer with another address."),
      .optional("echo", \.echo, echo, "Be a WebSocket endpoint that sends each message back."),
      .optional("static", \.files, files, "Answer with files below a directory; path ends in a catch-all, and what it matches is the file."),
    ] + Setting.addressRules(\.access, " on this route") + [.compressionSwitch(\.compression)] + routeRules.settings.map { $0.lifted(\.rules) })

  private static let respond = SettingTable<RespondPlan>(
    RespondPlan(),
    [
      .integer("status", \.status, 200...599, "Status of the answer."),
      .headers("headers", \.headers, "Header fields of the answer: a text or a list of texts for each name."),
      .text("body", \.body, .any, mayBeEmpty: true, "Body of the answer."),
    ])

  private static let redirect = SettingTable<RedirectPlan>(
    RedirectPlan(to: ""),
    [
      .text("to", \.to, .redirectTarget, "The address; {scheme}, {host}, {path}, {query}, {uri} and the pattern's captures are filled in.").required(example: "https://{host}{uri}"),
      .numbers("status", \.status, [301, 302, 303, 307, 308], "Status of the answer."),
    ])

  private static let echo = SettingTable<EchoPlan>(
    EchoPlan(),
    [
      .texts("subprotocols", \.subprotocols, .token, "Subprotocols accepted; the first of them that a client offers is chosen."),
      .boolean("compression", \.compression, "Compress messages where the client offers it (permessage-deflate)."),
      .boolean(
        "context_takeover", \.contextTakeover,
        "Keep the window of compression from one message to the next: messages get smaller, and a connection takes more memory."),
      .integer("window_bits", \.windowBits, 9...15, "Size of that window, as a power of two."),
      .quantity("idle_timeout_sec", \.idleTimeout, .seconds, 10...year, zero: "none", "How long a client may send nothing before the connection is closed."),
      .quantity("ping_interval_sec", \.pingInterval, .seconds, 100...day, zero: "none", "How long a client may send nothing before it is sent a ping."),
    ])

  /// The one object in which `key` exists, as `upstreams[].pool`; nil when there is none, or more than one.
  static func home(of key: String) -> String? {
    guard let homes = homes[key], homes.count == 1 else { return nil }
    return homes[0].isEmpty ? "the top level" : homes[0]
  }

  private static let homes: [String: [String]] = {
    var homes: [String: [String]] = [:]
    visit(root.rows, "") { row, path in
      let last = path.lastIndex(of: ".")
      homes[row.key, default: []].append(last.map { String(path[..<$0]) } ?? "")
    }
    return homes
  }()

  /// Calls `body` for every row and its path, such as `upstreams[].pool.max_connections`, parents first.
  static func visit(_ rows: [SettingRow], _ path: String, _ body: (SettingRow, String) -> Void) {
    for row in rows {
      if case .later = row.shape { continue }
      let childPath = path.isEmpty ? row.key : "\(path).\(row.key)"
      body(row, childPath)
      if case .objects = row.shape {
        visit(row.shape.children, childPath + "[]", body)
      } else {
        visit(row.shape.children, childPath, body)
      }
    }
  }
}
