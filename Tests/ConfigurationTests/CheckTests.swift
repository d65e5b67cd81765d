// CheckTests — what each setting accepts, and what several must have in common. Messages are part of the product.

import Configuration
import Testing

@Suite struct CheckTests {
  @Test(arguments: [
    (#"{"bind_port": 70000}"#, "t:1:15: error: bind_port must be between 0 and 65535 (found 70000)"),
    (#"{"bind_port": 80.5}"#, "t:1:15: error: bind_port must be a whole number (found 80.5)"),
    (#"{"bind_port": 1e3}"#, "bind_port must be a whole number (found 1e3)"),
    (#"{"bind_port": "80"}"#, "bind_port must be a whole number, without quotes and leading zeros (found the text \"80\")"),
    (#"{"bind_port": 99999999999999999999}"#, "bind_port must be between 0 and 65535"),
    (#"{"bind_port": true}"#, "bind_port must be a whole number (found true)"),
    (#"{"bind_port": null}"#, "bind_port must be a whole number (found null)"),
    (#"{"server_header": "yes"}"#, "server_header must be true or false (found the text \"yes\")"),
    (#"{"server_header": yes}"#, "server_header must be true or false (found yes)"),
    (#"{"user": 5}"#, "user must be text, in quotes (found 5)"),
    (#"{"upstreams": {}}"#, "upstreams must be a list of objects (found an object)"),
    (#"{"upstreams": [5]}"#, "upstreams[0] must be an object (found 5)"),
    (#"{"log": 5}"#, "log must be an object (found 5)"),
    (#"{"log": {"level": "wran"}}"#, "(found the text \"wran\"); did you mean \"warn\"?"),
    (#"{"idle_timeout_sec": -1}"#, "idle_timeout_sec must be 0 or between 10ms and 31536000 seconds (found -1)"),
    (#"{"idle_timeout_sec": "5ms"}"#, "idle_timeout_sec must be 0 or between 10ms"),
    (#"{"idle_timeout_sec": "30"}"#, "idle_timeout_sec must be a whole number of seconds, or text with a unit"),
    (#"{"idle_timeout_sec": "99999999999999999d"}"#, "idle_timeout_sec must be a whole number of seconds"),
    (#"{"idle_timeout_sec": 9223372036854775807}"#, "idle_timeout_sec must be 0 or between"),
    (#"{"max_header_size": "2MiB"}"#, "max_header_size must be 0 or between 1 and 1048576 bytes (found the text \"2MiB\")"),
    (#"{"workers": 2, "worker_threads": 3}"#, "\"worker_threads\" and \"workers\" are the same setting"),
    (#"{"auth": {}}"#, "t:1:2: error: \"auth\" is not available yet"),
    (#"{"upstreams": [{"name": "a", "host": "::1", "circuit_breaker": {"max_open_duration_ms": 4999}}]}"#, "max_open_duration_ms (4999) must not be less than base_open_duration_ms (5000)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "pool": {"timout": 1}}]}"#, "t:1:52: error: unknown key \"timout\" in upstreams[0].pool; did you mean \"connect_timeout_ms\"?"),
    (#"{"bind_prot": 1}"#, "unknown key \"bind_prot\" in the top level; did you mean \"bind_port\"?"),
    (#"{"connect_timeout_ms": 100}"#, "unknown key \"connect_timeout_ms\" in the top level; it belongs in upstreams[].pool"),
    (#"{"upstreams": [{"name": "a"}]}"#, "t:1:16: error: upstreams[0] needs \"host\" or \"endpoints\""),
    (#"{"upstreams": [{"name": "a", "endpoints": [{"weight": 2}]}]}"#, "t:1:44: error: upstreams[0].endpoints[0] needs \"host\" or \"unix\""),
    (#"{"upstreams": [{"name": "a", "endpoints": [{"unix": "/a", "port": 2}]}]}"#, "t:1:44: error: upstreams[0].endpoints[0] has both \"unix\" and \"host\" or \"port\""),
    (#"{"upstreams": [{"name": "a", "endpoints": [{"host": "::1", "weight": 0}]}]}"#, "t:1:70: error: upstreams[0].endpoints[0].weight must be between 1 and 1000 (found 0)"),
    (
      #"{"upstreams": [{"name": "a", "port": 81, "endpoints": [{"host": "A"}, {"host": "a", "port": 81}]}]}"#,
      "t:1:71: error: upstreams[0].endpoints[1] is the same as upstreams[0].endpoints[0] (line 1, column 56)"
    ),
    (#"{"upstreams": [{"name": "a", "endpoints": [{"host": "::1", "backup": true}]}]}"#, "t:1:43: error: upstreams[0].endpoints are all backups: one at least must not be"),
    (
      #"{"upstreams": [{"name": "a", "tls": {"enabled": true}, "endpoints": [{"host": "::1"}, {"host": "::2"}]}]}"#,
      "t:1:37: error: upstreams[0].tls needs \"sni_hostname\": the name that the certificates of all endpoints are good for"
    ),
    (#"{"bind_host": ""}"#, "bind_host is not a host name or IP address: it is empty"),
    (#"{"bind_host": "127.1"}"#, "looks like an IPv4 address but is not four decimal parts"),
    (#"{"bind_host": "0x7f000001"}"#, "looks like an IPv4 address"),
    (#"{"bind_host": "2130706433"}"#, "looks like an IPv4 address"),
    (#"{"bind_host": "0127.0.0.1"}"#, "looks like an IPv4 address"),
    (#"{"bind_host": "a.test:80"}"#, "a port has a key of its own"),
    (#"{"bind_host": "http://a"}"#, "contains a path or scheme"),
    (#"{"bind_host": "[a]"}"#, "brackets around something other than an IPv6 address"),
    (#"{"bind_host": "-a"}"#, "begins or ends with"),
    (#"{"bind_host": "a..b"}"#, "has an empty label"),
    (#"{"bind_host": "a_b"}"#, "contains characters other than"),
    (#"{"log": {"file": "logs/"}}"#, "log.file must name a file"),
    (#"{"log": {"file": ".."}}"#, "log.file must name a file"),
    (#"{"access_log": {"format": "jsno"}}"#, "access_log.format must be \"json\", \"combined\", or a format with variables"),
    (#"{"access_log": {"format": "$statsu"}}"#, "access_log.format is not an access-log format"),
    (#"{"user": "nobody-here"}"#, "t:1:10: error: user \"nobody-here\" does not exist"),
    (#"{"bind_host": "gone.test"}"#, "t:1:15: error: bind_host \"gone.test\" cannot be resolved: Name or service not known"),
    (#"{"dns": {"resolve_timeout_ms": 20000}}"#, "t:1:32: error: dns.overall_timeout_ms (15000) must not be less than resolve_timeout_ms (20000)"),
    (#"{"dns": {"min_ttl_sec": 7200}}"#, "t:1:25: error: dns.min_ttl_sec (7200) must not be more than max_ttl_sec (3600)"),
    (#"{"dns": {"stale_on_error": false, "stale_max_sec": 5}}"#, "t:1:52: error: dns.stale_max_sec has no effect without stale_on_error"),
    (#"{"dns": {"servers": ["dns.test"]}}"#, "t:1:22: error: dns.servers[0] is not an IP address, with or without a port: \"dns.test\""),
    (#"{"dns": {"servers": ["[::1]:0"]}}"#, "dns.servers[0] is not an IP address, with or without a port"),
    (#"{"dns": {"servers": ["127.0.0.1", "127.0.0.1:53"]}}"#, "t:1:35: error: dns.servers[1] repeats \"127.0.0.1:53\""),
    (#"{"dns": {"lookup_family": "v5"}}"#, "dns.lookup_family must be one of \"v4_preferred\", \"v6_preferred\", \"v4_only\", \"v6_only\""),
    (#"{"dns": {"lookup_family": "v4_only"}, "upstreams": [{"name": "a", "host": "::1"}]}"#, "t:1:75: error: upstreams[0].host is an address that dns.lookup_family excludes (found \"::1\")"),
    (#"{"dns": {"lookup_family": "v6_only"}, "bind_host": "127.0.0.1"}"#, "bind_host is an address that dns.lookup_family excludes"),
    (
      #"{"dns": {"lookup_family": "v6_only"}, "upstreams": [{"name": "a", "endpoints": [{"host": "10.0.0.1"}]}]}"#,
      "upstreams[0].endpoints[0].host is an address that dns.lookup_family excludes"
    ),
    (#"{"upstreams": [{"name": "a", "host": "::1", "srv": true}]}"#, "t:1:52: error: upstreams[0].srv needs a name as \"host\""),
    (#"{"upstreams": [{"name": "a", "host": "a.test", "port": 80, "srv": true}]}"#, "t:1:56: error: upstreams[0].port has no effect with srv"),
    (
      #"{"upstreams": [{"name": "a", "host": "a.test", "srv": true, "endpoints": [{"host": "b"}]}]}"#, "t:1:55: error: upstreams[0].srv has no effect with endpoints"
    ),
    (
      #"{"upstreams": [{"name": "a", "host": "a.test", "pool": {"connection_attempt_delay_ms": 5}}]}"#,
      "upstreams[0].pool.connection_attempt_delay_ms must be 0 or between"
    ),
    (#"{"http1": {"streaming": {"low_water_bytes": 262144}}}"#, "http1.streaming.low_water_bytes (262144) must be less than high_water_bytes (262144)"),
    (#"{"http2": {"streaming": {"high_water_bytes": 65536}}}"#, "http2.streaming.low_water_bytes (65536) must be less than high_water_bytes (65536)"),
    (#"{"http2": {"max_frame_size": 1000}}"#, "http2.max_frame_size must be between 16384 and 16777215 bytes (found 1000)"),
    (#"{"http2": {"max_concurrent_streams": 0}}"#, "http2.max_concurrent_streams must be between 1 and 1000000 (found 0)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "pool": {"max_connections": 4, "max_idle_connections": 16}}]}"#, "t:1:98: error: upstreams[0].pool.max_idle_connections (16) must not be more than max_connections (4)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"enabled": true}}]}"#, "upstreams[0].http2.prefer \"auto\" needs tls"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"prefer": "auto", "enabled": true}}]}"#, "upstreams[0].http2.prefer \"auto\" needs tls"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"prefer": "allways"}}]}"#, "did you mean \"always\"?"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"preconnect_watermark_pct": 50}}]}"#, "preconnect_watermark_pct (50) must be less than saturation_open_pct (0)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"saturation_open_pct": 50, "preconnect_watermark_pct": 50}}]}"#, "must be less than saturation_open_pct (50)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"saturation_open_pct": 101}}]}"#, "upstreams[0].http2.saturation_open_pct must be 0 or between 1 and 100 (found 101)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "http2": {"max_header_list_size": 4095}}]}"#, "must be between 4096 and 131072 bytes (found 4095)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"relay_buffer_limit_bytes": 20000}}]}"#, "(262144) must not be more than relay_buffer_limit_bytes (20000)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"stream_idle_timeout_ms": 5}}]}"#, "upstreams[0].proxy.stream_idle_timeout_sec must be 0 or between 10ms and 3600 seconds (found 5ms)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"stream_idle_timeout_ms": 500, "stream_idle_timeout_sec": 1}}]}"#, "\"stream_idle_timeout_sec\" and \"stream_idle_timeout_ms\" are the same setting"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"timeout_ms": 5}}]}"#, "upstreams[0].proxy.timeout_ms must be 0 or between 10 and 86400000 milliseconds (found 5)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"max_retries": 11}}}]}"#, "upstreams[0].proxy.retry.max_retries must be between 0 and 10 (found 11)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"backoff_max_ms": 10}}}]}"#, "t:1:81: error: upstreams[0].proxy.retry.backoff_max_ms (10) must not be less than backoff_base_ms (25)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"backoff_base_ms": 300}}}]}"#, "upstreams[0].proxy.retry.backoff_max_ms (250) must not be less than backoff_base_ms (300)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"retry_on_status": 503}}}]}"#, "upstreams[0].proxy.retry.retry_on_status must be a list of statuses (found 503)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"retry_on_status": [503, 200]}}}]}"#, "upstreams[0].proxy.retry.retry_on_status[1] must be a status between 400 and 599 (found 200)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"retry_on_status": [503, 503]}}}]}"#, "upstreams[0].proxy.retry.retry_on_status[1] repeats 503"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"retry": {"retry_on_staus": []}}}]}"#, "did you mean \"retry_on_status\"?"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"hedge": {"max": 4}}}]}"#, "upstreams[0].proxy.hedge.max must be between 1 and 3 (found 4)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"response_rewrite": {"cookie_path": true}}}]}"#, "upstreams[0].proxy.response_rewrite.cookie_path has no effect without strip_prefix"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"strip_prefix": true, "forward_original_path": true, "response_rewrite": {"cookie_path": true}}}]}"#, "cookie_path has no effect with forward_original_path"),
    (#"{"upstreams": [{"name": "a", "host": "b"}, {"name": "a", "host": "c"}]}"#, "t:1:53: error: upstreams[1].name repeats \"a\" of upstreams[0] (line 1, column 25)"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"methods": ["GET"]}}]}"#, "upstreams[0].proxy.methods has no effect without route_prefix"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"route_prefix": "/", "methods": ["get"]}}]}"#, "did you mean \"GET\"?"),
    (#"{"upstreams": [{"name": "a", "host": "b", "proxy": {"route_prefix": "/", "methods": ["GET", "GET"]}}]}"#, "upstreams[0].proxy.methods[1] repeats \"GET\""),
    (#"{"listeners": [{"host": "::"}]}"#, "t:1:16: error: listeners[0] needs \"host\" and \"port\", or \"unix\""),
    (#"{"listeners": [{"unix": "/a", "port": 1}]}"#, "listeners[0] has both \"unix\" and"),
    (#"{"listeners": [{"unix": "a"}]}"#, "listeners[0].unix must be an absolute path"),
    (#"{"listeners": [{"unix": "/a", "mode": "rw"}]}"#, "listeners[0].mode must be octal"),
    (#"{"listeners": [{"host": "::", "port": 1}, {"host": "::", "port": 1}]}"#, "listeners[1] is the same address as listeners[0]"),
  ])
  func settingIsRefused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains(message) == true, "\(found)")
  }

  @Test(arguments: [
    (#"{"path": "/api", "upstream": "wbe"}"#, "names upstream \"wbe\", which is not defined (defined: auth, web); did you mean \"web\"?"),
    (#"{"path": "/api"}"#, "t:1:79: error: routes[0] (\"/api\") needs one of upstream, split, respond, redirect, echo and static"),
    (#"{"path": "/api", "upstream": "web", "respond": {}}"#, "has upstream and respond, but may have only one"),
    (#"{"path": "api", "upstream": "web"}"#, "routes[0].path \"api\" is not a path pattern: it must begin with \"/\""),
    (#"{"path": "/a//b", "upstream": "web"}"#, "\"//\" in the pattern"),
    (#"{"path": "/*a/b", "upstream": "web"}"#, "a catch-all must be the last segment (character 2)"),
    (#"{"path": "/:id.json", "upstream": "web"}"#, "text after the parameter \":id\" within a segment"),
    (#"{"path": "/:id(\\d+)x", "upstream": "web"}"#, "text after the parameter \":id\" within a segment"),
    (#"{"path": "/:id/:id", "upstream": "web"}"#, "the name \"id\" of the parameter occurs twice"),
    (#"{"path": "/:id()", "upstream": "web"}"#, "the constraint is empty (character 6)"),
    (#"{"path": "/:id((a)", "upstream": "web"}"#, "(character 5)"),
    (#"{"path": "/a", "upstream": "web", "proxy": {"strip_prefix": true}}"#, "needs a catch-all at the end"),
    (#"{"path": "/a", "respond": {}, "proxy": {}}"#, "routes[0].proxy has no effect without upstream"),
    (#"{"path": "/a", "upstream": "web", "proxy": {"route_prefix": "/"}}"#, "unknown key \"route_prefix\" in routes[0].proxy; it belongs in upstreams[].proxy"),
    (#"{"path": "/a", "upstream": "web", "hosts": ["*.127.0.0.1"]}"#, "has a wildcard before an IP address"),
    (#"{"path": "/a", "upstream": "web", "hosts": ["a", "A"]}"#, "routes[0].hosts[1] repeats \"A\""),
    (#"{"path": "/a", "respond": {"status": 100}}"#, "routes[0].respond.status must be between 200 and 599"),
    (#"{"path": "/a", "respond": {"status": 204, "body": "x"}}"#, "an answer with status 204 has no body"),
    (#"{"path": "/a", "respond": {"headers": {"Content-Length": "1"}}}"#, "routes[0].respond.headers: \"Content-Length\" is set by the gateway itself"),
    (#"{"path": "/a", "respond": {"headers": {"a b": "1"}}}"#, "is not a header name"),
    (#"{"path": "/a", "respond": {"headers": {"A": "1\r\nB: 2"}}}"#, "must not contain control characters"),
    (#"{"path": "/a", "respond": {"headers": {"A": ["1", "2\u0000"]}}}"#, "must not contain control characters"),
    (#"{"path": "/a", "respond": {"headers": {"A": "1", "a": "2"}}}"#, "is given twice"),
    (#"{"path": "/a", "respond": {"headers": {"Server": "x"}}}"#, "unless server_header is false"),
    (#"{"path": "/a", "redirect": {"to": "/b", "status": 300}}"#, "must be one of 301, 302, 303, 307, 308"),
    (#"{"path": "/a", "echo": {"subprotocols": ["a b"]}}"#, "routes[0].echo.subprotocols[0] must be a token"),
    (#"{"path": "/a", "echo": {"window_bits": 8}}"#, "routes[0].echo.window_bits must be"),
    (#"{"path": "/a", "echo": {}, "respond": {}}"#, "has respond and echo, but may have only one of upstream, split, respond, redirect, echo and static"),
    (#"{"path": "/a", "redirect": {"to": "b"}}"#, "a redirect begins with"),
    (#"{"path": "/a", "redirect": {"to": "/b c"}}"#, "this character cannot stand in a URI"),
    (#"{"path": "/a", "redirect": {}}"#, "routes[0].redirect needs \"to\""),
    (#"{"path": "/a/:id", "redirect": {"to": "/{idd}"}}"#, "{idd} is neither a capture of the route nor a variable (known: scheme, host,"),
    (#"{"path": "/a", "redirect": {"to": "/{id"}}"#, "without \"}\""),
  ])
  func routeIsRefused(_ route: String, _ message: String) {
    let found = errors(#"{"upstreams":[{"name":"web","host":"a"},{"name":"auth","host":"b"}],"routes":["# + route + "]}")
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains(message) == true, "\(found)")
  }

  @Test func allAtOnceInOrder() {
    let found = errors("{\n\"routes\": [{\"path\": \"x\", \"upstream\": \"b\"}],\n\"bind_port\": -1,\n\"wrokers\": 1\n}", environment: ["GATEWAY_LOG_LEVEL": "loud"])
    #expect(found.map { String($0.prefix(5)) } == ["t:2:2", "t:2:3", "t:3:1", "t:4:1", "envir"], "\(found)")
  }

  @Test func structuredErrors() {
    guard case .failure(let errors) = load("{\n  \"bind_prot\": 1}") else {
      Issue.record("accepted")
      return
    }
    let error = errors.errors[0]
    #expect(error.file == "t" && error.line == 2 && error.column == 3 && error.suggestion == "bind_port" && error.path == "")
    #expect(errors.json.contains("\"suggestion\": \"bind_port\""))
    #expect(errors.count == "1 error")
  }

  @Test(arguments: [
    (#"{"tls": {"cert_file": "/c"}}"#, "t:1:10: warning: tls has no effect: tls.enabled is false unless it is given"),
    (#"{"rate_limit": {"zones": []}}"#, "t:1:17: warning: rate_limit has no effect: rate_limit.enabled is false unless it is given"),
    (#"{"compression": {"gzip_level": 4}}"#, "t:1:18: warning: compression has no effect: compression.enabled is false unless it is given"),
    (#"{"access_log": {"file": "/a"}}"#, "t:1:17: warning: access_log has no effect: access_log.enabled is false unless it is given"),
    (
      #"{"upstreams": [{"name": "a", "host": "::1", "health": {"outlier_detection": {"consecutive_failures": 3}}}]}"#,
      "t:1:78: warning: upstreams[0].health.outlier_detection has no effect: upstreams[0].health.outlier_detection.enabled is false unless it is given"
    ),
    (#"{"bind_port": 1, "listeners": [{"host": "::1", "port": 2}]}"#, "t:1:15: warning: bind_port has no effect, because listeners is given"),
    (
      #"{"routes": [{"path": "/a*", "respond": {}}]}"#,
      "t:1:22: warning: routes[0].path \"/a*\" has a \"*\" that stands for itself: it is a wildcard only as the beginning of the last segment"
    ),
    (
      #"{"rate_limit": {"enabled": true, "zones": [{"name": "z", "rate": 1, "capacity": 1, "key_type": "client_ip", "applies_to": ["/x", "/api/*"]}]}}"#,
      "t:1:130: warning: rate_limit.zones[0].applies_to[1] \"/api/*\" is a prefix, in which \"*\" stands for itself: a prefix covers everything below it; did you mean \"/api\"?"
    ),
  ])
  func whatHasNoEffectIsSaid(text: String, message: String) throws { #expect(try loaded(text).warnings.map(\.warning) == [message]) }

  @Test(arguments: [
    #"{"tls": {"enabled": false, "cert_file": "/c"}}"#, #"{"tls": {}}"#, #"{"compression": {"gzip_level": 4}, "routes": [{"path": "/", "respond": {}, "compression": "on"}]}"#,
    #"{"routes": [{"path": "/a/*", "respond": {}}, {"path": "/b/*rest", "respond": {}}, {"path": "/c/:id([a-z]*)", "respond": {}}]}"#,
    #"{"http2": {"max_concurrent_streams": 5}}"#,
  ])
  func whatIsMeantSoIsNot(text: String) throws { #expect(try loaded(text).warnings.map(\.warning) == []) }

  @Test func aRouteCannotLogWhereNothingIsLogged() throws {
    func warnings(_ isEnabled: Bool, _ own: String) throws -> [String] {
      try loaded(#"{"access_log": {"enabled": \#(isEnabled)}, "routes": [{"path": "/", "respond": {}, "access_log": \#(own)}]}"#).warnings.map(\.warning)
    }
    let found = try warnings(false, "{}")
    #expect(found.count == 1 && found[0].hasSuffix("warning: routes[0].access_log has no effect while access_log.enabled is false"), "\(found)")
    #expect(try warnings(true, "{}").isEmpty && warnings(false, #"{"enabled": false}"#).isEmpty)
  }

  @Test func daemonRules() throws {
    #expect(try loaded("{}").daemonErrors()?.description == "t:1:1: error: log.file or log.syslog is required to run in the background\n")
    let relative = try loaded(#"{"log": {"file": "a.log"}, "access_log": {"enabled": true}}"#)
    #expect(relative.daemonErrors(pidFile: "x.pid")?.errors.count == 3)
    #expect(try loaded(#"{"log": {"file": "/a.log"}}"#).daemonErrors(pidFile: "/run/x") == nil)
    let syslog = try loaded(#"{"log": {"syslog": {}}, "access_log": {"enabled": true, "syslog": {"server": "udp:[::1]:514"}}}"#)
    #expect(syslog.daemonErrors(pidFile: "/run/x") == nil)
  }

  @Test func syslogRules() {
    #expect(errors(#"{"log": {"file": "/a.log", "syslog": {}}}"#) == ["t:1:38: error: log.syslog has no effect beside log.file: leave one of them out"])
    for server in ["unix:dev/log", "udp:127.0.0.1", "udp:127.0.0.1:0", "udp:::1:514", "udp:localhost:514", "tcp:127.0.0.1:514", "/dev/log", "udp:[::1]:514x"] {
      let found = errors("{\"access_log\": {\"syslog\": {\"server\": \"\(server)\"}}}")
      #expect(found.count == 1 && found[0].hasPrefix("t:1:38: error: access_log.syslog.server must "), "\(server): \(found)")
    }
    #expect(errors(#"{"log": {"syslog": {"tag": "a b"}}}"#).first?.contains("log.syslog.tag must be 1 to 48 letters") == true)
    #expect(errors(#"{"log": {"syslog": {"facility": "kern"}}}"#).count == 1)
  }
}
