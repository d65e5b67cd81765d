// RouteRulesTable — the settings of what a route does besides its action, and the rules between them. They stand on `routes[]`, and on
// `upstreams[].proxy` for the route of a `route_prefix`.

import Plan
import Policy

extension SettingsTable {
  static let routeRules = SettingTable<RouteRulesPlan>(
    RouteRulesPlan(),
    [
      .section("request_headers", \.request, requestHeaders, "Changes of the header fields of forwarded requests, made after header_rewrite. Values may have variables: see routes.md."),
      .section("response_headers", \.response, responseHeaders, "Changes of the header fields of responses. Values may have variables: see routes.md."),
      .quantity("max_body_size", \.bounds.maxBodySize, .bytes, 1...maxSize, zero: "no limit", "Size of a request's body. Not given: that of the top level."),
      .quantity(
        "request_timeout_sec", \.bounds.requestTimeout, .seconds, 10...year, zero: "none",
        "How long a pause in a request's body may last; where it is collected, the whole of it. Not given: that of the top level."),
      .quantity(
        "client_send_timeout_sec", \.bounds.sendTimeout, .seconds, 10...year, zero: "none",
        "How long a client may take none of the response. Not given: send_timeout_sec of the top level."),
      .integer("rate_limit_cost", \.rateLimitCost, 0...1_000_000, "Tokens that a request takes of each zone of rate_limit that applies to it; 0: it is not limited."),
      .text(
        "rewrite", \.rewrite, .rewriteTarget, mayBeEmpty: true,
        "The path that the backend is asked for, with variables: \"/v2/{rest}\". Without a \"?\" in it the query is kept. Empty: the client's path."),
      .optional("cors", \.cors, cors, "Which web origins may read the responses (CORS). Preflights are answered by the gateway."),
      .list("split", \.split.arms, splitArm, "Several upstreams to divide the requests between, instead of upstream."),
      .text(
        "split_key", \.split.key, .any, mayBeEmpty: true,
        "With split, what requests are told apart by: \"{cookie:uid}\". The same value always goes the same way; where it is empty, chance decides."),
      .optional("mirror", \.mirror, mirror, "An upstream that gets copies of requests. Its answers are dropped; clients notice nothing."),
      .optional("access_log", \.accessLog, routeLog, "What of its requests gets into the access log, where that is not what access_log says."),
    ])

  private static let cors = SettingTable<CORSPlan>(
    CORSPlan(),
    [
      .texts("allow_origins", \.origins, .origin, "Origins such as \"https://example.com\", \"https://*.example.com\" (any name below it), \"http://localhost:*\" (any port), \"null\"; or \"*\" alone for all."),
      .texts("allow_methods", \.methods, .method, "Methods that a preflight is told; none given: the one asked about, if the route takes it."),
      .texts("allow_headers", \.headers, .tokenOrAny, "Header fields that requests may have; \"*\" alone: those asked about."),
      .texts("expose_headers", \.exposed, .tokenOrAny, "Header fields of responses that pages may read."),
      .boolean("allow_credentials", \.credentials, "Whether cookies and other credentials may be sent along."),
      .quantity("max_age_sec", \.maxAge, .seconds, 0...day, "How long a browser may remember the answer to a preflight."),
    ])

  private static let splitArm = SettingTable<SplitArmPlan>(
    SplitArmPlan(),
    [
      .text("upstream", \.name, .name, "Name of an upstream.").required(example: "demo"),
      .integer("weight", \.weight, 0...1_000_000, "Its share of the requests, relative to the sum of all weights; 0: only what when sends to it."),
      .headers(
        "when", \.when, names: { EditedFields.complaint(condition: $0) },
        "Requests that go to it whatever the weights: \"header:NAME\" or \"cookie:NAME\" with the value, or a list of values. The first upstream with one that holds is chosen."),
    ])

  private static let mirror = SettingTable<MirrorPlan>(
    MirrorPlan(),
    [
      .text("upstream", \.name, .name, "Name of the upstream that gets the copies.").required(example: "demo"),
      .decimal("percent", \.percent, 0...100_000, "How many of the requests are copied, of a hundred."),
      .integer("max_concurrent", \.maxConcurrent, 1...1_000_000, "Copies at the same time, over all workers; a request beyond them is not copied."),
      .quantity("max_body_size", \.maxBodySize, .bytes, 0...67_108_864, "What is kept of a request's body until it can be copied; a request with a longer one is not."),
      .quantity("timeout_ms", \.timeout, .milliseconds, 10...day, "How long a copy may take until its answer has been read."),
      .boolean("non_idempotent", \.nonIdempotent, "Whether POST, PATCH and unknown methods are copied, too."),
    ])

  private static let requestHeaders = SettingTable<HeaderEditPlan>(
    HeaderEditPlan(), headerEdits(names: { EditedFields.complaint(name: $0) }, set: { EditedFields.complaint(name: $0, isRequest: true) }))

