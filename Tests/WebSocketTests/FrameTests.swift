// FrameTests — headers read and written, the bytes that no frame begins with, masking, and UTF-8.

import Memory
import Testing

@testable import WebSocket

@Suite struct FrameTests {
  @Test(arguments: [
    ([0x81, 0x05] as [UInt8], FrameHeader(.text, length: 5)),
    ([0x01, 0x03], FrameHeader(.text, length: 3, isFinal: false)),
    ([0x80, 0x02], FrameHeader(.continuation, length: 2)),
    ([0xc2, 0x7d], FrameHeader(.binary, length: 125, isCompressed: true)),
    ([0x82, 0x7e, 0x00, 0x7e], FrameHeader(.binary, length: 126)),
    ([0x82, 0x7e, 0xff, 0xff], FrameHeader(.binary, length: 65535)),
    ([0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], FrameHeader(.binary, length: 65536)),
    ([0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], FrameHeader(.binary, length: .max)),
    ([0x89, 0x80, 1, 2, 3, 4], FrameHeader(.ping, length: 0, key: 0x0403_0201)),
    ([0x8a, 0x7d], FrameHeader(.pong, length: 125)),
    ([0x88, 0x02], FrameHeader(.close, length: 2)),
    ([0x82, 0xfe, 0x01, 0x00, 9, 8, 7, 6], FrameHeader(.binary, length: 256, key: 0x0607_0809)),
    ([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 8, 7, 6], FrameHeader(.binary, length: 65536, key: 0x0607_0809)),
  ])
  func headersAreReadAndWritten(_ text: [UInt8], _ header: FrameHeader) {
    #expect(holds(FrameHeader.parse(text.span, at: 0) == .header(header)))
    let shifted = [0, 0, 0] + text + [0xff]
    #expect(holds(FrameHeader.parse(shifted.span, at: 3) == .header(header)))
    for length in 0..<text.count {
      let part = Array(text[..<length])
      #expect(holds(FrameHeader.parse(part.span, at: 0) == .incomplete), "\(length) bytes")
    }
    var buffer = Buffer(capacity: 14)
    buffer.append(header)
    #expect(array(buffer.bytes) == text)
    #expect(header.size == text.count)
  }

  /// Each is refused at its last byte, and not before.
  @Test(arguments: [
    [0x83], [0x87], [0x8b], [0x8f], [0x91], [0xa1], [0xb2],
    [0x09], [0x08], [0x0a], [0xc9], [0x89, 0x7e], [0x88, 0xff], [0x8a, 0x7f],
    [0x82, 0x7e, 0x00, 0x7d], [0x82, 0xfe, 0x00, 0x00], [0x82, 0x7f, 0x80], [0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
  ] as [[UInt8]])
  func whatNoFrameIs(_ text: [UInt8]) {
    #expect(holds(FrameHeader.parse(text.span, at: 0) == .malformed))
    let part = Array(text.dropLast())
    #expect(holds(FrameHeader.parse(part.span, at: 0) == .incomplete))
  }

  @Test func placesOutsideAreNoFrames() {
    let text: [UInt8] = [0x81, 0x00]
    #expect(holds(FrameHeader.parse(text.span, at: 2) == .incomplete))
    #expect(holds(FrameHeader.parse(text.span, at: 3) == .incomplete))
    #expect(holds(FrameHeader.parse(text.span, at: -1) == .incomplete))
  }

  @Test func maskingIsExclusiveOr() {
    var dice = Dice(1)
    for count in Array(0...70) + [127, 128, 1000, 4097] {
      let text = dice.bytes(count), key = UInt32(dice.roll(1 << 31))
      var buffer = Buffer(capacity: count + 8)
      buffer.append(7)
      buffer.append(text.span, maskedWith: key)
      let expected = text.enumerated().map { $1 ^ UInt8(truncatingIfNeeded: key >> UInt32(8 * ($0 % 4))) }
      #expect(Array(array(buffer.bytes).dropFirst()) == expected)
      // In two pieces the key goes on where it stopped.
      let cut = count == 0 ? 0 : dice.roll(count + 1)
      var pieces = Buffer(capacity: max(1, count))
      pieces.append(text.span.extracting(first: cut), maskedWith: key)
      pieces.append(text.span.extracting(droppingFirst: cut), maskedWith: key.maskingKey(after: cut))
      #expect(array(pieces.bytes) == expected)
    }
  }

  @Test func framesOfServersAreNotMasked() {
    var buffer = Buffer(capacity: 64)
    buffer.append(frame: .text, bytes("Hello").span)
    #expect(array(buffer.bytes) == [0x81, 0x05] + bytes("Hello"))
    buffer.removeAll()
    // The example of RFC 6455 §5.7.
    buffer.append(frame: .text, bytes("Hello").span, maskedWith: 0x3d21_fa37)
    #expect(array(buffer.bytes) == [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58])
  }

  // MARK: Closing

  @Test func closePayloads() {
    func payload(_ code: Int, _ reason: [UInt8] = []) -> ClosePayload {
      let bytes = [UInt8(code >> 8), UInt8(code & 255)] + reason
      return ClosePayload(bytes.span)
    }
    let none: [UInt8] = [], one: [UInt8] = [3]
    #expect(holds(ClosePayload(none.span) == .empty))
    #expect(holds(ClosePayload(one.span) == .malformed(.protocolError)))
    for code in 0..<6000 {
      let isGood = 1000...1003 ~= code || 1007...1014 ~= code || 3000...4999 ~= code
      #expect(payload(code) == (isGood ? .code(CloseCode(rawValue: UInt16(code))) : .malformed(.protocolError)))
    }
    #expect(payload(65535) == .malformed(.protocolError))
    #expect(payload(1000, bytes("Ende gut, alles gut: ✓")) == .code(.normal))
    #expect(payload(1000, [0xff]) == .malformed(.invalidData))
    #expect(payload(1000, [0xe2, 0x9c]) == .malformed(.invalidData))
    #expect(CloseCode.missingExtension.reply == .normal)
    #expect(CloseCode.goingAway.reply == .goingAway)
  }

  @Test func closeFrames() {
    var buffer = Buffer(capacity: 64)
    buffer.append(close: .goingAway)
    buffer.append(close: .noStatus)
    buffer.append(close: .goingAway, key: 0x0403_0201)
    #expect(array(buffer.bytes) == [0x88, 2, 0x03, 0xe9, 0x88, 0, 0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2])
  }
}

@Suite struct UTF8Tests {
  /// The verdict on each prefix of `text`, taken in one piece and byte by byte; nil: refused.
  private func verdicts(_ text: [UInt8]) -> [Bool?] {
    var bytewise: [Bool?] = []
    var check = UTF8Check()
    var isGood = true
    for byte in text {
      isGood = isGood && check.accept([byte].span)
      bytewise.append(isGood ? check.isComplete : nil)
    }
    for length in 1..<max(1, text.count + 1) where length <= text.count {
      var whole = UTF8Check()
      let part = Array(text[..<length])
      let accepted = whole.accept(part.span)
      #expect((accepted ? whole.isComplete : nil) == bytewise[length - 1], "\(part)")
    }
    return bytewise
  }

