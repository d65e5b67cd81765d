// MessageTests — what a reader makes of a client's stream, whatever the pieces, and what a writer makes of messages.

import Memory
import Testing

@testable import WebSocket

@Suite struct MessageReaderTests {
  private let hello = clientFrame(0x81, bytes("Hello"))

  @Test(arguments: [
    (clientFrame(0x81, bytes("Hello")), [.message(.text, bytes("Hello"))]),
    (clientFrame(0x82, []), [.message(.binary, [])]),
    (clientFrame(0x01, bytes("Hel")) + clientFrame(0x80, bytes("lo")), [.message(.text, bytes("Hello"))]),
    (clientFrame(0x01, []) + clientFrame(0x00, []) + clientFrame(0x80, []), [.message(.text, [])]),
    (
      clientFrame(0x01, bytes("Hel")) + clientFrame(0x89, bytes("?")) + clientFrame(0x8a, []) + clientFrame(0x80, bytes("lo")),
      [.ping(bytes("?")), .pong([]), .message(.text, bytes("Hello"))]
    ),
    // A character over three frames, and a control frame within it.
    (
      clientFrame(0x01, [0xe2]) + clientFrame(0x00, [0x9c]) + clientFrame(0x89, [0xff]) + clientFrame(0x80, [0x93]),
      [.ping([0xff]), .message(.text, [0xe2, 0x9c, 0x93])]
    ),
    (clientFrame(0x88, []), [.close([])]),
    (clientFrame(0x88, [0x03, 0xe8]) + clientFrame(0x81, bytes("late")), [.close([0x03, 0xe8])]),
    (clientFrame(0x89, Array(repeating: 7, count: 125)), [.ping(Array(repeating: 7, count: 125))]),
    (clientFrame(0x82, Array(repeating: 1, count: 70_000)), [.message(.binary, Array(repeating: 1, count: 70_000))]),
  ] as [([UInt8], [Read.Event])])
  func messages(_ stream: [UInt8], _ events: [Read.Event]) {
    for room in [1, 64, 100_000] where room > 1 || stream.count < 1000 {
      #expect(read(stream, room: room).events == events)
    }
    guard stream.count < 1000 else { return }
    #expect(read(stream, pieces: Array(repeating: 1, count: stream.count)).events == events)
    for cut in 0...stream.count { #expect(read(stream, pieces: [cut, stream.count - cut]).events == events) }
  }

  @Test(arguments: [
    ("not masked", clientFrame(0x81, bytes("x"), key: nil), .protocolError),
    ("continuation of nothing", clientFrame(0x80, bytes("x")), .protocolError),
    ("new message within one", clientFrame(0x01, bytes("x")) + clientFrame(0x81, bytes("x")), .protocolError),
    ("new binary message within one", clientFrame(0x01, bytes("x")) + clientFrame(0x02, bytes("x")), .protocolError),
    ("compressed without agreement", clientFrame(0xc1, bytes("x")), .protocolError),
    ("reserved opcode", clientFrame(0x83, []), .protocolError),
    ("long ping", clientFrame(0x89, Array(repeating: 0, count: 126)), .protocolError),
    ("ping in pieces", clientFrame(0x09, []), .protocolError),
    ("length in a longer form", clientFrame(0x82, [1], form: 16), .protocolError),
    ("length in the longest form", clientFrame(0x82, Array(repeating: 1, count: 300), form: 64), .protocolError),
    ("length with the highest bit", [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], .protocolError),
    ("text that is none", clientFrame(0x81, [0x48, 0xff]), .invalidData),
    ("text cut within a character", clientFrame(0x81, [0x48, 0xe2, 0x9c]), .invalidData),
    ("surrogate over two frames", clientFrame(0x01, [0xed]) + clientFrame(0x80, [0xa0, 0x80]), .invalidData),
  ] as [(String, [UInt8], CloseCode)])
  func faults(_ name: String, _ stream: [UInt8], _ code: CloseCode) {
    #expect(read(stream).events == [.failed(code)])
    #expect(read(stream, pieces: Array(repeating: 1, count: stream.count)).events == [.failed(code)])
    // And behind a good message.
    #expect(read(hello + stream).events == [.message(.text, bytes("Hello")), .failed(code)])
  }

  /// A wrong byte is found when it comes, though the frame goes on for long.
  @Test func wrongTextFailsAtOnce() {
    let stream = clientFrame(0x81, bytes("abc") + [0xf5] + Array(repeating: 0x41, count: 100_000))
    #expect(read(Array(stream.prefix(14 + 4))).events == [.failed(.invalidData)])
    #expect(read(Array(stream.prefix(14 + 3))) == Read(open: bytes("abc")))
  }

  @Test func tooLongIsSeenInTheHeader() {
    let frame = clientFrame(0x82, Array(repeating: 0, count: 101))
    #expect(read(Array(frame.prefix(6)), limit: 100).events == [.failed(.tooBig)])
    #expect(read(clientFrame(0x82, Array(repeating: 0, count: 100)), limit: 100).events == [.message(.binary, Array(repeating: 0, count: 100))])
    // Over fragments, the header of the last.
    let parts = clientFrame(0x02, Array(repeating: 0, count: 60)) + clientFrame(0x00, Array(repeating: 0, count: 40))
    let last = clientFrame(0x80, [1])
    #expect(read(parts + last.prefix(6), limit: 100).events == [.failed(.tooBig)])
    #expect(read(parts + clientFrame(0x80, []), limit: 100).events.count == 1)
    // Lengths cannot be made to wrap around.
    let huge: [UInt8] = [0x00, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]
    #expect(read(clientFrame(0x02, [1]) + huge, limit: 0).events == [.failed(.tooBig)])
  }

  @Test func tellsWhetherItIsBetweenMessages() {
    var reader = MessageReader(limit: 0, compression: nil)
    var payload = Buffer(capacity: 16), scratch = Buffer(capacity: 128)
    func feed(_ stream: [UInt8]) -> MessageEvent {
      var position = 0
      let event = reader.next(stream.span, at: &position, into: &payload, scratch: &scratch)
      #expect(position == stream.count)
      return event
    }
    #expect(holds(reader.isBetweenMessages))
    #expect(feed(clientFrame(0x01, bytes("a"))) == .needsMore)
    #expect(holds(!reader.isBetweenMessages))
    #expect(feed(clientFrame(0x80, bytes("a"))) == .message(.text))
    #expect(holds(reader.isBetweenMessages))
  }
}

@Suite struct CompressedMessageTests {
  private let terms = CompressionTerms()

