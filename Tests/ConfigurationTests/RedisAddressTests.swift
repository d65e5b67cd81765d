// Addresses of Redis servers: what they may be, what is shown of them, and the settings of zones that name one.

import Plan
import Testing

@testable import Configuration

@Suite struct RedisAddressTests {
  @Test func parts() throws {
    let full = try RedisAddress(parsing: "redis://us%3Aer:p%40ss%2F@Redis.Example:7000/12")
    #expect(full.user == "us:er" && full.password == "p@ss/" && full.host == "Redis.Example" && full.port == 7000 && full.database == 12)
    #expect(full.label == "redis://redis.example:7000/12")
    let bare = try RedisAddress(parsing: "redis://127.0.0.1")
    #expect(bare.port == 6379 && bare.user.isEmpty && bare.password.isEmpty && bare.label == "redis://127.0.0.1:6379")
    let v6 = try RedisAddress(parsing: "redis://:x@[::1]:1/")
    #expect(v6.host == "::1" && v6.port == 1 && v6.password == "x" && v6.label == "redis://[::1]:1")
    let unix = try RedisAddress(parsing: "redis+unix://:x@/run/redis.sock?db=3")
    #expect(unix.unix == "/run/redis.sock" && unix.database == 3 && unix.password == "x" && unix.label == "redis+unix:///run/redis.sock?db=3")
    #expect(try RedisAddress(parsing: "redis+unix:///run/a@b.sock").unix == "/run/a@b.sock")
  }

  @Test(arguments: [
    ("rediss://host", "asks for TLS"), ("http://host", "must be redis://"), ("redis:host", "must be redis://"), ("redis://", "has no good host"),
    ("redis://host:0", "port that is not between 1 and 65535"), ("redis://host:70000", "port that is not"), ("redis://host:6379/x", "database that is not between"),
    ("redis://host/99999", "database that is not between"), ("redis://user@host", "no password before it"), ("redis://:a%2@host", "two hexadecimal digits"),
    ("redis://:a%zz@host", "two hexadecimal digits"), ("redis://:%ff@host", "not UTF-8"), ("redis://:***@host", "has *** in place"),
    ("redis://:pa/ss@host", "must be written %2F"), ("redis://ho st", "has no good host"), ("redis://[::1]x", "something other than a port"),
    ("redis+unix://relative", "must be an absolute path"), ("redis+unix:///run/r.sock?x=1", "nothing but ?db=number"), ("redis+unix:///run/r.sock?db=-1", "database"),
  ])
  func refused(_ text: String, _ complaint: String) {
    let found = #expect(throws: RedisAddressError.self) { try RedisAddress(parsing: text) }
    #expect(found?.complaint.contains(complaint) == true, "\(found?.complaint ?? "")")
  }

  @Test func complaintsDoNotQuotePasswords() {
    for text in ["redis://:secret/x@host", "redis://:secret%zz@host", "redis://:secret@ho st", "redis://:secret@host:99999", "redis://:secret@host/x", "rediss://:secret@host"] {
      let found = #expect(throws: RedisAddressError.self) { try RedisAddress(parsing: text) }
      #expect(found?.complaint.contains("secret") == false)
    }
  }

