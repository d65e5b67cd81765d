// Tests of templates, and of the fuzz entries on bytes of chance.

import HTTPModel
import Memory
import Plan
import Testing

@testable import Policy

/// A request as it is read, and what a template makes of it.
private struct Filled {
  var pattern = "/old/:id/*rest"
  var target = "/old/7/a/b?q=1"
  var fields: [String] = ["Host: example.com:8080"]
  var isSecure = false
  var capacity = 10_000
  var response = ""
  var facts: [(TemplateVariable, String)] = []

  /// Nil: refused.
  func text(_ source: String, _ kind: TemplateKind) throws -> String? {
    let route = RoutePlan(pattern: pattern, methods: .any, action: .redirect(RedirectPlan(to: "/")))
    let table = try RouteTable([route])
    var book = TemplateBook()
    let place = book.add(try Template(parsing: source, kind, captures: table.captureNames(ofRoute: 0)), kind, route: pattern)
    let line = "GET \(target) HTTP/1.1\r\n"
    let bytes = Array((line + fields.map { $0 + "\r\n" }.joined() + "\r\n").utf8)
    var head = RequestHead()
    let scan = head.scanFields(bytes.span, from: line.utf8.count)
    head.method = .get
    head.methodText = Extent(0..<3)
    head.flags = .version11
    head.target = Extent(4..<4 + target.utf8.count)
    let mark = Array(target.utf8).firstIndex(of: UInt8(ascii: "?")) ?? target.utf8.count
    head.path = Extent(4..<4 + mark)
    head.hasQuery = mark < target.utf8.count
    head.query = head.hasQuery ? Extent(4 + mark + 1..<4 + target.utf8.count) : .none
    for index in 0..<head.fieldCount where head.field(at: index).isNamed(.host) { head.host = head.field(at: index).value }
    if scan.outcome != .complete { head.host = .none }
    var captures = Captures(), told = TemplateFacts(capacity: 1000)
    let path = head.path.text(in: bytes.span)
    guard table.match(host: path, path: path, method: .get, captures: &captures) == .route(0) else { return nil }
    told.clear()
    told.isSecure = isSecure
    for (variable, value) in facts { told.tell(variable, Array(value.utf8).span) }
    var output = Buffer(capacity: capacity)
    let isDone = book.append(
      place, RequestView(head, of: bytes.span, path: path), &captures, &told, response: Array(response.utf8).span, to: &output)
    let result = PolicyTests.text(output.bytes)
    if !isDone { #expect(result.isEmpty) }
    return isDone ? result : nil
  }
}

@Suite struct TemplateTests {
  @Test(arguments: [
    ("https://{host}{uri}", "https://example.com:8080/old/7/a/b?q=1"), ("/new/{rest}{query}", "/new/a/b?q=1"), ("/{id}", "/7"), ("{path}", "/old/7/a/b"),
    ("/plain", "/plain"), ("{scheme}://www.{hostname}/", "http://www.example.com/"), ("/login?from={scheme}&{query_string}", "/login?from=http&q=1"),
    ("/{capture:id}/{query:q}?x={parameter:q}", nil), ("/{{{id}}}", "/{7}"), ("/x?{parameter:q}{parameter:none}", "/x?1"), ("/{method}", "/GET"),
    ("/x{original_path}", "/x/old/7/a/b"), ("/{header:x-none}", "/"),
  ])
  func redirects(_ template: String, _ expected: String?) throws {
    guard let expected else {
      #expect(throws: TemplateError.self) { try Filled().text(template, .redirect) }
      return
    }
    #expect(try Filled().text(template, .redirect) == expected)
  }

  @Test func schemeAndEmptyQuery() throws {
    #expect(try Filled(isSecure: true).text("{scheme}://www.{host}/", .redirect) == "https://www.example.com:8080/")
    #expect(try Filled(target: "/old/7/a/b").text("https://{host}{uri}", .redirect) == "https://example.com:8080/old/7/a/b")
    #expect(try Filled(fields: ["Host: [::1]:80"]).text("{hostname}", .requestField) == "[::1]")
  }

  @Test(arguments: [
    ("{client_ip}", "192.0.2.1"), ("{header:X-Two}", "a, b"), ("{header:HOST}", "example.com:8080"), ("{header:none}", ""), ("a {header:none} b", "a  b"),
    ("{cookie:uid}", "42"), ("{cookie:UID}", ""), ("{cookie:last}", "x"), ("{parameter:q}", "1"), ("{parameter:qq}", ""), ("{route}", "/old/:id/*rest"),
    ("{id}-{rest}", "7-a/b"), ("{protocol} {method} {uri}", "HTTP/1.1 GET /old/7/a/b?q=1"), ("{{}}", "{}"), ("é {tls_client_subject}", "é CN=a b"),
    ("{tls_client_fingerprint}", ""),
  ])
  func fields(_ template: String, _ expected: String) throws {
    var filled = Filled(fields: ["Host: example.com:8080", "X-Two: a", "Cookie: a=b; uid=42; uid=43", "x-two:  b ", "Cookie: last=x"])
    filled.facts = [(.clientAddress, "192.0.2.1"), (.tlsSubject, "CN=a b")]
    #expect(try filled.text(template, .requestField) == expected)
  }

