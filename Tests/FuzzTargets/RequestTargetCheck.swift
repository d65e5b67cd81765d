// RequestTargetCheck — request targets, their normal forms, and what is said about the host.

import HTTPModel
import Memory
import Policy
import Wire

func checkRequestTarget(_ bytes: [UInt8]) throws(Violation) {
  fuzzPath(bytes.span)
  try checkHost(bytes)
  for method in ["GET", "OPTIONS"] { try checkInRequest(bytes, method) }
}

/// Both readings of RFC 9110 §7.2 agree.
private func checkHost(_ bytes: [UInt8]) throws(Violation) {
  try require(bytes.span.isHostAndPort == ReferenceRequest.isHost(bytes), "the readings of the host differ")
}

private func checkInRequest(_ target: [UInt8], _ method: String) throws(Violation) {
  let bytes = Array("\(method) ".utf8) + target + Array(" HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
  var head = RequestHead()
  var parser = RequestParser()
  let outcome = parser.parse(bytes.span, into: &head)
  // What would be another request line is not this check's business.
  guard !target.contains(where: { $0 <= 0x20 || $0 == 0x7f }) else { return }
  try compareWithReference(bytes, outcome)
  guard case .complete(bytes.count) = outcome else { return }
  let text = try RequestText(head, bytes, length: bytes.count)
  try require(text.target == target, "the target is cut")
  let tail = text.path + (text.hasQuery ? [0x3f] + text.query : [])
  let isAbsolute = head.flags.contains(.absoluteForm)
  if isAbsolute {
    try require(target.count - tail.count >= 8, "an absolute target without an authority")
    try require(text.host.span.isHostAndPort && (target.dropLast(tail.count)).suffix(text.host.count).elementsEqual(text.host), "the authority is misread")
  } else {
    try require(tail == target && text.host == [0x68], "path and query do not make up the target")
  }
  var output = Buffer(capacity: text.path.count * 3 + 1)
  switch normalisePath(text.path.span, into: &output) {
  case .rejected: try require(!head.flags.contains(.regularPath), "a path without a normal form passes for regular")
  case .unchanged: try require(!text.path.isEmpty, "an empty path is its own normal form")
  case .rewritten:
    try require(array(output.bytes) != text.path, "a path was rewritten as itself")
    try require(!head.flags.contains(.regularPath), "a path that is not in normal form passes for regular")
  }
}
