// ChunkedBodyCheck — the chunked coding: any segmentation gives what a plain reading of the whole gives.
//
// The first two bytes seed the segmentation, the rest is the body.

import HTTPModel
import Memory
import Wire

/// What a decoder made of a stream.
private struct Decoded: Equatable {
  enum Ending: Equatable { case open, over(Int), malformed }

  var data: [UInt8] = []
  var trailer: [UInt8] = []
  var ending = Ending.open

  /// How much of a bad trailer had been handed on depends on where the pieces end.
  mutating func refuse() {
    ending = .malformed
    trailer = []
  }
}

func checkChunkedBody(_ bytes: [UInt8]) throws(Violation) {
  let body = Array(bytes.dropFirst(2))
  let seed = bytes.prefix(2).reduce(0) { $0 << 8 | Int($1) }
  let whole = try decode(body, pieces: [body.count])
  try require(whole == decode(body, pieces: Array(repeating: 1, count: body.count)), "single bytes give something else than the whole")
  var dice = Dice(seed)
  var pieces: [Int] = []
  var covered = 0
  while covered < body.count {
    let piece = min(body.count - covered, 1 + dice.roll(1 + dice.roll(24)))
    pieces.append(piece)
    covered += piece
  }
  try require(whole == decode(body, pieces: pieces), "pieces give something else than the whole")
  try require(whole == reference(body), "a plain reading gives something else")
  try checkTrailer(whole)
  try checkOtherFramings(body, pieces)
}

/// Feeds the pieces to a reader, each in an array of its own, and goes on until each is used up.
private func decode(_ bytes: [UInt8], pieces: [Int]) throws(Violation) -> Decoded {
  var reader = BodyReader(.chunked)
  var result = Decoded()
  var start = 0
  for size in pieces {
    let piece = Array(bytes[start..<start + size])
    var position = 0
    reading: while true {
      let before = position
      switch reader.next(piece.span, at: &position) {
      case .data(let range):
        try require(range.lowerBound >= before && range.upperBound == position && !range.isEmpty, "data lie elsewhere")
        result.data += piece[range]
      case .trailer(let range):
        try require(range.lowerBound >= before && range.upperBound == position && !range.isEmpty, "trailers lie elsewhere")
        result.trailer += piece[range]
      case .needsMore:
        try require(position == piece.count, "more is asked for while there is more")
        break reading
      case .end(let next):
        try require(next == position && reader.isComplete, "the end is not where the reader stopped")
        result.ending = .over(start + next)
        return result
      case .malformed:
        result.refuse()
        return result
      }
      try require(position > before, "the reader stands still")
    }
    start += size
  }
  try require(!reader.streamEnded(), "a chunked body ends with the stream")
  return result
}

/// RFC 9112 §7.1, read from the front.
private func reference(_ bytes: [UInt8]) -> Decoded {
  var result = Decoded()
  var rest = bytes[...]
  var extensions = 0
  func ended(_ ending: Decoded.Ending) -> Decoded {
    result.ending = ending
    if ending == .malformed { result.refuse() }
    return result
  }
  while true {
    let digits = rest.prefix { "0123456789abcdefABCDEF".utf8.contains($0) }
    guard digits.count <= 15, !digits.isEmpty || rest.isEmpty else { return ended(.malformed) }
    rest = rest[digits.endIndex...]
    switch skipExtension(&rest, &extensions) {
    case .open: return ended(.open)
    case .malformed: return ended(.malformed)
    case .over: break
    }
    guard let size = Int(text(digits), radix: 16) else { return ended(.malformed) }
    if size == 0 { break }
    let data = rest.prefix(size)
    result.data += data
    rest = rest[data.endIndex...]
    guard data.count == size, rest.count >= 2 else { return ended(rest.isEmpty || rest.elementsEqual([0x0d]) ? .open : .malformed) }
    guard rest.starts(with: lineEnd) else { return ended(.malformed) }
    rest = rest.dropFirst(2)
  }
  while let first = rest.first, first != 0x0d {
    let line = fieldLine(rest)
    guard line.ending != .malformed else { return ended(.malformed) }
    result.trailer += rest[..<line.end]
    rest = rest[line.end...]
    if line.ending == .open { return result }
  }
  guard rest.count >= 2 else { return result }
  return ended(rest.starts(with: lineEnd) ? .over(rest.startIndex + 2) : .malformed)
}