  @Test func responses() throws {
    var filled = Filled(response: "X-A: 1\r\nx-a: 2\r\nSet-Cookie: a=b\r\n")
    filled.facts = [(.status, "404"), (.duration, "0.5")]
    #expect(try filled.text("{response_header:X-A} {status} {duration} {response_header:none}", .responseField) == "1, 2 404 0.5 ")
  }

  @Test func numbers() {
    var facts = TemplateFacts(capacity: 200)
    facts.clear()
    facts.tell(.duration, fixed: 1_000_001, digits: 6)
    facts.tell(.upstreamConnectTime, fixed: -1, digits: 6)
    facts.tell(.upstreamHeaderTime, fixed: 7, digits: 6)
    facts.tell(.time, fixed: 1_700_000_000_123, digits: 3)
    facts.tell(.attempts, decimal: 3)
    #expect(text(facts[.duration]) == "1.000001" && text(facts[.upstreamConnectTime]) == "" && text(facts[.upstreamHeaderTime]) == "0.000007")
    #expect(text(facts[.time]) == "1700000000.123" && text(facts[.attempts]) == "3" && text(facts[.clientAddress]) == "")
    facts.clear()
    #expect(text(facts[.attempts]) == "")
  }

  /// What a client may send to get a line of its own into a message: nothing of it is used.
  @Test(arguments: [
    "a\r\nSet-Cookie: x", "a\nX: y", "a\rb", "a\u{0}b", "\u{0}", "a\u{7f}", "a\u{1b}[0m", "\u{e9}", "\u{85}", "\u{2028}",
  ])
  func refusesToSplitTheField(_ value: String) throws {
    for (variable, template) in [(TemplateVariable.tlsSubject, "{tls_client_subject}"), (.tlsServerName, "x {tls_server_name} y")] {
      var filled = Filled()
      filled.facts = [(variable, value)]
      #expect(try filled.text(template, .requestField) == nil)
    }
    // A line that has ended is read as one.
    #expect(try Filled(fields: ["Host: \(value)"]).text("https://{host}/", .redirect) == (value.utf8.starts(with: "a\r\n".utf8) ? "https://a/" : nil))
    #expect(try Filled(response: "X-A: \(value)\r\n").text("{response_header:X-A}", .responseField) == (value.utf8.contains(0x0d) ? "a" : nil))
    #expect(try Filled(target: "/old/1/\(value)?q=\(value)").text("/{query}", .redirect) == nil)
    #expect(try Filled(target: "/old/1/\(value)").text("/{rest}", .redirect) == nil)
    #expect(try Filled(target: "/old/1/\(value)").text("/{rest}", .target) == nil)
    #expect(try Filled(target: "/old/1/\(value)").text("{rest}", .requestField) == nil)
  }

  /// Escapes stay what they are.
  @Test func escapesAreNotDecoded() throws {
    let filled = Filled(target: "/old/%0d%0aSet-Cookie:%20x/%00")
    #expect(try filled.text("{id}|{rest}", .responseField) == "%0d%0aSet-Cookie:%20x|%00")
    #expect(try filled.text("/{id}", .redirect) == "/%0d%0aSet-Cookie:%20x")
  }

  /// What comes from a request is no host, nor the end of one.
  @Test(arguments: [
    ("/{parameter:q}", "/evil.test"), ("/{parameter:q}", "//evil.test"), ("/{query_string}", nil), ("/{original_path}", nil), ("https://{parameter:q}.example.com/", "evil.test/"),
    ("https://{parameter:q}.example.com/", "a@evil.test"), ("https://{parameter:q}.example.com/", "evil.test:80"), ("https://{parameter:q}.example.com/", "evil.test%2f"),
    ("https://{rest}.example.com/", nil), ("http://a.{header:x}.example.com", nil), ("{scheme}://{parameter:q}.example.com/", "evil/"), ("//{parameter:q}.example.com", "evil/x"),
    ("https://example.com{parameter:q}", "@evil.test"),
  ])
  func redirectsStayAtTheirHost(_ template: String, _ value: String?) throws {
    let filled = Filled(target: "/old/7/evil.test/b?" + (value.map { "q=\($0)" } ?? "/evil.test"), fields: ["Host: example.com", "X: evil.test/"])
    #expect(try filled.text(template, .redirect) == nil)
  }

