// Settings of header rules and of what else a route may do: what is read, what is refused and where, and that the dump reads back.

import Plan
import Testing

@testable import Configuration

@Suite struct RouteRulesSettingsTests {
  /// A route to an upstream with these members.
  static func route(_ members: String) -> String {
    #"{"upstreams": [{"name": "a", "host": "192.0.2.1"}], "routes": [{"path": "/x/:id/*rest", "upstream": "a", \#(members)}]}"#
  }

  @Test func rulesAreRead() throws {
    let text = #"""
      {"upstreams": [{"name": "a", "host": "192.0.2.1", "proxy": {"route_prefix": "/a/:v", "response_headers": {"remove": ["Server"], "always": true}}}],
       "routes": [{"path": "/x/:id/*rest", "upstream": "a",
        "request_headers": {"remove": ["Cookie"], "set": {"Host": "{id}.example.com", "X-Client": ["{client_ip}", "{{}}"]}, "default": {"Accept": "*/*"}, "add": {"X-A": "{capture:rest}"}, "keep_empty": true},
        "response_headers": {"set": {"X-Time": "{duration} {response_header:Server}"}}},
        {"path": "/fixed/:name", "respond": {}, "response_headers": {"add": {"X-Name": "{name}"}}}]}
      """#
    let settings = try loaded(text).settings
    let rules = settings.routes[0].rules
    #expect(rules.request.remove == ["Cookie"] && rules.request.keepEmpty && !rules.request.always)
    #expect(rules.request.set == [HeaderPlan(name: "Host", value: "{id}.example.com"), HeaderPlan(name: "X-Client", value: "{client_ip}"), HeaderPlan(name: "X-Client", value: "{{}}")])
    #expect(rules.request.fallback.map(\.name) == ["Accept"] && rules.request.add.map(\.value) == ["{capture:rest}"])
    #expect(rules.response.set.map(\.name) == ["X-Time"])
    #expect(settings.upstreams[0].rules.response.always)
    let plan = try loaded(text).plan
    #expect(plan.routes.map(\.rules.response.isEmpty) == [false, false, false, true, true])
    #expect(try loaded(settings.dump()).settings == settings)
  }

  @Test(arguments: [
    (#""request_headers": {"set": {"X": "{nope}"}}"#, #"routes[0].request_headers.set.X "{nope}": {nope} is neither a capture of the route nor a variable (known: scheme, host,"#),
    (#""request_headers": {"set": {"X": "a{status}"}}"#, #"routes[0].request_headers.set.X "a{status}": {status} is known only once there is a response (character 2)"#),
    (#""request_headers": {"set": {"X": "{"}}"#, #"routes[0].request_headers.set.X "{": "{" without "}" (character 1)"#),
    (#""response_headers": {"set": {"X": "é{header:}"}}"#, #"routes[0].response_headers.set.X "é{header:}": "" is not a token, as a name must be (character 2)"#),
    (#""request_headers": {"set": {"X": "a\nb"}}"#, "routes[0].request_headers.set.X must not contain control characters"),
    (#""request_headers": {"set": {"X": " a"}}"#, "routes[0].request_headers.set.X must not begin or end with a blank"),
    (#""request_headers": {"set": {"X": 1}}"#, "routes[0].request_headers.set.X must be text, in quotes (found 1)"),
    (#""request_headers": {"set": {"X Y": "a"}}"#, #"routes[0].request_headers.set: "X Y" is not a header name"#),
    (#""request_headers": {"set": {"": "a"}}"#, #"routes[0].request_headers.set: "" is not a header name"#),
    (#""request_headers": {"set": {":path": "a"}}"#, #"routes[0].request_headers.set: ":path" is not a header name"#),
    (#""request_headers": {"set": {"x": "a", "X": "b"}}"#, "routes[0].request_headers.set.X is given twice"),
    (#""request_headers": {"set": ["X"]}"#, "routes[0].request_headers.set must be an object of header fields (found a list)"),
    (#""request_headers": {"remove": "X"}"#, "routes[0].request_headers.remove must be a list of texts"),
    (#""request_headers": {"remove": ["X", "x"]}"#, #"routes[0].request_headers.remove[1] repeats "x""#),
    (#""request_headers": {"add": {"Host": "a"}}"#, #"routes[0].request_headers.add: "Host" can only be set, and only in requests"#),
    (#""request_headers": {"remove": ["host"]}"#, #"routes[0].request_headers.remove[0] "host" can only be set, and only in requests"#),
    (#""response_headers": {"set": {"Host": "a"}}"#, #"routes[0].response_headers.set: "Host" can only be set, and only in requests"#),
    (#""request_headers": {"always": true}"#, #"unknown key "always" in routes[0].request_headers"#),
    (#""request_headers": {"set": {"X": "a"}, "remove": ["x"]}"#, "routes[0].request_headers.set.X is in routes[0].request_headers.remove as well"),
    (#""request_headers": {"set": {"X": "a"}, "default": {"x": "b"}}"#, "routes[0].request_headers.default.x has no effect, because routes[0].request_headers.set has it as well"),
  ])
  func refused(_ members: String, _ message: String) {
    let found = errors(Self.route(members))
    #expect(found.count == 1 && found[0].contains(message), "\(found)")
  }

  /// What frames a message or belongs to its connection is out of reach, in either direction and by whatever operation.
  @Test(arguments: [
    "Connection", "content-length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
    "Expect", "Date", "HTTP2-Settings", "Sec-WebSocket-Key", "sec-websocket-accept",
  ])
  func reserved(_ name: String) {
    for direction in ["request_headers", "response_headers"] {
      for operation in [#""set": {"\#(name)": "a"}"#, #""add": {"\#(name)": "a"}"#, #""default": {"\#(name)": "a"}"#, #""remove": ["\#(name)"]"#] {
        let found = errors(Self.route(#""\#(direction)": {\#(operation)}"#))
        #expect(found.count == 1 && found[0].contains("cannot be changed: the gateway itself answers for it"), "\(direction) \(operation): \(found)")
      }
    }
  }

  @Test func positions() {
    let text = """
      upstreams:
        - {name: a, host: 192.0.2.1}
      routes:
        - path: /x/:id
          upstream: a
          response_headers:
            set:
              X-Id: "{id}"
              X-Other: "{other}"
            add:
              Connection: close
      """
    #expect(
      errors(text).map { String($0.prefix(60)) } == [
        #"t:9:18: error: routes[0].response_headers.set.X-Other "{other"#, #"t:11:9: error: routes[0].response_headers.add: "Connection" c"#,
      ].map { String($0.prefix(60)) })
  }

  @Test func whereTheyMeanNothing() {
    let responds = #"{"routes": [{"path": "/x", "respond": {}, "request_headers": {"set": {"X": "a"}}}]}"#
    #expect(errors(responds).map { $0.contains("routes[0].request_headers has no effect without upstream") } == [true])
    let unrouted = #"{"upstreams": [{"name": "a", "host": "192.0.2.1", "proxy": {"response_headers": {"set": {"X": "a"}}}}]}"#
    #expect(errors(unrouted).map { $0.contains("upstreams[0].proxy.response_headers has no effect without route_prefix") } == [true])
    let many = (0..<49).map { "\"X\($0)\": \"a\"" }.joined(separator: ", ")
    #expect(errors(Self.route(#""request_headers": {"set": {\#(many)}}"#)).map { $0.contains("has more than 48 fields (49)") } == [true])
  }
}

@Suite struct RouteActionsBesidesTests {
  private static func route(_ members: String) -> String { RouteRulesSettingsTests.route(members) }

  /// A route without an upstream of its own.
  private static func split(_ members: String) -> String {
    #"{"upstreams": [{"name": "a", "host": "192.0.2.1"}, {"name": "b", "host": "192.0.2.2"}], "routes": [{"path": "/x/:id", \#(members)}]}"#
  }

  @Test func areRead() throws {
    let text = #"""
      {"upstreams": [{"name": "a", "host": "192.0.2.1"}, {"name": "b", "host": "192.0.2.2", "proxy": {"route_prefix": "/b", "mirror": {"upstream": "a"}}}],
       "routes": [{"path": "/x/:id/*rest", "split": [{"upstream": "b", "weight": 3}, {"upstream": "a", "when": {"header:X-C": ["1", "2"], "cookie:c": "on"}}], "split_key": "{cookie:uid}",
         "rewrite": "/y/{rest}?id={id}", "max_body_size": "1KiB", "request_timeout_sec": 5, "client_send_timeout_sec": 0,
         "cors": {"allow_origins": ["https://*.Example.com", "null"], "allow_headers": ["*"], "max_age_sec": 60},
         "mirror": {"upstream": "b", "percent": 2.5, "max_concurrent": 7, "max_body_size": 0, "timeout_ms": 50, "non_idempotent": true}}]}
      """#
    let loaded = try loaded(text)
    let rules = loaded.plan.routes[0].rules
    #expect(rules.split.arms.map(\.upstream) == [1, 0] && rules.split.arms.map(\.weight) == [3, 1] && rules.split.key == "{cookie:uid}")
    #expect(rules.split.arms[1].when.map(\.name) == ["header:X-C", "header:X-C", "cookie:c"])
    #expect(rules.rewrite == "/y/{rest}?id={id}")
    #expect(rules.bounds.maxBodySize == 1024 && rules.bounds.requestTimeout == 5000 && rules.bounds.sendTimeout == 0)
    #expect(rules.cors?.origins == ["https://*.example.com", "null"] && rules.cors?.maxAge == 60_000)
    #expect(rules.mirror?.upstream == 1 && rules.mirror?.percent == 2500 && rules.mirror?.maxBodySize == 0 && rules.mirror?.nonIdempotent == true)
    #expect(loaded.plan.routes[1].rules.mirror?.upstream == 0)
    if case .forward(let forward) = loaded.plan.routes[0].action { #expect(forward.upstream == 1) } else { Issue.record("it does not forward") }
    #expect(try ConfigurationTests.loaded(loaded.settings.dump()).settings == loaded.settings)
  }

  @Test(arguments: [
    (route(#""rewrite": "x""#), #"routes[0].rewrite "x": a path begins with "/", {path} or {original_path} (character 1)"#),
    (route(#""rewrite": "/{nope}""#), "{nope} is neither a capture of the route nor a variable"),
    (route(#""rewrite": "/a#b""#), "a request has no fragment (character 3)"),
    (route(#""rewrite": "/{upstream}""#), "{upstream} can stand in header fields only"),
    (route(#""rewrite": "/{rest}", "proxy": {"strip_prefix": true}"#), "routes[0].proxy.strip_prefix has no effect with routes[0].rewrite"),
    (route(#""rewrite": "/{rest}", "proxy": {"forward_original_path": true}"#), "routes[0].proxy.forward_original_path has no effect with routes[0].rewrite"),
    (route(#""max_body_size": -1"#), "routes[0].max_body_size must be 0 or between 1 and 1099511627776 bytes (found -1)"),
    (route(#""request_timeout_sec": "1ms""#), "routes[0].request_timeout_sec must be 0 or between"),
    (route(#""cors": {}"#), #"routes[0].cors needs "allow_origins""#),
    (route(#""cors": {"allow_origins": ["example.com"]}"#), #"routes[0].cors.allow_origins[0] must be an origin such as "https://example.com" (found "example.com")"#),
    (route(#""cors": {"allow_origins": ["https://example.com/"]}"#), "must have no path, query, fragment or user"),
    (route(#""cors": {"allow_origins": ["https://example.com:443"]}"#), "must be written without its port, which is that of the scheme"),
    (route(#""cors": {"allow_origins": ["https://*"]}"#), "must name a host in lower case"),
    (route(#""cors": {"allow_origins": ["https://a.*.com"]}"#), "must name a host in lower case"),
    (route(#""cors": {"allow_origins": ["https://example.com:99999"]}"#), "must have a port between 1 and 65535"),
    (route(#""cors": {"allow_origins": ["*", "https://example.com"]}"#), #"routes[0].cors.allow_origins has "*" beside others"#),
    (route(#""cors": {"allow_origins": ["*"], "allow_credentials": true}"#), "routes[0].cors.allow_credentials needs origins by name"),
    (route(#""cors": {"allow_origins": ["null"], "allow_credentials": true}"#), #"routes[0].cors.allow_credentials does not go with the origin "null""#),
    (route(#""cors": {"allow_origins": ["https://a.b"], "expose_headers": ["*"], "allow_credentials": true}"#), "routes[0].cors.expose_headers must have names"),
    (route(#""cors": {"allow_origins": ["https://a.b"], "allow_methods": ["get"]}"#), #"has no method "get""#),
    (route(#""split": [{"upstream": "a"}]"#), #"routes[0] ("/x/:id/*rest") has upstream and split"#),
    (split(#""split": [{"upstream": "a"}, {"upstream": "c"}]"#), #"routes[0].split[1].upstream names upstream "c", which is not defined (defined: a, b)"#),
    (split(#""split": [{"upstream": "a"}, {"upstream": "a"}]"#), #"routes[0].split[1].upstream repeats "a" of routes[0].split[0].upstream"#),
    (split(#""split": [{"upstream": "a", "weight": 0}, {"upstream": "b", "weight": 0}]"#), "routes[0].split needs at least one weight above 0"),
    (split(#""split": [{"upstream": "a", "weight": -1}, {"upstream": "b"}]"#), "routes[0].split[0].weight must be between 0 and 1000000 (found -1)"),
    (split(#""split": [{"upstream": "a", "when": {"X-C": "1"}}, {"upstream": "b"}]"#), #"routes[0].split[0].when: "X-C" must be "header:NAME" or "cookie:NAME""#),
    (split(#""split": [{"upstream": "a", "when": {"header:": "1"}}, {"upstream": "b"}]"#), #""header:" has no name after "header:""#),
    (split(#""split": [{"upstream": "a"}, {"upstream": "b"}], "split_key": "{status}""#), "{status} is known only once there is a response"),
    (split(#""respond": {}, "split_key": "x""#), "routes[0].split_key has no effect without split"),
    (split(#""respond": {}, "rewrite": "/y""#), "routes[0].rewrite has no effect without upstream"),
    (split(#""respond": {}, "mirror": {"upstream": "a"}"#), "routes[0].mirror has no effect without upstream"),
    (route(#""mirror": {}"#), #"routes[0].mirror needs "upstream""#),
    (route(#""mirror": {"upstream": "c"}"#), #"routes[0].mirror.upstream names upstream "c", which is not defined"#),
    (route(#""mirror": {"upstream": "a", "percent": 100.5}"#), "routes[0].mirror.percent must be between 0 and 100 (found 100.5)"),
  ])
  func refused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.count == 1 && found[0].contains(message), "\(found)")
  }
}
