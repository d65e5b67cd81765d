// AccessVariable — what an access-log line can tell: one row per variable.
//
// The rows give the format parser its names and docs/access-log.md its table.

/// A variable of an access-log format.
public struct AccessVariable: Sendable {
  /// As written after `$`.
  public let name: StaticString
  /// One sentence for people.
  public let sentence: StaticString
  let value: AccessValue

  /// Every variable but the family `http_NAME`.
  public static let table: [AccessVariable] = [
    row("time_iso8601", .timeISO, "End of the request, UTC: 2026-01-31T23:59:59.123456Z."),
    row("time_local", .timeLocal, "End of the request, local time: 31/Jan/2026:23:59:59 +0000."),
    row("msec", .timeSeconds, "End of the request: seconds since the epoch, to the millisecond."),
    row("remote_addr", .client, "The client's address."),
    row("request_id", .requestID, "The request's id, as in X-Request-Id."),
    row("request", .request, "The request line: method, target and version."),
    row("method", .method, "The request's method."),
    row("request_method", .method, "The same as $method."),
    row("uri", .uri, "The request's target as the client sent it, with its query."),
    row("request_uri", .uri, "The same as $uri."),
    row("path", .path, "The path of the target, as the client sent it."),
    row("query", .query, "The target's query, without the question mark."),
    row("protocol", .protocolName, "HTTP/2.0, HTTP/1.1 or HTTP/1.0."),
    row("protocol_version", .protocolVersion, "2.0, 1.1 or 1.0."),
    row("host", .host, "The Host field without its port."),
    row("status", .status, "The status sent; 0 when there was no response."),
    row("bytes_sent", .bytesSent, "Bytes of the response, head and body."),
    row("body_bytes_sent", .bodyBytesSent, "Bytes of the response's body."),
    row("bytes_received", .bytesReceived, "Bytes of the request, head and body."),
    row("request_length", .bytesReceived, "The same as $bytes_received."),
    row("duration", .duration, "Seconds from first byte received to last byte sent, to the microsecond."),
    row("request_time", .duration, "The same as $duration."),
    row("upstream", .upstream, "The name of the upstream."),
    row("endpoint", .endpoint, "The endpoint of the upstream that the request was sent to last: address and port, name and port, or unix: and a path."),
    row("upstream_connect_time", .upstreamConnect, "Seconds to connect to the backend; absent when a kept connection was used."),
    row("upstream_header_time", .upstreamHeader, "Seconds from sending the request to the backend's response head."),
    row("attempts", .attempts, "Times the request was sent to a backend; 0 for a local answer."),
    row("attempt_list", .attemptList, "Where there was more than one attempt, all of them: endpoint, fault or status, and seconds, with commas between."),
    row("fault", .fault, "What failed: a token of docs/faults.md."),
    row("grpc_status", .callStatus, "The status of a gRPC call, 0 to 16; absent where there is none."),
    row("route", .route, "The pattern of the route."),
    row("scheme", .scheme, "https when the client spoke TLS, else http."),
    row("tls_version", .tlsVersion, "The version of TLS: TLSv1.3."),
    row("tls_cipher", .tlsCipher, "The cipher suite, as OpenSSL calls it."),
    row("tls_server_name", .tlsServerName, "The name that the client has asked for (SNI)."),
    row("tls_resumed", .tlsResumed, "1 when the client has resumed a session, else 0."),
    row("tls_client_subject", .tlsSubject, "The subject of the client's verified certificate, as in RFC 4514."),
    row("tls_client_fingerprint", .tlsFingerprint, "The SHA-256 fingerprint of the client's verified certificate."),
    row("worker", .worker, "Slot and generation of the worker: 0.7."),
  ]

  private static func row(_ name: StaticString, _ value: AccessValue, _ sentence: StaticString) -> AccessVariable {
    AccessVariable(name: name, sentence: sentence, value: value)
  }
}

/// What an operation of a compiled format writes after its literal text.
enum AccessValue: UInt8, Sendable, BitwiseCopyable {
  /// Nothing: text only.
  case none
  case timeISO, timeLocal, timeSeconds
  case client, requestID, protocolName, protocolVersion
  case status, bytesSent, bodyBytesSent, bytesReceived, duration
  case scheme, tlsVersion, tlsCipher, tlsServerName, tlsResumed, tlsSubject, tlsFingerprint
  case upstream, endpoint, upstreamConnect, upstreamHeader, attempts, attemptList, callStatus, fault, route
  /// Known when the log is made, so it becomes text.
  case worker
  // Parts of the request head.
  case request, method, uri, path, query, host
  /// A request header field.
  case header

  /// Whether the value is a run of the bytes of the request's head.
  var isPartOfHead: Bool { rawValue >= AccessValue.request.rawValue }

  /// Bytes that a value takes at most besides text of unbounded length.
  var widest: Int {
    switch self {
    case .none, .worker: 0
    case .timeISO, .timeLocal: 27
    case .timeSeconds: 17
    case .protocolName, .protocolVersion: 8
    case .status, .attempts, .scheme, .callStatus: 5
    case .tlsResumed: 1
    case .bytesSent, .bodyBytesSent, .bytesReceived: 20
    case .duration, .upstreamConnect, .upstreamHeader: 21
    case .request: 9
    case .tlsVersion, .tlsCipher, .tlsServerName, .tlsSubject, .tlsFingerprint: 1
    case .client, .requestID, .method, .uri, .path, .query, .host, .upstream, .endpoint, .route, .fault, .header, .attemptList: 1
    }
  }
}
