// Settings of addresses: what is read, what is refused and where, and what reaches the plan.

import HTTPModel
import Plan
import Testing

@testable import Configuration

@Suite struct AddressSettingsTests {
  @Test func listsReachThePlan() throws {
    let text = #"""
      {"client_address": {"trusted_proxies": ["10.0.0.0/8", "::1", "unix:"], "source": "forwarded"}, "allow": ["192.168.0.0/16"], "deny": ["192.168.7.0/24"],
       "listeners": [{"host": "127.0.0.1", "port": 8080, "deny": ["2001:db8::/32"]}],
       "upstreams": [{"name": "a", "host": "127.0.0.1", "proxy": {"route_prefix": "/a", "allow": ["10.1.2.3"], "header_rewrite": {"set_forwarded": true}}}],
       "routes": [{"path": "/b", "respond": {}, "deny": ["0.0.0.0/0"]}]}
      """#
    let loaded = try load(text).get()
    let plan = loaded.plan
    func range(_ text: String) throws -> AddressRange { try AddressRange(parsing: text) }
    #expect(try plan.clientAddress.trusted == [range("10.0.0.0/8"), range("::1"), range("unix:")] && plan.clientAddress.source == .forwarded)
    #expect(try plan.access.allow == [range("192.168.0.0/16")] && plan.access.deny == [range("192.168.7.0/24")])
    #expect(try plan.listeners[0].access.deny == [range("2001:db8::/32")] && plan.listeners[0].access.allow.isEmpty)
    #expect(try plan.routes.first { $0.pattern == "/b" }?.access.deny == [range("0.0.0.0/0")])
    let prefix = plan.routes.first { $0.pattern.hasPrefix("/a") }
    #expect(try prefix?.access.allow == [range("10.1.2.3")])
    if case .forward(let forward) = prefix?.action { #expect(forward.setForwarded) } else { Issue.record("\(String(describing: prefix))") }
    #expect(try load(loaded.settings.dump()).get().settings == loaded.settings)
  }

  @Test(arguments: [
    (#"{"allow": ["10.0.0.1/8"]}"#, #"t:1:12: error: allow[0] has bits set behind the first 8: write the range's first address (found "10.0.0.1/8")"#),
    (#"{"deny": ["example.com"]}"#, #"t:1:11: error: deny[0] must be an IP address, a range such as 10.0.0.0/8 or 2001:db8::/32, or "unix:" (found "example.com")"#),
    (#"{"deny": ["10.0.0.0/33"]}"#, #"deny[0] has no length between 0 and 32 after the "/" (found "10.0.0.0/33")"#),
    (#"{"deny": ["::1", "::1"]}"#, #"t:1:18: error: deny[1] repeats "::1""#),
    (#"{"deny": "::1"}"#, "deny must be a list of texts"),
    (#"{"allow": ["10.0.0.0/8"], "deny": ["::1", "10.0.0.0/8"]}"#, #"t:1:43: error: deny[1] "10.0.0.0/8" is allowed as well: allow[0] (line 1, column 12)"#),
    (#"{"routes": [{"path": "/", "respond": {}, "allow": ["::1"], "deny": ["::1"]}]}"#, #"routes[0].deny[0] "::1" is allowed as well: routes[0].allow[0]"#),
    (#"{"client_address": {"trusted_proxies": ["all"]}}"#, "client_address.trusted_proxies[0] must be an IP address"),
    (#"{"client_address": {"source": "x_real_ip"}}"#, #"client_address.source must be one of "x_forwarded_for", "forwarded" (found the text "x_real_ip")"#),
    (#"{"client_address": {"source": "forwarded"}}"#, "client_address.source has no effect without trusted_proxies"),
    (#"{"upstreams": [{"name": "a", "host": "::1", "proxy": {"allow": ["::1"]}}]}"#, "upstreams[0].proxy.allow has no effect without route_prefix"),
  ])
  func refused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }
}
