// ClientTests — the client's side of HTTP/2 against a scripted server: requests out, responses in, windows, resets, the end.

import HTTP2
import HTTPModel
import Testing
import Wire

@Suite struct ClientTests {
  private static let get = "GET /a?b HTTP/1.1\r\nHost: one:80\r\nAccept: */*\r\n\r\n"
  private static let post = "POST /up HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked\r\n\r\n"

  private func get(_ talk: ClientTalk, _ tag: UInt64 = 7) throws -> UInt32 {
    let stream = try #require(try talk.request(tag, Self.get))
    _ = talk.produce()
    return UInt32(stream)
  }

  /// What the session makes of an answer to a GET, or to a request with another method.
  private func events(_ frames: (UInt32) -> [UInt8], method: String = "GET", _ settings: ClientSettings = ClientSettings()) throws -> [String] {
    let talk = try ClientTalk.begun(settings)
    let stream = try #require(try talk.request(7, "\(method) / HTTP/1.1\r\nHost: a\r\n\r\n"))
    _ = talk.produce()
    var found = talk.receive(frames(UInt32(stream)))
    _ = talk.produce(&found)
    return found
  }

  // MARK: Beginning

  @Test func theFirstWordsAreSettingsAndAWindow() throws {
    var settings = ClientSettings()
    settings.maxConcurrentStreams = 3
    settings.initialWindow = 100_000
    settings.headerTableSize = 8_192
    let frames = try ClientTalk(settings).produce()
    #expect(frames.map(\.type) == [Frame.settings, Frame.windowUpdate])
    let expected: [[UInt8]] = [[0, 4] + big(100_000), [0, 5] + big(16_384), [0, 1] + big(8_192), [0, 6] + big(65_536), [0, 2] + big(0)]
    #expect(frames[0].payload == expected.flatMap { $0 })
    // A window for each stream, and as much for what has not been told back yet.
    #expect(frames[1].payload == big(600_000 - 65_535))
  }

  @Test func theServersLimitOfStreamsIsKnown() throws {
    let talk = try ClientTalk(ClientSettings())
    #expect(talk.streamLimit() == 100)
    #expect(talk.receive(Frame(type: Frame.settings, payload: [0, 3] + big(2)).bytes) == ["settings"])
    #expect(talk.streamLimit() == 2)
    #expect(talk.receive(Frame(type: Frame.settings, payload: [0, 3] + big(UInt32.max)).bytes) == ["settings"])
    #expect(talk.streamLimit() == Int(UInt32.max))
  }

  @Test func whatIsNotHTTP2IsAConnectionError() throws {
    let talk = try ClientTalk(ClientSettings())
    _ = try talk.request(7, Self.get)
    _ = talk.produce()
    _ = talk.receive(Array("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".utf8))
    var events: [String] = []
    _ = talk.produce(&events)
    #expect(events.contains("connection error 1"), "\(events)")
    #expect(talk.isOver())
  }

  // MARK: Requests

