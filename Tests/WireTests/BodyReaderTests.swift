// BodyReaderTests — bodies of every framing, in pieces.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct BodyReaderTests {
  /// Reads a stream in pieces; returns the data and where the body ended, -1 if it did not.
  private func read(_ framing: BodyFraming, _ stream: [UInt8], step: Int) -> (data: [UInt8], end: Int) {
    var reader = BodyReader(framing)
    var data: [UInt8] = []
    var start = 0
    while true {
      let piece = Array(stream[start..<min(stream.count, start + step)])
      var position = 0
      reading: while true {
        switch reader.next(piece.span, at: &position) {
        case .data(let range): data += piece[range]
        case .trailer: break
        case .needsMore: break reading
        case .end(let next): return (data, start + next)
        case .malformed: return (data, -2)
        }
      }
      start += piece.count
      if piece.isEmpty { return (data, -1) }
    }
  }

  @Test func noBody() {
    var reader = BodyReader(.none)
    #expect(reader.isComplete && reader.streamEnded())
    #expect(read(.none, bytes("GET"), step: 3) == ([], 0))
    #expect(read(.length(0), bytes("GET"), step: 3) == ([], 0))
  }

  @Test(arguments: 1...12)
  func knownLength(_ step: Int) {
    let stream = bytes("hello worldGET")
    #expect(read(.length(11), stream, step: step) == (bytes("hello world"), 11))
    #expect(read(.length(14), stream, step: step) == (stream, 14))
    #expect(read(.length(15), stream, step: step) == (stream, -1))
    #expect(read(.length(1), stream, step: step) == (bytes("h"), 1))
  }

  @Test func whatRemains() {
    var reader = BodyReader(.length(10))
    let piece = bytes("abcd")
    var position = 0
    #expect(reader.remainingLength == 10 && !reader.isComplete)
    _ = reader.next(piece.span, at: &position)
    #expect(reader.announced == 6 && reader.remainingLength == 6 && position == 4 && !reader.streamEnded())
    position = 1
    _ = reader.next(piece.span, at: &position)
    #expect(reader.remainingLength == 3 && position == 4)
    position = 0
    _ = reader.next(piece.span, at: &position)
    #expect(reader.remainingLength == 0 && position == 3 && reader.isComplete)
  }

  @Test(arguments: 1...9)
  func untilTheEndOfTheStream(_ step: Int) {
    let stream = bytes("hello world")
    #expect(read(.untilClose, stream, step: step) == (stream, -1))
    var reader = BodyReader(.untilClose)
    let isOpen = !reader.isComplete
    #expect(isOpen && reader.streamEnded() && reader.isComplete)
  }

  @Test(arguments: 1...30)
  func chunks(_ step: Int) {
    let text = "5\r\nhello\r\n6;x\r\n world\r\n0\r\nA: b\r\n\r\n"
    #expect(read(.chunked, bytes(text + "GET"), step: step) == (bytes("hello world"), text.utf8.count))
    #expect(read(.chunked, bytes("5\r\nhello\r\n"), step: step) == (bytes("hello"), -1))
    #expect(read(.chunked, bytes("5\r\nhelloX"), step: step) == (bytes("hello"), -2))
  }

  @Test func anUnfinishedBodyIsNotComplete() {
    var chunked = BodyReader(.chunked), counted = BodyReader(.length(1))
    #expect(!chunked.streamEnded() && !counted.streamEnded())
  }

  @Test func bytesThatWentAnotherWayCount() {
    var body = BodyReader(.length(10))
    body.skip(4)
    #expect(body.remainingLength == 6 && !body.isComplete)
    body.skip(-1)
    body.skip(7)
    #expect(body.remainingLength == 0 && body.isComplete)
    var chunked = BodyReader(.chunked)
    chunked.skip(1)
    #expect(!chunked.isComplete)
  }
}
