// FieldValueTests — numbers, lists, hosts and preferences in field values; the searches under them.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct FieldValueTests {
  @Test(arguments: [("0", 0), ("7", 7), ("007", 7), ("42", 42), ("999999999999999999", 999_999_999_999_999_999), ("000000000000000001", 1)])
  func decimals(_ text: String, _ value: Int) {
    #expect(bytes(text).span.decimal == value)
  }

  @Test(arguments: ["", " ", "-1", "+1", "1 ", " 1", "1,1", "0x1", "1e3", "1.0", "\u{661}", "1000000000000000000", "0000000000000000001"])
  func noDecimals(_ text: String) {
    #expect(bytes(text).span.decimal == nil)
  }

  @Test(arguments: [
    ("a", ["a"]), ("a, b", ["a", "b"]), (" a ,\tb,,c ", ["a", "b", "c"]), ("", []), (",", []), ("keep-alive,X-A", ["keep-alive", "X-A"]),
  ] as [(String, [String])])
  func lists(_ value: String, _ tokens: [String]) {
    var found: [String] = []
    bytes(value).span.forEachToken { found.append(text($0)) }
    #expect(found == tokens)
    for token in tokens { #expect(holds(bytes(value).span.listContains(bytes(token.uppercased()).span))) }
    #expect(holds(!bytes(value).span.listContains(bytes("zz").span)))
    #expect(holds(!bytes(value).span.listContains(bytes("keep").span)))
  }

  @Test func comparisonsWithoutCase() {
    #expect(holds(bytes("Keep-ALIVE").span.equalsIgnoringCase(bytes("kEEP-alive").span)))
    #expect(holds(!bytes("[").span.equalsIgnoringCase(bytes("{").span)))
    #expect(holds(!bytes("a").span.equalsIgnoringCase(bytes("ab").span)))
    #expect(holds(Span<UInt8>().equalsIgnoringCase(Span())))
  }

  private func request(accept: [String]) -> Bool {
    let bytes = bytes("GET / HTTP/1.1\r\nHost: h\r\n" + accept.map { "Accept: \($0)\r\n" }.joined() + "\r\n")
    var head = RequestHead()
    var parser = RequestParser()
    _ = parser.parse(bytes.span, into: &head)
    return head.prefersJSON(in: bytes.span)
  }

  @Test func preferenceForJSON() {
    #expect(request(accept: ["application/json"]) && request(accept: ["Application/JSON; charset=utf-8"]) && request(accept: ["*/*, application/json"]))
    #expect(request(accept: ["application/problem+json"]) && request(accept: ["image/png", " application/json "]))
    for accept in [[], ["*/*"], [""], ["text/html"], ["application/jsonx"], ["x-application/json"], ["application/json;q=0"]] {
      #expect(!request(accept: accept), "\(accept)")
    }
  }

  @Test func textIsPreferredWhenItsQualityIsHigher() {
    #expect(request(accept: ["text/html, application/json"]) && request(accept: ["application/json", "text/plain"]))
    #expect(request(accept: ["text/html;q=0.5, application/json; q=0.6"]) && request(accept: ["text/*; q=0.899,application/json;q=0.9"]))
    #expect(!request(accept: ["text/html, application/json;q=0.9"]) && !request(accept: ["application/json;q=0.5", "text/plain;q=0.501"]))
  }

  private func response(_ fields: String) -> (isEventStream: Bool, isUnbuffered: Bool) {
    let bytes = bytes("HTTP/1.1 200 OK\r\n\(fields)\r\n")
    var head = ResponseHead()
    var parser = ResponseParser()
    _ = parser.parse(bytes.span, into: &head)
    let list = head.headers(in: bytes.span)
    return (list.isEventStream, list.asksForNoBuffering)
  }

  @Test func streams() {
    #expect(response("Content-Type: text/event-stream\r\n").isEventStream)
    #expect(response("Content-Type: Text/Event-Stream; charset=utf-8\r\n").isEventStream)
    #expect(!response("Content-Type: text/plain\r\n").isEventStream && !response("").isEventStream && !response("Content-Type:\r\n").isEventStream)
    #expect(response("X-Accel-Buffering: No\r\n").isUnbuffered)
    #expect(!response("X-Accel-Buffering: yes\r\n").isUnbuffered && !response("").isUnbuffered)
  }

  @Test func allowedMethods() {
    var output = Buffer(capacity: 80)
    output.append(MethodSet.any)
    #expect(holds(text(output.bytes) == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE"))
    output.removeAll()
    output.append(MethodSet(.put).union(MethodSet(.get)))
    #expect(holds(text(output.bytes) == "GET, PUT"))
    output.removeAll()
    output.append(MethodSet())
    #expect(holds(output.isEmpty))
  }
}