  @Test func redirectsMayHaveAPartOfAHostFromARequest() throws {
    let filled = Filled(target: "/old/7/b?q=a//b@c:d", fields: ["Host: example.com:8080"])
    #expect(try filled.text("https://{id}.example.com/{parameter:q}", .redirect) == "https://7.example.com/a//b@c:d")
    #expect(try filled.text("https://www.{host}{uri}", .redirect) == "https://www.example.com:8080/old/7/b?q=a//b@c:d")
    #expect(try filled.text("//cdn.example.com/{id}", .redirect) == "//cdn.example.com/7")
    #expect(try filled.text("https://example.com?x={parameter:q}", .redirect) == "https://example.com?x=a//b@c:d")
    #expect(try filled.text("/x/{parameter:q}", .redirect) == "/x/a//b@c:d")
  }

  @Test func hostIsNeededForARedirect() throws {
    #expect(try Filled(fields: []).text("https://{host}/", .redirect) == nil)
    #expect(try Filled(fields: []).text("{host}", .requestField) == "")
  }

  /// A value that is not of the path cannot begin a query or a fragment.
  @Test(arguments: ["a?b", "a#b", "a b", "a\"b", "a\\b"])
  func targets(_ value: String) throws {
    #expect(try Filled(fields: ["Host: h", "X-T: \(value)"]).text("/t/{header:x-t}/x", .target) == nil)
  }

  @Test func boundedBySpace() throws {
    #expect(try Filled(capacity: 10).text("{path}", .redirect) == "/old/7/a/b")
    #expect(try Filled(capacity: 9).text("{path}", .redirect) == nil)
    let long = String(repeating: "x", count: 5000)
    #expect(try Filled(fields: ["A: \(long)"]).text("{header:a}", .requestField) == long)
    #expect(try Filled(fields: ["A: \(long)"], capacity: 20_000).text("{header:a}{header:a}", .requestField) == nil)
  }

  @Test(arguments: [
    ("", 0), ("x", 0), ("//evil", -1), ("/{", 1), ("/{nope}", 1), ("/a b", 2), ("/\r", 1), ("ftp://x", 0), ("{host}/x", 0), ("/é", 1), ("/}", 1), ("/{status}", 1),
    ("/{header}", 1), ("/{header:}", 1), ("/{header:a b}", 1), ("/{upstream}", 1), ("/{capture:x}", 1), ("/{parameter:a=b}", 1), ("/{scheme:x}", 1),
  ])
  func refuses(_ template: String, _ offset: Int) {
    guard offset >= 0 else {
      // A template of the operator's own may name another authority.
      #expect(throws: Never.self) { try Template(parsing: template, .redirect, captures: []) }
      return
    }
    let error = #expect(throws: TemplateError.self) { try Template(parsing: template, .redirect, captures: ["id"]) }
    #expect(error?.offset == offset)
  }

  @Test(arguments: [("a\nb", 1), ("a\u{0}", 1), ("{status}", 0), ("{response_header:X}", 0), ("{", 0), ("x}", 1), ("{x}", 0)])
  func refusesInFields(_ template: String, _ offset: Int) {
    let error = #expect(throws: TemplateError.self) { try Template(parsing: template, .requestField, captures: ["id"]) }
    #expect(error?.offset == offset)
  }

  /// Every variable is named once, and can be used.
  @Test func everyVariableHasARow() throws {
    let rows = TemplateVariableRow.table
    #expect(Set(rows.map(\.name)).count == rows.count)
    #expect(Set(rows.map { $0.variable.rawValue }) == Set(TemplateVariable.allCases.filter { $0 != .literal }.map(\.rawValue)))
    for row in rows {
      let name = row.variable == .capture ? "id" : "x"
      _ = try Filled().text("{\(row.name)\(row.takesName ? ":" + name : "")}", .responseField)
    }
  }
}

@Suite struct FuzzEntryTests {
  @Test func chance() {
    var dice = Dice(5)
    let pieces = ["/", ":a", ":b", "*r", "(", ")", "[0-9]", "+", "*", "{2}", "|", "a", "é", "%2e", "..", "\0", "\0/", "/a/b", "\\d", "^", "$", "[", "]"]
    for _ in 0..<4_000 {
      var bytes = Array("/".utf8)
      for _ in 0..<dice.roll(14) { bytes += Array(dice.pick(pieces).utf8) }
      fuzzPattern(bytes.span)
      fuzzPath(bytes.span)
    }
    fuzzPattern([UInt8]().span)
    fuzzPath([UInt8]().span)
  }
}