  private static let responseHeaders = SettingTable<HeaderEditPlan>(
    HeaderEditPlan(),
    headerEdits(names: { EditedFields.complaint(name: $0) }, set: { EditedFields.complaint(name: $0) }) + [
      .boolean("always", \.always, "Whether they are made in the gateway's own error answers on the route, too. In those of respond and redirect they are in any case.")
    ])

  private static func headerEdits(
    names: @escaping @Sendable (String) -> String?, set: @escaping @Sendable (String) -> String?
  ) -> [Setting<HeaderEditPlan>] {
    [
      .texts(
        "remove", \.remove, TextRule(description: "header name", pattern: TextRule.token.pattern) { name in names(name).map { "\(JSON.quoted(name)) \($0)" } },
        "Names of fields that are taken out."),
      .headers("set", \.set, names: set, "Fields that take the place of all of the same name: a text or a list of texts for each name."),
      .headers("default", \.fallback, names: names, "Fields that are put where there is none of that name."),
      .headers("add", \.add, names: names, "Fields that are put behind those of the same name."),
      .boolean("keep_empty", \.keepEmpty, "Whether a field whose value comes out empty is sent all the same; otherwise it is not, and set just takes the field out."),
    ]
  }
}

/// Which fields rules may touch.
enum EditedFields {
  /// What frames messages, concerns one connection, or is agreed on between the two ends of it.
  private static let reserved: Set<String> = [
    "connection", "content-length", "date", "expect", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
  ]

  static func complaint(name: String, isRequest: Bool = false) -> String? {
    let lower = name.lowercased()
    if let complaint = TextRule.token.complaint(name) { return "is not a header name: it \(complaint)" }
    if reserved.contains(lower) || lower.hasPrefix("sec-websocket-") { return "cannot be changed: the gateway itself answers for it" }
    if lower == "host", !isRequest { return "can only be set, and only in requests" }
    return nil
  }

  /// Of a condition: `header:NAME` or `cookie:NAME`.
  static func complaint(condition: String) -> String? {
    let pieces = condition.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard pieces.count == 2, pieces[0] == "header" || pieces[0] == "cookie" else { return "must be \"header:NAME\" or \"cookie:NAME\"" }
    return TextRule.token.complaint(String(pieces[1])).map { "has no name after \"\(pieces[0]):\": it \($0)" }
  }
}

extension TextRule {
  static let origin = TextRule(description: "web origin", normalise: { $0.lowercased() }) { text in
    do throws(OriginError) {
      _ = try OriginPattern(parsing: text)
      return nil
    } catch {
      return "\(error.complaint) (found \(JSON.quoted(text)))"
    }
  }

  /// A token, as `*` is.
  static let tokenOrAny = TextRule(description: "header name, or \"*\"", pattern: token.pattern) { token.complaint($0) }

  static let rewriteTarget = TextRule(description: "path with variables", pattern: "^(/|\\{path\\}|\\{original_path\\})") { _ in nil }
}

extension Settings {
  /// Names that a set of rules may have at most.
  static let editLimit = 48

  /// - Parameters:
  ///   - path: of the object that they stand in.
  ///   - pattern: of their route; empty when there is none.
  func check(_ rules: RouteRulesPlan, _ path: String, isForwarded: Bool, pattern: String, _ reading: inout Reading) {
    if rules == RouteRulesPlan() { return }
    if pattern.isEmpty, path.hasPrefix("upstreams") {
      let keys = [
        ("request_headers", !rules.request.isEmpty), ("response_headers", !rules.response.isEmpty), ("max_body_size", rules.bounds.maxBodySize != nil),
        ("request_timeout_sec", rules.bounds.requestTimeout != nil), ("client_send_timeout_sec", rules.bounds.sendTimeout != nil),
        ("rewrite", !rules.rewrite.isEmpty), ("cors", rules.cors != nil), ("split", !rules.split.arms.isEmpty), ("mirror", rules.mirror != nil), ("access_log", rules.accessLog != nil),
      ]
      for (key, isGiven) in keys where isGiven {
        reading.reject("\(path).\(key)", "\(path).\(key) has no effect without route_prefix")
      }
      return
    }
    if !isForwarded {
      for (key, isGiven) in [("request_headers", !rules.request.isEmpty), ("rewrite", !rules.rewrite.isEmpty), ("mirror", rules.mirror != nil)] where isGiven {
        reading.reject("\(path).\(key)", "\(path).\(key) has no effect without upstream")
      }
    }
    if let cors = rules.cors { check(cors, "\(path).cors", &reading) }
    if let log = rules.accessLog, log.enabled, !accessLog.enabled {
      reading.warn(reading.origin(of: "\(path).access_log"), "\(path).access_log", "\(path).access_log has no effect while access_log.enabled is false")
    }
    check(rules.split, path, &reading)
    if let mirror = rules.mirror, !mirror.name.isEmpty { checkUpstreamName(mirror.name, "\(path).mirror.upstream", "\(path).mirror.upstream", &reading) }
    // Without a pattern its captures are not known; and what is missing has been complained about.
    guard let captures = reading.routePath(pattern)?.captures else { return }
    check(rules.request, .requestField, captures, "\(path).request_headers", &reading)
    check(rules.response, .responseField, captures, "\(path).response_headers", &reading)
    if !rules.split.key.isEmpty { check(rules.split.key, .requestField, captures, "\(path).split_key", &reading) }
    if !rules.rewrite.isEmpty { check(rules.rewrite, .target, captures, "\(path).rewrite", &reading) }
  }

