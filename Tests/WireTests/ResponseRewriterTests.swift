// ResponseRewriterTests — addresses in response heads, and the Keep-Alive field.

import HTTPModel
import Memory
import Testing
import Wire

@Suite struct ResponseRewriterTests {
  /// The value of the field `name: value` after rewriting.
  private func rewritten(_ field: String, prefix: String = "/api", authority: String = "backend.test:9001", location: Bool = true, cookiePath: Bool = true) -> String {
    let text = Array("HTTP/1.1 302 Found\r\nServer: x\r\n\(field)\r\nContent-Length: 0\r\n\r\n".utf8)
    var head = ResponseHead()
    var parser = ResponseParser()
    guard case .complete = parser.parse(text.span, into: &head) else { return "not a head" }
    let prefix = Array(prefix.utf8), authority = Array(authority.utf8)
    var output = Buffer(capacity: ResponseRewriter.capacity(head, of: text.span, prefix: prefix.span))
    let rewriter = ResponseRewriter(location: location, cookiePath: cookiePath)
    rewriter.rewrite(head, of: text.span, prefix: prefix.span, authority: authority.span, into: &output)
    var result: [UInt8] = []
    let bytes = output.bytes
    for index in bytes.indices { result.append(bytes[index]) }
    let lines = String(decoding: result, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
    guard lines.count == 6, lines[0] == "HTTP/1.1 302 Found", lines[1] == "Server: x", lines[3] == "Content-Length: 0" else { return "\(lines)" }
    return String(lines[2])
  }

  @Test(arguments: [
    ("/login", "/api/login"), ("/", "/api/"), ("/a?b=/c#d", "/api/a?b=/c#d"), ("login", "login"), ("?a", "?a"), ("../x", "../x"),
    ("http://backend.test:9001/login", "/api/login"), ("HTTPS://Backend.TEST:9001/login", "/api/login"), ("http://backend.test:9001", "/api/"),
    ("http://backend.test:9001?a", "/api/?a"), ("//backend.test:9001/x", "/api/x"), ("http://backend.test/login", "http://backend.test/login"),
    ("http://elsewhere.test/x", "http://elsewhere.test/x"), ("//elsewhere.test/x", "//elsewhere.test/x"), ("/\\elsewhere.test", "/\\elsewhere.test"),
    ("http://backend.test:9001.evil.test/", "http://backend.test:9001.evil.test/"), ("mailto:a@b", "mailto:a@b"), ("http://", "http://"),
  ])
  func locations(value: String, expected: String) {
    #expect(rewritten("Location: \(value)") == "Location: \(expected)")
    #expect(rewritten("Location: \(value)", location: false) == "Location: \(value)")
  }

  @Test func withoutAPrefixOnlyTheBackendsNameGoes() {
    #expect(rewritten("Location: http://backend.test:9001/x", prefix: "") == "Location: /x")
    #expect(rewritten("Location: /x", prefix: "") == "Location: /x")
    #expect(rewritten("Location: http://backend.test:9001//evil.test/x", prefix: "") == "Location: http://backend.test:9001//evil.test/x")
  }

  @Test func aPrefixThatWouldBeAHostIsNotPutBefore() {
    #expect(rewritten("Location: /x", prefix: "//evil.test") == "Location: /x")
  }

  @Test(arguments: [
    ("a=b; Path=/", "a=b; Path=/api"), ("a=b; Path=/x", "a=b; Path=/api/x"), ("a=b;path=/x; Secure", "a=b;path=/api/x; Secure"),
    ("a=b; PATH = /x ; HttpOnly", "a=b; PATH = /api/x ; HttpOnly"), ("a=b; Path=/ ; Secure", "a=b; Path=/api; Secure"), ("a=b", "a=b"), ("a=b; Path=", "a=b; Path="),
    ("a=b; Path=x", "a=b; Path=x"), ("Path=/x; Secure", "Path=/x; Secure"), ("a=b; Pathology=/x", "a=b; Pathology=/x"),
    ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"), ("a=b; Path=/x; Path=/y;", "a=b; Path=/api/x; Path=/api/y;"), (";Path=/", ";Path=/api"),
  ])
  func cookies(value: String, expected: String) {
    #expect(rewritten("Set-Cookie: \(value)") == "Set-Cookie: \(expected)")
    #expect(rewritten("Set-Cookie: \(value)", cookiePath: false) == "Set-Cookie: \(value)")
    #expect(rewritten("Set-Cookie: \(value)", prefix: "/a;b") == "Set-Cookie: \(value)")
  }

  /// Whatever the fields are, the head stays a head, and fits.
  @Test func manyShortFieldsFit() {
    var text = "HTTP/1.1 200 OK\r\n"
    for _ in 0..<90 { text += "set-cookie: ;path=/;path=/;path=/\r\n" }
    text += "\r\n"
    let bytes = Array(text.utf8), prefix = Array(("/" + String(repeating: "p", count: 2000)).utf8)
    var head = ResponseHead()
    var parser = ResponseParser()
    guard case .complete = parser.parse(bytes.span, into: &head) else {
      Issue.record("not a head")
      return
    }
    var output = Buffer(capacity: ResponseRewriter.capacity(head, of: bytes.span, prefix: prefix.span))
    ResponseRewriter(location: true, cookiePath: true).rewrite(head, of: bytes.span, prefix: prefix.span, authority: Span(), into: &output)
    let length = output.count
    var again = ResponseParser()
    guard case .complete(length) = again.parse(output.bytes, into: &head) else {
      Issue.record("not a head any more")
      return
    }
  }

  @Test(arguments: [
    ("timeout=5", 5), ("timeout=5, max=100", 5), ("max=100, Timeout=75", 75), (" timeout=1 ,max=2", 1), ("timeout=0", 0), ("timeout=12345678", 12_345_678),
    ("max=100", nil), ("", nil), (",", nil), ("timeout=", nil), ("timeout=x", nil), ("timeout=5s", nil), ("timeout=-1", nil), ("timeout=123456789", nil), ("timeout", nil),
  ] as [(String, Int64?)])
  func keepAlive(value: String, seconds: Int64?) { #expect(KeepAlive.timeout(in: value.utf8Span.span) == seconds) }
}
