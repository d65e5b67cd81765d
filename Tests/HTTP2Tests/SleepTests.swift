// SleepTests — a session that is put aside and woken again. (All talks of the other tests sleep wherever they can, too.)

import HTTP2
import HTTPModel
import Memory
import Testing
import Wire

@Suite struct SleepTests {
  private func respond(_ talk: Talk, _ stream: Int32) throws {
    let bytes = Array("HTTP/1.1 200 OK\r\nServer: some server\r\n\r\n".utf8)
    var head = ResponseHead(), parser = ResponseParser()
    guard case .complete = parser.parse(bytes.span, into: &head) else { throw UnreadableBlock() }
    let isTaken = talk.session.respond(stream, tag: UInt64(stream), head, of: bytes.span, hasBody: false, &talk.workspace)
    #expect(isTaken)
  }

  /// The request with a field that goes into the header table, and the same request by what is in the table.
  private func request(_ stream: UInt32, isFirst: Bool) -> [UInt8] {
    let field: [UInt8] = isFirst ? [0x40] + literal(Array("x-kept".utf8)) + literal(Array("in the table".utf8)) : [0xbe]
    return Frame(type: Frame.headers, flags: Frame.endHeaders | Frame.endStream, stream: stream, payload: block(plainGet) + field).bytes
  }

  @Test func bothHeaderTablesAreKept() throws {
    let talk = try Talk()
    _ = talk.receive(preface)
    _ = talk.produce()
    #expect(talk.receive(request(1, isFirst: true)) == ["request 1 ends GET / test none | host: test | x-kept: in the table"])
    try respond(talk, 1)
    let first = talk.produce()
    let asleep = talk.session.isAsleep
    #expect(asleep)
    #expect(talk.receive(request(3, isFirst: false)) == ["request 3 ends GET / test none | host: test | x-kept: in the table"])
    try respond(talk, 3)
    let second = talk.produce()
    // ":status: 200" and the one entry of the table.
    #expect(first.last?.payload.count ?? 0 > 2 && second.map(\.payload) == [[0x88, 0xbe]])
    let asleepAgain = talk.session.isAsleep
    #expect(asleepAgain)
  }

  @Test func nothingIsLostOnTheWay() throws {
    let talk = try Talk()
    let request = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Frame(type: Frame.settings).bytes + headers(1, plainGet)
    var events: [String] = []
    for byte in request { events += talk.receive([byte]) }
    #expect(events == ["request 1 ends GET / test none | host: test"])
  }

  @Test func whatSleepsHasNothingToSay() throws {
    let talk = try Talk()
    _ = talk.receive(preface + Frame(type: Frame.settings, flags: Frame.acknowledge).bytes)
    _ = talk.produce()
    let asleep = talk.session.isAsleep, over = talk.isOver()
    #expect(asleep && !over && talk.produce().isEmpty)
    _ = talk.receive(Frame(type: Frame.ping, payload: Array(repeating: 7, count: 8)).bytes)
    #expect(talk.produce() == [Frame(type: Frame.ping, flags: Frame.acknowledge, payload: Array(repeating: 7, count: 8))])
  }

  /// More than an arena holds: what lies elsewhere keeps a session awake until it is gone.
  @Test func manyStreamsOverflowTheArena() throws {
    var settings = SessionSettings()
    settings.maxConcurrentStreams = 1_000
    let talk = try Talk(settings)
    _ = talk.receive(preface)
    _ = talk.produce()
    for stream in stride(from: UInt32(1), to: 1_001, by: 2) { _ = talk.receive(headers(stream, plainGet)) }
    for stream in stride(from: Int32(1), to: 1_001, by: 2) { try respond(talk, stream) }
    #expect(talk.produce().count == 500)
    #expect(talk.receive(headers(1_001, plainGet)).count == 1)
  }

  @Test func manySessionsShareAPool() throws {
    guard let profile = SessionProfile(SessionSettings()) else { throw UnreadableBlock() }
    var sessions = Stack<ServerSession>()
    var workspace = Workspace(sectionCapacity: 16 << 10, fieldLimit: 100), output = Buffer(capacity: 256 << 10)
    for round in 0..<3 {
      for _ in 0..<200 {
        guard var session = ServerSession(profile) else { throw UnreadableBlock() }
        output.removeAll()
        let bytes = preface
        _ = session.receive(bytes.span, now: 0, &workspace)
        workspace.clear()
        _ = session.produce(into: &output, limit: 128 << 10, &workspace) { _, _, _ in BodyState(count: 0, isComplete: false, hasTrailers: false) }
        session.sleep()
        let asleep = session.isAsleep
        #expect(asleep)
        sessions.append(session)
      }
      for index in 0..<sessions.count {
        let bytes = headers(1, plainGet)
        _ = sessions[index].receive(bytes.span, now: 0, &workspace)
        #expect(workspace.eventCount == 1)
        workspace.clear()
      }
      if round < 2 { sessions.removeAll() }
    }
  }
}
