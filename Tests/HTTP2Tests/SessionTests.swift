// SessionTests — responses, flow control, the order of DATA, the ways a connection ends, floods.

import HTTP2
import HTTPModel
import Memory
import Testing
import Wire

@Suite struct SessionTests {
  private func respond(_ talk: Talk, _ stream: Int32, _ text: String, hasBody: Bool = true) throws {
    let bytes = Array(text.utf8)
    var head = ResponseHead(), parser = ResponseParser()
    guard case .complete = parser.parse(bytes.span, into: &head) else { throw Unreadable() }
    let isTaken = talk.session.respond(stream, tag: UInt64(stream), head, of: bytes.span, hasBody: hasBody, &talk.workspace)
    #expect(isTaken)
  }

  private struct Unreadable: Error {}

  /// A talk in which the settings are exchanged and the first output is out of the way.
  private func begun(_ settings: SessionSettings = SessionSettings(), peer: [UInt8] = []) throws -> Talk {
    let talk = try Talk(settings)
    _ = talk.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Frame(type: Frame.settings, payload: peer).bytes + Frame(type: Frame.settings, flags: Frame.acknowledge).bytes)
    _ = talk.produce()
    return talk
  }

  @Test func settingsComeFirst() throws {
    let talk = try Talk()
    let frames = talk.produce()
    #expect(frames.map(\.type) == [Frame.settings, Frame.windowUpdate])
    #expect(frames[0].payload == [0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 255, 255, 0, 5, 0, 0, 64, 0, 0, 6, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1])
    #expect(frames[1].payload == big(1 << 20 - 65_535))
  }

  @Test func responsesEndTheStream() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    try respond(talk, 1, "HTTP/1.1 200 OK\r\nServer: x\r\nConnection: close\r\nKeep-Alive: x\r\nContent-Length: 2\r\n\r\n")
    talk.bodies[1] = (Array("ab".utf8), true, false)
    var events: [String] = []
    let frames = talk.produce(&events)
    #expect(frames.map(\.type) == [Frame.headers, Frame.data])
    #expect(frames[1] == Frame(type: Frame.data, flags: Frame.endStream, stream: 1, payload: Array("ab".utf8)))
    #expect(events == ["closed 1 0"])
    #expect(try decoded(frames[0]) == [":status: 200", "server: x", "content-length: 2"])
  }

  @Test func aHeadAloneEndsTheStream() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    try respond(talk, 1, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    try respond(talk, 1, "HTTP/1.1 204 No Content\r\n\r\n", hasBody: false)
    let frames = talk.produce()
    #expect(frames.map(\.type) == [Frame.headers, Frame.headers] && frames.map(\.flags) == [Frame.endHeaders, Frame.endHeaders | Frame.endStream])
  }

  @Test func bodiesWaitForMore() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    try respond(talk, 1, "HTTP/1.1 200 OK\r\n\r\n")
    #expect(talk.produce().map(\.type) == [Frame.headers])
    talk.bodies[1] = (Array("a".utf8), false, false)
    talk.session.resume(1)
    #expect(talk.produce() == [Frame(type: Frame.data, stream: 1, payload: Array("a".utf8))])
    #expect(talk.produce().isEmpty)
    talk.bodies[1] = ([], true, false)
    talk.session.resume(1)
    #expect(talk.produce() == [Frame(type: Frame.data, flags: Frame.endStream, stream: 1)])
  }

  @Test func trailersEndTheStream() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    try respond(talk, 1, "HTTP/1.1 200 OK\r\n\r\n")
    talk.bodies[1] = (Array("a".utf8), true, true)
    var events: [String] = []
    #expect(talk.produce(&events).map(\.flags) == [Frame.endHeaders, 0])
    #expect(events == ["wants trailers 1"])
    let lines = Array("X-Sum: 1\r\n\r\n".utf8)
    var head = RequestHead()
    _ = TrailerParser.parse(lines.span, into: &head)
    let isTaken = talk.session.sendTrailers(1, head, of: lines.span, &talk.workspace)
    #expect(isTaken)
    let frames = talk.produce(&events)
    #expect(frames.map(\.type) == [Frame.headers] && frames[0].flags == Frame.endHeaders | Frame.endStream)
    #expect(try decoded(frames[0]) == ["x-sum: 1"])
  }

  @Test func outputIsBounded() throws {
    let talk = try begun(peer: [0, 4, 0, 15, 255, 255])
    _ = talk.receive(headers(1, plainGet) + Frame(type: Frame.windowUpdate, payload: big(1 << 20)).bytes)
    try respond(talk, 1, "HTTP/1.1 200 OK\r\n\r\n")
    talk.bodies[1] = (Array(repeating: 0x61, count: 300_000), true, false)
    var sent = 0, events: [String] = []
    for _ in 0..<40 where sent < 300_000 {
      let frames = talk.produce(limit: 40_000, &events)
      let size = talk.output.count
      #expect(size <= 40_000 + 9)
      sent += frames.filter { $0.type == Frame.data }.reduce(0) { $0 + $1.payload.count }
    }
    #expect(sent == 300_000 && events == ["closed 1 0"])
  }

  @Test func windowsAreKeptAndGivenBack() throws {
    let talk = try begun()
    let post: [Field] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test")]
    _ = talk.receive(headers(1, post, ends: false))
    let half = [UInt8](repeating: 0x61, count: 16_000)
    _ = talk.receive(data(1, half) + data(1, half) + data(1, half))
    #expect(talk.produce().isEmpty)
    talk.session.giveBack(1, 48_000)
    #expect(talk.produce() == [Frame(type: Frame.windowUpdate, stream: 1, payload: big(48_000))])
    // More than the window holds is an error of the stream or the connection.
    let greedy = try begun()
    _ = greedy.receive(headers(1, post, ends: false))
    for _ in 0..<5 { _ = greedy.receive(data(1, half)) }
    #expect(greedy.produce().contains { ($0.type == Frame.reset || $0.type == Frame.goAway) && $0.code == 3 })
  }

  @Test func urgentResponsesGoFirst() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet + [("priority", "u=7")]) + headers(3, plainGet + [("priority", "u=0")]) + headers(5, plainGet))
    // A frame may say so as well (RFC 9218 §7.1).
    _ = talk.receive(Frame(type: Frame.priorityUpdate, payload: big(5) + Array("u=1".utf8)).bytes)
    for stream: Int32 in [1, 3, 5] {
      try respond(talk, stream, "HTTP/1.1 200 OK\r\n\r\n")
      talk.bodies[UInt64(stream)] = (Array(repeating: 0x61, count: 30_000), true, false)
    }
    let order = talk.produce().filter { $0.type == Frame.data }.map(\.stream)
    // 65,535 bytes of window: all of 3, all of 5, a little of 1.
    #expect(order == [3, 3, 5, 5, 1])
  }

  @Test func incrementalResponsesShare() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet + [("priority", "u=3, i")]) + headers(3, plainGet + [("priority", "u=3, i")]))
    for stream: Int32 in [1, 3] {
      try respond(talk, stream, "HTTP/1.1 200 OK\r\n\r\n")
      talk.bodies[UInt64(stream)] = (Array(repeating: 0x61, count: 60_000), true, false)
    }
    let order = talk.produce().filter { $0.type == Frame.data }.map(\.stream)
    #expect(order == [1, 3, 1, 3])
  }

  @Test func tooManyStreamsAreRefused() throws {
    var settings = SessionSettings()
    settings.maxConcurrentStreams = 2
    let talk = try Talk(settings)
    // The client has not acknowledged the settings, so that it may not know the limit.
    let events = talk.receive(preface + headers(1, plainGet) + headers(3, plainGet) + headers(5, plainGet))
    #expect(events.last == "stream error 5 7")
    #expect(talk.produce().contains { $0.type == Frame.reset && $0.stream == 5 && $0.code == 7 })
  }

  @Test func resetsAreSeen() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    #expect(talk.receive(Frame(type: Frame.reset, stream: 1, payload: big(8)).bytes) == ["reset", "closed 1 8"])
    let tag = talk.session.tag(of: 1), isTagged = talk.session.tag(1, 1)
    #expect(tag == 0 && !isTagged)
  }

  /// RFC 9113 §5.1: an error, unless the stream was reset from here and the client may not know it yet.
  @Test(arguments: [[1], [1000]])
  func framesOnClosedStreamsAreErrors(_ pieces: [Int]) throws {
    func outcome(_ frames: [UInt8], prepare: (Talk) throws -> Void = { _ in }) throws -> [String] {
      let talk = try begun()
      _ = talk.receive(headers(1, plainGet, ends: false))
      try prepare(talk)
      var events: [String] = [], rest = frames[...]
      while !rest.isEmpty {
        events += talk.receive(Array(rest.prefix(pieces[0])))
        rest = rest.dropFirst(pieces[0])
      }
      return talk.produce(&events).filter { $0.type == Frame.goAway }.map { "GOAWAY \($0.code)" }
    }
    let reset = Frame(type: Frame.reset, stream: 1, payload: big(8)).bytes
    #expect(try outcome(reset + data(1, [1])) == ["GOAWAY 5"])
    #expect(try outcome(reset + headers(1, plainGet)) == ["GOAWAY 5"])
    #expect(try outcome(data(1, [], ends: true) + data(1, [1])) == ["GOAWAY 5"])
    let answered: (Talk) throws -> Void = { talk in
      try respond(talk, 1, "HTTP/1.1 204 No Content\r\n\r\n", hasBody: false)
      _ = talk.produce()
    }
    #expect(try outcome(data(1, [1], ends: true) + data(1, [1]), prepare: answered) == ["GOAWAY 5"])
    // A stream that was passed over is closed as well.
    #expect(try outcome(headers(5, plainGet) + headers(3, plainGet)) == ["GOAWAY 1"])
    #expect(try outcome(headers(5, plainGet) + data(3, [1])) == ["GOAWAY 5"])
    #expect(try outcome(data(7, [1])) == ["GOAWAY 1"])
    // Reset from here: what comes is ignored.
    let refused: (Talk) throws -> Void = { talk in
      talk.session.reset(1, .cancel)
      _ = talk.produce()
    }
    #expect(try outcome(data(1, [1]) + data(1, [], ends: true) + headers(1, plainGet), prepare: refused).isEmpty)
    // PRIORITY: on no stream, and a stream that depends on itself.
    #expect(try outcome(Frame(type: Frame.priority, stream: 0, payload: [0, 0, 0, 0, 1]).bytes) == ["GOAWAY 1"])
    #expect(try outcome(Frame(type: Frame.priority, stream: 1, payload: [0, 0, 0, 1, 1]).bytes) == ["GOAWAY 1"])
    #expect(try outcome(Frame(type: Frame.priority, stream: 1, payload: [0x80, 0, 0, 3, 1]).bytes).isEmpty)
    // Trailers, and an ordinary end, are neither.
    #expect(try outcome(data(1, [1]) + headers(1, [("x", "y")])).isEmpty)
  }

  @Test func theEndComesInTwoSteps() throws {
    let talk = try begun()
    _ = talk.receive(headers(1, plainGet))
    talk.session.announceEnd()
    let notice = talk.produce()
    #expect(notice.map(\.type) == [Frame.goAway] && notice[0].payload.prefix(4) == [0x7f, 0xff, 0xff, 0xff] && notice[0].code == 0)
    #expect(talk.receive(headers(3, plainGet)).first?.hasPrefix("request 3") == true)
    talk.session.refuseNewStreams()
    #expect(talk.produce().map { $0.payload.prefix(4) } == [[0, 0, 0, 3]])
    #expect(talk.receive(headers(5, plainGet)).isEmpty)
    #expect(!talk.isOver())
    for stream: Int32 in [1, 3] { try respond(talk, stream, "HTTP/1.1 204 No Content\r\n\r\n", hasBody: false) }
    _ = talk.produce()
    #expect(talk.isOver())
  }

  @Test func aWrongPrefaceIsAnError() throws {
    let talk = try Talk()
    #expect(talk.receive(Array("GET / HTTP/1.1\r\n\r\n".utf8)) == ["failed"])
    #expect(talk.produce().last?.type == Frame.goAway)
    #expect(talk.isOver())
  }

  @Test(arguments: [
    ("too long a frame", Frame(type: Frame.data, stream: 1, payload: [UInt8](repeating: 0, count: 16_385)).bytes, UInt32(6)),
    ("DATA on stream 0", Frame(type: Frame.data, payload: [0]).bytes, 1),
    ("a push from the client", Frame(type: Frame.pushPromise, flags: Frame.endHeaders, stream: 1, payload: big(2)).bytes, 1),
    ("HEADERS on an even stream", headers(2, plainGet), 1),
    ("a lone CONTINUATION", Frame(type: Frame.continuation, stream: 1).bytes, 1),
    ("a broken header block", Frame(type: Frame.headers, flags: Frame.endHeaders, stream: 1, payload: [0xff, 0xff, 0xff, 0xff, 0xff]).bytes, 9),
    ("a PING of seven bytes", Frame(type: Frame.ping, payload: [UInt8](repeating: 0, count: 7)).bytes, 6),
    ("a window of nothing", Frame(type: Frame.windowUpdate, payload: big(0)).bytes, 1),
  ])
  func connectionErrorsEndIt(_ name: String, _ bytes: [UInt8], _ code: UInt32) throws {
    let talk = try begun()
    var events = talk.receive(bytes)
    let last = talk.produce(&events).last
    #expect(last?.type == Frame.goAway && last?.code == code, "\(name)")
    #expect(events.contains("connection error \(code)"), "\(name)")
    #expect(talk.isOver(), "\(name)")
  }

  // MARK: Floods

  /// A frame to be repeated, by the number of the repetition, and what it is a flood of.
  static let floods: [(Flood, @Sendable (UInt32) -> [UInt8])] = [
    (.resets, { headers(2 * $0 + 1, plainGet) + Frame(type: Frame.reset, stream: 2 * $0 + 1, payload: big(8)).bytes }),
    (.settings, { _ in Frame(type: Frame.settings).bytes }),
    (.pings, { _ in Frame(type: Frame.ping, payload: [UInt8](repeating: 0, count: 8)).bytes }),
    (.windowUpdates, { _ in Frame(type: Frame.windowUpdate, payload: big(1)).bytes }),
    (.priorities, { _ in Frame(type: Frame.priority, stream: 1, payload: [0, 0, 0, 0, 1]).bytes }),
    (.priorities, { _ in Frame(type: Frame.priorityUpdate, payload: big(1) + Array("u=1".utf8)).bytes }),
    (.emptyFrames, { $0 == 0 ? headers(1, plainGet, ends: false) : data(1, []) }),
    (.continuations, {
      $0 == 0 ? Frame(type: Frame.headers, stream: 1, payload: block(plainGet)).bytes : Frame(type: Frame.continuation, stream: 1, payload: block([("x", "y")])).bytes
    }),
  ]

  @Test(arguments: floods.indices)
  func floodsAreCutOff(_ index: Int) throws {
    let (kind, frame) = Self.floods[index]
    var settings = SessionSettings()
    settings.floods = FloodLimits()
    settings.floods.resets = 20
    settings.floods.settings = 20
    settings.floods.pings = 20
    settings.floods.emptyFrames = 20
    settings.floods.windowUpdates = 20
    settings.floods.priorities = 20
    settings.floods.continuations = 20
    let talk = try begun(settings)
    var events: [String] = [], repetitions: UInt32 = 0
    while repetitions < 100, !events.contains("flooded \(kind)") {
      events += talk.receive(frame(repetitions))
      repetitions += 1
    }
    #expect(20...22 ~= repetitions, "\(kind) after \(repetitions)")
    let last = talk.produce(&events).last
    #expect(last?.type == Frame.goAway && last?.code == 11)
    #expect(talk.isOver())
    // What comes after it is not looked at.
    #expect(talk.receive(headers(1001, plainGet)).isEmpty)
    // Slower, it is no flood.
    let patient = try begun(settings)
    events = []
    if kind != .continuations {
      for number: UInt32 in 0..<60 { events += patient.receive(frame(number), now: Int64(number) * 1000) }
      #expect(!events.contains { $0.hasPrefix("flooded") }, "\(kind)")
    }
  }

  @Test func mistakesThatResetStreamsAreAFloodToo() throws {
    var settings = SessionSettings()
    settings.floods.resets = 20
    let talk = try begun(settings)
    var events: [String] = []
    for number: UInt32 in 0..<40 {
      events += talk.receive(headers(2 * number + 1, plainGet + [("te", "gzip")]))
      _ = talk.produce(&events)
    }
    #expect(events.contains("flooded resets"))
  }

  @Test func windowsThatAreUsedMayBeGivenBack() throws {
    var settings = SessionSettings()
    settings.floods.windowUpdates = 20
    let talk = try begun(settings)
    _ = talk.receive(headers(1, plainGet))
    try respond(talk, 1, "HTTP/1.1 200 OK\r\n\r\n")
    talk.bodies[1] = (Array(repeating: 0x61, count: 2_000_000), true, false)
    var events: [String] = []
    for _ in 0..<100 {
      let count = talk.produce(&events).filter { $0.type == Frame.data }.reduce(0) { $0 + $1.payload.count }
      guard count > 0 else { break }
      for stream: UInt32 in [0, 1] { events += talk.receive(Frame(type: Frame.windowUpdate, stream: stream, payload: big(UInt32(count))).bytes) }
    }
    #expect(!events.contains { $0.hasPrefix("flooded") } && events.last == "closed 1 0")
  }
}
