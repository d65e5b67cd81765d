// RateLimitTable — the settings of rate limits, and the rules between them.

import Plan
import Policy

extension SettingsTable {
  static let rateLimit = SettingTable<RateLimitPlan>(
    RateLimitPlan(),
    [
      .boolean("enabled", \.enabled, "Whether requests are limited.").variable("RATE_LIMIT_ENABLED"),
      .boolean("dry_run", \.dryRun, "Admit what would be refused; it is counted and logged.").variable("RATE_LIMIT_DRY_RUN"),
      .integer("status_code", \.status, 400...599, "Status of a refusal.").variable("RATE_LIMIT_STATUS_CODE"),
      .boolean("include_headers", \.includeHeaders, "Whether responses carry RateLimit-Policy and RateLimit, and refusals Retry-After."),
      .integer("max_delayed", \.maxDelayed, 1...100_000, "Requests that a worker holds at the same time because of a zone's delay; those beyond are refused."),
      .list("zones", \.zones, rateZone, "Buckets, looked at in this order until one refuses."),
    ])

  private static let rateZone = SettingTable<RateZonePlan>(
    RateZonePlan(),
    [
      .text("name", \.name, .name, "Name for logs and metrics. A zone of the same name and key keeps its buckets over a reload.").required(example: "per-client"),
      .decimal("rate", \.rate, 1...1_000_000_000_000, "Tokens that come back per second. A request takes one.").required(example: .integer(10)),
      .integer("capacity", \.capacity, 1...1_000_000_000_000, "Tokens in a full bucket: requests at once.").required(example: 20),
      .integer(
        "delay", \.delay, 1...1_000_000, zero: "refused at once",
        "Tokens that a key may owe: a request that finds its bucket empty is held until its token has come back, and refused only when that many are waited for."),
      .text(
        "key_type", \.key, .rateKey,
        "Whom a bucket is for: client_ip, path, header:NAME, cookie:NAME, param:NAME (a parameter of the route's pattern) or tls_subject, or up to four of them joined by \"+\". A request that lacks one is not limited by the zone.")
        .required(example: "client_ip"),
      .integer("ipv6_prefix", \.ipv6Prefix, 1...128, "Bits of an IPv6 client's address that count: one client may have all addresses of a network."),
      .integer("max_entries", \.maxEntries, 16...16_777_216, "Buckets remembered at least, 8 bytes each."),
      .texts("applies_to", \.appliesTo, .pathPrefix, "Path prefixes, on segment boundaries; none given: every path."),
      .boolean("track_keys", \.trackKeys, "Whether the keys that ask most are kept in memory, so that \"gatewayctl limits\" can name them: 256 KiB."),
    ])
}

extension TextRule {
  static let rateKey = TextRule(description: "rate limit key", pattern: "^(client_ip|path|tls_subject|(header|cookie|param):[^+]+)(\\+(client_ip|path|tls_subject|(header|cookie|param):[^+]+)){0,3}$") { text in
    do throws(RateKeyError) {
      _ = try RateKey(parsing: text)
      return nil
    } catch {
      return error.complaint
    }
  }

  static let pathPrefix = TextRule(description: "path prefix", pattern: "^/") { text in
    if !text.hasPrefix("/") { return "must begin with \"/\" (found \(JSON.quoted(text)))" }
    return text.utf8.contains { $0 <= 0x20 || $0 == 0x7f || $0 == 0x3f || $0 == 0x23 } ? "must be a path, without blanks, query or fragment (found \(JSON.quoted(text)))" : nil
  }
}

extension Settings {
  /// Zones at most: each worker is handed a file for each.
  private static let zoneLimit = 64
  /// Seconds that a request may be held.
  private static let longestDelay = 300

  func checkRateLimits(_ reading: inout Reading) {
    if rateLimit.enabled, rateLimit.zones.isEmpty, !reading.errors.contains(where: { $0.path.hasPrefix("rate_limit.zones") }) {
      reading.reject("rate_limit.enabled", "rate_limit.zones needs at least one zone with rate_limit.enabled")
    }
    if rateLimit.zones.count > Self.zoneLimit { reading.reject("rate_limit.zones", "rate_limit.zones has more than \(Self.zoneLimit) zones") }
    checkRouteParameters(&reading)
    var seen: [String: String] = [:]
    for (index, zone) in rateLimit.zones.enumerated() where !zone.name.isEmpty {
      let path = "rate_limit.zones[\(index)].name"
      if let first = seen[zone.name] {
        reading.reject(path, "\(path) repeats \(JSON.quoted(zone.name)) of \(first) (\(reading.place(of: first)))")
      } else {
        seen[zone.name] = path
      }
    }
  }

  /// A parameter that no route has is a slip of the pen: the zone would never limit anybody.
  private func checkRouteParameters(_ reading: inout Reading) {
    for (index, zone) in rateLimit.zones.enumerated() where zone.delay > 0 && zone.delay * 1000 > Self.longestDelay * zone.rate {
      let path = "rate_limit.zones[\(index)].delay"
      reading.reject(path, "\(path) (\(zone.delay)) would hold requests for \(zone.delay * 1000 / zone.rate) seconds; at most \(Self.longestDelay) are allowed")
    }
    for (index, zone) in rateLimit.zones.enumerated() { checkParameters(of: zone.key, "rate_limit.zones[\(index)].key_type", &reading) }
  }

  func checkParameters(of key: String, _ path: String, _ reading: inout Reading) {
    let parameters = ((try? RateKey(parsing: key))?.parts ?? []).compactMap { if case .routeParameter(let name) = $0 { name } else { nil } }
    guard !parameters.isEmpty else { return }
    let patterns = (routes.map(\.path) + upstreams.map(\.routePrefix)).filter { !$0.isEmpty }
    let known = patterns.reduce(into: Set<String>()) { $0.formUnion(reading.routePath($1)?.captures ?? []) }
    for name in parameters where !known.contains(name) {
      reading.reject(path, "\(path) names the parameter \(JSON.quoted(name)), which no route's pattern has")
    }
  }
}