  @Test(arguments: [
    ("redis://user:secret@host:1/2", "redis://user:***@host:1/2"), ("redis://:secret@host", "redis://:***@host"), ("redis://host:1", "redis://host:1"),
    ("redis+unix://:secret@/run/a:b@c", "redis+unix://:***@/run/a:b@c"), ("redis+unix:///run/a:b@c", "redis+unix:///run/a:b@c"), ("", ""),
  ])
  func hidden(_ text: String, _ shown: String) { #expect(RedisAddress.hidingPassword(text) == shown) }

  private static func zone(_ members: String, redis: String = "") -> String {
    #"{"rate_limit": {"enabled": true, "zones": [{"name": "z", "rate": 5, "capacity": 100, "key_type": "path", \#(members)}]\#(redis)}}"#
  }

  @Test func settings() throws {
    let text = Self.zone(
      #""backend": "redis://:pw@127.0.0.1:6380/2", "fallback": "local", "fallback_share": 0.25, "batch": 10"#,
      redis: #", "redis": {"timeout_ms": 20, "failure_threshold": 2, "retry_interval_ms": 500, "key_prefix": "site:a"}"#)
    let read = try loaded(text)
    let limits = read.settings.rateLimit
    #expect(limits.zones[0].backend == "redis://:pw@127.0.0.1:6380/2" && limits.zones[0].fallbackShare == 250 && limits.zones[0].batch == 10)
    #expect(limits.redis.timeout == 20 && limits.redis.failureThreshold == 2 && limits.redis.retryInterval == 500 && limits.redis.keyPrefix == "site:a")
    #expect(try loaded(read.settings.dump()).settings == read.settings)
    #expect(!read.settings.hidingSecrets.dump().contains("pw") && read.settings.hidingSecrets.dump().contains("redis://:***@127.0.0.1:6380/2"))
    // A worker knows the server, and zones say what it is called without its password.
    let plan = read.plan.rateLimit
    #expect(plan.stores.count == 1 && plan.zones[0].store == 0 && plan.zones[0].backend == "redis://127.0.0.1:6380/2")
    #expect(plan.stores[0].host == "127.0.0.1" && plan.stores[0].port == 6380 && plan.stores[0].password == "pw" && plan.stores[0].database == 2)
    #expect(plan.stores[0].lookup == -1)
  }

  @Test func zonesShareServersAndNamesAreLookedUp() throws {
    let text = #"""
      {"rate_limit": {"enabled": true, "zones": [
        {"name": "a", "rate": 1, "capacity": 1, "key_type": "path", "backend": "redis://Redis.test"},
        {"name": "b", "rate": 1, "capacity": 1, "key_type": "path"},
        {"name": "c", "rate": 1, "capacity": 1, "key_type": "path", "backend": "redis://Redis.test"},
        {"name": "d", "rate": 1, "capacity": 1, "key_type": "path", "backend": "redis://Redis.test/1"}]}}
      """#
    let plan = try loaded(text).plan
    #expect(plan.rateLimit.zones.map(\.store) == [0, -1, 0, 1] && plan.rateLimit.stores.map(\.database) == [0, 1])
    #expect(plan.names.map(\.host) == ["redis.test"] && plan.rateLimit.stores.map(\.lookup) == [0, 0])
  }

  @Test(arguments: [
    (zone(#""backend": "rediss://host""#), "rate_limit.zones[0].backend asks for TLS"),
    (zone(#""backend": 5"#), "rate_limit.zones[0].backend must be"),
    (zone(#""batch": 5"#), "rate_limit.zones[0].batch has no meaning without backend"),
    (zone(#""fallback": "allow""#), "rate_limit.zones[0].fallback has no meaning without backend"),
    (zone(#""backend": "redis://h", "fallback": "allow", "fallback_share": 0.5"#), #"fallback_share has no meaning without fallback "local""#),
    (zone(#""backend": "redis://h", "batch": 101"#), "rate_limit.zones[0].batch (101) must not be greater than capacity (100)"),
    (zone(#""backend": "redis://h", "delay": 5"#), "rate_limit.zones[0].delay has no meaning with backend"),
    (zone(#""backend": "redis://h", "batch": 0"#), "rate_limit.zones[0].batch must be between 1 and"),
    (zone(#""backend": "redis://h", "fallback": "queue""#), #"must be one of "allow", "deny", "local""#),
    (zone(#""backend": "redis://h", "fallback_share": 1.5"#), "fallback_share must be between 0.001 and 1 (found 1.5)"),
    (zone(#""backend": "redis://h""#, redis: #", "redis": {"timeout_ms": 0}"#), "rate_limit.redis.timeout_ms must be"),
    (zone(#""backend": "redis://h""#, redis: #", "redis": {"key_prefix": "a b"}"#), "rate_limit.redis.key_prefix must be 1 to 64 letters"),
    (
      #"{"rate_limit": {"zones": [{"name": "z", "rate": 5, "capacity": 9000001, "key_type": "path", "backend": "redis://h"}]}}"#,
      "rate_limit.zones[0].capacity must be at most 9000000 with backend (found 9000001)"
    ),
  ])
  func settingsAreRefused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.count == 1 && found[0].contains(message), "\(found)")
  }
}