@Suite struct SearchTests {
  private static let tokens = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

  private func first(_ bytes: [UInt8], from start: Int, _ stops: (UInt8) -> Bool) -> Int {
    bytes[start...].firstIndex(where: stops) ?? bytes.count
  }

  private func compareTarget(_ text: [UInt8], from start: Int) {
    let target = text.span.target(from: start)
    #expect(Int(target.end) == first(text, from: start) { $0 <= 0x20 || $0 == 0x7f })
    #expect(Int(target.mark) == first(text, from: start) { $0 <= 0x20 || $0 == 0x7f || $0 == 0x3f || $0 == 0x23 })
  }

  private func compare(_ text: [UInt8]) {
    for start in 0...text.count {
      let nonToken = text.span.firstNonToken(from: start)
      let control = text.span.firstControl(from: start)
      #expect(nonToken == first(text, from: start) { !Self.tokens.utf8.contains($0) })
      compareTarget(text, from: start)
      #expect(control == first(text, from: start) { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7f })
    }
  }

  @Test func everyByteAtEveryPlace() {
    for length in [1, 2, 15, 16, 17, 33] {
      for byte in UInt8.min...UInt8.max {
        for place in Set([0, 1, 7, 14, 15, 16, 17, 31, 32]) where place < length {
          var text = [UInt8](repeating: 0x61, count: length)
          text[place] = byte
          let start = min(place, 1)
          #expect(text.span.firstNonToken(from: start) == first(text, from: start) { !Self.tokens.utf8.contains($0) })
          compareTarget(text, from: start)
          #expect(text.span.firstControl(from: start) == first(text, from: start) { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7f })
        }
      }
    }
  }

  @Test(arguments: 1...50)
  func randomTexts(_ seed: UInt64) {
    var dice = Dice(seed)
    compare((0..<dice.roll(70)).map { _ in dice.roll(12) == 0 ? UInt8(dice.roll(256)) : UInt8(0x61 + dice.roll(26)) })
  }

  @Test func pathsInNormalForm() {
    let regular = ["/", "/a", "/a.b", "/.well-known/x", "/a/b/c/d/e/f/g/h/i/j", "/0123456789abcde", "/a...", "/:@!$&'()*+,;=~_-", "/a/.../b"]
    let irregular = ["", "a", "*", "//", "/a//b", "/.", "/a/..", "/a/./b", "/%41", "/a|b", "/0123456789abcd//", "/0123456789abcde/./x", "/\u{e9}", "http://h/"]
    for tail in [" HTTP/1.1", "?q=//", " ", ""] {
      for path in regular { #expect(Array((path + tail).utf8).span.target(from: 0).is_regular == 1, "\(path)") }
      for path in irregular { #expect(Array((path + tail).utf8).span.target(from: 0).is_regular == 0, "\(path)") }
    }
  }

  @Test func nothing() {
    let none = Span<UInt8>()
    let found = [none.firstNonToken(from: 0), Int(none.target(from: 0).end), none.firstControl(from: 0)]
    #expect(found == [0, 0, 0])
  }
}
