// ResponseHeadCheck — response heads: a whole parse, every way of cutting, and what is relayed.

import HTTPModel
import Memory
import Wire

private let fieldLimit = 32

/// Fields that naming them in `Connection` does not take away.
private let protectedNames = [
  "content-length", "content-type", "content-encoding", "authorization", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "date",
]

func checkResponseHead(_ bytes: [UInt8]) throws(Violation) {
  var head = ResponseHead(fieldLimit: fieldLimit)
  var parser = ResponseParser()
  let outcome = parser.parse(bytes.span, into: &head)
  switch outcome {
  case .incomplete:
    try require(bytes.position(of: [0x0d, 0x0a, 0x0d, 0x0a]) == nil, "a head with an end is incomplete")
  case .rejected(let fault):
    try require(fault == .responseProtocolError || fault == .responseHeadersTooLarge, "a bad response is not the backend's fault")
  case .complete(let length):
    try require(length > 0 && length <= bytes.count && bytes[..<length].suffix(4).elementsEqual(lineEnd + lineEnd), "the head ends elsewhere")
    let text = try ResponseText(head, bytes, length: length)
    try checkSense(text)
    try checkRoundTrip(head, bytes, text)
    try checkRelay(head, bytes, text)
    try checkCuts(bytes, length)
  }
  try compareBytewise(bytes, outcome)
}

private func checkSense(_ text: ResponseText) throws(Violation) {
  try require(100...599 ~= text.status, "the status is out of range")
  try require(text.reason.isFieldValue && text.reason.trimmed.count <= text.reason.count, "the reason has control characters")
  let codings = text.fields.filter { $0.name.lowercased == Array("transfer-encoding".utf8) }.count
  let lengths = text.fields.filter { $0.name.lowercased == Array("content-length".utf8) }
  switch text.body {
  case .none: throw Violation(description: "the parser cannot know that there is no body")
  case .length(let length):
    try require(codings == 0 && lengths.allSatisfy { Int(FuzzTargets.text($0.value)) == length }, "lengths contradict each other")
  case .chunked: try require(codings == 1 && lengths.isEmpty, "chunks from nowhere")
  case .untilClose: try require(codings == 0 && lengths.isEmpty, "the body's end was overlooked")
  }
}

private func checkRoundTrip(_ head: borrowing ResponseHead, _ bytes: [UInt8], _ text: ResponseText) throws(Violation) {
  let line = "HTTP/1.\(head.flags.contains(.version11) ? 1 : 0) \(text.status) "
  let again = try Array(line.utf8) + text.reason + lineEnd + serialised(head.records, of: bytes) + lineEnd
  var second = ResponseHead(fieldLimit: fieldLimit)
  var parser = ResponseParser()
  guard case .complete(again.count) = parser.parse(again.span, into: &second) else {
    throw Violation(description: "the re-serialised head is not accepted")
  }
  var other = try ResponseText(second, again, length: again.count)
  // Blanks before the reason are no part of what is said.
  other.reason = other.reason.trimmed
  var expected = text
  expected.reason = expected.reason.trimmed
  try require(other == expected, "the re-serialised head says something else")
}

/// What the client gets is a head again, with the end-to-end fields in their order and nothing split in two.
private func checkRelay(_ head: borrowing ResponseHead, _ bytes: [UInt8], _ text: ResponseText) throws(Violation) {
  var writer = ResponseWriter(capacity: bytes.count * 2 + ResponseWriter.reserve)
  let framing = HeaderNameSet([HeaderNameSet(.contentLength), HeaderNameSet(.transferEncoding), HeaderNameSet(.connection), HeaderNameSet(.via)])
  let context = ResponseContext(isHead: false, isVersion11: true, isPersistent: true)
  writer.relay(head, of: bytes.span, context, framing: .chunked, dropped: framing, via: true)
  let relayed = array(writer.output.bytes)
  var second = ResponseHead(fieldLimit: fieldLimit + 4)
  var parser = ResponseParser()
  guard case .complete(relayed.count) = parser.parse(relayed.span, into: &second) else {
    throw Violation(description: "the relayed head is not accepted")
  }
  let after = try ResponseText(second, relayed, length: relayed.count)
  try require(after.status == text.status && after.body == .chunked, "the relayed head says something else")
  let named = text.fields.filter { $0.name.lowercased == Array("connection".utf8) }.map(\.value)
  let kept = text.fields.filter { field in
    if framing.contains(HeaderName(field.name.span)) { return false }
    return protectedNames.contains(FuzzTargets.text(field.name.lowercased)) || !named.contains { $0.span.listContains(field.name.span) }
  }
  try require(Array(after.fields.prefix(kept.count)) == kept, "the relayed fields are not those received")
  let added = after.fields.dropFirst(kept.count).map { FuzzTargets.text($0.name.lowercased) }
  try require(added.allSatisfy { ["date", "via", "x-request-id", "transfer-encoding"].contains($0) }, "the relay added something else")
}

private func checkCuts(_ bytes: [UInt8], _ length: Int) throws(Violation) {
  var dice = Dice(length)
  var cut = 0
  while cut < length {
    var head = ResponseHead(fieldLimit: fieldLimit)
    var parser = ResponseParser()
    guard case .incomplete = parser.parse(bytes.span.extracting(first: cut), into: &head) else {
      throw Violation(description: "a head cut at \(cut) is not incomplete")
    }
    guard case .complete(length) = parser.parse(bytes.span, into: &head) else {
      throw Violation(description: "a head cut at \(cut) is not accepted when the rest has come")
    }
    cut += length <= 200 ? 1 : 1 + dice.roll(length / 16)
  }
}

private func compareBytewise(_ bytes: [UInt8], _ outcome: ParseOutcome) throws(Violation) {
  var parser = ResponseParser()
  var head = ResponseHead(fieldLimit: fieldLimit)
  for end in 0..<bytes.count {
    switch parser.parse(bytes.span.extracting(first: end + 1), into: &head) {
    case .incomplete: continue
    case .complete(let length):
      guard case .complete(length) = outcome, length == end + 1 else { throw Violation(description: "a head differs when bytes come one at a time") }
      return
    case .rejected(let fault):
      guard case .rejected(fault) = outcome else { throw Violation(description: "single bytes are rejected for another reason, or alone") }
      return
    }
  }
  switch outcome {
  case .incomplete: break
  case .complete: throw Violation(description: "a head is missing when bytes come one at a time")
  case .rejected: try require(bytes.position(of: [0x0a, 0x0d, 0x0a]) == nil, "a bad head that has ended is not rejected")
  }
}
