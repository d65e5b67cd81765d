// HTTP2ResponseCheck — the bytes of a server on an HTTP/2 connection: the same responses come of them however they are cut, each the
// text of an HTTP/1.1 head that is read there as the same, and no body is of another length than it says.
//
// The first byte seeds the segmentation; SETTINGS are put before the rest. Three requests have been sent: a GET, a HEAD, and a POST whose body
// goes on.

import HTTP2
import HTTPModel
import Memory
import Wire

func checkHTTP2Response(_ bytes: [UInt8]) throws(Violation) {
  let stream: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0] + bytes.dropFirst()
  let whole = try events(stream, pieces: [stream.count])
  try compare(whole, events(stream, pieces: Array(repeating: 1, count: stream.count)), "single bytes give something else than the whole")
  var dice = Dice(Int(bytes.first ?? 0))
  var pieces: [Int] = []
  var covered = 0
  while covered < stream.count {
    let piece = min(stream.count - covered, 1 + dice.roll(1 + dice.roll(60)))
    pieces.append(piece)
    covered += piece
  }
  try compare(whole, events(stream, pieces: pieces), "pieces give something else than the whole")
}

private func compare(_ whole: [String], _ cut: [String], _ message: String) throws(Violation) {
  let first = zip(whole, cut).first { $0 != $1 }
  try require(whole == cut, "\(message): \(first.map { "\($0) and \($1)" } ?? "\(whole.count) and \(cut.count) events")")
}

private let requests = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"]

/// What the session notes, as text. Of a body that turns out to be too long, how much has been handed on by then depends on the pieces.
private func events(_ stream: [UInt8], pieces: [Int]) throws(Violation) -> [String] {
  guard let profile = ClientProfile(), var session = ClientSession(profile, ClientSettings()) else { throw Violation(description: "no session") }
  var workspace = ClientWorkspace(sectionCapacity: 8192, fieldLimit: 20)
  var output = Buffer(capacity: 256 << 10)
  for (index, text) in requests.enumerated() {
    var parser = RequestParser(), head = RequestHead()
    let text = Array(text.utf8)
    guard case .complete = parser.parse(text.span, into: &head) else { throw Violation(description: "no request") }
    let id = session.request(tag: UInt64(index + 1), head, of: text.span, isSecure: false, acceptsTrailers: true, hasBody: index == 2, &workspace)
    try require(id == Int32(2 * index + 1), "another stream")
  }
  _ = session.produce(into: &output, limit: 128 << 10, &workspace) { _, _, _ in BodyState(count: 0, isComplete: false, hasTrailers: false) }
  workspace.clear()
  var result: [String] = []
  var bodies: [UInt64: [UInt8]] = [:], lengths: [UInt64: Int] = [:]
  var start = 0
  for size in pieces {
    var rest = stream[start..<start + size]
    start += size
    while !rest.isEmpty {
      let piece = Array(rest)
      let outcome = session.receive(piece.span, &workspace)
      for position in 0..<workspace.eventCount {
        let event = workspace.event(at: position)
        switch event {
        case .data(let tag, let id, let from, let count):
          try require(from >= 0 && count > 0 && from + count <= piece.count, "body bytes lie outside of the input")
          try require(id == Int32(2 * tag - 1) && tag != 2, "a body where there is none")
          bodies[tag, default: []] += piece[from..<from + count]
          session.giveBack(id, count)
          session.giveBackToConnection(count)
        case .head(let tag, let section, let ends):
          result.append("head \(tag) \(ends) \(try text(of: workspace.sections[section], &lengths[tag]))")
        case .trailers(let tag, let section):
          try check(bodies[tag], lengths[tag], tag)
          result.append("body \(tag) \(bodies[tag] ?? []) trailers \(bytes(of: workspace.sections[section]))")
        case .end(let tag):
          try check(bodies[tag], lengths[tag], tag)
          result.append("body \(tag) \(bodies[tag] ?? [])")
        default: result.append("\(event)")
        }
      }
      workspace.clear()
      guard case .consumed(let count) = outcome else { return result + ["failed"] }
      try require(count > 0 && count <= piece.count, "the session stands still")
      rest = rest.dropFirst(count)
    }
  }
  return result
}

private func check(_ body: [UInt8]?, _ length: Int?, _ tag: UInt64) throws(Violation) {
  guard let length, tag != 2 else { return }
  try require(body?.count ?? 0 == length, "a body of \(body?.count ?? 0) bytes instead of \(length)")
}

func bytes(of section: borrowing ResponseSection) -> [UInt8] { array(section.bytes.bytes) }

/// The response as an HTTP/1.1 head, which the other parser must read as the same; notes the length of its body.
private func text(of section: borrowing ResponseSection, _ length: inout Int?) throws(Violation) -> String {
  let lines = bytes(of: section)
  var head = ResponseHead(fieldLimit: 20)
  var parser = ResponseParser()
  guard case .complete(lines.count) = parser.parse(lines.span, into: &head) else { throw Violation(description: "not an HTTP/1.1 head: \(text(lines))") }
  try require(head.status == section.head.status && head.fieldCount == section.head.fieldCount, "another head: \(text(lines))")
  try require(head.body == section.head.body && head.names == section.head.names, "another body, or other names: \(text(lines))")
  for index in head.records.indices {
    let mine = section.head.records[index], other = head.records[index]
    try require(mine.nameText == other.nameText && mine.value == other.value && mine.name == other.name, "another field: \(text(lines))")
    try require(array(mine.nameText.text(in: lines.span)).isToken, "a name is none: \(text(lines))")
  }
  if section.head.status.code >= 200 {
    length = nil
    if case .length(let count) = section.head.body, !section.head.status.forbidsBody { length = count }
  }
  return text(lines)
}