  private func forgetful(_ bits: Int = 15) -> CompressionTerms {
    var terms = CompressionTerms()
    terms.serverForgets = true
    terms.clientForgets = true
    terms.serverWindowBits = bits
    terms.clientWindowBits = bits
    return terms
  }

  /// The examples of RFC 7692 §7.2.3.
  @Test(arguments: [
    ("one block", clientFrame(0xc1, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), ["Hello"]),
    ("fragmented", clientFrame(0x41, [0xf2, 0x48, 0xcd]) + clientFrame(0x80, [0xc9, 0xc9, 0x07, 0x00]), ["Hello"]),
    ("window kept", clientFrame(0xc1, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]) + clientFrame(0xc1, [0xf2, 0x00, 0x11, 0x00, 0x00]), ["Hello", "Hello"]),
    ("not compressed", clientFrame(0xc1, [0x00, 0x05, 0x00, 0xfa, 0xff] + bytes("Hello") + [0x00]), ["Hello"]),
    ("last block", clientFrame(0xc1, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), ["Hello"]),
    (
      "last block, and the window is kept",
      clientFrame(0xc1, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]) + clientFrame(0xc1, [0xf2, 0x00, 0x11, 0x00, 0x00]), ["Hello", "Hello"]
    ),
    ("two blocks", clientFrame(0xc1, [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]), ["Hello"]),
    ("nothing", clientFrame(0xc1, [0x00]), [""]),
    ("nothing at all", clientFrame(0xc1, []), nil),
    ("plain in between", clientFrame(0xc1, [0x00]) + clientFrame(0x81, bytes("plain")) + clientFrame(0xc1, [0x00]), ["", "plain", ""]),
  ] as [(String, [UInt8], [String]?)])
  func examples(_ name: String, _ stream: [UInt8], _ texts: [String]?) {
    guard let texts else {
      // Without its block header the end mark is half a block.
      #expect(read(stream, compression: terms).events != [])
      return
    }
    for room in [1, 3, 64] {
      let whole = read(stream, room: room, compression: terms)
      #expect(whole.events == texts.map { .message(.text, bytes($0)) })
      #expect(read(stream, pieces: Array(repeating: 1, count: stream.count), room: room, compression: terms) == whole)
    }
  }

  @Test(arguments: [
    ("not deflated", clientFrame(0xc1, [0xff, 0xff, 0xff, 0xff]), .invalidData),
    ("too far back", clientFrame(0xc1, [0xf2, 0x00, 0x11, 0x00, 0x00]), .invalidData),
    ("inflates to no text", clientFrame(0xc1, [0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00]), .invalidData),
    ("marked on a continuation", clientFrame(0x41, [0xf2, 0x48]) + clientFrame(0xc0, [0xcd]), .protocolError),
    ("marked on a ping", clientFrame(0xc9, []), .protocolError),
  ] as [(String, [UInt8], CloseCode)])
  func faults(_ name: String, _ stream: [UInt8], _ code: CloseCode) {
    #expect(read(stream, compression: terms).events == [.failed(code)])
    #expect(read(stream, pieces: Array(repeating: 1, count: stream.count), compression: terms).events == [.failed(code)])
  }

  /// 64 KiB that inflate to 64 MiB are stopped at the limit, with 64 bytes of room for the payload.
  @Test func bombsAreStopped() {
    guard var deflater = Deflater(windowBits: 15, level: 9) else {
      Issue.record("no memory")
      return
    }
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var bomb: [UInt8] = []
    var output = Buffer(capacity: 65536)
    for part in 0..<64 {
      var position = 0
      while true {
        let isDone = deflater.deflate(zeros.span, at: &position, isLast: part == 63, into: &output)
        bomb += array(output.bytes)
        output.removeAll()
        if isDone { break }
      }
    }
    #expect(bomb.count < 70_000)
    #expect(read(clientFrame(0xc2, Array(bomb.dropLast(4))), limit: 1 << 20, compression: terms).events == [.failed(.tooBig)])
  }

  @Test func whatGrewByCompressionIsNotTooLong() {
    var dice = Dice(9)
    let noise = dice.bytes(4096)
    guard var deflater = Deflater(windowBits: 9, level: 1) else {
      Issue.record("no memory")
      return
    }
    var output = Buffer(capacity: 8192)
    var position = 0
    #expect(holds(deflater.deflate(noise.span, at: &position, isLast: true, into: &output)))
    let compressed = Array(array(output.bytes).dropLast(4))
    #expect(compressed.count > noise.count)
    #expect(read(clientFrame(0xc2, compressed), limit: 4096, compression: terms).events == [.message(.binary, noise)])
    #expect(read(clientFrame(0xc2, compressed), limit: 4095, compression: terms).events == [.failed(.tooBig)])
    #expect(read(clientFrame(0xc2, Array(repeating: 0, count: 5000)), limit: 4096, compression: terms).events == [.failed(.tooBig)])
  }

  @Test(arguments: [8, 9, 10, 12, 15])
  func everyWindow(_ bits: Int) {
    var dice = Dice(bits)
    for forgets in [false, true] {
      var terms = forgets ? forgetful(bits) : CompressionTerms()
      terms.serverWindowBits = bits
      var writer = MessageWriter(compression: terms, level: 1 + dice.roll(9))
      var stream: [UInt8] = []
      var messages: [Read.Event] = []
      var output = Buffer(capacity: 1 << 18), scratch = Buffer(capacity: 256 + dice.roll(4096))
      for _ in 0..<60 {
        var message: [UInt8] = []
        let isNoise = dice.roll(3) == 0
        for part in 0..<(1 + dice.roll(3)) {
          let count = dice.roll(dice.roll(8) == 0 ? 20_000 : 200)
          let piece = isNoise ? dice.bytes(count) : (0..<count).map { UInt8(truncatingIfNeeded: 65 + ($0 / 7 + part) % 23) }
          message += piece
          writer.append(.binary, piece.span, isLast: false, to: &output, scratch: &scratch)
        }
        let nothing: [UInt8] = []
        writer.append(.binary, nothing.span, isLast: true, to: &output, scratch: &scratch)
        stream += array(output.bytes)
        output.removeAll()
        messages.append(.message(.binary, message))
      }
      // The other side may be told a window of the sender's size; zlib holds us to it.
      terms.clientWindowBits = max(9, bits)
      terms.clientForgets = forgets
      let result = readServer(stream, compression: terms)
      // Not shown: it would be long.
      let isSame = result.events == messages
      #expect(isSame)
    }
  }
}