  /// A prefix is refused as soon as nothing can follow that makes it good, says the standard library by trial.
  @Test func everyPairAndManyLonger() {
    func isGood(_ text: [UInt8]) -> Bool { String(validating: text, as: UTF8.self) != nil }
    let tails: [[UInt8]] = [[], [0x80], [0xbf], [0x90], [0xa0], [0x80, 0x80], [0xa0, 0x80], [0x90, 0x80, 0x80], [0x80, 0x80, 0x80], [0x80, 0xbf], [0xbf, 0xbf, 0xbf]]
    func mayFollow(_ text: [UInt8]) -> Bool { tails.contains { isGood(text + $0) } }
    func compare(_ text: [UInt8]) {
      let expected: [Bool?] = (1...text.count).map { length in
        let part = Array(text[..<length])
        return isGood(part) ? true : mayFollow(part) ? false : nil
      }
      #expect(verdicts(text) == expected, "\(text)")
    }
    for first in UInt8.min...UInt8.max {
      compare([first])
      for second in stride(from: 0, through: 255, by: 1) where first >= 0xc0 || second % 16 == 0 { compare([first, UInt8(second)]) }
    }
    for first in UInt8(0xe0)...0xf5 {
      for second in [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0] as [UInt8] {
        for third in [0x00, 0x7f, 0x80, 0xbf, 0xc0] as [UInt8] {
          for fourth in [0x41, 0x80, 0xbf, 0xff] as [UInt8] { compare([first, second, third, fourth]) }
        }
      }
    }
  }

  @Test func longTextsInPieces() {
    var dice = Dice(3)
    let text = bytes(String(repeating: "Grüße, Jürgen ❤ 😀 and plain text that is longer than sixteen bytes. ", count: 20))
    for _ in 0..<200 {
      var check = UTF8Check()
      var start = 0
      while start < text.count {
        let end = min(text.count, start + 1 + dice.roll(40))
        #expect(holds(check.accept(text.span.extracting(start..<end))))
        start = end
      }
      #expect(check.isComplete)
      var broken = text
      let place = dice.roll(text.count)
      broken[place] = 0xff
      var other = UTF8Check()
      #expect(holds(!other.accept(broken.span)))
    }
  }
}
