// Replies, whole and in pieces, and everything that is none.

import Testing

@testable import RateStore

@Suite struct ReplyReaderTests {
  private static func readings(_ text: String, piece: Int = .max) -> [StoreReading] {
    var reader = ReplyReader()
    var found: [StoreReading] = []
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(piece))
      rest = rest.dropFirst(piece)
      guard reader.feed(part.span) else { return found + [.malformed] }
      while true {
        let reading = reader.next()
        if reading == .incomplete { break }
        found.append(reading)
        if reading == .malformed { return found }
      }
    }
    return found
  }

  @Test(arguments: [1, 2, 3, 7, 1000])
  func repliesInPieces(_ piece: Int) {
    let text = "+OK\r\n*4\r\n:3\r\n:17\r\n:0\r\n:250000\r\n-NOSCRIPT No matching script.\r\n$4\r\n\r\nab\r\n$-1\r\n:5\r\n*0\r\n"
    #expect(
      Self.readings(text, piece: piece) == [
        .reply(.text("OK")), .reply(.verdict(StoreVerdict(taken: 3, remaining: 17, untilToken: 0, untilAdmitted: 250_000))),
        .reply(.error("NOSCRIPT No matching script.")), .reply(.text("\r\nab")), .reply(.other), .reply(.other), .reply(.other),
      ])
  }

  @Test(arguments: [
    "*3\r\n:1\r\n:2\r\n:3\r\n", "*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n", "*4\r\n:1\r\n:2\r\n:3\r\n$1\r\nx\r\n", "*4\r\n:1\r\n:2\r\n:3\r\n*1\r\n:4\r\n",
    "*4\r\n:-1\r\n:2\r\n:3\r\n:4\r\n", "*4\r\n:1\r\n:9223372036854775807\r\n:3\r\n:4\r\n", "*4\r\n:1\r\n:2\r\n:3\r\n$-1\r\n", "*-1\r\n", "*9\r\n" + String(repeating: ":1\r\n", count: 9),
  ])
  func otherReplies(_ text: String) { #expect(Self.readings(text) == [.reply(.other)]) }

  @Test(arguments: ["HTTP/1.1 400 Bad Request\r\n", "\u{0}\u{0}\u{0}", "*4\r\nxyz\r\n", "$abc\r\n", "$-2\r\n", ":12a\r\n", "*99999999999999999999\r\n"])
  func garbage(_ text: String) { #expect(Self.readings(text).last == .malformed) }

  @Test func nothingIsSetAsideForWhatIsAnnounced() {
    #expect(Self.readings("*1000000000\r\n:1\r\n").isEmpty)
    #expect(Self.readings("*8\r\n*8\r\n*8\r\n*8\r\n*8\r\n*8\r\n*8\r\n*8\r\n*8\r\n:1\r\n").last == .malformed)
  }

  @Test func aReplyWithoutEndIsCutOff() {
    var reader = ReplyReader()
    let piece = [UInt8](repeating: 0x61, count: 16 << 10)
    let head = Array("$400000000\r\n".utf8)
    let isTaken = reader.feed(head.span), first = reader.next()
    #expect(isTaken && first == .incomplete)
    var ended = false
    for _ in 0..<64 where !ended { ended = !reader.feed(piece.span) || reader.next() == .malformed }
    #expect(ended)
  }

  @Test func longTextsAreCut() {
    let text = String(repeating: "e", count: 1000)
    #expect(Self.readings("-\(text)\r\n") == [.reply(.error(String(repeating: "e", count: 256)))])
  }
}
