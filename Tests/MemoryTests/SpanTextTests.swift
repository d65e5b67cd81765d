// SpanTextTests — comparing with literals of every length class, and with each byte changed.

import Memory
import Testing

@Suite struct SpanTextTests {
  private static let literals: [StaticString] = [
    "", "a", "te", "via", "host", "chunk", "accept", "upgrade", "trailers", "x-a-b-c-d", "connection", "content-type", "content-length",
    "x-forwarded-for", "proxy-connection", "transfer-encoding", "proxy-authorization", "a-name-of-more-than-sixteen-and-thirty-two-bytes",
  ]

  @Test func aLiteralEqualsItself() {
    for literal in Self.literals {
      let text = bytes("\(literal)")
      #expect(holds(text.span.equals(literal)))
      #expect(holds(text.span.equalsIgnoringCase(literal)))
      #expect(holds(bytes("\(literal)".uppercased()).span.equalsIgnoringCase(literal)))
      #expect(holds((text.isEmpty || !"\(literal)".contains { $0.isLetter }) || !bytes("\(literal)".uppercased()).span.equals(literal)))
    }
  }

  @Test func everyByteCounts() {
    for literal in Self.literals {
      let text = bytes("\(literal)")
      for index in text.indices {
        for change in [UInt8(0x01), 0x40, 0x80] {
          var other = text
          other[index] ^= change
          #expect(holds(!other.span.equals(literal)))
          #expect(holds(!other.span.equalsIgnoringCase(literal)))
        }
      }
    }
  }

  @Test func lengthCounts() {
    for literal in Self.literals {
      let text = bytes("\(literal)")
      #expect(holds(!(text + [0x61]).span.equals(literal)))
      #expect(holds(!([0x61] + text).span.equalsIgnoringCase(literal)))
      if !text.isEmpty { #expect(holds(!text.span.extracting(first: text.count - 1).equals(literal))) }
    }
  }

  @Test func partsOfLargerTexts() {
    let text = bytes("GET /index.html HTTP/1.1")
    #expect(holds(text.span.extracting(0..<3).equals("GET")))
    #expect(holds(text.span.extracting(16..<24).equals("HTTP/1.1")))
    #expect(holds(text.span.extracting(16..<24).equalsIgnoringCase("http/1.1")))
  }

  @Test func nothingEqualsOnlyNothing() {
    #expect(holds(Span<UInt8>().equals("")))
    #expect(holds(!Span<UInt8>().equals("a")))
  }

  @Test func wordsAreLittleEndian() {
    let text: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    #expect(text.span.word(UInt16.self, at: 1) == 0x0302)
    #expect(text.span.word(UInt32.self, at: 5) == 0x0908_0706)
    #expect(text.span.word(UInt64.self, at: 1) == 0x0908_0706_0504_0302)
  }
}