@Suite struct MessageWriterTests {
  private func write(_ pieces: [String], compression: CompressionTerms? = nil) -> [UInt8] {
    var writer = MessageWriter(compression: compression)
    var output = Buffer(capacity: 65536), scratch = Buffer(capacity: 256)
    for (index, piece) in pieces.enumerated() {
      writer.append(.text, bytes(piece).span, isLast: index == pieces.count - 1, to: &output, scratch: &scratch)
    }
    #expect(holds(!writer.isWithinMessage))
    return array(output.bytes)
  }

  @Test func plainMessages() {
    #expect(write(["Hello"]) == [0x81, 5] + bytes("Hello"))
    #expect(write([""]) == [0x81, 0])
    #expect(write(["Hel", "lo"]) == [0x01, 3] + bytes("Hel") + [0x80, 2] + bytes("lo"))
    #expect(write(["Hello", ""]) == [0x01, 5] + bytes("Hello") + [0x80, 0])
    #expect(write(["", "Hello"]) == [0x81, 5] + bytes("Hello"))
    #expect(write(["", ""]) == [0x81, 0])
  }

  @Test func smallMessagesAreNotCompressed() {
    #expect(write(["Hello"], compression: CompressionTerms()) == [0x81, 5] + bytes("Hello"))
    let long = String(repeating: "Hello ", count: 100)
    let compressed = write([long], compression: CompressionTerms())
    #expect(compressed.count < 60 && compressed[0] == 0xc1)
    #expect(readServer(compressed, compression: CompressionTerms()).events == [.message(.text, bytes(long))])
    // Once begun in pieces, it is too late to tell.
    let pieces = write(["a", "b"], compression: CompressionTerms())
    #expect(pieces[0] & 0x40 != 0)
    #expect(readServer(pieces, compression: CompressionTerms()).events == [.message(.text, bytes("ab"))])
  }

