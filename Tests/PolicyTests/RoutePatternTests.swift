// Tests of the pattern language: what a pattern is taken apart into, and every reason to refuse one.

import Testing

@testable import Policy

@Suite struct RoutePatternTests {
  @Test func takesApart() throws {
    let pattern = try RoutePattern(parsing: "/users/:id([0-9]+)/files/*path")
    #expect(pattern.segments == [
      .text(Array("users".utf8)), .parameter(name: "id", constraint: try SegmentConstraint("[0-9]+")), .text(Array("files".utf8)), .rest(name: "path"),
    ])
    #expect(pattern.captureNames == ["id", "path"])
    #expect(pattern.endsInCatchAll && !pattern.isLiteral)
  }

  @Test func smallPatterns() throws {
    #expect(try RoutePattern(parsing: "/").segments == [.text([])])
    #expect(try RoutePattern(parsing: "/a/").segments == [.text(Array("a".utf8)), .text([])])
    #expect(try RoutePattern(parsing: "/*").segments == [.rest(name: nil)])
    #expect(try RoutePattern(parsing: "/:a").segments == [.parameter(name: "a", constraint: nil)])
    #expect(try RoutePattern(parsing: "*").isLiteral)
    #expect(try RoutePattern(parsing: "a:b*c").segments == [.text(Array("a:b*c".utf8))])
    #expect(try RoutePattern(parsing: "/a:b*c(d)").segments == [.text(Array("a:b*c(d)".utf8))])
    #expect(try RoutePattern(parsing: "/:_x9").captureNames == ["_x9"])
  }

  @Test(arguments: [("/café", "/caf%c3%A9"), ("/a b".replacing(" ", with: "%20"), "/a%20b"), ("/%61", "/a"), ("/{x}", "/%7bx%7D")])
  func staticTextIsNormalised(_ one: String, _ other: String) throws {
    #expect(try RoutePattern(parsing: one).segments == RoutePattern(parsing: other).segments)
  }

  @Test(arguments: ["/:a([)(]+)", "/:a(\\)\\()", "/:a((b|(c))d)", "/:a([^/]+)/b", "/:a(x[\\])]y)"])
  func findsTheEndOfAConstraint(_ pattern: String) throws {
    #expect(throws: Never.self) { try RoutePattern(parsing: pattern) }
  }

  @Test(arguments: [
    ("", 0, "empty"), ("/a//b", 3, "//"), ("//", 1, "//"), ("/:", 2, "no name"), ("/:/a", 2, "no name"), ("/:(a)", 2, "no name"), ("/:1a", 2, "begins with"),
    ("/:-", 2, "begins with"), ("/:id.json", 4, "text after"), ("/:id(a)x", 7, "text after"), ("/:a/:a", 5, "twice"), ("/:a/*a", 5, "twice"),
    ("/*a/b", 1, "last"), ("/*/b", 1, "last"), ("/*a/", 1, "last"), ("/*1", 2, "begins with"), ("/*a.b", 3, "text after"), ("/*a(b)", 3, "text after"),
    ("/:a()", 4, "empty"), ("/:a(b", 3, "no \")\""), ("/:a([)", 3, "no \")\""), ("/:a(b\\)", 3, "no \")\""), ("/:a(b\\", 3, "no \")\""), ("/:a(b**)", 6, "repetition"),
    ("/x/:a(\\1)", 6, "back-references"), ("/a?b", 2, "query"), ("/a#", 2, "query"), ("/a b", 2, "%20"), ("/a\\b", 2, "backslash"), ("/%", 1, "hexadecimal"),
    ("/%2", 1, "hexadecimal"), ("/a%2f", 2, "refused"), ("/.", 1, "never reaches"), ("/a/..", 3, "never reaches"), ("/%2e%2e/a", 1, "never reaches"),
    ("/..;a", 1, "never reaches"), ("a b", 1, "literal"), ("é", 0, "literal"),
  ])
  func refuses(_ source: String, _ offset: Int, _ reason: String) {
    let error = #expect(throws: RoutePatternError.self) { try RoutePattern(parsing: source) }
    #expect(error?.offset == offset, "\(source): \(error?.message ?? "")")
    #expect(error?.message.contains(reason) == true, "\(source): \(error?.message ?? "")")
  }

  @Test func bounds() {
    #expect(throws: Never.self) { try RoutePattern(parsing: String(repeating: "/a", count: 64)) }
    #expect(throws: RoutePatternError.self) { try RoutePattern(parsing: String(repeating: "/a", count: 65)) }
    #expect(throws: RoutePatternError.self) { try RoutePattern(parsing: "/" + String(repeating: "a", count: 8_192)) }
  }
}
