// ConcurrencyLimitTable — the settings of limits on concurrent requests and connections, and the rules between them.

import Plan
import Policy

extension SettingsTable {
  static let concurrencyLimit = SettingTable<ConcurrencyLimitPlan>(
    ConcurrencyLimitPlan(),
    [
      .boolean("enabled", \.enabled, "Whether what is under way is limited by key."),
      .boolean("dry_run", \.dryRun, "Admit what would be refused; it is counted and logged."),
      .integer("status_code", \.status, 400...599, "Status of a refusal."),
      .list("zones", \.zones, concurrencyZone, "Bounds, looked at in this order until one refuses."),
    ])

  private static let concurrencyZone = SettingTable<ConcurrencyZonePlan>(
    ConcurrencyZonePlan(),
    [
      .text("name", \.name, .name, "Name for logs and metrics. A zone of the same name, key and max_entries keeps its counts over a reload.").required(example: "downloads"),
      .choice("counts", \.subject, [("requests", .requests), ("connections", .connections)], "Requests under way, WebSockets among them, or open connections of clients."),
      .integer("limit", \.limit, 1...1_000_000, "How many a key may have at the same time, over all workers.").required(example: 10),
      .text(
        "key_type", \.key, .rateKey,
        "Whom a bound is for, as in rate_limit.zones; of connections client_ip alone. A request that lacks a part is not limited by the zone.")
        .required(example: "client_ip"),
      .integer("ipv6_prefix", \.ipv6Prefix, 1...128, "Bits of an IPv6 client's address that count: one client may have all addresses of a network."),
      .integer("max_entries", \.maxEntries, 16...1_048_576, "Keys that may have something under way in a worker at the same time, 16 bytes each in every worker; more are refused."),
      .texts("applies_to", \.appliesTo, .pathPrefix, "Path prefixes, on segment boundaries; none given: every path."),
    ])
}

extension Settings {
  /// Zones at most: each worker is handed a file for each.
  private static let concurrencyZoneLimit = 16

  func checkConcurrencyLimits(_ reading: inout Reading) {
    let zones = concurrencyLimit.zones
    if concurrencyLimit.enabled, zones.isEmpty, !reading.errors.contains(where: { $0.path.hasPrefix("concurrency_limit.zones") }) {
      reading.reject("concurrency_limit.enabled", "concurrency_limit.zones needs at least one zone with concurrency_limit.enabled")
    }
    if zones.count > Self.concurrencyZoneLimit { reading.reject("concurrency_limit.zones", "concurrency_limit.zones has more than \(Self.concurrencyZoneLimit) zones") }
    var seen: [String: String] = [:]
    for (index, zone) in zones.enumerated() {
      let path = "concurrency_limit.zones[\(index)]"
      if zone.subject == .connections {
        // A connection is counted when nothing has been said on it yet.
        if zone.key != "client_ip" { reading.reject("\(path).key_type", "\(path).key_type must be \"client_ip\" where connections are counted (found \(JSON.quoted(zone.key)))") }
        if !zone.appliesTo.isEmpty { reading.reject("\(path).applies_to", "\(path).applies_to has no effect where connections are counted") }
      }
      checkParameters(of: zone.key, "\(path).key_type", &reading)
      checkStars(in: zone.appliesTo, "\(path).applies_to", &reading)
      guard !zone.name.isEmpty else { continue }
      if let first = seen[zone.name] {
        reading.reject("\(path).name", "\(path).name repeats \(JSON.quoted(zone.name)) of \(first) (\(reading.place(of: first)))")
      } else {
        seen[zone.name] = "\(path).name"
      }
    }
  }
}