  @Test func windowsCanBeGivenUp() {
    let text = bytes(String(repeating: "0123456789", count: 10))
    var writer = MessageWriter(compression: CompressionTerms())
    var output = Buffer(capacity: 4096), scratch = Buffer(capacity: 256)
    writer.append(.text, text.span, isLast: true, to: &output, scratch: &scratch)
    let first = output.count
    writer.append(.text, text.span, isLast: true, to: &output, scratch: &scratch)
    #expect(output.count - first < first)
    #expect(holds(writer.mayReleaseContext))
    writer.releaseContext()
    #expect(holds(!writer.mayReleaseContext))
    writer.append(.text, text.span, isLast: true, to: &output, scratch: &scratch)
    let stream = array(output.bytes)
    #expect(readServer(stream, compression: CompressionTerms()).events == Array(repeating: .message(.text, text), count: 3))
  }
}

@Suite struct FrameTrackerTests {
  @Test func boundariesWhateverThePieces() {
    var dice = Dice(5)
    for _ in 0..<300 {
      var stream: [UInt8] = []
      var ends: Set<Int> = [0]
      for _ in 0..<(1 + dice.roll(6)) {
        let count = [0, 1, 125, 126, 300, 65536][dice.roll(6)]
        stream += clientFrame(count > 125 ? 0x82 : [0x81, 0x89, 0x01][dice.roll(3)], Array(repeating: 0xaa, count: count), key: dice.roll(2) == 0 ? nil : [1, 2, 3, 4])
        ends.insert(stream.count)
      }
      var tracker = FrameTracker()
      var start = 0
      while start < stream.count {
        let end = min(stream.count, start + 1 + dice.roll(dice.roll(2) == 0 ? 20 : 40_000))
        tracker.advance(stream.span.extracting(start..<end))
        start = end
        #expect(tracker.isAtBoundary == ends.contains(start))
      }
    }
  }

  @Test func stopsAtABoundary() {
    let stream = clientFrame(0x81, bytes("Hello")) + clientFrame(0x82, bytes("there"))
    var tracker = FrameTracker()
    #expect(tracker.advance(stream.span.extracting(first: 4)) == 4)
    #expect(tracker.advance(stream.span.extracting(droppingFirst: 4), stopsAtBoundary: true) == 7)
    #expect(tracker.isAtBoundary)
    #expect(tracker.advance(stream.span.extracting(droppingFirst: 11), stopsAtBoundary: true) == 0)
    #expect(!tracker.hasClosed)
  }

  @Test func closeIsSeen() {
    let stream = clientFrame(0x88, [3, 0xe8])
    var tracker = FrameTracker()
    tracker.advance(stream.span.extracting(first: stream.count - 1))
    #expect(!tracker.hasClosed)
    tracker.advance(stream.span.extracting(droppingFirst: stream.count - 1))
    #expect(tracker.hasClosed)
    var other = FrameTracker()
    let empty = clientFrame(0x88, [])
    other.advance(empty.span)
    #expect(other.hasClosed)
  }

  @Test func whatIsNotFramesHasNoBoundary() {
    let text = bytes("HTTP/1.1 200 OK\r\n\r\n") + [0xff, 0xff]
    var tracker = FrameTracker()
    #expect(tracker.advance(text.span) == text.count)
    var bytewise = FrameTracker()
    for byte in [0x88, 0x7e, 0x00, 0x81, 0x00] as [UInt8] { bytewise.advance([byte].span) }
    #expect(!bytewise.isAtBoundary)
    #expect(bytewise.advance([0x81].span, stopsAtBoundary: true) == 0)
  }
}
