// FieldSectionTests — the scanner of field sections agrees with a plain reading of RFC 9112 §5, byte by byte.

import HTTPModel
import Memory
import Testing

@testable import Wire

/// A field section read the slow way.
private struct PlainSection: Equatable {
  enum Outcome: Equatable { case complete(Int), incomplete, malformed }

  var lines: [[UInt8]] = []
  var outcome = Outcome.incomplete

  init(_ bytes: [UInt8]) {
    var position = 0
    while true {
      if position == bytes.count { return }
      if bytes[position] == 0x0d {
        if position + 1 == bytes.count { return }
        outcome = bytes[position + 1] == 0x0a ? .complete(position + 2) : .malformed
        return
      }
      var colon = position
      while colon < bytes.count, isToken(bytes[colon]) { colon += 1 }
      if colon == bytes.count { return }
      guard bytes[colon] == 0x3a, colon > position else {
        outcome = .malformed
        return
      }
      var end = colon + 1
      while end < bytes.count, bytes[end] == 0x09 || (bytes[end] >= 0x20 && bytes[end] != 0x7f) { end += 1 }
      if end == bytes.count || (bytes[end] == 0x0d && end + 1 == bytes.count) { return }
      guard bytes[end] == 0x0d, bytes[end + 1] == 0x0a else {
        outcome = .malformed
        return
      }
      let blank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
      let value = bytes[(colon + 1)..<end].drop(while: blank)
      let trimmed = value[value.startIndex..<(value.lastIndex { !blank($0) }.map { $0 + 1 } ?? value.startIndex)]
      lines.append(Array(bytes[position..<colon]) + Array(": ".utf8) + Array(trimmed) + Array("\r\n".utf8))
      position = end + 2
    }
  }
}

private func isToken(_ byte: UInt8) -> Bool {
  switch byte {
  case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
  default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
  }
}

private func check(_ bytes: [UInt8]) {
  var head = RequestHead(fieldLimit: 1000)
  let scan = head.scanFields(bytes.span, from: 0)
  let plain = PlainSection(bytes)
  switch plain.outcome {
  case .complete(let end): #expect(scan.outcome == .complete && scan.end == end, "\(bytes)")
  case .incomplete: #expect(scan.outcome == .incomplete, "\(bytes)")
  case .malformed: #expect(scan.outcome == .malformed, "\(bytes)")
  }
  guard case .complete = plain.outcome else { return }
  var output = Buffer(capacity: bytes.count * 2 + 64)
  output.append(fields: head.records, of: bytes.span, without: [])
  let written = array(output.bytes), size = output.count
  #expect(written == plain.lines.flatMap { $0 }, "\(bytes)")
  #expect(scan.size == size)
  var names = HeaderNameSet(), repeated = HeaderNameSet()
  for line in plain.lines {
    let text = Array(line.prefix { $0 != 0x3a }), known = HeaderName(text.span)
    guard known != .other else { continue }
    let name = HeaderNameSet(known)
    repeated.formUnion(names.intersection(name))
    names.formUnion(name)
  }
  #expect(scan.names == names && scan.repeated == repeated)
}

@Suite struct FieldSectionTests {
  private static let seeds = [
    "Host: a\r\n\r\n", "Host: example.com:8080\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n", "A:b\r\nCookie:  x=1;  y=2 \t\r\n\r\n",
    "X-Forwarded-Proto: https\r\nUpgrade-Insecure-Requests: 1\r\nTE: trailers\r\nte: gzip\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\nX-A_b: tab\there\r\nEmpty:\r\nBlank: \r\n\r\n", "\r\n",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\nVia: 1.1 a\r\n\r\n",
  ]

  @Test func everyPrefixAndEveryChangeOfAByte() {
    for seed in Self.seeds {
      let whole = bytes(seed)
      for count in 0...whole.count { check(Array(whole[..<count])) }
      for position in whole.indices {
        for byte: UInt8 in [0, 9, 10, 13, 0x1f, 0x20, 0x2d, 0x3a, 0x40, 0x41, 0x5f, 0x60, 0x7b, 0x7f, 0x80, 0xa0, 0xff] {
          var other = whole
          other[position] = byte
          check(other)
        }
      }
    }
  }

  @Test func linesAtEveryDistanceFromTheEnd() {
    for length in 0..<70 {
      for name in ["a", "Connection", "x-forwarded-host", "a-name-that-is-longer-than-one-step"] {
        check(bytes("\(name): \(String(repeating: "v", count: length))\r\n\r\n"))
        check(bytes("\(name): \(String(repeating: "v", count: length))\r\nB: c\r\n\r\n"))
      }
    }
  }

  @Test func theLimitOfFields() {
    var head = RequestHead(fieldLimit: 2)
    let two = bytes("A: b\r\nC: d\r\n\r\n"), three = bytes("A: b\r\nC: d\r\nE: f\r\n\r\n")
    let fits = head.scanFields(two.span, from: 0).outcome
    let overflows = head.scanFields(three.span, from: 0).outcome
    #expect(fits == .complete && overflows == .tooMany)
  }
}
