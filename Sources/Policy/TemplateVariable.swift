// TemplateVariable — what a template can tell of a request and its response: one row per variable.
//
// The rows give the parser its names and docs/routes.md its table.

/// Something that stands in braces in a template. Those from `header` to `responseHeader` are given with a name: `{header:Accept}`.
public enum TemplateVariable: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  /// Text of the template itself.
  case literal
  // Parts of the request.
  case scheme, host, hostname, path, originalPath, query, queryString, uri, method, protocolName
  case capture, header, cookie, parameter
  // Of the response.
  case responseHeader
  // What the gateway tells of the connection, and of what it has done.
  case clientAddress, requestID, time, tlsVersion, tlsCipher, tlsServerName, tlsSubject, tlsFingerprint
  case route, upstream, endpoint, attempts
  case status, fault, duration, upstreamConnectTime, upstreamHeaderTime

  /// Whether it is put together by the gateway, in `TemplateFacts`.
  @inlinable
  var isFact: Bool { rawValue >= TemplateVariable.clientAddress.rawValue }

  /// Its place among the facts.
  @inlinable
  var fact: Int { Int(rawValue &- TemplateVariable.clientAddress.rawValue) }

  /// Whether it can be anything that a client or backend chooses to send, so that its bytes are looked at before they are used.
  @inlinable
  var isForeign: Bool {
    switch self {
    case .literal, .scheme, .upstream, .clientAddress, .requestID, .time, .tlsVersion, .tlsCipher, .endpoint, .attempts, .status, .fault, .duration, .upstreamConnectTime,
      .upstreamHeaderTime:
      false
    default: true
    }
  }

  /// Whether it is no part of the target, so that nothing has been said yet of what it may do to one.
  var isOutsider: Bool {
    switch self {
    case .literal, .scheme, .path, .originalPath, .query, .queryString, .uri, .capture: false
    default: true
    }
  }

  /// Whether it may stand where the host of a redirect does, whatever is in it: it is the operator's, has been judged as a host, or begins with a slash.
  var isTrustedAuthority: Bool {
    switch self {
    case .literal, .scheme, .host, .hostname, .path, .originalPath, .query, .uri: true
    default: false
    }
  }

  /// Whether it is the operator's or the gateway's own text, or means nothing before a backend is chosen.
  var isForFields: Bool {
    switch self {
    case .route, .upstream, .endpoint, .attempts: true
    default: false
    }
  }
}

/// What is known about a variable.
public struct TemplateVariableRow: Sendable {
  public let variable: TemplateVariable
  /// As written in braces; with `takesName` before a colon.
  public let name: String
  public let takesName: Bool
  /// Whether it is known only once there is a response.
  public let needsResponse: Bool
  /// One sentence for people.
  public let sentence: String

  /// Every variable, and `{name}` for the captures of a route.
  public static let table: [TemplateVariableRow] = [
    row(.scheme, "scheme", "`https` when the client speaks TLS, or a trusted proxy says so, else `http`."),
    row(.host, "host", "The host asked for, as the client wrote it, with its port."),
    row(.hostname, "hostname", "…without its port."),
    row(.path, "path", "The path in its normal form."),
    row(.originalPath, "original_path", "The path as the client wrote it."),
    row(.query, "query", "The query with its `?`; empty where there is none."),
    row(.queryString, "query_string", "The query without its `?`."),
    row(.uri, "uri", "`{path}{query}`."),
    row(.method, "method", "The method."),
    row(.protocolName, "protocol", "`HTTP/2.0`, `HTTP/1.1` or `HTTP/1.0`."),
    row(.capture, "capture", named: true, "What a parameter or catch-all of the route's pattern has matched, as it stands in the path. `{name}` is the same where no variable has that name."),
    row(.header, "header", named: true, "A header field of the request as it came; of several, all with commas between."),
    row(.cookie, "cookie", named: true, "A cookie; the first of that name."),
    row(.parameter, "parameter", named: true, "A parameter of the query, as it stands there; the first of that name."),
    row(.clientAddress, "client_ip", "The client's address."),
    row(.requestID, "request_id", "The id of the request, as in `X-Request-Id`."),
    row(.time, "time", "When the request began: seconds since the epoch, to the millisecond."),
    row(.tlsVersion, "tls_version", "The version of the client's TLS: `TLSv1.3`."),
    row(.tlsCipher, "tls_cipher", "Its cipher suite, as OpenSSL calls it."),
    row(.tlsServerName, "tls_server_name", "The name that the client has asked for (SNI)."),
    row(.tlsSubject, "tls_client_subject", "The subject of the client's verified certificate, as in RFC 4514."),
    row(.tlsFingerprint, "tls_client_fingerprint", "The SHA-256 fingerprint of the client's verified certificate."),
    row(.route, "route", "The pattern of the route."),
    row(.upstream, "upstream", "The name of the upstream."),
    row(.endpoint, "endpoint", "The address and port of the backend at hand."),
    row(.attempts, "attempts", "How often the request has been sent to a backend, this time included."),
    row(.responseHeader, "response_header", named: true, needsResponse: true, "A header field of the response before any rule; of several, all with commas between."),
    row(.status, "status", needsResponse: true, "The status of the response."),
    row(.fault, "fault", needsResponse: true, "What failed, where the gateway answers instead: a token of faults.md."),
    row(.duration, "duration", needsResponse: true, "Seconds from the first byte of the request to now, to the microsecond."),
    row(.upstreamConnectTime, "upstream_connect_time", needsResponse: true, "Seconds to connect to the backend; empty when a kept connection was used."),
    row(.upstreamHeaderTime, "upstream_header_time", needsResponse: true, "Seconds from sending the request to the response's header."),
  ]

  private static func row(
    _ variable: TemplateVariable, _ name: String, named: Bool = false, needsResponse: Bool = false, _ sentence: String
  ) -> TemplateVariableRow {
    TemplateVariableRow(variable: variable, name: name, takesName: named, needsResponse: needsResponse, sentence: sentence)
  }
}
