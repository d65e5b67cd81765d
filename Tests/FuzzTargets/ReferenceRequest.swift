// ReferenceRequest — a second, slow reading of RFC 9112 for request heads: split into lines, then judge each.
//
// It shares nothing with the parser under test, so that both must be wrong in the same way to agree on a mistake.

import HTTPModel
import Memory
import Wire

/// A head is accepted by both readings or by neither. Heads without an end are not compared.
func compareWithReference(_ bytes: [UInt8], _ outcome: ParseOutcome) throws(Violation) {
  guard let verdict = ReferenceRequest.accepts(bytes) else {
    if case .complete = outcome { throw Violation(description: "a head without an end is complete") }
    return
  }
  switch outcome {
  case .complete(let length): try require(verdict == length, "the reference reads \(verdict.map(String.init) ?? "no head"), the parser \(length) bytes")
  case .rejected(let fault): try require(verdict == nil, "the reference accepts what is rejected as \(fault)")
  case .incomplete: throw Violation(description: "a head with an end is incomplete")
  }
}

enum ReferenceRequest {
  /// Nil when the head has no end; else its length, or nil inside when it is to be refused.
  static func accepts(_ bytes: [UInt8]) -> Int?? {
    var start = 0
    while start < 10, bytes[start...].starts(with: lineEnd) { start += 2 }
    guard let end = bytes.position(of: lineEnd + lineEnd, from: start) else { return nil }
    guard start <= 8 else { return .some(nil) }
    let lines = Array(bytes[start..<end]).pieces(between: lineEnd)
    guard let request = lines.first, let target = startLine(request), fields(Array(lines.dropFirst()), target) else { return .some(nil) }
    return .some(end + 4)
  }

  private struct Target {
    var isVersion11: Bool
  }

  private static func startLine(_ line: [UInt8]) -> Target? {
    let words = line.pieces(between: [0x20])
    guard words.count == 3, words[0].isToken, words[1].allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
    guard text(words[0]) != "CONNECT", isTarget(words[1], method: text(words[0])) else { return nil }
    switch text(words[2]) {
    case "HTTP/1.1": return Target(isVersion11: true)
    case "HTTP/1.0": return Target(isVersion11: false)
    default: return nil
    }
  }

  private static func isTarget(_ target: [UInt8], method: String) -> Bool {
    guard let first = target.first, !target.contains(0x23) else { return false }
    if first == 0x2f { return true }
    if target == [0x2a] { return method == "OPTIONS" }
    for scheme in ["http://", "https://"] where target.prefix(scheme.utf8.count).lowercased == Array(scheme.utf8) {
      let authority = target.dropFirst(scheme.utf8.count).prefix { $0 != 0x2f && $0 != 0x3f }
      return isHost(Array(authority))
    }
    return false
  }

  /// A name, an IPv4 address or an IPv6 literal in brackets, and an optional port of at most five digits.
  static func isHost(_ text: [UInt8]) -> Bool {
    var rest = text[...]
    if rest.first == 0x5b {
      guard let close = rest.firstIndex(of: 0x5d), close > 2 else { return false }
      let literal = rest[1..<close]
      guard literal.allSatisfy({ "0123456789abcdefABCDEF:.".utf8.contains($0) }) else { return false }
      rest = rest[(close + 1)...]
    } else {
      let name = rest.prefix { $0 != 0x3a }
      guard !name.isEmpty, name.allSatisfy({ "-._~".utf8.contains($0) || isLetterOrDigit($0) }) else { return false }
      rest = rest[name.endIndex...]
    }
    guard let colon = rest.first else { return true }
    let port = rest.dropFirst()
    return colon == 0x3a && port.count <= 5 && (port.isEmpty || port.isDecimal)
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    0x30...0x39 ~= byte || 0x41...0x5a ~= byte || 0x61...0x7a ~= byte
  }

  private static let singletons = [
    "host", "authorization", "content-type", "content-length", "content-range", "content-disposition", "transfer-encoding",
  ]

  private static func fields(_ lines: [[UInt8]], _ target: Target) -> Bool {
    var seen: [String: [UInt8]] = [:]
    guard lines.count <= 32 else { return false }
    for line in lines {
      guard let colon = line.firstIndex(of: 0x3a), line[..<colon].isToken, line[(colon + 1)...].isFieldValue else { return false }
      let name = text(line[..<colon].lowercased)
      guard seen[name] == nil || !singletons.contains(name) else { return false }
      seen[name] = line[(colon + 1)...].trimmed
    }
    if let host = seen["host"] {
      guard isHost(host) else { return false }
    } else if target.isVersion11 {
      return false
    }
    if let length = seen["content-length"] {
      guard length.isDecimal, length.count <= 18, seen["transfer-encoding"] == nil else { return false }
    }
    guard let coding = seen["transfer-encoding"] else { return true }
    return target.isVersion11 && text(coding.lowercased) == "chunked"
  }
}
