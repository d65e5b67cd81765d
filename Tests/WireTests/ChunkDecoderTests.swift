// ChunkDecoderTests — the chunked coding, whole, cut anywhere, and in random pieces.

import HTTPModel
import Memory
import Testing

@testable import Wire

/// What a decoder made of a stream.
struct Decoded: Equatable {
  enum Ending: Equatable { case open, over(Int), malformed }

  var data: [UInt8] = []
  var trailer: [UInt8] = []
  var ending = Ending.open
}

/// Feeds `bytes` in pieces of the given sizes (the last one repeats), each in an array of its own.
func decodeChunks(_ bytes: [UInt8], pieces sizes: [Int]) -> Decoded {
  var decoder = ChunkDecoder()
  var result = Decoded()
  var start = 0
  var turn = 0
  while start < bytes.count {
    let piece = Array(bytes[start..<min(bytes.count, start + sizes[min(turn, sizes.count - 1)])])
    turn += 1
    var position = 0
    reading: while true {
      switch decoder.next(piece.span, at: &position) {
      case .data(let range): result.data += piece[range]
      case .trailer(let range): result.trailer += piece[range]
      case .needsMore: break reading
      case .end(let next):
        result.ending = .over(start + next)
        return result
      case .malformed:
        // How much of a bad trailer had been handed on depends on where the pieces end.
        return Decoded(data: result.data, ending: .malformed)
      }
    }
    start += piece.count
  }
  return result
}

