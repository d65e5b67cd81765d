// HealthSettings — the settings of `upstreams[].health`: checks, outliers, panic; and what of them does not go together.

import Plan

enum HealthSettings {
  static let table = SettingTable<HealthPlan>(
    HealthPlan(),
    [
      .section("check", \.check, check, "A check that one worker makes of each endpoint, for all."),
      .section("outlier_detection", \.outliers, outliers, "Endpoints that are taken out of use for what becomes of their requests. Only where there are several."),
      .integer("panic_threshold_percent", \.panicThreshold, 1...100, zero: "never", "When fewer of the endpoints than this are fit for use, all are used again."),
    ])

  private static let check = SettingTable<HealthCheckPlan>(
    HealthCheckPlan(),
    [
      .choice("type", \.kind, [("none", .none), ("http", .http), ("tcp", .tcp), ("grpc", .grpc)], "None; a GET over HTTP/1.1; a connection, with TLS where the upstream has it; or grpc.health.v1.Health/Check over HTTP/2."),
      .quantity("interval_ms", \.interval, .milliseconds, 100...3_600_000, "How often each endpoint is checked."),
      .quantity("timeout_ms", \.timeout, .milliseconds, 10...600_000, "How long a check may take, the connection included."),
      .integer("unhealthy_threshold", \.unhealthyAfter, 1...1000, "Failed checks one after the other that take an endpoint out of use."),
      .integer("healthy_threshold", \.healthyAfter, 1...1000, "Passed checks one after the other that bring it back."),
      .integer("port", \.port, 1...65535, zero: "the endpoint's own", "Port that is checked."),
      .text("path", \.path, .checkPath, "With type \"http\": the path, with a query where it has one."),
      .text("host", \.host, .host, mayBeEmpty: true, "With type \"http\" or \"grpc\": the host that is asked for; empty: as in requests to the upstream."),
      .texts("statuses", \.statuses, .statusRange, "With type \"http\": statuses that pass, such as 200, 2xx or 200-399; none given: 200-399."),
      .text("body", \.body, .any, mayBeEmpty: true, "With type \"http\": a text that must stand in the first 64 KiB of the body; empty: none need."),
      .text("service", \.service, .any, mayBeEmpty: true, "With type \"grpc\": the service that is asked about; empty: the server as a whole."),
    ])

  private static let outliers = SettingTable<OutlierPlan>(
    OutlierPlan(),
    [
      .boolean("enabled", \.enabled, "Whether endpoints are ejected. A failure is a connection that cannot be made, a response that does not come or ends early, or a status from 500 on."),
      .integer("consecutive_failures", \.consecutiveFailures, 1...100_000, zero: "not looked at", "Failures one after the other, over all workers."),
      .integer("success_gap_percent", \.successGap, 1...100, zero: "not looked at", "Percentage points by which fewer of an endpoint's requests succeed than of the others'."),
      .integer("latency_factor", \.latencyFactor, 2...1000, zero: "not looked at", "How many times the median of the others an endpoint's mean time to answer is."),
      .quantity("interval_ms", \.interval, .milliseconds, 100...3_600_000, "How often successes and times are compared."),
      .integer("min_requests", \.minRequests, 1...1_000_000_000, "Requests that an endpoint must have had in an interval to be compared."),
      .quantity("base_ejection_ms", \.baseEjection, .milliseconds, 10...86_400_000, "How long the first ejection lasts; the second lasts twice as long, and so on."),
      .quantity("max_ejection_ms", \.maxEjection, .milliseconds, 10...86_400_000, "How long one lasts at most."),
      .integer("max_ejected_percent", \.maxEjected, 1...100, "Share of the endpoints that may be ejected at the same time: at least one, never all."),
    ])
}

extension TextRule {
  /// What stands in a request line.
  static let checkPath = TextRule(description: "path", pattern: "^/[\\u0021-\\u007e]*$") { text in
    text.hasPrefix("/") && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f } ? nil : "must be a path that begins with \"/\", percent-encoded (found \(JSON.quoted(text)))"
  }

  static let statusRange = TextRule(description: "status, class or range", pattern: "^([1-5][0-9]{2}|[1-5]xx|[1-5][0-9]{2}-[1-5][0-9]{2})$") { text in
    HealthCheckPlan.statuses(text) == nil ? "has \(JSON.quoted(text)): a status such as 200, 2xx or 200-399 is needed" : nil
  }
}

extension Settings {
  func check(_ health: HealthPlan, _ upstream: UpstreamSettings, _ path: String, _ reading: inout Reading) {
    let check = health.check, plain = HealthCheckPlan()
    var idle: [(String, String)] = []
    if check.kind == .none {
      for key in ["interval_ms", "timeout_ms", "unhealthy_threshold", "healthy_threshold", "port", "path", "host", "statuses", "body", "service"] { idle.append((key, "without type")) }
    }
    if check.kind == .tcp { for key in ["path", "host", "statuses", "body", "service"] { idle.append((key, "with type \"tcp\"")) } }
    if check.kind == .grpc { for key in ["path", "statuses", "body"] { idle.append((key, "with type \"grpc\"")) } }
    if check.kind == .http { idle.append(("service", "with type \"http\"")) }
    let differs: [String: Bool] = [
      "interval_ms": check.interval != plain.interval, "timeout_ms": check.timeout != plain.timeout, "unhealthy_threshold": check.unhealthyAfter != plain.unhealthyAfter,
      "healthy_threshold": check.healthyAfter != plain.healthyAfter, "port": check.port != plain.port, "path": check.path != plain.path, "host": check.host != plain.host,
      "statuses": check.statuses != plain.statuses, "body": check.body != plain.body, "service": check.service != plain.service,
    ]
    // What has its default says nothing, as in a configuration that was printed.
    for (key, why) in idle where differs[key] == true { reading.reject("\(path).check.\(key)", "\(path).check.\(key) has no effect \(why)") }
    if check.kind == .http, upstream.http2.enabled, upstream.http2.prefer == .always {
      reading.reject("\(path).check.type", "\(path).check.type \"http\" speaks HTTP/1.1, but http2.prefer is \"always\"; use \"grpc\" or \"tcp\"")
    }
    if check.kind == .grpc, upstream.tls.enabled, !upstream.http2.enabled || upstream.http2.prefer == .never {
      let lack = upstream.http2.enabled ? "does not go with http2.prefer \"never\"" : "needs http2.enabled"
      reading.reject("\(path).check.type", "\(path).check.type \"grpc\" over TLS \(lack)")
    }
    if check.kind != .none, check.timeout > check.interval {
      let key = reading.origins["\(path).check.timeout_ms"] == nil ? "interval_ms" : "timeout_ms"
      reading.reject("\(path).check.\(key)", "\(path).check.timeout_ms (\(check.timeout)) must not be more than interval_ms (\(check.interval))")
    }
    let outliers = health.outliers
    if outliers.maxEjection < outliers.baseEjection {
      let key = reading.origins["\(path).outlier_detection.max_ejection_ms"] == nil ? "base_ejection_ms" : "max_ejection_ms"
      reading.reject(
        "\(path).outlier_detection.\(key)",
        "\(path).outlier_detection.max_ejection_ms (\(outliers.maxEjection)) must not be less than base_ejection_ms (\(outliers.baseEjection))")
    }
  }
}
