// DeflateCheck — inflating arbitrary bytes does no harm and does not depend on the pieces; what was deflated is inflated to the same.
//
// The first two bytes seed the pieces and choose the window; the rest is taken as compressed data, and as data.

import Memory
import WebSocket

func checkDeflate(_ bytes: [UInt8]) throws(Violation) {
  guard bytes.count >= 2 else { return }
  let data = Array(bytes.dropFirst(2))
  var dice = Dice(Int(bytes[0]) << 8 | Int(bytes[1]))
  let bits = 8 + Int(bytes[1] & 7)
  let whole = try inflate(data, pieces: [data.count], room: 65_536, bits)
  try require(whole == inflate(data, pieces: Array(repeating: 1, count: data.count), room: 1 + dice.roll(100), bits), "single bytes inflate to something else than the whole")
  try require(whole == inflate(data, pieces: split(data.count, &dice), room: 1 + dice.roll(1000), bits), "pieces inflate to something else than the whole")
  try checkRoundTrip(data, bits, &dice)
}

/// What came out, up to a bound, and whether the data were good until there.
private struct Inflated: Equatable {
  var bytes: [UInt8] = []
  var isCorrupt = false
}

private let bound = 200_000

private func inflate(_ data: [UInt8], pieces: [Int], room: Int, _ bits: Int) throws(Violation) -> Inflated {
  guard var inflater = Inflater(windowBits: bits) else { throw Violation(description: "no memory") }
  var result = Inflated()
  var output = Buffer(capacity: room)
  var start = 0
  for size in pieces {
    let piece = Array(data[start..<start + size])
    start += size
    var position = 0
    while true {
      let before = position
      let outcome = inflater.inflate(piece.span, at: &position, into: &output)
      result.bytes += array(output.bytes)
      let gave = output.count
      output.removeAll()
      if result.bytes.count > bound {
        // Where it stops depends on the room.
        return Inflated(bytes: Array(result.bytes.prefix(bound)))
      }
      switch outcome {
      case .corrupt: return Inflated(bytes: [], isCorrupt: true)
      case .needsOutput: try require(gave == room, "output is asked for while there is room")
      case .needsInput:
        try require(position == piece.count, "input is asked for while there is some")
        break
      }
      if outcome == .needsInput { break }
      try require(position > before || gave > 0, "inflating stands still")
    }
  }
  return result
}

/// Messages out of the data, deflated in pieces and inflated again, with and without a window kept.
private func checkRoundTrip(_ data: [UInt8], _ bits: Int, _ dice: inout Dice) throws(Violation) {
  guard var deflater = Deflater(windowBits: bits, level: 1 + dice.roll(9)), var inflater = Inflater(windowBits: bits) else { throw Violation(description: "no memory") }
  let forgets = dice.roll(2) == 0
  for message in [data, data, Array(data.prefix(7)), []] {
    var compressed: [UInt8] = []
    var output = Buffer(capacity: 16 + dice.roll(500))
    var start = 0
    let pieces = split(message.count, &dice)
    for (index, size) in pieces.enumerated() {
      let piece = Array(message[start..<start + size])
      start += size
      var position = 0
      while true {
        let isDone = deflater.deflate(piece.span, at: &position, isLast: index == pieces.count - 1, into: &output)
        compressed += array(output.bytes)
        output.removeAll()
        if isDone { break }
      }
      try require(position == piece.count, "deflating leaves data behind")
    }
    // Nothing new since the last flush gives nothing.
    try require(compressed.isEmpty ? message.isEmpty : compressed.suffix(4) == [0, 0, 0xff, 0xff], "the end mark is missing")
    var result: [UInt8] = []
    var position = 0
    let body = Array(compressed.dropLast(4))
    while !compressed.isEmpty {
      let outcome = inflater.inflate(body.span, at: &position, into: &output)
      result += array(output.bytes)
      output.removeAll()
      try require(outcome != .corrupt, "what was deflated is corrupt")
      if outcome == .needsInput { break }
    }
    while !compressed.isEmpty {
      let outcome = inflater.endMessage(into: &output)
      result += array(output.bytes)
      output.removeAll()
      try require(outcome != .corrupt, "the end is corrupt")
      if outcome == .needsInput { break }
    }
    try require(result == message, "what was deflated inflates to something else")
    if forgets {
      deflater.reset()
      inflater.reset()
    }
  }
}

private func split(_ count: Int, _ dice: inout Dice) -> [Int] {
  var pieces: [Int] = []
  var covered = 0
  while covered < count {
    let piece = min(count - covered, 1 + dice.roll(1 + dice.roll(300)))
    pieces.append(piece)
    covered += piece
  }
  return pieces.isEmpty ? [0] : pieces
}
