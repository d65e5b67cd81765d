// Settings of limits on what is under way: what is read, what is refused and where, and that the dump reads back.

import Plan
import Testing

@testable import Configuration

@Suite struct ConcurrencyLimitSettingsTests {
  private static func zone(_ members: String) -> String { #"{"concurrency_limit": {"enabled": true, "zones": [{"name": "z", \#(members)}]}}"# }

  @Test func zonesAreRead() throws {
    let text = #"""
      {"concurrency_limit": {"enabled": true, "dry_run": true, "status_code": 503, "zones": [
        {"name": "a", "limit": 4, "key_type": "client_ip+header:X-Api-Key", "applies_to": ["/api"], "ipv6_prefix": 56},
        {"name": "b", "counts": "connections", "limit": 100, "key_type": "client_ip", "max_entries": 16}]}}
      """#
    let limits = try loaded(text).settings.concurrencyLimit
    #expect(limits.enabled && limits.dryRun && limits.status == 503 && limits.isActive)
    #expect(limits.zones.map(\.subject) == [.requests, .connections] && limits.zones.map(\.limit) == [4, 100])
    #expect(limits.zones[0].appliesTo == ["/api"] && limits.zones.map(\.ipv6Prefix) == [56, 64] && limits.zones.map(\.maxEntries) == [16_384, 16])
    let dump = try loaded(text).settings.dump()
    #expect(try loaded(dump).settings == loaded(text).settings)
  }

  @Test(arguments: [
    (#"{"concurrency_limit": {"enabled": true}}"#, "t:1:35: error: concurrency_limit.zones needs at least one zone with concurrency_limit.enabled"),
    (#"{"concurrency_limit": {"status_code": 200}}"#, "concurrency_limit.status_code must be between 400 and 599 (found 200)"),
    (zone(#""key_type": "path""#), #"concurrency_limit.zones[0] needs "limit""#),
    (zone(#""limit": 0, "key_type": "path""#), "concurrency_limit.zones[0].limit must be between 1 and 1000000 (found 0)"),
    (zone(#""limit": 1, "key_type": "ip""#), #"concurrency_limit.zones[0].key_type has no part "ip""#),
    (zone(#""limit": 1, "key_type": "param:user""#), #"concurrency_limit.zones[0].key_type names the parameter "user", which no route's pattern has"#),
    (zone(#""limit": 1, "key_type": "path", "counts": "sockets""#), "concurrency_limit.zones[0].counts must be one of"),
    (zone(#""limit": 1, "key_type": "path", "counts": "connections""#), #"t:1:89: error: concurrency_limit.zones[0].key_type must be "client_ip" where connections are counted (found "path")"#),
    (zone(#""limit": 1, "key_type": "client_ip", "counts": "connections", "applies_to": ["/a"]"#), "concurrency_limit.zones[0].applies_to has no effect where connections are counted"),
    (zone(#""limit": 1, "key_type": "path", "rate": 1"#), #"unknown key "rate" in concurrency_limit.zones[0]"#),
  ])
  func refused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }

  @Test func namesAreDifferent() {
    let text = """
      concurrency_limit:
        zones:
          - {name: a, limit: 1, key_type: path}
          - {name: a, limit: 2, key_type: path}
      """
    #expect(errors(text) == [#"t:4:14: error: concurrency_limit.zones[1].name repeats "a" of concurrency_limit.zones[0].name (line 3, column 14)"#])
  }
}
