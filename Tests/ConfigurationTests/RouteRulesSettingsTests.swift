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
