// Fault — every way a request can fail, as rows of one table.
//
// The log token, the counter, the status sent, the log severity and docs/faults.md all come from the row.
// Tokens are the error types of RFC 9209 (Proxy-Status) where one exists.

/// Whose doing a fault is.
public enum FaultSide: UInt8, Sendable { case client, gateway, upstream }

/// Whether the request may be sent to a backend again after the fault.
public enum FaultRetry: UInt8, Sendable {
  case never
  /// Nothing of the request can have been processed.
  case always
  /// Only if the method is idempotent.
  case ifIdempotent
  /// Only if the connection had been used before, and the method is idempotent.
  case onReusedConnection
}

/// A named failure. The raw value is its index in counters; new ones go to the end.
public enum Fault: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case none
  // The client's.
  case httpRequestError, uriTooLong, headersTooLarge, bodyTooLarge, versionNotSupported, methodNotImplemented
  case expectationFailed, requestTimeout, clientAborted, clientStalled, routeNotFound, methodNotAllowed
  // The gateway's.
  case connectionLimitReached, proxyInternalError, drainDeadline
  // The upstream's.
  case connectionRefused, destinationUnroutable, destinationUnavailable, connectionTimeout
  case poolExhausted, poolQueueTimeout
  case connectionTerminated, connectionWriteTimeout, responseTimeout, responseStalled, responseTooSlow
  case responseProtocolError, responseHeadersTooLarge, responseIncomplete, responseTooLarge, upgradeFailed
  // The client's again.
  case plainRequest
  // The client's, on HTTP/2.
  case http2ConnectionError, http2StreamRefused
  case http2RapidReset, http2SettingsFlood, http2PingFlood, http2EmptyFrameFlood, http2WindowUpdateFlood, http2PriorityFlood, http2ContinuationFlood
  // WebSocket.
  case webSocketHandshakeError, webSocketVersion, webSocketRequired, webSocketDraining
  case webSocketProtocolError, webSocketInvalidData, webSocketMessageTooLarge, webSocketIdle
  // The gateway's again.
  case exchangeTimeout
  // The upstream's, on TLS.
  case tlsProtocolError, tlsAlertReceived, tlsHandshakeTimeout, tlsHandshakeTerminated
  case tlsCertificateError, tlsCertificateExpired, tlsCertificateNotYetValid, tlsCertificateNameMismatch, tlsCertificateUnknownCA
  // The upstream's again.
  case attemptTimeout
  // Policies.
  case rateLimited
  // The client's, on TLS.
  case misdirectedRequest
  // A call's own.
  case grpcDeadlineExceeded
  // The upstream's, on HTTP/2.
  case http2StreamReset, http2StreamUnprocessed, http2NotNegotiated, http2HTTP1Required, http2UpgradeUnsupported, http2PingTimeout, http2DrainTimeout
  // Policies again.
  case requestDenied
  // The upstream's again.
  case noHealthyEndpoint
  // The client's, before its first byte.
  case proxyHeaderError, proxyHeaderTimeout, proxyHeaderRefused
  // Policies again.
  case circuitOpen, retryBudgetExhausted
  // What routes refuse.
  case pathRewriteRefused, corsOriginRefused
  // The upstream's, on TLS again.
  case tlsCertificateRevoked
  // Of files.
  case fileNotFound, fileForbidden, fileUnreadable, filesExhausted, fileTruncated, preconditionFailed, rangeNotSatisfiable
  // The upstream's, before there is one.
  case dnsError, dnsTimeout
  // The upstream's guard.
  case upstreamOverloaded
  // Policies again.
  case concurrencyLimited, clientConnectionLimit, rateLimitUnavailable

  /// The row of the table.
  public var row: FaultRow { FaultRow.table[Int(rawValue)] }
}

