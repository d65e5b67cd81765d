// PlanTests — settings become a plan: names resolved, routes expanded, conflicts found.

import Configuration
import HTTPModel
import Plan
import Testing

@Suite struct PlanMakingTests {
  @Test(arguments: [
    ("", 30_000, 30_000), (#""response_timeout_ms": 2000"#, 2000, 30_000), (#""response_timeout_ms": 0"#, 30_000, 30_000),
    (#""send_timeout_ms": 0, "response_timeout_ms": 2000"#, 0, 30_000), (#""send_timeout_ms": 700"#, 700, 30_000),
    (#""stream_idle_timeout_ms": 1500"#, 30_000, 1500), (#""stream_idle_timeout_ms": 0"#, 30_000, 0),
    (#""stream_idle_timeout_ms": "2s""#, 30_000, 2000), (#""stream_idle_timeout_sec": 2"#, 30_000, 2000),
  ])
  func timeoutsOfAnExchange(keys: String, send: Int, idle: Int) throws {
    let text = #"{"upstreams": [{"name": "a", "host": "192.0.2.1", "proxy": {"route_prefix": "/a"}}], "routes": [{"path": "/b", "upstream": "a", "proxy": {"# + keys + "}}]}"
    let plan = try loaded(text).plan
    guard case .forward(let forward) = plan.routes[0].action else { throw TestFailure() }
    #expect(forward.sendTimeout == send && forward.streamIdleTimeout == idle)
  }

  private struct TestFailure: Error {}

  @Test func defaults() throws {
    let plan = try loaded(nil).plan
    var expected = Plan()
    expected.listeners = [ListenerPlan(address: .ip("127.0.0.1", port: 8080))]
    expected.routes = [
      RoutePlan(pattern: "/health", methods: MethodSet(.get), action: .health), RoutePlan(pattern: "/stats", methods: MethodSet(.get), action: .stats),
    ]
    #expect(plan == expected)
  }

  @Test func resolves() throws {
    let plan = try loaded(
      #"{"workers": 0, "bind_host": "localhost", "log": {"file": "a.log"}, "upstreams": [{"name": "a", "host": "two.test", "port": 81}, {"name": "b", "host": "[::1]"}]}"#
    ).plan
    #expect(plan.workers == 6)
    #expect(plan.listeners == [ListenerPlan(address: .ip("127.0.0.1", port: 8080))])
    #expect(plan.log.file == "/srv/a.log")
    // The name of a backend is resolved while it is in use.
    #expect(plan.upstreams[0].addresses == [] && plan.upstreams[0].lookup == 0 && plan.names == [NamePlan(host: "two.test")])
    #expect(plan.upstreams[0].host == "two.test" && plan.upstreams[0].port == 81)
    #expect(plan.upstreams[1].addresses == ["::1"] && plan.upstreams[1].lookup == -1 && plan.upstreams[1].host == "::1")
  }

  @Test func namesAreListedOnce() throws {
    let plan = try loaded(
      #"{"upstreams": [{"name": "a", "host": "App.test"}, {"name": "b", "endpoints": [{"host": "app.test"}, {"host": "my_app", "port": 1}, {"host": "::1"}]}, {"name": "c", "host": "_http._tcp.app.test", "srv": true}, {"name": "d", "endpoints": [{"host": "_x._tcp.app.test", "srv": true}]}]}"#
    ).plan
    #expect(plan.names == [
      NamePlan(host: "app.test"), NamePlan(host: "my_app"), NamePlan(host: "_http._tcp.app.test", isService: true), NamePlan(host: "_x._tcp.app.test", isService: true),
    ])
    #expect(plan.upstreams[0].lookup == 0 && plan.upstreams[1].endpoints.map(\.lookup) == [0, 1, -1])
    #expect(plan.upstreams[1].endpoints[2].addresses == ["::1"])
    // The domain of a service is what its backends are called.
    #expect(plan.upstreams[2].lookup == 2 && plan.upstreams[2].host == "app.test")
    #expect(plan.upstreams[3].endpoints[0].lookup == 3 && plan.upstreams[3].host == "app.test")
  }

  @Test func listenersKeepToTheFamily() throws {
    func address(_ family: String) throws -> ListenerPlan.Address {
      try loaded(#"{"bind_host": "two.test", "dns": {"lookup_family": "\#(family)"}}"#).plan.listeners[0].address
    }
    #expect(try address("v4_preferred") == .ip("192.0.2.1", port: 8080) && address("v4_only") == .ip("192.0.2.1", port: 8080))
    #expect(try address("v6_preferred") == .ip("2001:db8::1", port: 8080) && address("v6_only") == .ip("2001:db8::1", port: 8080))
  }

  @Test func serversHavePorts() throws {
    let plan = try loaded(#"{"dns": {"servers": ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:54", "[2001:db8::2]"]}}"#).plan
    #expect(plan.dns.servers == ["192.0.2.1:53", "192.0.2.1:5353", "[2001:db8::1]:53", "[2001:db8::1]:54", "[2001:db8::2]:53"])
  }

  @Test func listeners() throws {
    let plan = try loaded(
      #"{"listeners": [{"host": "::", "port": 0, "ipv6_only": true, "backlog": 7}, {"unix": "/run/g.sock", "mode": "0600"}]}"#
    ).plan
    #expect(plan.listeners == [
      ListenerPlan(address: .ip("::", port: 0), backlog: 7, ipv6Only: true), ListenerPlan(address: .unix("/run/g.sock", mode: 0o600)),
    ])
  }

  @Test func units() throws {
    let plan = try loaded(
      #"{"idle_timeout_sec": "250ms", "request_timeout_sec": "2m", "max_body_size": "16KiB", "upstreams": [{"name": "a", "host": "b", "pool": {"connect_timeout_ms": "2s", "max_lifetime_sec": 0}}]}"#
    ).plan
    #expect(plan.timeouts.idle == 250 && plan.timeouts.request == 120_000 && plan.limits.maxBodySize == 16384)
    #expect(plan.upstreams[0].pool.connectTimeout == 2000 && plan.upstreams[0].pool.maxLifetime == 0)
  }

  private func patterns(_ text: String) throws -> [String] {
    try loaded(text).plan.routes.map { route in
      let methods = Method.allCases.filter { route.methods.contains($0) }.map { "\($0.name)" }
      return (route.hosts + [route.pattern] + (route.methods == .any ? [] : methods)).joined(separator: " ")
    }
  }

  private let head = #""health_endpoint": false, "stats_endpoint": false, "upstreams": [{"name": "a", "host": "b""#

  @Test func prefixes() throws {
    func expand(_ prefix: String) throws -> [String] { try patterns("{\(head), \"proxy\": {\"route_prefix\": \"\(prefix)\"}}]}") }
    #expect(try expand("/api") == ["/api/*"])
    #expect(try expand("/api/*rest") == ["/api/*rest"])
    #expect(try expand("/api/") == ["/api/*"])
    #expect(try expand("/") == ["/*"])
    #expect(try expand("/*") == ["/*"])
    #expect(try expand("/u/:id([0-9]+)") == ["/u/:id([0-9]+)/*"])
  }

  @Test func order() throws {
    let routes = #""routes": [{"path": "/x", "respond": {}}, {"path": "/y/*rest", "upstream": "a"}, {"path": "/y", "respond": {}}]"#
    #expect(try patterns("{\(head), \"proxy\": {\"route_prefix\": \"/api\"}}], \(routes)}") == ["/x GET", "/y/*rest", "/y GET", "/api/*"])
  }

  /// The plan names both; the route table lets local endpoints yield.
  @Test func localEndpointsComeLast() throws {
    let plan = try loaded(#"{"routes": [{"path": "/health", "respond": {}}]}"#).plan
    #expect(plan.routes.map(\.pattern) == ["/health", "/health", "/stats"])
    #expect(plan.routes.last?.action == .stats)
  }

  @Test func whatTheRouteTableRefuses() {
    let found = errors(
      #"{"routes": [{"path": "/a/:x([0-9]+)", "respond": {}}, {"path": "/a/:x([a-z]+)/b", "respond": {}}, {"path": "/a/:x(q)/c", "respond": {}}]}"#)
    #expect(found.count == 2, "\(found)")
    #expect(found.allSatisfy { $0.contains("routes[0].path at line 1, column 22") }, "\(found)")
  }

  @Test func conflicts() {
    func conflict(_ routes: String) -> [String] { errors("{\"routes\": [\n\(routes)\n]}") }
    #expect(
      conflict(#"{"path": "/a/:x", "respond": {}},"# + "\n" + #"{"path": "/a/:y", "respond": {}}"#) == [
        "t:3:10: error: routes[1].path \"/a/:y\" takes the same requests as routes[0].path at line 2, column 10 (GET)"
      ])
    #expect(conflict(#"{"path": "/a", "respond": {}}, {"path": "/a", "methods": ["POST"], "respond": {}}"#).isEmpty)
    #expect(conflict(#"{"path": "/a", "hosts": ["a"], "respond": {}}, {"path": "/a", "respond": {}}"#).isEmpty)
    #expect(conflict(#"{"path": "/a", "hosts": ["a", "b"], "respond": {}}, {"path": "/a", "hosts": ["B"], "respond": {}}"#).count == 1)
    #expect(
      errors(
        #"{"upstreams": [{"name": "a", "host": "h", "proxy": {"route_prefix": "/x"}}, {"name": "b", "host": "h", "proxy": {"route_prefix": "/x/*y"}}]}"#
      ).count == 1)
  }

  @Test func forwardSettings() throws {
    let plan = try loaded(
      #"{"upstreams": [{"name": "z", "host": "h"}, {"name": "a", "host": "h", "proxy": {"response_timeout_ms": 99}}], "routes": [{"path": "/", "upstream": "a", "proxy": {"buffering": "never", "header_rewrite": {"set_via_header": false}}}]}"#
    ).plan
    var expected = ForwardPlan(upstream: 1)
    expected.buffering = .never
    expected.setVia = false
    #expect(plan.routes[0].action == .forward(expected))
  }
}