  /// A path that is rewritten is not stripped or kept as well.
  func checkRewrite(_ rules: RouteRulesPlan, _ forward: ForwardPlan, _ path: String, proxy: String, _ reading: inout Reading) {
    guard !rules.rewrite.isEmpty else { return }
    for (key, isGiven) in [("strip_prefix", forward.stripPrefix), ("forward_original_path", forward.originalPath)] where isGiven {
      reading.reject("\(proxy).\(key)", "\(proxy).\(key) has no effect with \(path).rewrite")
    }
  }

  private func check(_ cors: CORSPlan, _ path: String, _ reading: inout Reading) {
    if cors.origins.isEmpty, !reading.errors.contains(where: { $0.path.hasPrefix("\(path).allow_origins") }) {
      reading.reject(path, "\(path) needs \"allow_origins\"")
    }
    for (key, list) in [("allow_origins", cors.origins), ("allow_headers", cors.headers), ("expose_headers", cors.exposed)] where list.contains("*") {
      if list.count > 1 { reading.reject("\(path).\(key)", "\(path).\(key) has \"*\" beside others: it stands for all of them") }
    }
    guard cors.credentials else { return }
    if cors.origins.contains("*") { reading.reject("\(path).allow_credentials", "\(path).allow_credentials needs origins by name: with \"*\" any page could act for its visitors") }
    if cors.origins.contains("null") { reading.reject("\(path).allow_credentials", "\(path).allow_credentials does not go with the origin \"null\", which any page can have") }
    if cors.exposed == ["*"] { reading.reject("\(path).expose_headers", "\(path).expose_headers must have names: with allow_credentials browsers take \"*\" for one") }
  }

  private func check(_ split: SplitPlan, _ path: String, _ reading: inout Reading) {
    guard !split.arms.isEmpty else {
      if !split.key.isEmpty { reading.reject("\(path).split_key", "\(path).split_key has no effect without split") }
      return
    }
    var seen: [String: String] = [:]
    for (index, arm) in split.arms.enumerated() where !arm.name.isEmpty {
      let place = "\(path).split[\(index)].upstream"
      checkUpstreamName(arm.name, place, place, &reading)
      if let first = seen[arm.name] {
        reading.reject(place, "\(place) repeats \(JSON.quoted(arm.name)) of \(first) (\(reading.place(of: first)))")
      } else {
        seen[arm.name] = place
      }
    }
    if split.arms.reduce(0, { $0 + $1.weight }) == 0 { reading.reject("\(path).split", "\(path).split needs at least one weight above 0") }
  }

  /// - Parameter title: what names it.
  func checkUpstreamName(_ name: String, _ place: String, _ title: String, _ reading: inout Reading) {
    guard !reading.upstreamNames.contains(name) else { return }
    let names = upstreams.map(\.name).filter { !$0.isEmpty }
    let list = names.isEmpty ? "none is defined" : "defined: " + Set(names).sorted().joined(separator: ", ")
    reading.reject(
      place, "\(title) names upstream \(JSON.quoted(name)), which is not defined (\(list))", suggestion: Suggestion.nearest(to: name, among: names))
  }

  private func check(_ edits: HeaderEditPlan, _ kind: TemplateKind, _ captures: [String], _ path: String, _ reading: inout Reading) {
    let removed = Set(edits.remove.map { $0.lowercased() }), set = Set(edits.set.map { $0.name.lowercased() })
    for (key, fields) in [("set", edits.set), ("default", edits.fallback), ("add", edits.add)] {
      for field in fields {
        let place = "\(path).\(key).\(field.name)"
        check(field.value, kind, captures, place, &reading)
        if key != "add", removed.contains(field.name.lowercased()) {
          reading.reject(place, "\(place) is in \(path).remove as well\(key == "set" ? ", which has no effect: set takes the others out" : "")")
        } else if key == "default", set.contains(field.name.lowercased()) {
          reading.reject(place, "\(place) has no effect, because \(path).set has it as well")
        }
      }
    }
    let count = edits.remove.count + edits.set.count + edits.fallback.count + edits.add.count
    if count > Self.editLimit { reading.reject(path, "\(path) has more than \(Self.editLimit) fields (\(count))") }
  }

  func check(_ template: String, _ kind: TemplateKind, _ captures: [String], _ path: String, _ reading: inout Reading) {
    do throws(TemplateError) {
      _ = try Template(parsing: template, kind, captures: captures)
    } catch {
      let place = kind.isField || kind == .target ? " (character \(String(decoding: template.utf8.prefix(error.offset), as: UTF8.self).count + 1))" : ""
      reading.reject(path, "\(path) \(JSON.quoted(template)): \(error.message)\(place)")
    }
  }
}