@Suite struct ChunkDecoderTests {
  static let good: [(Sample, Sample, Sample)] = [
    ("0\r\n\r\n", "", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello", ""), ("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world", ""),
    ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""), ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""), ("005\r\nhello\r\n000\r\n\r\n", "hello", ""),
    ("000000000000005\r\nhello\r\n000000000000000\r\n\r\n", "hello", ""), ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", ""), ("5;a=b;c=\"d;e\"\r\nhello\r\n0\r\n\r\n", "hello", ""),
    ("5 \t;a\r\nhello\r\n0\r\n\r\n", "hello", ""), ("5; \t a\r\nhello\r\n0\r\n\r\n", "hello", ""), ("5;a=\u{e9}\t\r\nhello\r\n0\r\n\r\n", "hello", ""),
    ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""), ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", ""), ("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x", "A: b\r\nC: d\r\n"),
    ("0\r\nA: b\r\n\r\n", "", "A: b\r\n"), ("10\r\n0123456789abcdef\r\n0\r\n\r\n", "0123456789abcdef", ""),
  ]

  static let bad: [Sample] = [
    "\r\n", "\n", " 5\r\nhello\r\n", "g\r\n", "-5\r\nhello\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n", "5h\r\nhello\r\n", "5\nhello\r\n", "5\rhello\r\n", "5\r\r\nhello\r\n",
    "5 \r\nhello\r\n", "5\t\r\nhello\r\n", "5 5\r\nhello\r\n", "5,\r\nhello\r\n", "5;\r\nhello\r\n", "5; \r\nhello\r\n", "5;=b\r\nhello\r\n", "5;;a\r\nhello\r\n", "5;\"a\"\r\nhello\r\n",
    "5;a\nhello\r\n", "5;a\rb\r\nhello\r\n", "5;a\0\r\nhello\r\n", "5;a\u{1}\r\nhello\r\n", "5;a\u{7f}\r\nhello\r\n", "5;\0\r\n", "0000000000000005\r\nhello\r\n", "1000000000000000\r\n",
    "ffffffffffffffff\r\n", "fffffffffffffffffffffffff\r\n", "5\r\nhello!\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhelloX\r\n", "5\r\nhello\r\n\r\n", "0\n\r\n", "0\r\n\rX", "0\r\nA: b\r\n\rX",
    "5\r\nhello\r\nx", "5\r\nhello\r\n 0\r\n\r\n",
  ] + RefusedRequest.fieldLines.map { Sample(stringLiteral: "0\r\nA: b\r\n\($0.1)\r\n") }

  @Test(arguments: good)
  func goodBodies(_ sample: Sample, _ data: Sample, _ trailer: Sample) {
    let text = sample.text
    let stream = bytes(text + "GET / HTTP/1.1\r\n")
    let expected = Decoded(data: bytes(data.text), trailer: bytes(trailer.text), ending: .over(text.utf8.count))
    #expect(decodeChunks(stream, pieces: [stream.count]) == expected)
    #expect(decodeChunks(stream, pieces: [1]) == expected)
    for cut in 1..<stream.count { #expect(decodeChunks(stream, pieces: [cut, stream.count]) == expected, "cut at \(cut)") }
    for length in 1..<text.utf8.count {
      let part = decodeChunks(Array(stream.prefix(length)), pieces: [length])
      #expect(part.ending == .open && expected.data.starts(with: part.data) && expected.trailer.starts(with: part.trailer), "\(length) bytes")
    }
  }

  @Test(arguments: bad)
  func badBodies(_ sample: Sample) {
    let stream = bytes(sample.text)
    let whole = decodeChunks(stream, pieces: [stream.count])
    #expect(whole.ending == .malformed)
    #expect(decodeChunks(stream, pieces: [1]) == whole)
    for cut in 1..<stream.count { #expect(decodeChunks(stream, pieces: [cut, stream.count]) == whole, "cut at \(cut)") }
  }

  @Test(arguments: 1...60)
  func anySegmentationGivesTheSame(_ seed: UInt64) {
    var dice = Dice(seed)
    var stream: [UInt8] = []
    var data: [UInt8] = []
    for _ in 0..<dice.roll(8) {
      let chunk = (0..<1 + dice.roll(80)).map { _ in UInt8(dice.roll(256)) }
      stream += bytes(dice.pick(["", "0", "00"]) + String(chunk.count, radix: 16, uppercase: dice.roll(2) == 0) + dice.pick(["", ";x", ";a=b", " ; q=\"z\""]) + "\r\n")
      stream += chunk + bytes("\r\n")
      data += chunk
    }
    let trailer = dice.pick(["", "A: b\r\n", "A: b\r\nLonger-Name: with a longer value\r\n"])
    stream += bytes("0\r\n\(trailer)\r\n")
    let length = stream.count
    stream += bytes(dice.pick(["", "GET", "0\r\n\r\n"]))
    let expected = Decoded(data: data, trailer: bytes(trailer), ending: .over(length))
    for _ in 0..<20 {
      let sizes = (0..<200).map { _ in 1 + dice.roll(1 + dice.roll(40)) }
      #expect(decodeChunks(stream, pieces: sizes) == expected)
    }
    // One byte changed: whatever comes of it comes of it in pieces as well.
    for _ in 0..<20 {
      var changed = stream
      changed[dice.roll(changed.count)] = dice.pick([0x0d, 0x0a, 0x30, 0x3b, 0x20, UInt8(dice.roll(256))])
      let whole = decodeChunks(changed, pieces: [changed.count])
      #expect(decodeChunks(changed, pieces: [1]) == whole)
      #expect(decodeChunks(changed, pieces: (0..<200).map { _ in 1 + dice.roll(9) }) == whole)
    }
  }

  @Test func extensionsAreBounded() {
    let limit = ChunkDecoder.extensionLimit
    // The return that ends the extension counts as well.
    let most = bytes("1;\(String(repeating: "x", count: limit - 1))\r\n1\r\n0\r\n\r\n")
    #expect(decodeChunks(most, pieces: [1000]).ending == .over(most.count))
    let more = bytes("1;\(String(repeating: "x", count: limit))\r\n1\r\n0\r\n\r\n")
    #expect(decodeChunks(more, pieces: [1000]).ending == .malformed)
    // Over all chunks of a body together.
    let many = bytes(String(repeating: "1;xxxxxxxxxxxxxxx\r\n1\r\n", count: limit / 16) + "0\r\n\r\n")
    #expect(decodeChunks(many, pieces: [777]).ending == .over(many.count))
    let tooMany = bytes(String(repeating: "1;xxxxxxxxxxxxxxx\r\n1\r\n", count: limit / 16 + 1) + "0\r\n\r\n")
    #expect(decodeChunks(tooMany, pieces: [777]).ending == .malformed)
    #expect(decodeChunks(bytes("1" + String(repeating: " ", count: limit + 2)), pieces: [4096]).ending == .malformed)
  }

  @Test func hugeSizesAreRead() {
    var decoder = ChunkDecoder()
    var position = 0
    let size = bytes("fffffffffffffff\r\n")
    guard case .needsMore = decoder.next(size.span, at: &position) else {
      Issue.record("fifteen digits are refused")
      return
    }
    let piece = [UInt8](repeating: 7, count: 1000)
    #expect(decoder.announced == 0xfff_ffff_ffff_ffff)
    position = 0
    guard case .data(0..<1000) = decoder.next(piece.span, at: &position) else {
      Issue.record("the data are not handed on")
      return
    }
    #expect(decoder.announced == 0xfff_ffff_ffff_ffff - 1000)
  }

  @Test func trailersAreRecognised() {
    var decoder = ChunkDecoder()
    let stream = bytes("1\r\nx\r\n0\r\nA: b\r\n\r\n")
    var inTrailers: [Bool] = []
    for index in stream.indices {
      var position = 0
      _ = decoder.next(stream.span.extracting(index..<index + 1), at: &position)
      inTrailers.append(decoder.isInTrailers)
    }
    #expect(inTrailers.firstIndex(of: true) == 8 && !inTrailers[8...].contains(false))
  }

  @Test func theEndStaysTheEnd() {
    var decoder = ChunkDecoder()
    let stream = bytes("0\r\n\r\nmore")
    var position = 0
    guard case .end(5) = decoder.next(stream.span, at: &position), position == 5 else {
      Issue.record("the end is not at five")
      return
    }
    guard case .end(5) = decoder.next(stream.span, at: &position), position == 5 else {
      Issue.record("the end has moved")
      return
    }
  }
}

@Suite struct TrailerParserTests {
  private func parse(_ text: String, fieldLimit: Int = 8) -> (outcome: Outcome, head: RequestText) {
    let bytes = bytes(text)
    var head = RequestHead(fieldLimit: fieldLimit)
    let outcome = Outcome(TrailerParser.parse(bytes.span, into: &head))
    return (outcome, RequestText(head, bytes.span))
  }

  @Test func trailersAreFields() {
    let (outcome, head) = parse("A: b\r\nC:d \r\n\r\n")
    #expect(outcome == .complete(14) && head.fields == ["A=b", "C=d"] && head.size == 12)
    #expect(parse("\r\n").outcome == .complete(2))
    #expect(parse("").outcome == .incomplete)
    #expect(parse("A: b\r\n").outcome == .incomplete)
  }

  @Test(arguments: RefusedRequest.fieldLines.map { Sample(stringLiteral: "A: b\r\n\($0.1)\r\n") })
  func badTrailers(_ sample: Sample) {
    #expect(parse(sample.text).outcome == .rejected(.httpRequestError))
  }

  @Test func trailersAreCounted() {
    #expect(parse("A: b\r\nC: d\r\n\r\n", fieldLimit: 1).outcome == .rejected(.headersTooLarge))
  }
}