  @Test func aRequestHasThePseudoHeadersFirst() throws {
    let talk = try ClientTalk.begun()
    _ = try talk.request(
      7, "PUT /x HTTP/1.1\r\nHost: one\r\nX-A: b\r\nConnection: TE\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nCookie: a=1; b=2\r\n\r\n", hasBody: true, isSecure: true, acceptsTrailers: true)
    let frames = talk.produce()
    #expect(frames.count == 1 && frames[0].type == Frame.headers && frames[0].flags == Frame.endHeaders && frames[0].stream == 1)
    #expect(
      try decoded(frames[0]) == [":method: PUT", ":scheme: https", ":authority: one", ":path: /x", "x-a: b", "cookie: a=1; b=2", "te: trailers"])
  }

  @Test func oneWithoutABodyEndsItsStream() throws {
    let talk = try ClientTalk.begun()
    _ = try talk.request(7, Self.get)
    var events: [String] = []
    let frames = talk.produce(&events)
    #expect(frames.map(\.flags) == [Frame.endHeaders | Frame.endStream])
    #expect(try decoded(frames[0]) == [":method: GET", ":scheme: http", ":authority: one:80", ":path: /a?b", "accept: */*"])
    #expect(events == ["went 7"])
  }

  @Test func bodiesGoAsFarAsTheWindow() throws {
    let talk = try ClientTalk.begun(serverSettings: [0, 4] + big(10))
    let stream = try #require(try talk.request(7, Self.post, hasBody: true))
    talk.bodies[7] = (Array("0123456789abc".utf8), true, false)
    var events: [String] = []
    var frames = talk.produce(&events)
    #expect(frames.map(\.type) == [Frame.headers, Frame.data] && frames[1].payload == Array("0123456789".utf8))
    #expect(events.isEmpty)
    _ = talk.receive(Frame(type: Frame.windowUpdate, stream: UInt32(stream), payload: big(100)).bytes)
    frames = talk.produce(&events)
    #expect(frames == [Frame(type: Frame.data, flags: Frame.endStream, stream: UInt32(stream), payload: Array("abc".utf8))])
    #expect(events == ["went 7"])
  }

  @Test func aBodyThatComesLaterIsAskedFor() throws {
    let talk = try ClientTalk.begun()
    let stream = try #require(try talk.request(7, Self.post, hasBody: true))
    #expect(talk.produce().map(\.type) == [Frame.headers])
    talk.bodies[7] = (Array("x".utf8), false, false)
    talk.session.resume(stream)
    #expect(talk.produce().map(\.payload) == [Array("x".utf8)])
    talk.bodies[7] = ([], true, false)
    talk.session.resume(stream)
    #expect(talk.produce() == [Frame(type: Frame.data, flags: Frame.endStream, stream: 1)])
  }

  @Test func trailersEndARequest() throws {
    let talk = try ClientTalk.begun()
    let stream = try #require(try talk.request(7, Self.post, hasBody: true))
    talk.bodies[7] = (Array("x".utf8), true, true)
    var events: [String] = []
    #expect(talk.produce(&events).map(\.flags) == [Frame.endHeaders, 0])
    #expect(events == ["wants trailers 7"])
    let lines = Array("x-sum: 1\r\n\r\n".utf8)
    var head = RequestHead()
    _ = TrailerParser.parse(lines.span, into: &head)
    let isTaken = talk.session.sendTrailers(stream, head, of: lines.span, &talk.workspace)
    #expect(isTaken)
    events = []
    #expect(talk.produce(&events).map(\.flags) == [Frame.endHeaders | Frame.endStream])
    #expect(events == ["went 7"])
  }

  // MARK: Responses

  @Test func aResponseHasTheShapeOfHTTP1() throws {
    #expect(
      try events { headers($0, [(":status", "200"), ("content-length", "2"), ("x", "y")], ends: false) + data($0, Array("ab".utf8), ends: true) } == [
        "head 7 200 OK length(2) | content-length: 2 | x: y", "data 7 ab", "end 7", "closed 7 0",
      ])
    #expect(try events { headers($0, [(":status", "204")]) } == ["head 7 ends 204 No Content untilClose", "closed 7 0"])
    #expect(
      try events { headers($0, [(":status", "200")], ends: false) + data($0, Array("a".utf8)) + data($0, [], ends: true) } == [
        "head 7 200 OK untilClose", "data 7 a", "end 7", "closed 7 0",
      ])
  }

  @Test func interimResponsesComeBefore() throws {
    #expect(
      try events {
        headers($0, [(":status", "103"), ("link", "</a>")], ends: false) + headers($0, [(":status", "100")], ends: false) + headers($0, [(":status", "404")])
      } == ["head 7 103 Early Hints untilClose | link: </a>", "head 7 100 Continue untilClose", "head 7 ends 404 Not Found untilClose", "closed 7 0"])
  }

  @Test func trailersEndAResponse() throws {
    #expect(
      try events { headers($0, [(":status", "200"), ("trailer", "x-sum")], ends: false) + data($0, Array("a".utf8)) + headers($0, [("x-sum", "1")]) } == [
        "head 7 200 OK untilClose | trailer: x-sum", "data 7 a", "trailers 7 x-sum: 1\r\n", "closed 7 0",
      ])
  }

  @Test func aSectionInPiecesIsTheSame() throws {
    let talk = try ClientTalk.begun()
    let stream = try get(talk), other = try get(talk, 8)
    let frames = Frame(type: Frame.headers, stream: stream, payload: block([(":status", "200"), ("a", "b")])).bytes
      + Frame(type: Frame.continuation, flags: Frame.endHeaders, stream: stream, payload: block([("c", "d")])).bytes + headers(other, [(":status", "500")])
    var found: [String] = []
    for byte in frames { found += talk.receive([byte]) }
    #expect(found == ["head 7 200 OK untilClose | a: b | c: d", "head 8 ends 500 Internal Server Error untilClose", "closed 8 0"])
  }

  static let malformed: [[Field]] = [
    [], [("x", "y")], [(":status", "20")], [(":status", "2000")], [(":status", "099")], [(":status", "600")], [(":status", "abc")], [(":status", "101")],
    [(":status", "200"), (":status", "200")], [("x", "y"), (":status", "200")], [(":status", "200"), (":path", "/")], [(":status", "200"), ("connection", "close")],
    [(":status", "200"), ("transfer-encoding", "chunked")], [(":status", "200"), ("keep-alive", "x")], [(":status", "200"), ("upgrade", "x")],
    [(":status", "200"), ("proxy-connection", "x")], [(":status", "200"), ("Upper", "x")], [(":status", "200"), ("a b", "x")], [(":status", "200"), ("a", "x\u{0}")],
    [(":status", "200"), ("content-length", "x")], [(":status", "200"), ("content-length", "1"), ("content-length", "1")], [(":status", "200"), ("content-length", "1")],
    [(":status", "103")],
  ]

  @Test(arguments: malformed.indices)
  func malformedResponsesAreReset(_ index: Int) throws {
    let talk = try ClientTalk.begun()
    let stream = try get(talk)
    var found = talk.receive(headers(stream, Self.malformed[index]))
    let reset = talk.produce(&found).first { $0.type == Frame.reset }
    #expect(found.contains("violated 7 malformed"), "\(found)")
    #expect(reset?.code == 1)
    // The connection goes on.
    let other = try get(talk, 9)
    #expect(talk.receive(headers(other, [(":status", "200")])).first == "head 9 ends 200 OK untilClose")
  }

  @Test func bodiesMustBeOfTheirLength() throws {
    let two: [Field] = [(":status", "200"), ("content-length", "2")]
    for body in ["a", "abc"] {
      let found = try events { headers($0, two, ends: false) + data($0, Array(body.utf8), ends: true) }
      #expect(found.contains("violated 7 malformed") && !found.contains("end 7"), "\(found)")
    }
    for (method, status) in [("HEAD", "200"), ("GET", "204"), ("GET", "304")] {
      let found = try events({ headers($0, [(":status", status)], ends: false) + data($0, [1], ends: true) }, method: method)
      #expect(found.contains("violated 7 malformed") && !found.contains("end 7"), "\(method) \(status): \(found)")
    }
    #expect(try events({ headers($0, two) }, method: "HEAD").last == "closed 7 0")
  }

  @Test func trailersMustEndTheStreamAndHaveNoPseudoHeaders() throws {
    for trailers: ([Field], Bool) in [([("a", "b")], false), ([(":status", "200")], true), ([("a", "b"), (":path", "/")], true)] {
      let found = try events { headers($0, [(":status", "200")], ends: false) + data($0, [0x61]) + headers($0, trailers.0, ends: trailers.1) }
      #expect(found.contains("violated 7 malformed") && !found.contains { $0.hasPrefix("trailers") }, "\(found)")
    }
  }

  @Test func sectionsMayBeTooLarge() throws {
    var settings = ClientSettings()
    settings.maxHeaderListSize = 4_096
    let fields: [Field] = [(":status", "200")] + (0..<100).map { ("x-\($0)", String(repeating: "a", count: 20)) }
    #expect(try events({ headers($0, fields) }, settings).first == "violated 7 tooLarge")
  }

  // MARK: Windows

  @Test func windowsAreGivenBackByHand() throws {
    var settings = ClientSettings()
    settings.initialWindow = 65_535
    settings.maxConcurrentStreams = 1
    let talk = try ClientTalk.begun(settings)
    let stream = try get(talk)
    _ = talk.receive(headers(stream, [(":status", "200")], ends: false))
    let piece = [UInt8](repeating: 0x61, count: 16_000)
    for _ in 0..<4 { _ = talk.receive(data(stream, piece)) }
    #expect(talk.produce().isEmpty)
    talk.session.giveBack(Int32(stream), 16_000)
    talk.session.giveBackToConnection(16_000)
    #expect(talk.produce().isEmpty)
    talk.session.giveBack(Int32(stream), 17_000)
    talk.session.giveBackToConnection(17_000)
    #expect(talk.produce() == [Frame(type: Frame.windowUpdate, stream: stream, payload: big(33_000))])
    _ = talk.receive(data(stream, piece))
    talk.session.giveBackToConnection(33_000)
    #expect(talk.produce() == [Frame(type: Frame.windowUpdate, stream: 0, payload: big(66_000))])
    // More than the window is an error.
    for _ in 0..<2 { _ = talk.receive(data(stream, piece)) }
    #expect(talk.produce().contains { $0.type == Frame.reset && $0.code == 3 || $0.type == Frame.goAway && $0.code == 3 })
  }

  @Test func dataThatNobodyWantsIsGivenBackToTheConnection() throws {
    var settings = ClientSettings()
    settings.initialWindow = 65_535
    settings.maxConcurrentStreams = 1
    let talk = try ClientTalk.begun(settings)
    let stream = try get(talk)
    _ = talk.receive(headers(stream, [(":status", "200")], ends: false))
    talk.session.untag(Int32(stream))
    #expect(talk.receive(data(stream, [UInt8](repeating: 0, count: 16_000)) + data(stream, [UInt8](repeating: 0, count: 16_384))).isEmpty)
    talk.session.reset(Int32(stream), .cancel)
    #expect(talk.produce().map(\.type) == [Frame.reset])
    // What comes before the server knows of the reset counts as well.
    for _ in 0..<3 { _ = talk.receive(data(stream, [UInt8](repeating: 0, count: 16_000))) }
    #expect(talk.produce() == [Frame(type: Frame.windowUpdate, stream: 0, payload: big(80_384))])
  }

  // MARK: Resets and the end

  @Test func resetsCarryTheirCode() throws {
    #expect(try events { Frame(type: Frame.reset, stream: $0, payload: big(7)).bytes } == ["reset", "closed 7 7"])
    #expect(try events { Frame(type: Frame.reset, stream: $0, payload: big(13)).bytes } == ["reset", "closed 7 13"])
  }

  @Test func goAwayTellsWhatWasNotProcessed() throws {
    let talk = try ClientTalk.begun()
    let first = try get(talk, 1), second = try get(talk, 2)
    #expect(second > first)
    let found = talk.receive(Frame(type: Frame.goAway, payload: big(first) + big(0)).bytes)
    #expect(found == ["goaway \(first) 0", "closed 2 7"])
    #expect(talk.receive(headers(first, [(":status", "200")])) == ["head 1 ends 200 OK untilClose", "closed 1 0"])
    #expect(!talk.mayRequest())
    #expect(talk.isOver())
    _ = try talk.request(3, Self.get)
    var late: [String] = []
    #expect(talk.produce(&late).isEmpty)
    #expect(late == ["closed 3 7"])
  }

  @Test func requestsThatWaitForTheServersLimitAreToldWhenItGoes() throws {
    let talk = try ClientTalk.begun(serverSettings: [0, 3] + big(1))
    let first = try get(talk, 1)
    _ = try talk.request(2, Self.get)
    #expect(talk.produce().isEmpty)
    var found = talk.receive(Frame(type: Frame.goAway, payload: big(first) + big(0)).bytes + headers(first, [(":status", "200")]))
    _ = talk.produce(&found)
    #expect(found.contains("closed 2 7"), "\(found)")
  }

  @Test func aRequestThatWaitsCanBeTakenBack() throws {
    let talk = try ClientTalk.begun(serverSettings: [0, 3] + big(1))
    let first = try get(talk, 1)
    let second = try #require(try talk.request(2, Self.get))
    talk.session.untag(second)
    talk.session.reset(second, .cancel)
    var found = talk.receive(headers(first, [(":status", "200")]))
    let frames = talk.produce(&found)
    #expect(!frames.contains { $0.type == Frame.headers || $0.type == Frame.reset })
    #expect(!found.contains { $0.hasPrefix("closed 2") })
  }

  @Test func pingsAreAnsweredBothWays() throws {
    let talk = try ClientTalk.begun()
    talk.session.ping()
    let ping = talk.produce()
    #expect(ping.map(\.type) == [Frame.ping] && ping[0].flags == 0)
    #expect(talk.receive(Frame(type: Frame.ping, flags: Frame.acknowledge, payload: ping[0].payload).bytes) == ["pong"])
    _ = talk.receive(Frame(type: Frame.ping, payload: Array("abcdefgh".utf8)).bytes)
    #expect(talk.produce() == [Frame(type: Frame.ping, flags: Frame.acknowledge, payload: Array("abcdefgh".utf8))])
  }

  @Test func pushIsAnError() throws {
    let talk = try ClientTalk.begun()
    let stream = try get(talk)
    _ = talk.receive(Frame(type: Frame.pushPromise, flags: Frame.endHeaders, stream: stream, payload: big(2) + block(plainGet)).bytes)
    #expect(talk.produce().contains { $0.type == Frame.goAway && $0.code == 1 })
  }

  @Test func endingSaysGoAway() throws {
    let talk = try ClientTalk.begun()
    talk.session.terminate(.noError)
    var found: [String] = []
    let frames = talk.produce(&found)
    #expect(frames.map(\.type) == [Frame.goAway] && frames[0].code == 0 && found.isEmpty)
    #expect(talk.isOver())
    #expect(talk.receive(headers(1, [(":status", "200")])).isEmpty)
  }

  @Test func pingFloodsEndTheConnection() throws {
    let talk = try ClientTalk.begun()
    var found: [String] = []
    let ping = Frame(type: Frame.ping, payload: [UInt8](repeating: 0, count: 8)).bytes
    for _ in 0..<2_000 where !found.contains("failed") { found += talk.receive(ping) }
    #expect(found.suffix(2) == ["connection error 11", "failed"])
  }
}
