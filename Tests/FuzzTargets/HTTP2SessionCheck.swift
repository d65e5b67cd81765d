// HTTP2SessionCheck — the bytes of an HTTP/2 connection: the same requests come of them however they are cut, and each, written
// as an HTTP/1.1 head, is read there as the same request.
//
// The first byte seeds the segmentation; the preface is put before the rest. Where its highest bit is set, the rest is frames in
// short form, so that changes make other frames rather than none: four bytes for type, flags, stream and length, and the payload.

import HTTP2
import HTTPModel
import Memory
import Wire

func checkHTTP2Session(_ bytes: [UInt8]) throws(Violation) {
  let stream = throughGoAway(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frames(bytes))
  let whole = try events(stream, pieces: [stream.count])
  try require(whole, events(stream, pieces: Array(repeating: 1, count: stream.count)), "single bytes give something else than the whole")
  var dice = Dice(Int(bytes.first ?? 0))
  var pieces: [Int] = []
  var covered = 0
  while covered < stream.count {
    let piece = min(stream.count - covered, 1 + dice.roll(1 + dice.roll(60)))
    pieces.append(piece)
    covered += piece
  }
  try require(whole, events(stream, pieces: pieces), "pieces give something else than the whole")
  try converse(stream, pieces: pieces, &dice)
}

private func frames(_ bytes: [UInt8]) -> [UInt8] {
  guard let first = bytes.first, first & 0x80 != 0 else { return Array(bytes.dropFirst()) }
  let types: [UInt8] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 20]
  var result: [UInt8] = [], rest = bytes.dropFirst()
  while rest.count >= 4 {
    let start = rest.startIndex
    let length = min(Int(rest[start + 3]), rest.count - 4)
    result += [0, 0, UInt8(length), types[Int(rest[start]) % types.count], rest[start + 1], 0, 0, 0, rest[start + 2]]
    result += rest[(start + 4)..<(start + 4 + length)]
    rest = rest[(start + 4 + length)...]
  }
  return result
}

/// The bytes up to the end of the first GOAWAY. With it the client says that it is done; whether frames behind it are still looked
/// at depends on whether they come with it.
private func throughGoAway(_ stream: [UInt8]) -> [UInt8] {
  var start = 24
  while start + 9 <= stream.count {
    let end = start + 9 + (Int(stream[start]) << 16 | Int(stream[start + 1]) << 8 | Int(stream[start + 2]))
    if stream[start + 3] == 7, end <= stream.count { return Array(stream[..<end]) }
    start = end
  }
  return stream
}

private func require(_ whole: [String], _ cut: [String], _ message: String) throws(Violation) {
  let first = zip(whole, cut).first { $0 != $1 }
  try require(whole == cut, "\(message): \(first.map { "\($0) and \($1)" } ?? "\(whole.count) and \(cut.count) events")")
}

private func makeSession() throws(Violation) -> ServerSession {
  guard let profile = SessionProfile(SessionSettings()), let session = ServerSession(profile) else { throw Violation(description: "no session") }
  return session
}

/// What the session notes, as text, and of bodies those that come to their end: how much of a body that turns out to be too long
/// has been handed on by then depends on the pieces.
private func events(_ stream: [UInt8], pieces: [Int]) throws(Violation) -> [String] {
  var session = try makeSession()
  var workspace = Workspace(sectionCapacity: 4096, fieldLimit: 20)
  var result: [String] = []
  var bodies: [Int32: [UInt8]] = [:]
  var start = 0
  for size in pieces {
    var rest = stream[start..<start + size]
    start += size
    while !rest.isEmpty {
      let piece = Array(rest)
      let outcome = session.receive(piece.span, now: 0, &workspace)
      for position in 0..<workspace.eventCount {
        let event = workspace.event(at: position)
        switch event {
        case .data(let id, _, let from, let count):
          try require(from >= 0 && count > 0 && from + count <= piece.count, "body bytes lie outside of the input")
          bodies[id, default: []] += piece[from..<from + count]
          continue
        case .end(let id, _), .trailers(let id, _, _): result.append("body \(id) \(bodies.removeValue(forKey: id) ?? [])")
        default: break
        }
        result.append(try describe(event, workspace))
      }
      workspace.clear()
      // Not for each of many single bytes, which would take long.
      if start & 63 < size { session.sleep() }
      guard case .consumed(let count) = outcome else { return result + ["failed"] }
      try require(count > 0 && count <= piece.count, "the session stands still")
      rest = rest.dropFirst(count)
    }
  }
  return result
}

private func describe(_ event: SessionEvent, _ workspace: borrowing Workspace) throws(Violation) -> String {
  switch event {
  case .request(let stream, let section, let ends):
    return "request \(stream) \(ends) \(try text(of: workspace.sections[section]))"
  case .trailers(let stream, _, let section): return "trailers \(stream) \(bytes(of: workspace.sections[section]))"
  default: return "\(event)"
  }
}

