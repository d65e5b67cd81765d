// WebSocketCheck — frames and messages: any segmentation, and any room for payload, gives what the whole gives; without
// compression that is what a plain reading gives; and what a writer makes of the messages is read back the same.
//
// The first three bytes seed the segmentation and choose the terms, the rest is the client's stream.

import Memory
import WebSocket

/// What a reader made of a stream.
private struct Heard: Equatable {
  enum Event: Equatable {
    case message(MessageKind, [UInt8])
    case ping([UInt8]), pong([UInt8]), close([UInt8])
    case failed(CloseCode)
  }

  var events: [Event] = []
  var open: [UInt8] = []

  var isOver: Bool {
    switch events.last {
    case .close, .failed: true
    default: false
    }
  }
}

func checkWebSocket(_ bytes: [UInt8]) throws(Violation) {
  guard bytes.count >= 3 else { return }
  let stream = Array(bytes.dropFirst(3))
  var dice = Dice(Int(bytes[0]) << 8 | Int(bytes[1]))
  var terms: CompressionTerms?
  if bytes[2] & 1 != 0 {
    var agreed = CompressionTerms()
    agreed.clientForgets = bytes[2] & 2 != 0
    agreed.serverForgets = bytes[2] & 4 != 0
    agreed.clientWindowBits = 8 + Int(bytes[2] >> 5)
    agreed.serverWindowBits = 8 + Int(bytes[2] >> 5)
    terms = agreed
  }
  let limit = bytes[2] & 8 != 0 ? 1000 : 100_000
  let whole = try hear(stream, pieces: [stream.count], room: 4096, limit, terms)
  let bytewise = try hear(stream, pieces: Array(repeating: 1, count: stream.count), room: 1 + dice.roll(64), limit, terms)
  try require(whole == bytewise, "single bytes give something else than the whole: \(bytewise), not \(whole)")
  var pieces: [Int] = []
  var covered = 0
  while covered < stream.count {
    let piece = min(stream.count - covered, 1 + dice.roll(1 + dice.roll(200)))
    pieces.append(piece)
    covered += piece
  }
  try require(whole == hear(stream, pieces: pieces, room: 1 + dice.roll(300), limit, terms), "pieces give something else than the whole")
  if terms == nil { try require(whole == reference(stream, limit), "a plain reading gives something else: \(reference(stream, limit)), not \(whole)") }
  try checkWriter(whole, &dice, terms)
  try checkTracker(stream, pieces)
}

private func hear(_ stream: [UInt8], pieces: [Int], room: Int, _ limit: Int, _ terms: CompressionTerms?) throws(Violation) -> Heard {
  var reader = MessageReader(limit: limit, compression: terms)
  var payload = Buffer(capacity: room), scratch = Buffer(capacity: 125 + room % 7)
  var result = Heard()
  var held: [UInt8] = []
  var start = 0
  for size in pieces {
    held += stream[start..<start + size]
    start += size
    var position = 0
    reading: while true {
      let event = reader.next(held.span, at: &position, into: &payload, scratch: &scratch)
      try require(position <= held.count, "the reader went beyond the end")
      switch event {
      case .needsMore:
        try require(held.count - position < 140, "the reader leaves data behind")
        break reading
      case .full:
        try require(payload.freeCapacity == 0, "full, but there is room")
        result.open += array(payload.bytes)
        payload.removeAll()
        try require(result.open.count <= limit, "a message grows over the limit")
      case .message(let kind):
        result.events.append(.message(kind, result.open + array(payload.bytes)))
        result.open = []
        payload.removeAll()
        try require(reader.kind == nil, "a message is open after its end")
      case .ping: result.events.append(.ping(array(scratch.bytes)))
      case .pong: result.events.append(.pong(array(scratch.bytes)))
      case .close: result.events.append(.close(array(scratch.bytes)))
      case .failed(let code): result.events.append(.failed(code))
      }
      if result.isOver {
        result.open = []
        return result
      }
    }
    held.removeFirst(position)
  }
  result.open += array(payload.bytes)
  if terms != nil { result.open = [] }  // How far inflating has come depends on the pieces.
  return result
}