/// What is known about a fault.
public struct FaultRow: Sendable {
  public let fault: Fault
  /// As it stands in logs and metrics.
  public let token: StaticString
  public let side: FaultSide
  public let retry: FaultRetry
  /// The status sent when no response had begun; 0 when the connection is closed instead.
  public let status: UInt16
  /// The severity of the error-log line: 1 debug, 2 info, 3 warn, 4 error.
  public let severity: UInt8
  /// One sentence for people.
  public let sentence: StaticString

  /// One row per fault, in order of raw values.
  public static let table: [FaultRow] = [
    row(.none, "-", .gateway, .never, 0, 1, "Nothing failed."),
    row(.httpRequestError, "http_request_error", .client, .never, 400, 2, "The request is not well-formed HTTP."),
    row(.uriTooLong, "http_request_uri_too_long", .client, .never, 414, 2, "The request target alone is longer than max_header_size."),
    row(.headersTooLarge, "http_request_headers_too_large", .client, .never, 431, 2, "The request's header section exceeds max_header_size or max_header_count."),
    row(.bodyTooLarge, "http_request_body_too_large", .client, .never, 413, 2, "The request's body exceeds max_body_size."),
    row(.versionNotSupported, "http_version_not_supported", .client, .never, 505, 2, "The request names a version other than HTTP/1.0 and HTTP/1.1."),
    row(.methodNotImplemented, "http_method_not_implemented", .client, .never, 501, 2, "CONNECT (but for WebSockets on HTTP/2) and transfer codings other than chunked are not implemented."),
    row(.expectationFailed, "http_expectation_failed", .client, .never, 417, 2, "The request expects something other than 100-continue."),
    row(.requestTimeout, "http_request_timeout", .client, .never, 408, 2, "The request did not arrive within request_timeout_sec."),
    row(.clientAborted, "client_aborted", .client, .never, 0, 2, "The client closed the connection before the exchange was over."),
    row(.clientStalled, "client_stalled", .client, .never, 0, 2, "The client took none of the response within send_timeout_sec."),
    row(.routeNotFound, "route_not_found", .client, .never, 404, 1, "No route matches the host and path."),
    row(.methodNotAllowed, "method_not_allowed", .client, .never, 405, 1, "The path exists, but not for this method."),
    row(.connectionLimitReached, "connection_limit_reached", .gateway, .never, 503, 3, "max_connections client connections are open."),
    row(.proxyInternalError, "proxy_internal_error", .gateway, .never, 500, 4, "The gateway itself failed; please report it."),
    row(.drainDeadline, "drain_deadline", .gateway, .never, 503, 3, "The exchange was cut off at the drain deadline."),
    row(.connectionRefused, "connection_refused", .upstream, .always, 502, 4, "The backend refused the connection."),
    row(.destinationUnroutable, "destination_ip_unroutable", .upstream, .always, 502, 4, "There is no route to the backend's address."),
    row(.destinationUnavailable, "destination_unavailable", .upstream, .always, 502, 4, "A connection to the backend could not be made."),
    row(.connectionTimeout, "connection_timeout", .upstream, .always, 502, 4, "The backend did not accept the connection within pool.connect_timeout_ms."),
    row(.poolExhausted, "connection_pool_exhausted", .upstream, .always, 503, 4, "All connections to the backend are in use and the queue for them is full."),
    row(.poolQueueTimeout, "connection_pool_timeout", .upstream, .always, 503, 4, "No connection to the backend became free within pool.connect_timeout_ms."),
    row(.connectionTerminated, "connection_terminated", .upstream, .onReusedConnection, 502, 4, "The backend closed the connection before its response began."),
    row(.connectionWriteTimeout, "connection_write_timeout", .upstream, .ifIdempotent, 504, 4, "The backend took none of the request within proxy.send_timeout_ms."),
    row(.responseTimeout, "http_response_timeout", .upstream, .ifIdempotent, 504, 4, "The backend sent no response header within proxy.response_timeout_ms."),
    row(.responseStalled, "http_response_stalled", .upstream, .ifIdempotent, 504, 4, "The backend sent no body byte within proxy.stream_idle_timeout_sec."),
    row(.responseTooSlow, "http_response_too_slow", .upstream, .never, 504, 4, "The response took longer than proxy.stream_max_duration_sec."),
    row(.responseProtocolError, "http_protocol_error", .upstream, .never, 502, 4, "The backend's response is not well-formed HTTP."),
    row(.responseHeadersTooLarge, "http_response_header_section_size", .upstream, .never, 502, 4, "The backend's response header section is too large."),
    row(.responseIncomplete, "http_response_incomplete", .upstream, .ifIdempotent, 502, 4, "The backend's response ended early."),
    row(.responseTooLarge, "http_response_body_size", .upstream, .never, 502, 4, "The response is larger than what may be buffered (64 MiB)."),
    row(.upgradeFailed, "http_upgrade_failed", .upstream, .never, 502, 4, "The backend switched protocols, which was not asked for, or not to what was asked for."),
    row(.plainRequest, "http_request_without_tls", .client, .never, 400, 2, "A plain HTTP request was sent to a port that speaks TLS."),
    row(.http2ConnectionError, "http2_connection_error", .client, .never, 0, 2, "The client broke a rule of HTTP/2 that concerns the whole connection, which was ended."),
    row(.http2StreamRefused, "http2_stream_refused", .client, .never, 0, 2, "The client opened more streams than http2.max_concurrent_streams, or than there is room for."),
    row(.http2RapidReset, "http2_rapid_reset", .client, .never, 0, 3, "More streams were reset than http2.flood.max_resets; the connection was ended."),
    row(.http2SettingsFlood, "http2_settings_flood", .client, .never, 0, 3, "More SETTINGS frames came than http2.flood.max_settings; the connection was ended."),
    row(.http2PingFlood, "http2_ping_flood", .client, .never, 0, 3, "More PING frames came than http2.flood.max_pings; the connection was ended."),
    row(.http2EmptyFrameFlood, "http2_empty_frame_flood", .client, .never, 0, 3, "More frames without content came than http2.flood.max_empty_frames; the connection was ended."),
    row(.http2WindowUpdateFlood, "http2_window_update_flood", .client, .never, 0, 3, "More WINDOW_UPDATE frames came than http2.flood.max_window_updates; the connection was ended."),
    row(.http2PriorityFlood, "http2_priority_flood", .client, .never, 0, 3, "More PRIORITY and PRIORITY_UPDATE frames came than http2.flood.max_priorities; the connection was ended."),
    row(.http2ContinuationFlood, "http2_continuation_flood", .client, .never, 0, 3, "A header section had more CONTINUATION frames than http2.flood.max_continuations; the connection was ended."),
    row(.webSocketHandshakeError, "websocket_handshake_error", .client, .never, 400, 2, "The request asks for a WebSocket, but not as RFC 6455 says."),
    row(.webSocketVersion, "websocket_version_not_supported", .client, .never, 426, 2, "The request asks for a version of WebSocket other than 13."),
    row(.webSocketRequired, "websocket_required", .client, .never, 426, 1, "The route is a WebSocket endpoint, and the request does not ask for a WebSocket."),
    row(.webSocketDraining, "websocket_draining", .gateway, .never, 503, 2, "The gateway is being stopped, so no WebSocket is begun."),
    row(.webSocketProtocolError, "websocket_protocol_error", .client, .never, 0, 2, "The client broke the rules of WebSocket; it was told 1002."),
    row(.webSocketInvalidData, "websocket_invalid_data", .client, .never, 0, 2, "A message is not UTF-8, or not what was agreed on for compression; the client was told 1007."),
    row(.webSocketMessageTooLarge, "websocket_message_too_large", .client, .never, 0, 2, "A message exceeds max_ws_message_size; the client was told 1009."),
    row(.webSocketIdle, "websocket_idle_timeout", .client, .never, 0, 2, "Nothing came over the WebSocket within its idle timeout."),
    row(.exchangeTimeout, "exchange_timeout", .gateway, .never, 504, 3, "The exchange was not over within proxy.timeout_ms."),
    row(.tlsProtocolError, "tls_protocol_error", .upstream, .ifIdempotent, 502, 4, "What the backend sent is not TLS, or against its rules, or they have no version or cipher in common."),
    row(.tlsAlertReceived, "tls_alert_received", .upstream, .ifIdempotent, 502, 4, "The backend ended TLS with an alert: it rejects what the gateway has offered, often its certificate."),
    row(.tlsHandshakeTimeout, "tls_handshake_timeout", .upstream, .always, 502, 4, "The TLS handshake was not over within tls.handshake_timeout_ms, or what was left of pool.connect_timeout_ms."),
    row(.tlsHandshakeTerminated, "tls_handshake_terminated", .upstream, .always, 502, 4, "The backend closed the connection during the TLS handshake."),
    row(.tlsCertificateError, "tls_certificate_error", .upstream, .always, 502, 4, "The backend's certificate was rejected."),
    row(.tlsCertificateExpired, "tls_certificate_expired", .upstream, .always, 502, 4, "The backend's certificate, or one that it leads to, has expired."),
    row(.tlsCertificateNotYetValid, "tls_certificate_not_yet_valid", .upstream, .always, 502, 4, "The backend's certificate, or one that it leads to, is not valid yet."),
    row(.tlsCertificateNameMismatch, "tls_certificate_name_mismatch", .upstream, .always, 502, 4, "The backend's certificate is for another name."),
    row(.tlsCertificateUnknownCA, "tls_certificate_unknown_ca", .upstream, .always, 502, 4, "The backend's certificate does not lead to a trusted authority."),
    row(.attemptTimeout, "attempt_timeout", .upstream, .ifIdempotent, 504, 4, "No response header had come within proxy.retry.per_try_timeout_ms of the attempt's beginning."),
    row(.rateLimited, "rate_limited", .client, .never, 429, 2, "A zone of rate_limit has no token left for the request's key; the status is rate_limit.status_code."),
    row(.misdirectedRequest, "misdirected_request", .client, .never, 421, 2, "The request's host belongs to another certificate than the name that its connection was opened for."),
    row(.grpcDeadlineExceeded, "grpc_deadline_exceeded", .gateway, .never, 504, 2, "The call was not over within its own grpc-timeout."),
    row(.http2StreamReset, "http2_stream_reset", .upstream, .ifIdempotent, 502, 4, "The backend reset the stream before its response began."),
    row(.http2StreamUnprocessed, "http2_stream_unprocessed", .upstream, .always, 502, 4, "The backend refused the stream, or said with GOAWAY that it has not processed it."),
    row(.http2NotNegotiated, "http2_not_negotiated", .upstream, .always, 502, 4, "http2.prefer is \"always\", but the backend did not agree to HTTP/2."),
    row(.http2HTTP1Required, "http2_http11_required", .upstream, .always, 502, 4, "The backend wants the request over HTTP/1.1."),
    row(.http2UpgradeUnsupported, "http2_upgrade_unsupported", .upstream, .never, 502, 4, "A WebSocket was asked for, and the backend is spoken to in HTTP/2 only."),
    row(.http2PingTimeout, "http2_ping_timeout", .upstream, .onReusedConnection, 502, 4, "The backend did not acknowledge a PING within http2.ping_timeout_sec."),
    row(.http2DrainTimeout, "http2_goaway_timeout", .upstream, .ifIdempotent, 502, 4, "The response had not begun within http2.goaway_drain_timeout_sec after the backend's GOAWAY."),
    row(.requestDenied, "http_request_denied", .client, .never, 403, 2, "The client's address is not let in: allow and deny of the configuration, the listener or the route."),
    row(.noHealthyEndpoint, "no_healthy_endpoint", .upstream, .never, 503, 4, "None of the upstream's endpoints may be used: all are drained, disabled or known to have failed."),
    row(.proxyHeaderError, "proxy_protocol_error", .client, .never, 0, 3, "A connection to a listener with proxy_protocol did not begin with a header of the PROXY protocol; it was closed."),
    row(.proxyHeaderTimeout, "proxy_protocol_timeout", .client, .never, 0, 2, "The header of the PROXY protocol did not arrive within request_timeout_sec; the connection was closed."),
    row(.proxyHeaderRefused, "proxy_protocol_refused", .client, .never, 0, 3, "A peer that is not in proxy_protocol_from connected to a listener with proxy_protocol; the connection was closed."),
    row(.circuitOpen, "circuit_open", .gateway, .never, 503, 1, "The upstream's circuit breaker is open, or all probes of a half-open one are under way."),
    row(.retryBudgetExhausted, "retry_budget_exhausted", .gateway, .never, 503, 2, "The request would have been sent again, but circuit_breaker.retry_budget_percent of the upstream's requests are retries already."),
    row(.pathRewriteRefused, "path_rewrite_refused", .client, .never, 400, 2, "What the route's rewrite makes of the request is no path that a backend could be asked for."),
    row(.corsOriginRefused, "cors_origin_refused", .client, .never, 403, 1, "A browser asks whether it may send a request, and its origin is not one of cors.allow_origins."),
    row(.tlsCertificateRevoked, "tls_certificate_revoked", .upstream, .always, 502, 4, "The backend's certificate, or one that it leads to, has been revoked."),
    row(.fileNotFound, "file_not_found", .client, .never, 404, 1, "There is no such file below the root, or none that may be named: hidden ones, links that lead out, directories without an index."),
    row(.fileForbidden, "file_forbidden", .client, .never, 403, 2, "The file may not be read by the worker's account, or is no regular file."),
    row(.fileUnreadable, "file_unreadable", .gateway, .never, 500, 4, "The file, or the root itself, could not be opened or read."),
    row(.filesExhausted, "file_descriptors_exhausted", .gateway, .never, 503, 4, "There was no file descriptor left to open the file with; raise the limit (LimitNOFILE)."),
    row(.fileTruncated, "file_truncated", .gateway, .never, 500, 3, "The file became shorter while it was being sent; files should be replaced, not written over."),
    row(.preconditionFailed, "http_precondition_failed", .client, .never, 412, 1, "If-Match or If-Unmodified-Since does not hold for the file."),
    row(.rangeNotSatisfiable, "http_range_not_satisfiable", .client, .never, 416, 1, "The file has none of the bytes that Range asks for."),
    row(.dnsError, "dns_error", .upstream, .never, 503, 4, "The upstream's name has no addresses: it does not exist, or no server could say."),
    row(.dnsTimeout, "dns_timeout", .upstream, .never, 503, 4, "No server has answered in time what addresses the upstream's name has."),
    row(.upstreamOverloaded, "upstream_request_limit", .gateway, .never, 503, 2, "As many requests to the upstream are under way as circuit_breaker.max_requests or adaptive_concurrency allow."),
    row(.concurrencyLimited, "concurrency_limited", .client, .never, 429, 2, "As many requests of the request's key are under way as a zone of concurrency_limit allows; the status is concurrency_limit.status_code."),
    row(.clientConnectionLimit, "client_connection_limit", .client, .never, 429, 2, "The client's address has as many connections open as a zone of concurrency_limit allows; the status is concurrency_limit.status_code."),
    row(.rateLimitUnavailable, "rate_limit_unavailable", .gateway, .never, 503, 3, "The server that has a zone's buckets has not answered in time, and the zone's fallback is \"deny\"."),
  ]

  private static func row(
    _ fault: Fault, _ token: StaticString, _ side: FaultSide, _ retry: FaultRetry, _ status: UInt16, _ severity: UInt8, _ sentence: StaticString
  ) -> FaultRow {
    FaultRow(fault: fault, token: token, side: side, retry: retry, status: status, severity: severity, sentence: sentence)
  }
}
