// ClientAddressCheck — what says whose a connection or a request is: a header of the PROXY protocol, and forwarding fields.
//
// The bytes are read as each of them. However a header comes in pieces, it is the same; whatever a client says in a field, what a proxy appends
// to it is read first, and as it was written.

import HTTPModel
import Memory
import Wire

func checkClientAddress(_ bytes: [UInt8]) throws(Violation) {
  try checkProxyHeader(bytes)
  guard !bytes.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }) else { return }
  let peer = PeerAddress(ipv4: 0x0909_0909)
  let appended = bytes + Array(", 9.9.9.9".utf8), element = bytes + Array(", for=\"9.9.9.9:80\";proto=https".utf8)
  var end = appended.count
  try require(appended.span.forwardedFor(before: &end)?.address == peer, "the last element is not what was appended")
  while end > 0 {
    let before = end
    guard appended.span.forwardedFor(before: &end) != nil else { break }
    try require(end < before, "the walk stands still")
  }
  end = element.count
  let hop = element.span.forwarded(before: &end)
  try require(hop?.address == peer && hop?.isSecure == true, "the last element is not what was appended")
  while end > 0 {
    let before = end
    guard element.span.forwarded(before: &end) != nil else { break }
    try require(end < before, "the walk stands still")
  }
}

private func checkProxyHeader(_ bytes: [UInt8]) throws(Violation) {
  var last = ProxyHeader.Outcome.incomplete
  for count in 0...min(bytes.count, 5000) {
    let piece = Array(bytes[..<count])
    let outcome = ProxyHeader.parse(piece.span)
    switch (last, outcome) {
    case (.incomplete, _): break
    case (.malformed, .malformed): break
    case (.complete(let header, let length), .complete(let other, let otherLength)):
      try require(header == other && length == otherLength, "\(count) bytes make another header of it")
    default: throw Violation(description: "\(last) became \(outcome) with byte \(count)")
    }
    if case .complete(_, let length) = outcome, case .incomplete = last {
      try require(length == count && length <= ProxyHeader.limit, "a header of \(length) bytes is known after \(count)")
    }
    last = outcome
  }
  guard case .complete(let header, _) = last, header.source.width > 0 else { return }
  for version in [ProxyHeader.Version.v1, .v2] {
    var output = Buffer(capacity: 256)
    header.append(version, to: &output)
    let written = array(output.bytes)
    try require(ProxyHeader.parse(written.span) == .complete(header, length: written.count), "\(header) is written as another: \(text(written))")
  }
}
