// Tests of web origins, of rewritten targets, and of what must not pass for either.

import Memory
import Testing

@testable import Policy

@Suite struct OriginRulesTests {
  private func allows(_ patterns: [String], _ origin: String) throws -> Bool {
    var book = OriginBook()
    _ = book.add([try OriginPattern(parsing: "https://other.test")])
    let part = book.add(try patterns.map { try OriginPattern(parsing: $0) })
    return book.allows(Array(origin.utf8).span, part)
  }

  @Test(arguments: [
    ("https://a.example", "https://a.example"), ("https://*.a.example", "https://x.a.example"), ("https://*.a.example", "https://x.y-z.a.example"),
    ("https://*.a.example:8443", "https://x.a.example:8443"), ("http://a.example:*", "http://a.example:1"), ("http://a.example:*", "http://a.example:65535"),
    ("http://a.example:*", "http://a.example"), ("http://*.a.example:*", "http://x.a.example:80"), ("null", "null"), ("*", "anything"), ("http://[::1]:3000", "http://[::1]:3000"),
    ("capacitor://localhost", "capacitor://localhost"), ("http://a_b.example", "http://a_b.example"),
  ])
  func admitted(_ pattern: String, _ origin: String) throws { #expect(try allows([pattern], origin)) }

  @Test(arguments: [
    "", "https://", "https://other.test", "https://a.example:443", "https://a.example/", "https://a.example.", "https://A.example", "http://a.example", "https://xa.example", "https://a.example.x",
    "https://b.example", "https://.b.example", "https://x..b.example", "https://x.b.example:1", "https://x.b.example.", "https://x/.b.example", "https://x@.b.example", "https://x:1.b.example",
    "https://x%.b.example", "https://x .b.example", "https://X.b.example", "https://xb.example", "https://é.b.example", "http://c.example:", "http://c.example:x", "http://c.example:1:1", "http://c.example:123456",
    "http://xc.example:1", "null", "Null", "https://*.b.example", "http://c.example:*",
  ])
  func refused(_ origin: String) throws { #expect(try !allows(["https://a.example", "https://*.b.example", "http://c.example:*"], origin)) }

  @Test(arguments: [
    "", "a.example", "https:/a", "//a.example", "https://", "https://*", "https://*.", "https://a.*.example", "https://**.example", "https://a.example/", "https://a.example?", "https://a@b", "https://a.example:0",
    "https://a.example:443", "http://a.example:80", "https://a.example:08443", "https://a.example:+1", "https://a.example:99999", "https://a.example:", "https://a..example", "https://a.example.", "HTTPS://a.example",
    "https://a example", "https://é.example", "1://a", "https://[::1", "https://[]", "**", "NULL",
  ])
  func isNone(_ text: String) { #expect(throws: OriginError.self) { try OriginPattern(parsing: text) } }
}

@Suite struct RewrittenTargetTests {
  private func normalised(_ target: String, capacity: Int = 200) -> String? {
    var buffer = Buffer(capacity: capacity), scratch = Buffer(capacity: 600)
    buffer.append(Array(target.utf8).span)
    return normaliseRewritten(&buffer, scratch: &scratch) ? text(buffer.bytes) : nil
  }

  @Test(arguments: [
    ("/", "/"), ("/a/b", "/a/b"), ("/a?b", "/a?b"), ("/a//b", "/a/b"), ("/%7ea?%7e/../x", "/~a?%7e/../x"), ("/a%c3", "/a%C3"), ("/...", "/..."), ("/a..b/.x/x.", "/a..b/.x/x."), ("/a?/..", "/a?/.."), ("/?", "/?"),
  ])
  func accepted(_ target: String, _ expected: String) { #expect(normalised(target) == expected) }

  @Test(arguments: [
    "", "a", "?", "?/", "/..", "/.", "/../", "/a/..", "/a/../b", "/a/./b", "/%2e%2E/b", "/a/.%2e", "/%2e", "/a/%2e./b?x", "/a%2fb", "/a%5cb", "/a\\b", "/%00", "/%0d%0a", "/%", "/%zz", "/a b", "/..;/a", "/a\r\n", "/a\u{0}",
  ])
  func refused(_ target: String) { #expect(normalised(target) == nil) }
}
