// Bytes — small helpers for looking at byte arrays, written the obvious way: they are what the parsers are compared with.

import HTTPModel
import Memory

func array(_ span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(span.count)
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

func text(_ bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

let lineEnd: [UInt8] = [0x0d, 0x0a]

extension Collection<UInt8> {
  var lowercased: [UInt8] { map { 0x41...0x5a ~= $0 ? $0 + 0x20 : $0 } }

  /// Without blanks at either end.
  var trimmed: [UInt8] {
    var rest = Array(self)[...]
    while let first = rest.first, first == 0x20 || first == 0x09 { rest.removeFirst() }
    while let last = rest.last, last == 0x20 || last == 0x09 { rest.removeLast() }
    return Array(rest)
  }

  /// A token of RFC 9110 §5.6.2.
  var isToken: Bool { !isEmpty && allSatisfy(\.isTokenByte) }

  /// The value of a field: no control character but tab (RFC 9110 §5.5).
  var isFieldValue: Bool { allSatisfy { ($0 >= 0x20 && $0 != 0x7f) || $0 == 0x09 } }

  var isDecimal: Bool { !isEmpty && allSatisfy { 0x30...0x39 ~= $0 } }
}

extension Array<UInt8> {
  /// Where `pattern` first stands at or after `start`.
  func position(of pattern: [UInt8], from start: Int = 0) -> Int? {
    guard count >= pattern.count else { return nil }
    var index = start
    while index + pattern.count <= count {
      if self[index..<index + pattern.count].elementsEqual(pattern) { return index }
      index += 1
    }
    return nil
  }

  /// The pieces between the occurrences of `separator`.
  func pieces(between separator: [UInt8]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var start = 0
    while let end = position(of: separator, from: start) {
      pieces.append(Array(self[start..<end]))
      start = end + separator.count
    }
    pieces.append(Array(self[start...]))
    return pieces
  }
}

extension UInt8 {
  var isTokenByte: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    default: "!#$%&'*+-.^_`|~".utf8.contains(self)
    }
  }
}

/// A repeatable source of numbers, seeded by the input.
struct Dice {
  private var state: UInt64
  init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 2 &+ 1 }

  /// A number below `bound`.
  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }
}
