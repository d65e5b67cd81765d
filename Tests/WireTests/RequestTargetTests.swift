// RequestTargetTests — the forms of a request target (RFC 9112 §3.2) and their parts.

import HTTPModel
import Testing

@testable import Wire

@Suite struct RequestTargetTests {
  @Test(arguments: [
    ("/", "/", nil), ("/a", "/a", nil), ("/a/b/", "/a/b/", nil), ("/?", "/", ""), ("/a?b", "/a", "b"), ("/a?b?c=?", "/a", "b?c=?"), ("//", "//", nil),
    ("/a//b/../c", "/a//b/../c", nil), ("/%41%zz", "/%41%zz", nil), ("/:;,@&=+$!*'()", "/:;,@&=+$!*'()", nil), ("/\u{e9}?\u{e9}", "/\u{e9}", "\u{e9}"),
    ("/\"<>\\^`{|}", "/\"<>\\^`{|}", nil), ("/a-path-that-is-longer-than-sixteen-bytes?and-a-query-that-is-too", "/a-path-that-is-longer-than-sixteen-bytes", "and-a-query-that-is-too"),
    ("/http://x", "/http://x", nil), ("/*", "/*", nil),
  ] as [(String, String, String?)])
  func originForm(_ target: String, _ path: String, _ query: String?) {
    let head = parseRequest("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n").head
    #expect(head.target == target && head.path == path && head.query == query && head.host == "h" && !head.flags.contains(.absoluteForm))
  }

  @Test(arguments: [
    ("http://a", "a", "", nil), ("http://a/", "a", "/", nil), ("http://a?b", "a", "", "b"), ("http://a/b?c", "a", "/b", "c"), ("HTTP://A:1/b", "A:1", "/b", nil),
    ("https://a.example:443/x/y?z", "a.example:443", "/x/y", "z"), ("hTTps://[::1]:8/?", "[::1]:8", "/", ""), ("http://a/http://b", "a", "/http://b", nil),
  ] as [(String, String, String, String?)])
  func absoluteForm(_ target: String, _ host: String, _ path: String, _ query: String?) {
    let head = parseRequest("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n").head
    #expect(head.target == target && head.host == host && head.path == path && head.query == query && head.flags.contains(.absoluteForm))
  }

  /// The authority of an absolute target stands in for Host, wherever Host stands (RFC 9112 §3.2.2).
  @Test func theAuthorityWins() {
    #expect(parseRequest("GET http://a/ HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n").head.host == "a")
    #expect(parseRequest("GET http://a/ HTTP/1.0\r\n\r\n").head.host == "a")
  }

  /// Wherever the mark stands, and whatever stands behind the target.
  @Test func queriesAtEveryPlace() {
    for length in 1...50 {
      for place in 1...length {
        var target = [UInt8](repeating: 0x61, count: length)
        target[0] = 0x2f
        if place < length { target[place] = 0x3f }
        let text = String(decoding: target, as: UTF8.self)
        let head = parseRequest("GET \(text) HTTP/1.1\r\nHost: h\r\nX: ?#\r\n\r\n").head
        #expect(head.path.utf8.count == place && head.query?.utf8.count == (place < length ? length - place - 1 : nil), "\(text)")
        guard place < length else { continue }
        target[place] = 0x23
        #expect(parseRequest(bytes("GET ") + target + bytes(" HTTP/1.1\r\nHost: h\r\n\r\n")).outcome == .rejected(.httpRequestError))
      }
    }
  }

  @Test func asteriskForm() {
    let head = parseRequest("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").head
    #expect(head.path == "*" && head.query == nil && head.host == "h")
    #expect(parseRequest("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n").head.path == "/")
  }

  @Test(arguments: [
    "a", "*", "?", "#", "a:80", ".", "..", "http:", "http:/a", "http:/", "http://", "https://", "http://?", "http:///", "htp://a", "httpss://a", "://a", "http://a b",
    "http://a#b", "http://a/#", "/#", "/a?#", "/a#?", "/a?b?c#d", "http://a@b/", "http://a,b/", "http://[::1/", "http://a:b/", "ws://a/", "\\", "\u{e9}",
  ])
  func others(_ target: String) {
    #expect(parseRequest("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n").outcome == .rejected(.httpRequestError))
  }

  @Test func anyByteInATarget() {
    for byte in UInt8.min...UInt8.max {
      let text = bytes("GET /a") + [byte] + bytes("b HTTP/1.1\r\nHost: h\r\n\r\n")
      let isRefused = byte <= 0x20 || byte == 0x7f || byte == 0x23
      #expect(parseRequest(text).outcome == (isRefused ? .rejected(.httpRequestError) : .complete(text.count)), "\(byte)")
    }
  }
}