/// RFC 6455 §5 without compression, read from the front.
private func reference(_ stream: [UInt8], _ limit: Int) -> Heard {
  var result = Heard()
  var rest = stream[...]
  var open: (kind: MessageKind, count: Int)?
  func failed(_ code: CloseCode) -> Heard {
    Heard(events: result.events + [.failed(code)])
  }
  while let first = rest.first {
    let opcode = first & 15, isFinal = first & 0x80 != 0
    guard first & 0x70 == 0, [0, 1, 2, 8, 9, 10].contains(opcode), opcode < 8 || isFinal else { return failed(.protocolError) }
    if opcode < 8, (opcode == 0) != (open != nil) { return failed(.protocolError) }
    rest = rest.dropFirst()
    guard let second = rest.popFirst() else { return result }
    guard second & 0x80 != 0 else { return failed(.protocolError) }
    var length = UInt64(second & 127)
    if opcode >= 8, length > 125 { return failed(.protocolError) }
    if length > 125 {
      let size = length == 126 ? 2 : 8
      if size == 8, let high = rest.first, high >= 0x80 { return failed(.protocolError) }
      guard rest.count >= size else { return result }
      length = rest.prefix(size).reduce(0) { $0 << 8 | UInt64($1) }
      rest = rest.dropFirst(size)
      guard length >= (size == 2 ? 126 : 65_536) else { return failed(.protocolError) }
    }
    guard rest.count >= 4 else { return result }
    let key = Array(rest.prefix(4))
    rest = rest.dropFirst(4)
    if opcode < 8 {
      if opcode > 0 { open = (opcode == 1 ? .text : .binary, 0) }
      guard length <= UInt64(limit - (open?.count ?? 0)) else { return failed(.tooBig) }
    }
    let payload = rest.prefix(Int(clamping: length)).enumerated().map { $1 ^ key[$0 % 4] }
    rest = rest.dropFirst(payload.count)
    let isWhole = payload.count == Int(clamping: length)
    if opcode >= 8 {
      guard isWhole else { return result }
      switch opcode {
      case 9: result.events.append(.ping(payload))
      case 10: result.events.append(.pong(payload))
      default: return Heard(events: result.events + [.close(payload)])
      }
      continue
    }
    result.open += payload
    open?.count += Int(clamping: length)
    guard let kind = open?.kind else { return result }
    if kind == .text, !mayBecomeText(result.open) { return failed(.invalidData) }
    guard isWhole else { return result }
    guard isFinal else { continue }
    if kind == .text, String(validating: result.open, as: UTF8.self) == nil { return failed(.invalidData) }
    result.events.append(.message(kind, result.open))
    result.open = []
    open = nil
  }
  return result
}

/// Whether the bytes are the beginning of some text: some end makes them good.
private func mayBecomeText(_ bytes: [UInt8]) -> Bool {
  let ends: [[UInt8]] = [[], [0x80], [0x80, 0x80], [0xa0, 0x80], [0x80, 0x80, 0x80], [0x90, 0x80, 0x80]]
  return ends.contains { String(validating: bytes + $0, as: UTF8.self) != nil }
}

/// Writes the messages in pieces, and reads them back.
private func checkWriter(_ heard: Heard, _ dice: inout Dice, _ terms: CompressionTerms?) throws(Violation) {
  var writer = MessageWriter(compression: terms, level: 1 + dice.roll(9))
  var output = Buffer(capacity: 1 << 20), scratch = Buffer(capacity: 256 + dice.roll(1000))
  var written: [Heard.Event] = []
  for event in heard.events {
    guard case .message(let kind, let payload) = event, output.freeCapacity > 300_000 else { continue }
    var start = 0
    while true {
      let piece = min(payload.count - start, dice.roll(1 + dice.roll(20_000)))
      let isLast = start + piece == payload.count && dice.roll(2) == 0
      let part = Array(payload[start..<start + piece])
      try require(output.freeCapacity >= writer.room(for: piece), "the test has no room")
      let before = output.count
      writer.append(kind, part.span, isLast: isLast, to: &output, scratch: &scratch)
      try require(output.count - before <= writer.room(for: piece), "a piece takes more room than it says")
      start += piece
      if isLast { break }
      if output.freeCapacity < 200_000 { return }
    }
    written.append(event)
    if dice.roll(4) == 0 { writer.releaseContext() }
  }
  // A server's frames become a client's by a key of zeros.
  let frames = array(output.bytes)
  var stream: [UInt8] = []
  var position = 0
  while case .header(var header) = FrameHeader.parse(frames.span, at: position) {
    try require(header.key == nil, "a server masks")
    var text = Buffer(capacity: 14)
    let start = position + header.size
    header.key = 0
    text.append(header)
    stream += array(text.bytes) + frames[start..<start + header.length]
    position = start + header.length
  }
  try require(position == frames.count, "what is written is not frames")
  var mirrored = terms
  mirrored?.clientForgets = terms?.serverForgets ?? false
  try require(hear(stream, pieces: [stream.count], room: 4096, 1 << 20, mirrored) == Heard(events: written), "what is written is not what was to be written")
}

/// The boundaries are the same whatever the pieces.
private func checkTracker(_ stream: [UInt8], _ pieces: [Int]) throws(Violation) {
  var bytewise = FrameTracker(), piecewise = FrameTracker()
  var start = 0
  for size in pieces {
    for byte in stream[start..<start + size] {
      let one = [byte]
      bytewise.advance(one.span)
    }
    try require(piecewise.advance(stream.span.extracting(start..<start + size)) == size, "the tracker stops")
    start += size
    try require(bytewise.isAtBoundary == piecewise.isAtBoundary && bytewise.hasClosed == piecewise.hasClosed, "the boundaries depend on the pieces")
  }
}
