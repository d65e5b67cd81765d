// Settings of rate limits: what is read, what is refused and where, and that the dump reads back.

import Plan
import Testing

@testable import Configuration

@Suite struct RateLimitSettingsTests {
  private static func zone(_ members: String) -> String { #"{"rate_limit": {"enabled": true, "zones": [{"name": "z", \#(members)}]}}"# }

  @Test func zonesAreRead() throws {
    let text = #"""
      {"rate_limit": {"enabled": true, "dry_run": true, "status_code": 503, "include_headers": false, "zones": [
        {"name": "a", "rate": 0.5, "capacity": 20, "key_type": "client_ip+header:X-Api-Key", "applies_to": ["/api", "/login/"], "ipv6_prefix": 56},
        {"name": "b", "rate": 1000, "capacity": 1, "key_type": "path", "max_entries": 16}]}}
      """#
    let limits = try loaded(text).settings.rateLimit
    #expect(limits.enabled && limits.dryRun && limits.status == 503 && !limits.includeHeaders && limits.isActive)
    #expect(limits.zones.map(\.rate) == [500, 1_000_000] && limits.zones.map(\.capacity) == [20, 1])
    #expect(limits.zones[0].appliesTo == ["/api", "/login/"] && limits.zones[0].ipv6Prefix == 56 && limits.zones[1].ipv6Prefix == 64)
    #expect(limits.zones.map(\.maxEntries) == [100_000, 16])
    let dump = try loaded(text).settings.dump()
    #expect(dump.contains("\"rate\": 0.5,") && dump.contains("\"rate\": 1000,"))
    #expect(try loaded(dump).settings == loaded(text).settings)
  }

  @Test(arguments: [
    (#"{"rate_limit": {"enabled": true}}"#, "t:1:28: error: rate_limit.zones needs at least one zone with rate_limit.enabled"),
    (#"{"rate_limit": {"status_code": 200}}"#, "rate_limit.status_code must be between 400 and 599 (found 200)"),
    (#"{"rate_limit": {"zones": [{}]}}"#, #"rate_limit.zones[0] needs "name""#),
    (zone(#""capacity": 1, "key_type": "path""#), #"rate_limit.zones[0] needs "rate""#),
    (zone(#""rate": 0, "capacity": 1, "key_type": "path""#), "rate_limit.zones[0].rate must be between 0.001 and 1000000000 (found 0)"),
    (zone(#""rate": 0.0001, "capacity": 1, "key_type": "path""#), "rate_limit.zones[0].rate must be a number with at most three decimals (found 0.0001)"),
    (zone(#""rate": 1e3, "capacity": 1, "key_type": "path""#), "must be a number with at most three decimals"),
    (zone(#""rate": "10", "capacity": 1, "key_type": "path""#), #"rate_limit.zones[0].rate must be a number (found the text "10")"#),
    (zone(#""rate": -1, "capacity": 1, "key_type": "path""#), "must be between 0.001 and 1000000000 (found -1)"),
    (zone(#""rate": 99999999999999999999, "capacity": 1, "key_type": "path""#), "must be between 0.001 and 1000000000"),
    (zone(#""rate": 1, "capacity": 0, "key_type": "path""#), "rate_limit.zones[0].capacity must be between 1 and"),
    (zone(#""rate": 1, "capacity": 1, "key_type": "ip""#), #"rate_limit.zones[0].key_type has no part "ip" (parts: client_ip, path, header:NAME, cookie:NAME, param:NAME, tls_subject, joined by +)"#),
    (zone(#""rate": 1, "capacity": 1, "key_type": "path+path""#), #"rate_limit.zones[0].key_type names "path" twice"#),
    (zone(#""rate": 1, "capacity": 1, "key_type": "header:""#), #"rate_limit.zones[0].key_type has no name after "header:""#),
    (zone(#""rate": 1, "capacity": 1, "key_type": "path", "applies_to": ["api"]"#), #"rate_limit.zones[0].applies_to[0] must begin with "/" (found "api")"#),
    (zone(#""rate": 1, "capacity": 1, "key_type": "path", "max_entries": 5"#), "rate_limit.zones[0].max_entries must be between 16 and 16777216 (found 5)"),
    (zone(#""rate": 1, "capacity": 1, "key_type": "path", "burst": 5"#), #"unknown key "burst" in rate_limit.zones[0]"#),
    (zone(#""rate": 1, "capacity": 1, "key_type": "path", "key": "path""#), #"unknown key "key" in rate_limit.zones[0]; did you mean "key_type"?"#),
  ])
  func refused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.count == 1 && found[0].contains(message) || found.contains { $0.contains(message) }, "\(found)")
  }

  @Test func namesAreDifferent() {
    let text = """
      rate_limit:
        zones:
          - {name: a, rate: 1, capacity: 1, key_type: path}
          - {name: a, rate: 2, capacity: 1, key_type: path}
      """
    #expect(errors(text) == [#"t:4:14: error: rate_limit.zones[1].name repeats "a" of rate_limit.zones[0].name (line 3, column 14)"#])
  }
}
