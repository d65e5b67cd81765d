// RequestTests — which requests are taken, in which shape, and which are malformed (RFC 9113 §8).

import Testing

@testable import HTTP2

@Suite struct RequestTests {
  private static let protocolError = "stream error 1 1"

  /// What the session makes of one request on stream 1.
  private func events(_ frames: [UInt8], _ settings: SessionSettings = SessionSettings()) throws -> [String] {
    let talk = try Talk(settings)
    return talk.receive(preface + frames)
  }

  @Test func aRequestHasTheShapeOfHTTP1() throws {
    let events = try events(headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), (":authority", "host:80"), ("accept", "*/*"), ("x-a", "")]))
    #expect(events == ["request 1 ends GET /a?b host:80 none | host: host:80 | accept: */* | x-a: "])
  }

  @Test func pseudoHeadersMayStandInAnyOrder() throws {
    let fields: [Field] = [(":path", "/a?b"), (":authority", "host"), (":scheme", "http"), (":method", "DELETE")]
    #expect(try events(headers(1, fields)) == ["request 1 ends DELETE /a?b host none | host: host"])
    #expect(try events(headers(1, [fields[3], fields[0], fields[1], fields[2]])) == ["request 1 ends DELETE /a?b host none | host: host"])
  }

  @Test func hostMayStandInForAuthority() throws {
    let events = try events(headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "one")]))
    #expect(events == ["request 1 ends GET / one none | host: one"])
  }

  @Test(arguments: [
    ("http", "a", "A"), ("http", "a", "a:80"), ("https", "a:443", "a"), ("http", "[::1]:80", "[::1]"), ("http", "[::1]", "[::1]"), ("other", "a:1", "a:1"),
  ])
  func sameHostTwiceIsOne(_ scheme: String, _ authority: String, _ host: String) throws {
    let events = try events(headers(1, [(":method", "GET"), (":scheme", scheme), (":path", "/"), (":authority", authority), ("host", host)]))
    #expect(events == ["request 1 ends GET / \(authority) none | host: \(authority)"])
  }

  @Test func bodiesAndTrailers() throws {
    let start: [Field] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test")]
    #expect(
      try events(headers(1, start, ends: false) + data(1, Array("ab".utf8)) + data(1, Array("c".utf8), ends: true)) == [
        "request 1 POST / test chunked | host: test", "data 1 ab", "data 1 c", "end 1",
      ])
    #expect(
      try events(headers(1, start + [("content-length", "2")], ends: false) + data(1, Array("ab".utf8)) + headers(1, [("x-sum", "1")])) == [
        "request 1 POST / test length(2) | host: test | content-length: 2", "data 1 ab", "trailers 1 x-sum: 1\r\n",
      ])
    #expect(try events(headers(1, start, ends: false) + headers(1, [])).last == "end 1")
  }

  @Test func cookiesAreJoined() throws {
    let cookies: [Field] = [("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3"), ("cookie", "d=4")]
    #expect(try events(headers(1, plainGet + cookies)) == ["request 1 ends GET / test none | host: test | cookie: a=1; b=2; c=3; d=4 | x: y"])
  }

  @Test func aSectionInPiecesIsTheSame() throws {
    let fields = plainGet + [("x-long", String(repeating: "v", count: 300)), ("cookie", "a=1"), ("cookie", "b=2")]
    let payload = block(fields)
    let whole = try events(headers(1, fields))
    for cut in [0, 1, 40, payload.count - 1] {
      let frames = Frame(type: Frame.headers, flags: Frame.endStream, stream: 1, payload: Array(payload[..<cut])).bytes
        + Frame(type: Frame.continuation, flags: Frame.endHeaders, stream: 1, payload: Array(payload[cut...])).bytes
      #expect(try events(frames) == whole)
      // One byte at a time, so that the section is put away between any two.
      let talk = try Talk()
      var events: [String] = []
      for byte in preface + frames { events += talk.receive([byte]) }
      #expect(events == whole)
    }
  }

  @Test func manySectionsInOneReadAreTakenInTurns() throws {
    let talk = try Talk()
    var bytes = preface
    for stream in 0..<90 { bytes += headers(UInt32(2 * stream + 1), plainGet + [("x-number", "\(stream)")]) }
    let events = talk.receive(bytes)
    #expect(events.count == 90)
    for (stream, event) in events.enumerated() { #expect(event == "request \(2 * stream + 1) ends GET / test none | host: test | x-number: \(stream)") }
  }

  /// Name of the case, fields of the request.
  static let malformed: [(String, [Field])] = [
    ("no method", [(":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ("no scheme", [(":method", "GET"), (":path", "/"), (":authority", "a")]),
    ("no path", [(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
    ("no host", [(":method", "GET"), (":scheme", "http"), (":path", "/")]),
    ("empty path", [(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")]),
    ("empty authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "")]),
    ("empty method", [(":method", ""), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ("method with a blank", [(":method", "GET /x HTTP/1.1"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ("path with a blank", [(":method", "GET"), (":scheme", "http"), (":path", "/a b"), (":authority", "a")]),
    ("path with CR LF", [(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y"), (":authority", "a")]),
    ("path with NUL", [(":method", "GET"), (":scheme", "http"), (":path", "/\u{0}"), (":authority", "a")]),
    ("path with a tab", [(":method", "GET"), (":scheme", "http"), (":path", "/\t"), (":authority", "a")]),
    ("path with a fragment", [(":method", "GET"), (":scheme", "http"), (":path", "/a#b"), (":authority", "a")]),
    ("absolute path", [(":method", "GET"), (":scheme", "http"), (":path", "http://b/"), (":authority", "a")]),
    ("relative path", [(":method", "GET"), (":scheme", "http"), (":path", "a"), (":authority", "a")]),
    ("relative path, other scheme", [(":method", "GET"), (":scheme", "ftp"), (":path", "a"), (":authority", "a")]),
    ("asterisk with GET", [(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")]),
    ("scheme with a blank", [(":method", "GET"), (":scheme", "ht tp"), (":path", "/"), (":authority", "a")]),
    ("authority with a user", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "u@a")]),
    ("authority with a path", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a/b")]),
    ("authority with CR LF", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a\r\nx: y")]),
    ("duplicate path", plainGet + [(":path", "/")]),
    ("duplicate authority", [(":authority", "b")] + plainGet),
    ("late pseudo-header", [(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/"), (":authority", "a")]),
    ("unknown pseudo-header", [(":unknown", "x")] + plainGet),
    ("response pseudo-header", [(":status", "200")] + plainGet),
    ("protocol without CONNECT", [(":protocol", "websocket")] + plainGet),
    ("CONNECT with a path", [(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a:80")]),
    ("CONNECT without an authority", [(":method", "CONNECT")]),
    ("another host", plainGet + [("host", "other")]),
    ("another port", plainGet + [("host", "test:81")]),
    ("host twice", [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "a")]),
    ("host with a blank", [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a b")]),
    ("upper-case name", plainGet + [("X-A", "b")]),
    ("empty name", plainGet + [("", "b")]),
    ("name with a blank", plainGet + [("x a", "b")]),
    ("name with a colon", plainGet + [("x:a", "b")]),
    ("name with CR LF", plainGet + [("x\r\ny", "b")]),
    ("value with CR", plainGet + [("x", "a\rb")]),
    ("value with LF", plainGet + [("x", "a\nb")]),
    ("value with NUL", plainGet + [("x", "a\u{0}b")]),
    ("value with a leading blank", plainGet + [("x", " a")]),
    ("value with a trailing tab", plainGet + [("x", "a\t")]),
    ("connection", plainGet + [("connection", "close")]),
    ("keep-alive", plainGet + [("keep-alive", "timeout=1")]),
    ("proxy-connection", plainGet + [("proxy-connection", "keep-alive")]),
    ("transfer-encoding", plainGet + [("transfer-encoding", "chunked")]),
    ("upgrade", plainGet + [("upgrade", "h2c")]),
    ("te", plainGet + [("te", "gzip")]),
    ("te with more than trailers", plainGet + [("te", "trailers, gzip")]),
    ("content-length not a number", plainGet + [("content-length", "1a")]),
    ("content-length negative", plainGet + [("content-length", "-1")]),
    ("content-length with a sign", plainGet + [("content-length", "+0")]),
    ("content-length as a list", plainGet + [("content-length", "0, 0")]),
    ("content-length huge", plainGet + [("content-length", "99999999999999999999")]),
    ("name with DEL", plainGet + [("x\u{7f}", "b")]),
    ("name beyond ASCII", plainGet + [("xé", "b")]),
    ("long name with an upper-case letter", plainGet + [("x-a-name-of-more-than-sixteen-byteS", "b")]),
    ("long name with a blank", plainGet + [("x-a-name-of-more-than-sixteen bytes", "b")]),
    ("known name in upper case", plainGet + [("User-Agent", "b")]),
    ("value with DEL", plainGet + [("x", "a\u{7f}b")]),
    ("long value with a control character", plainGet + [("x", String(repeating: "a", count: 40) + "\u{1}" + String(repeating: "b", count: 3))]),
    ("value of a blank", plainGet + [("x", " ")]),
    ("known field, value with LF", plainGet + [("user-agent", "a\nb")]),
    ("scheme with a digit first", [(":method", "GET"), (":scheme", "1a"), (":path", "/"), (":authority", "a")]),
    ("empty scheme", [(":method", "GET"), (":scheme", ""), (":path", "/"), (":authority", "a")]),
    ("method with a control character", [(":method", "GE\u{1}T"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ("method twice", [(":method", "GET")] + plainGet),
    ("scheme twice", [(":scheme", "http")] + plainGet),
    ("authority with two colons", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a:1:2")]),
    ("pseudo-header in upper case", [(":Method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ("a colon alone", [(":", "GET")] + plainGet),
    ("host twice beside an authority", plainGet + [("host", "test"), ("host", "test")]),
    ("empty host", [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "")]),
    ("CONNECT with a scheme", [(":method", "CONNECT"), (":scheme", "http"), (":authority", "a:80")]),
    ("CONNECT with host alone", [(":method", "CONNECT"), ("host", "a:80")]),
    ("content-length without a body", plainGet + [("content-length", "1")]),
    ("content-length twice", plainGet + [("content-length", "0"), ("content-length", "0")]),
    ("authorization twice", plainGet + [("authorization", "a"), ("authorization", "a")]),
    ("content-type twice", plainGet + [("content-type", "a"), ("content-type", "a")]),
    ("content-range twice", plainGet + [("content-range", "a"), ("content-range", "a")]),
    ("content-disposition twice", plainGet + [("content-disposition", "a"), ("content-disposition", "a")]),
  ]

  @Test(arguments: malformed.indices)
  func malformedRequestsAreReset(_ index: Int) throws {
    let (name, fields) = Self.malformed[index]
    let talk = try Talk()
    let events = talk.receive(preface + headers(1, fields))
    #expect(events == [Self.protocolError], "\(name)")
    let resets = talk.produce().filter { $0.type == Frame.reset }
    #expect(resets.map(\.code) == [1] && resets.map(\.stream) == [1], "\(name)")
    // The connection and its header table live on.
    #expect(talk.receive(headers(3, plainGet)) == ["request 3 ends GET / test none | host: test"], "\(name)")
  }

  @Test func malformedBodiesAreReset() throws {
    let post: [Field] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test"), ("content-length", "2")]
    func last(_ frames: [UInt8]) throws -> [String] {
      let talk = try Talk()
      let events = talk.receive(preface + headers(1, post, ends: false) + frames)
      let resets = talk.produce().filter { $0.type == Frame.reset }
      return events.dropFirst().filter { !$0.hasPrefix("data") && !$0.hasPrefix("stream error") } + resets.map { "reset \($0.code)" }
    }
    // (Whether a body is as long as it was said to be is for the owner of its stream to see.)
    #expect(try last(data(1, Array("ab".utf8)) + headers(1, [("x", "y")], ends: false)) == ["reset 1"])
    #expect(try last(data(1, Array("ab".utf8)) + headers(1, [(":path", "/")])) == ["reset 1"])
    #expect(try last(data(1, Array("ab".utf8)) + headers(1, [("connection", "close")])) == ["reset 1"])
    #expect(try last(data(1, Array("ab".utf8)) + headers(1, [("X", "close")])) == ["reset 1"])
  }

  @Test func largeSectionsAreAnsweredOrReset() throws {
    var settings = SessionSettings()
    settings.maxHeaderListSize = 14_000
    let large = plainGet + (0..<20).map { ("x-\($0)", String(repeating: "v", count: 600)) }
    let talk = try Talk(settings, sectionCapacity: 4096)
    // More than is kept, less than the list may have: for an answer.
    #expect(talk.receive(preface + headers(1, large)).first?.hasSuffix("headersTooLarge") == true)
    // More than the list may have: reset with ENHANCE_YOUR_CALM.
    #expect(talk.receive(headers(3, large + [("x", String(repeating: "v", count: 3000))])) == ["stream error 3 11"])
    #expect(talk.produce().last { $0.type == Frame.reset }?.code == 11)
    // As many fields as a request may have, and one more.
    let narrow = try Talk(fieldLimit: 10)
    let nine: [Field] = (0..<9).map { ("x-\($0)", "v") }
    #expect(narrow.receive(preface + headers(1, plainGet + nine)).first?.hasSuffix("x-8: v") == true)
    #expect(narrow.receive(headers(3, plainGet + nine + [("y", "z")])).first?.hasSuffix("headersTooLarge") == true)
  }

  @Test func methodAndTargetStandTogetherWhateverTheirLength() throws {
    for method in ["GET", "X", "BASELINE-CONTROL", String(repeating: "M", count: 23), String(repeating: "M", count: 24), String(repeating: "M", count: 90)] {
      let fields: [Field] = [(":method", method), (":scheme", "http"), (":path", "/a"), (":authority", "test"), ("x", "y")]
      for order in [[0, 1, 2, 3], [3, 2, 1, 0], [3, 0, 1, 2], [2, 3, 0, 1], [0, 3, 2, 1]] {
        let events = try events(headers(1, order.map { fields[$0] } + [fields[4]]))
        #expect(events == ["request 1 ends \(method) /a test none | host: test | x: y"], "\(method) \(order)")
      }
    }
  }

  @Test(arguments: [
    ("u=0", "0 false"), ("u=7, i", "7 true"), ("i", "3 true"), ("i=?1,u=2", "2 true"), ("i=?0", "3 false"), ("u=1;x=2, foo=\"a,b\", bar=(1 2), i;q=1", "1 true"),
    ("u=3,  u=5", "5 false"), ("*k=1", "3 false"), ("u=8", nil), ("u=", nil), ("u=-1", nil), ("u=10", nil), ("i=1", nil), ("i=?2", nil), ("u=1,", nil), (",u=1", nil),
    ("foo=\"a", nil), ("foo=(1", nil), ("foo=1)", nil), ("U=1", nil),
  ] as [(String, String?)])
  func prioritiesAreRead(_ field: String, _ expected: String?) {
    var priority = StreamPriority()
    let text = Array(field.utf8)
    let isRead = priority.read(text.span)
    #expect((isRead ? "\(priority.urgency) \(priority.isIncremental)" : nil) == expected)
  }

  @Test func connectIsNotedForAnAnswer() throws {
    #expect(try events(headers(1, [(":method", "CONNECT"), (":authority", "a:80")], ends: false)) == ["request 1 CONNECT  a:80 chunked | host: a:80 | methodNotImplemented"])
    let extended: [Field] = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "a")]
    #expect(try events(headers(1, extended, ends: false)) == [Self.protocolError])
    var settings = SessionSettings()
    settings.connectProtocol = true
    // Shown as the GET with an upgrade that it is over HTTP/1.1; what follows is no body.
    #expect(try events(headers(1, extended, ends: false), settings) == ["request 1 GET /chat a none | host: a"])
    let other: [Field] = [(":protocol", "connect-udp"), (":method", "CONNECT"), (":scheme", "http"), (":path", "/chat"), (":authority", "a")]
    #expect(try events(headers(1, other, ends: false), settings) == ["request 1 CONNECT /chat a chunked | host: a | methodNotImplemented"])
  }
}
