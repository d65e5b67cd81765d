// AnswerTests — prepared answers: what is said of them on the wire, and how their bodies go where windows are small.

import HTTPModel
import Testing

@testable import HTTP2

@Suite struct AnswerTests {
  private static let date = "Sun, 06 Nov 1994 08:49:37 GMT"
  private static let body = String(repeating: "0123456789", count: 4)

  /// A talk in which three answers are prepared: a body of forty bytes, none, and one of 40,000.
  private func begun(window: UInt32 = 65_535) throws -> Talk {
    let talk = try Talk()
    prepare(talk, .ok, "Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 40\r\n", Self.body)
    prepare(talk, .noContent, "", "")
    prepare(talk, .ok, "Content-Length: 40000\r\n", String(repeating: "x", count: 40_000))
    let settings = Frame(type: Frame.settings, payload: [0, 4] + big(window)).bytes
    _ = talk.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + settings + Frame(type: Frame.settings, flags: Frame.acknowledge).bytes)
    _ = talk.produce()
    return talk
  }

  private func prepare(_ talk: Talk, _ status: Status, _ fields: String, _ body: String) {
    let fields = Array(fields.utf8), body = Array(body.utf8)
    talk.workspace.answers.append(status, fields: fields.span, body: body.span, server: true)
  }

  private func answer(_ talk: Talk, _ stream: Int32, _ index: Int, id: String = "abcd", isHead: Bool = false, tag: UInt64 = 0) {
    _ = talk.receive(headers(UInt32(stream), plainGet))
    _ = talk.session.tag(stream, tag)
    let date = Array(Self.date.utf8), id = Array(id.utf8)
    let isTaken = talk.session.respond(stream, answer: index, date: date.span, id: id.span, isHead: isHead, &talk.workspace)
    #expect(isTaken)
  }

  @Test func headAndBody() throws {
    let talk = try begun()
    answer(talk, 1, 0)
    #expect(talk.workspace.openAnswers == 1)
    let frames = talk.produce()
    #expect(frames.map(\.type) == [Frame.headers, Frame.data])
    #expect(try decoded(frames[0]) == [":status: 200", "server: gateway", "content-type: text/plain", "content-length: 40", "date: \(Self.date)", "x-request-id: abcd"])
    #expect(frames[1] == Frame(type: Frame.data, flags: Frame.endStream, stream: 1, payload: Array(Self.body.utf8)))
    #expect(talk.workspace.openAnswers == 0 && !talk.isOpen(1))
  }

  @Test func withoutABody() throws {
    let talk = try begun()
    answer(talk, 1, 1)
    answer(talk, 3, 0, isHead: true)
    #expect(talk.workspace.openAnswers == 0)
    let frames = talk.produce()
    #expect(frames.map(\.type) == [Frame.headers, Frame.headers] && frames.allSatisfy { $0.flags == Frame.endHeaders | Frame.endStream })
    #expect(try decoded(frames[0]) == [":status: 204", "server: gateway", "date: \(Self.date)", "x-request-id: abcd"])
  }

  @Test func whatIsTheSameIsSaidOnce() throws {
    let talk = try begun()
    answer(talk, 1, 0)
    let first = talk.produce()
    answer(talk, 3, 0, id: "efgh")
    let second = talk.produce()
    // Every field but the length and the id is an index; the id is a literal never to be kept, whose name is an index.
    #expect(second[0].payload.count < 16 && first[0].payload.count > 60)

  }

  @Test func aSmallWindowIsKept() throws {
    let talk = try begun(window: 25)
    answer(talk, 1, 0)
    var events: [String] = []
    #expect(talk.produce(&events).map(\.payload.count).last == 25)
    #expect(talk.workspace.openAnswers == 1 && talk.isOpen(1) && events.isEmpty)
    // With a tag, its owner hears of the progress.
    _ = talk.session.tag(1, 9)
    _ = talk.receive(Frame(type: Frame.windowUpdate, stream: 1, payload: big(10)).bytes)
    #expect(talk.produce(&events).map(\.payload) == [Array("5678901234".utf8)])
    #expect(events == ["progress 9"])
    _ = talk.receive(Frame(type: Frame.windowUpdate, stream: 1, payload: big(10)).bytes)
    #expect(talk.produce(&events) == [Frame(type: Frame.data, flags: Frame.endStream, stream: 1, payload: Array("56789".utf8))])
    #expect(events == ["progress 9", "closed 9 0"])
    // What was counted was a stream without a tag, of which its owner has taken note.
    #expect(talk.workspace.openAnswers == 1)
  }

  @Test func largeBodiesGoInManyFrames() throws {
    let talk = try begun()
    answer(talk, 1, 2)
    let frames = talk.produce().dropFirst()
    #expect(frames.map(\.payload.count).reduce(0, +) == 40_000 && frames.last?.flags == Frame.endStream)
    #expect(frames.allSatisfy { $0.payload.allSatisfy { $0 == 0x78 } })
  }

  @Test func aStreamThatIsResetIsForgotten() throws {
    let talk = try begun(window: 0)
    answer(talk, 1, 0)
    _ = talk.produce()
    _ = talk.receive(Frame(type: Frame.reset, stream: 1, payload: big(8)).bytes)
    #expect(!talk.isOpen(1) && talk.produce().isEmpty)
    // A request and its reset in one read.
    _ = talk.receive(headers(3, plainGet) + Frame(type: Frame.reset, stream: 3, payload: big(8)).bytes)
    #expect(!talk.isStillOpen(3))
    _ = talk.receive(headers(5, plainGet))
    #expect(talk.isStillOpen(5))
  }
}
