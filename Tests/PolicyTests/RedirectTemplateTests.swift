// Tests of redirect templates, and of the fuzz entries on bytes of chance.

import Memory
import Plan
import Testing

@testable import Policy

@Suite struct RedirectTemplateTests {
  func location(
    _ template: String, pattern: String = "/old/:id/*rest", path: String = "/old/7/a/b", host: String = "example.com:8080", query: String = "?q=1",
    isSecure: Bool = false, capacity: Int = 200
  ) throws -> String? {
    let table = try RouteTable([RoutePlan(pattern: pattern, methods: .any, action: .redirect(RedirectPlan(to: template)))])
    let template = try RedirectTemplate(parsing: template, captures: table.captureNames(ofRoute: 0))
    var captures = Captures(), output = Buffer(capacity: capacity)
    let bytes = Array(path.utf8)
    guard table.match(host: bytes.span, path: bytes.span, method: .get, captures: &captures) == .route(0) else { return nil }
    guard template.append(to: &output, isSecure: isSecure, host: Array(host.utf8).span, path: bytes.span, query: Array(query.utf8).span, captures: captures) else {
      let isUntouched = output.isEmpty
      #expect(isUntouched)
      return nil
    }
    return text(output.bytes)
  }

  @Test func fillsIn() throws {
    #expect(try location("https://{host}{uri}") == "https://example.com:8080/old/7/a/b?q=1")
    #expect(try location("https://{host}{uri}", query: "") == "https://example.com:8080/old/7/a/b")
    #expect(try location("/new/{rest}{query}") == "/new/a/b?q=1")
    #expect(try location("/{id}") == "/7")
    #expect(try location("{path}") == "/old/7/a/b")
    #expect(try location("/plain") == "/plain")
    #expect(try location("{scheme}://www.{host}/") == "http://www.example.com:8080/")
    #expect(try location("{scheme}://www.{host}/", isSecure: true) == "https://www.example.com:8080/")
    #expect(try location("/login?from={scheme}", isSecure: true) == "/login?from=https")
  }

  @Test func refusesToSplitTheField() throws {
    #expect(try location("https://{host}/", host: "a\r\nSet-Cookie: x") == nil)
    #expect(try location("https://{host}/", host: "a b") == nil)
    #expect(try location("/{query}", query: "?\n") == nil)
    #expect(try location("/{rest}", path: "/old/1/\r\n") == nil)
    #expect(try location("https://{host}/", host: "") == nil)
  }

  @Test func boundedBySpace() throws {
    #expect(try location("{path}", capacity: 10) == "/old/7/a/b")
    #expect(try location("{path}", capacity: 9) == nil)
  }

  @Test(arguments: [("", 0), ("x", 0), ("//evil", -1), ("/{", 1), ("/{nope}", 1), ("/a b", 2), ("/\r", 1), ("ftp://x", 0), ("{host}/x", 0), ("/é", 1), ("/}", 1)])
  func refuses(_ template: String, _ offset: Int) {
    guard offset >= 0 else {
      // A template of the operator's own may name another authority.
      #expect(throws: Never.self) { try RedirectTemplate(parsing: template, captures: []) }
      return
    }
    let error = #expect(throws: RedirectTemplateError.self) { try RedirectTemplate(parsing: template, captures: ["id"]) }
    #expect(error?.offset == offset)
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