/// One line of the trailer section, judged as far as it is there, and where it ends.
private func fieldLine(_ rest: ArraySlice<UInt8>) -> (ending: Decoded.Ending, end: Int) {
  let name = rest.prefix(while: \.isTokenByte)
  guard !name.isEmpty else { return (.malformed, 0) }
  var tail = rest[name.endIndex...]
  guard let colon = tail.popFirst() else { return (.open, rest.endIndex) }
  guard colon == 0x3a else { return (.malformed, 0) }
  tail = tail[tail.prefix { ($0 >= 0x20 && $0 != 0x7f) || $0 == 0x09 }.endIndex...]
  for expected in lineEnd {
    guard let byte = tail.popFirst() else { return (.open, rest.endIndex) }
    guard byte == expected else { return (.malformed, 0) }
  }
  return (.over(0), tail.startIndex)
}

/// From behind the size to behind its line.
private func skipExtension(_ rest: inout ArraySlice<UInt8>, _ counted: inout Int) -> Decoded.Ending {
  // The first blank before the semicolon and the first semicolon are not counted.
  let blanks = rest.prefix { $0 == 0x20 || $0 == 0x09 }
  var line = rest[blanks.endIndex...]
  counted += max(0, blanks.count - 1)
  if counted > ChunkDecoder.extensionLimit { return .malformed }
  guard let mark = line.first else { return .open }
  if mark == 0x3b {
    line = line.dropFirst()
    if !blanks.isEmpty { counted += 1 }
    let gap = line.prefix { $0 == 0x20 || $0 == 0x09 }
    let value = line[gap.endIndex...].prefix { ($0 >= 0x20 && $0 != 0x7f) || $0 == 0x09 }
    // One more for the return that ends it.
    let ends = value.endIndex < line.endIndex
    counted += gap.count + value.count + (ends ? 1 : 0)
    if counted > ChunkDecoder.extensionLimit { return .malformed }
    if let first = value.first, [0x3b, 0x3d, 0x22].contains(first) { return .malformed }
    if value.isEmpty, ends { return .malformed }
    line = line[value.endIndex...]
  } else if !blanks.isEmpty {
    return .malformed
  }
  guard let first = line.first else { return .open }
  guard first == 0x0d else { return .malformed }
  line = line.dropFirst()
  guard let second = line.first else { return .open }
  guard second == 0x0a else { return .malformed }
  rest = line.dropFirst()
  return .over(0)
}

/// Trailer bytes, with the empty line put back, are fields that are written back the same.
private func checkTrailer(_ whole: Decoded) throws(Violation) {
  guard case .over = whole.ending else { return }
  let section = whole.trailer + lineEnd
  var head = RequestHead(fieldLimit: 16)
  switch TrailerParser.parse(section.span, into: &head) {
  case .complete(let length):
    try require(length == section.count, "the trailer section ends elsewhere")
    let again = try serialised(head.records, of: section) + lineEnd
    var second = RequestHead(fieldLimit: 16)
    guard case .complete(again.count) = TrailerParser.parse(again.span, into: &second) else {
      throw Violation(description: "the re-serialised trailers are not accepted")
    }
    try require(serialised(second.records, of: again) + lineEnd == again, "serialising twice changes the trailers")
  case .incomplete: throw Violation(description: "a trailer section with its end is incomplete")
  case .rejected(let fault): try require(fault == .headersTooLarge, "the decoder let a bad trailer through")
  }
}

/// Bodies of known length and bodies that end with the connection, over the same pieces.
private func checkOtherFramings(_ bytes: [UInt8], _ pieces: [Int]) throws(Violation) {
  let length = bytes.count / 2
  var known = BodyReader(.length(length)), open = BodyReader(.untilClose)
  var knownData: [UInt8] = [], openData: [UInt8] = []
  var start = 0
  for size in pieces {
    let piece = Array(bytes[start..<start + size])
    var position = 0
    if case .data(let range) = known.next(piece.span, at: &position) { knownData += piece[range] }
    position = 0
    if case .data(let range) = open.next(piece.span, at: &position) { openData += piece[range] }
    start += size
  }
  try require(knownData.elementsEqual(bytes.prefix(length)) && known.isComplete, "a body of known length is cut elsewhere")
  let isOpen = !open.isComplete
  try require(openData == bytes && isOpen && open.streamEnded(), "a body up to the connection's end is cut")
}
