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
      .section("redis", \.redis, redis, "What holds for zones with a backend."),
    ])

  private static let redis = SettingTable<RedisPlan>(
    RedisPlan(),
    [
      .quantity("timeout_ms", \.timeout, .milliseconds, 1...10_000, "How long a request waits for the answer of one zone; then the zone's fallback holds."),
      .integer("failure_threshold", \.failureThreshold, 1...1000, "Failures in a row, by worker, after which no request waits for the server any more."),
      .quantity("retry_interval_ms", \.retryInterval, .milliseconds, 10...600_000, "How long it is left alone then, and between tries."),
      .text("key_prefix", \.keyPrefix, .keyPrefix, "What the names of all keys begin with. Gateways with the same one, the same zone names and the same server share their buckets."),
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
      .text(
        "backend", \.backend, .redisAddress, mayBeEmpty: true,
        "Redis server that has the buckets, so that several gateways share them: redis://[user:password@]host[:port][/database] or redis+unix://[user:password@]/path[?db=number]. Empty: they are in this machine's shared memory."),
      .choice(
        "fallback", \.fallback, [("allow", .allow), ("deny", .deny), ("local", .local)],
        "With backend: what happens to requests while it does not answer: admitted, refused with 503, or decided by buckets in shared memory."),
      .decimal("fallback_share", \.fallbackShare, 1...1000, "With fallback local: the part of rate and capacity that holds here meanwhile; with three gateways 0.333 keeps to the whole."),
      .integer("batch", \.batch, 1...1_000_000, "With backend: tokens that a worker takes at once and spends within a second, so that fewer questions are asked. At most capacity."),
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
    checkBackends(&reading)
    var seen: [String: String] = [:]
    for (index, zone) in rateLimit.zones.enumerated() { checkStars(in: zone.appliesTo, "rate_limit.zones[\(index)].applies_to", &reading) }
    for (index, zone) in rateLimit.zones.enumerated() where !zone.name.isEmpty {
      let path = "rate_limit.zones[\(index)].name"
      if let first = seen[zone.name] {
        reading.reject(path, "\(path) repeats \(JSON.quoted(zone.name)) of \(first) (\(reading.place(of: first)))")
      } else {
        seen[zone.name] = path
      }
    }
  }

  /// Tokens of a bucket on a server at most: it counts billionths of them, exactly up to 2^53.
  private static let sharedCapacityLimit = 9_000_000
  private static let storeLimit = 16

  private func checkBackends(_ reading: inout Reading) {
    var stores: Set<String> = []
    for (index, zone) in rateLimit.zones.enumerated() {
      let path = "rate_limit.zones[\(index)]"
      guard !zone.backend.isEmpty else {
        // One that was refused has been spoken of.
        if reading.origins["\(path).backend"] != nil, reading.errors.contains(where: { $0.path == "\(path).backend" }) { continue }
        // (The defaults may be written down, as in the output of `gatewayctl config`.)
        let usual = RateZonePlan()
        let changed = [("fallback", zone.fallback != usual.fallback), ("fallback_share", zone.fallbackShare != usual.fallbackShare), ("batch", zone.batch != usual.batch)]
        for (key, isChanged) in changed where isChanged { reading.reject("\(path).\(key)", "\(path).\(key) has no meaning without backend") }
        continue
      }
      stores.insert(zone.backend)
      if zone.capacity > Self.sharedCapacityLimit {
        reading.reject("\(path).capacity", "\(path).capacity must be at most \(Self.sharedCapacityLimit) with backend (found \(zone.capacity))")
      }
      if zone.batch > zone.capacity { reading.reject("\(path).batch", "\(path).batch (\(zone.batch)) must not be greater than capacity (\(zone.capacity))") }
      if zone.delay > 0 { reading.reject("\(path).delay", "\(path).delay has no meaning with backend: the server admits or refuses") }
      if zone.fallback != .local, reading.origins["\(path).fallback_share"] != nil {
        reading.reject("\(path).fallback_share", "\(path).fallback_share has no meaning without fallback \"local\"")
      }
    }
    if stores.count > Self.storeLimit { reading.reject("rate_limit.zones", "rate_limit.zones name more than \(Self.storeLimit) different backends") }
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
