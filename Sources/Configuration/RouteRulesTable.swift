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
      ]
      for (key, isGiven) in keys where isGiven {
        reading.reject("\(path).\(key)", "\(path).\(key) has no effect without route_prefix")
      }
      return
    }
    if !isForwarded, !rules.request.isEmpty { reading.reject("\(path).request_headers", "\(path).request_headers has no effect without upstream") }
    // Without a pattern its captures are not known; and what is missing has been complained about.
    guard let captures = reading.routePath(pattern)?.captures else { return }
    check(rules.request, .requestField, captures, "\(path).request_headers", &reading)
    check(rules.response, .responseField, captures, "\(path).response_headers", &reading)
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
