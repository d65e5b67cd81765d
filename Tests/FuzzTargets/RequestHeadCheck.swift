// RequestHeadCheck — request heads: a whole parse, every way of cutting, the re-serialised head, and a second opinion.

import HTTPModel
import Memory
import Wire

/// How a stream of request heads ended.
private enum Ending: Equatable {
  case open
  case rejected(Fault)
  /// Enough heads were read.
  case enough
}

private let fieldLimit = 32
private let headLimit = 8

/// Reads pipelined heads (bodies are taken for heads, which is as good as any other input).
func checkRequestHead(_ bytes: [UInt8]) throws(Violation) {
  var heads: [(end: Int, text: RequestText)] = []
  var ending = Ending.enough
  var position = 0
  while heads.count < headLimit {
    var head = RequestHead(fieldLimit: fieldLimit)
    let rest = Array(bytes[position...])
    var parser = RequestParser()
    let outcome = parser.parse(rest.span, into: &head)
    try compareWithReference(rest, outcome)
    guard case .complete(let length) = outcome else {
      ending = try endingAfter(outcome)
      break
    }
    try require(length > 0 && length <= rest.count, "the length of a head is not within the bytes")
    let text = try RequestText(head, rest, length: length)
    try checkSense(text)
    try checkRoundTrip(head, rest, text)
    try checkCuts(rest, length)
    position += length
    heads.append((position, text))
  }
  try compareBytewise(bytes, heads, ending)
}

private func endingAfter(_ outcome: ParseOutcome) throws(Violation) -> Ending {
  switch outcome {
  case .rejected(let fault):
    try require(fault.row.side == .client && fault.row.status >= 400, "a bad request is not the client's fault")
    return .rejected(fault)
  default: return .open
  }
}

/// Facts that must agree with each other.
private func checkSense(_ text: RequestText) throws(Violation) {
  try require(text.methodText.isToken, "the method is not a token")
  try require(Method(text.methodText.span) == text.method, "the method is misread")
  let tail = text.path + (text.hasQuery ? [0x3f] + text.query : [])
  try require(text.target.suffix(tail.count).elementsEqual(tail), "path and query do not make up the target's end")
  try require(text.hasQuery || text.query.isEmpty, "a query without a question mark")
  try require(text.path.isEmpty || text.path[0] == 0x2f || text.path == [0x2a], "the path begins with neither slash nor asterisk")
  let fieldSizes = text.fields.reduce(0) { $0 + $1.name.count + $1.value.count + 4 }
  try require(text.size == text.target.count + fieldSizes, "the size of the head is miscounted")
  let lengths = text.fields.filter { $0.name.lowercased == Array("content-length".utf8) }.count
  let codings = text.fields.filter { $0.name.lowercased == Array("transfer-encoding".utf8) }.count
  switch text.body {
  case .none: try require(lengths == 0 && codings == 0, "a body was overlooked")
  case .length: try require(lengths == 1 && codings == 0, "a length from nowhere")
  case .chunked: try require(lengths == 0 && codings == 1, "chunks from nowhere")
  case .untilClose: throw Violation(description: "a request whose body ends with the connection")
  }
}

/// What is sent on parses to the same again, and is its own serialisation.
private func checkRoundTrip(_ head: borrowing RequestHead, _ bytes: [UInt8], _ text: RequestText) throws(Violation) {
  let version = head.flags.contains(.version11) ? " HTTP/1.1" : " HTTP/1.0"
  let line = text.methodText + [0x20] + text.target + Array(version.utf8) + lineEnd
  let again = try line + serialised(head.records, of: bytes) + lineEnd
  var second = RequestHead(fieldLimit: fieldLimit)
  var parser = RequestParser()
  guard case .complete(again.count) = parser.parse(again.span, into: &second) else {
    throw Violation(description: "the re-serialised head is not accepted")
  }
  try require(RequestText(second, again, length: again.count) == text, "the re-serialised head says something else")
  let fields = try serialised(second.records, of: again)
  try require(line + fields + lineEnd == again, "serialising twice changes the head")
  let host = HeaderNameSet(.host)
  try require(serialised(head.records, of: bytes, without: host) == serialised(second.records, of: again, without: host), "dropping differs")
}

/// A complete head is incomplete wherever it is cut, and complete when the rest has come.
private func checkCuts(_ bytes: [UInt8], _ length: Int) throws(Violation) {
  var dice = Dice(length)
  var cut = 0
  while cut < length {
    var head = RequestHead(fieldLimit: fieldLimit)
    var parser = RequestParser()
    guard case .incomplete = parser.parse(bytes.span.extracting(first: cut), into: &head) else {
      throw Violation(description: "a head cut at \(cut) is not incomplete")
    }
    guard case .complete(length) = parser.parse(bytes.span, into: &head) else {
      throw Violation(description: "a head cut at \(cut) is not accepted when the rest has come")
    }
    cut += length <= 200 ? 1 : 1 + dice.roll(length / 16)
  }
}

/// The same stream a byte at a time gives the same heads and the same end.
private func compareBytewise(_ bytes: [UInt8], _ heads: [(end: Int, text: RequestText)], _ ending: Ending) throws(Violation) {
  var parser = RequestParser()
  var start = 0
  var found = 0
  var end = start
  while end < bytes.count, found < headLimit {
    end += 1
    var head = RequestHead(fieldLimit: fieldLimit)
    switch parser.parse(bytes.span.extracting(start..<end), into: &head) {
    case .incomplete: try require(parser.isWithinHead, "bytes have come, but the parser is not within a head")
    case .complete(let length):
      try require(length == end - start, "a head was complete before it was noticed")
      try require(found < heads.count && heads[found].end == end, "heads differ when bytes come one at a time")
      let text = try RequestText(head, Array(bytes[start..<end]), length: length)
      try require(text == heads[found].text, "a head that came in single bytes says something else")
      found += 1
      start = end
    case .rejected(let fault):
      try require(found == heads.count && ending == .rejected(fault), "single bytes are rejected for another reason, or alone")
      return
    }
  }
  try require(found == heads.count, "heads are missing when bytes come one at a time")
  guard case .rejected = ending else { return }
  // A bad head may wait for its end, but no longer.
  var rest = bytes[start...]
  while rest.starts(with: lineEnd) { rest = rest.dropFirst(2) }
  try require(Array(rest).position(of: [0x0a, 0x0d, 0x0a]) == nil, "a bad head that has ended is not rejected")
}