private func bytes(of section: borrowing FieldSection) -> [UInt8] { bytes(of: section.bytes) }
private func bytes(of buffer: borrowing Buffer) -> [UInt8] { array(buffer.bytes) }

/// The request as an HTTP/1.1 head, which the other parser must read as the same.
private func text(of section: borrowing FieldSection) throws(Violation) -> String {
  let bytes = bytes(of: section)
  func part(_ extent: Extent) throws(Violation) -> [UInt8] {
    try require(extent.lower >= 0 && extent.upper <= bytes.count, "a part lies outside of the section")
    return Array(bytes[extent.lower..<extent.upper])
  }
  let method = try part(section.head.methodText), target = try part(section.head.target), host = try part(section.head.host)
  if !target.isEmpty { try require(section.head.target.lower == section.head.methodText.upper + 1, "method and target stand apart") }
  var lines: [UInt8] = method + [0x20] + target + Array(" HTTP/1.1\r\n".utf8)
  for index in section.head.records.indices {
    let record = section.head.records[index]
    let name = try part(record.nameText), value = try part(record.value)
    try require(name.isToken && name == name.lowercased, "a name is none: \(text(name))")
    try require(value.isFieldValue, "a value is none: \(value)")
    lines += name + Array(": ".utf8) + value + lineEnd
  }
  guard section.outcome == .none else { return "\(section.outcome) \(text(lines))" }
  lines += lineEnd
  var head = RequestHead(fieldLimit: 40)
  var parser = RequestParser()
  guard case .complete(let length) = parser.parse(lines.span, into: &head) else { throw Violation(description: "not an HTTP/1.1 head: \(text(lines))") }
  try require(length == lines.count, "the head ends elsewhere: \(text(lines))")
  try require(array(head.methodText.text(in: lines.span)) == method && array(head.target.text(in: lines.span)) == target, "another request: \(text(lines))")
  try require(array(head.host.text(in: lines.span)) == host && !host.isEmpty, "another host: \(text(lines))")
  try require(head.fieldCount == section.head.fieldCount, "other fields: \(text(lines))")
  if case .length = head.body { try require(head.body == section.head.body, "another length: \(text(lines))") }
  return text(lines) + "\(section.head.body)"
}

/// Answers requests between the pieces, so that streams are in all states; what the session says are whole frames.
private func converse(_ stream: [UInt8], pieces: [Int], _ dice: inout Dice) throws(Violation) {
  var session = try makeSession()
  var workspace = Workspace(sectionCapacity: 4096, fieldLimit: 20)
  var output = Buffer(capacity: 256 << 10)
  var said: [UInt8] = []
  var left: [UInt64: Int] = [:]
  var start = 0
  for size in pieces {
    var rest = stream[start..<start + size]
    start += size
    while !rest.isEmpty {
      let piece = Array(rest)
      let outcome = session.receive(piece.span, now: Int64(start), &workspace)
      var opened: [Int32] = []
      for position in 0..<workspace.eventCount {
        switch workspace.event(at: position) {
        case .request(let id, _, _): opened.append(id)
        case .data(let id, _, _, let count):
          session.giveBackToConnection(count)
          session.giveBack(id, count)
        default: break
        }
      }
      workspace.clear()
      for id in opened where session.tag(id, UInt64(id)) {
        switch dice.roll(4) {
        case 0: session.reset(id, .cancel)
        case 1: break
        default:
          left[UInt64(id)] = dice.roll(40_000)
          let text = Array("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n".utf8)
          var head = ResponseHead(fieldLimit: 8), parser = ResponseParser()
          _ = parser.parse(text.span, into: &head)
          _ = session.respond(id, tag: UInt64(id), head, of: text.span, hasBody: true, &workspace)
        }
      }
      var bodies = left
      output.removeAll()
      _ = session.produce(into: &output, limit: 64 << 10, &workspace) { tag, take, output in
        for _ in 0..<take { output.append(0x61) }
        bodies[tag, default: 0] -= take
        return BodyState(count: bodies[tag] ?? 0, isComplete: true, hasTrailers: false)
      }
      left = bodies
      workspace.clear()
      session.sleep()
      said += array(output.bytes)
      guard case .consumed(let count) = outcome else { return try requireFrames(said) }
      rest = rest.dropFirst(count)
    }
  }
  try requireFrames(said)
}

private func requireFrames(_ bytes: [UInt8]) throws(Violation) {
  var rest = bytes[...]
  while !rest.isEmpty {
    guard rest.count >= 9 else { throw Violation(description: "half a frame header") }
    let start = rest.startIndex
    let length = Int(rest[start]) << 16 | Int(rest[start + 1]) << 8 | Int(rest[start + 2])
    try require(length <= 16_384 && rest[start + 3] <= 9 && rest.count >= 9 + length, "not a frame")
    rest = rest.dropFirst(9 + length)
  }
}
