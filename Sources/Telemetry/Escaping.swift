// Escaping — writing text that a client sent so that it can neither end its field nor its line.
//
// Nearly all text needs no escape: it is looked at while it is copied, sixteen bytes at a time.

import Memory

extension LineWriter {
  /// The most bytes of one field; what is longer ends in "...".
  static var fieldLimit: Int { 2048 }

  /// Appends `text`, escaped in `style`, as far as there is room for values of unbounded length.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(text: Span<UInt8>, style: AccessLogFormat.Style) {
    if !append(plain: text, limit: LineWriter.fieldLimit) {
      let limit = max(0, min(textRoom, LineWriter.fieldLimit))
      withRest(limit: limit) { $0.appendEscaped(text, style, limit) }
    }
  }

  @inline(never) @_lifetime(self: copy self)
  private mutating func appendEscaped(_ text: Span<UInt8>, _ style: AccessLogFormat.Style, _ limit: Int) {
    guard limit >= 16 else { return }
    let room = limit - 3
    var index = 0
    while index < text.count {
      let left = room - count
      let run = text.firstToEscape(from: index)
      if run > index {
        let taken = min(run - index, left)
        append(text.extracting(index..<index + taken))
        index += taken
        if index < run { break }
      } else {
        if left < 6 { break }
        index += style == .json ? appendJSONEscape(text, index) : appendHexEscape(text[index])
      }
    }
    if index < text.count { append("...") }
  }

  /// Appends the byte as `\xHH`. Returns 1, the bytes used.
  @_lifetime(self: copy self)
  private mutating func appendHexEscape(_ byte: UInt8) -> Int {
    append("\\x")
    append(UInt8.hexDigit(byte >> 4))
    append(UInt8.hexDigit(byte & 15))
    return 1
  }

  /// Appends the character at `index` as it must stand in a JSON string (RFC 8259 §7): well-formed UTF-8 as it is, other
  /// bytes as U+FFFD, so that what is written is JSON whatever was received. Returns the bytes used.
  @_lifetime(self: copy self)
  private mutating func appendJSONEscape(_ text: Span<UInt8>, _ index: Int) -> Int {
    let byte = text[index]
    switch byte {
    case UInt8(ascii: "\""): append("\\\"")
    case UInt8(ascii: "\\"): append("\\\\")
    case 0x0a: append("\\n")
    case 0x0d: append("\\r")
    case 0x09: append("\\t")
    case 0..<0x80: appendUnicodeEscape(byte)
    default:
      let length = text.characterLength(at: index)
      if length == 0 {
        append("\\ufffd")
      } else if byte == 0xc2, text[index + 1] < 0xa0 {
        appendUnicodeEscape(text[index + 1])  // a C1 control character: terminals obey some
        return 2
      } else {
        append(text.extracting(index..<index + length))
        return length
      }
    }
    return 1
  }

  @_lifetime(self: copy self)
  private mutating func appendUnicodeEscape(_ byte: UInt8) {
    append("\\u00")
    append(UInt8.hexDigit(byte >> 4))
    append(UInt8.hexDigit(byte & 15))
  }
}

extension UInt8 {
  static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

extension Span<UInt8> {
  /// The first byte at or after `start` that needs an escape, or `count`.
  func firstToEscape(from start: Int) -> Int {
    var index = start
    while index < count, !(self[index] < 0x20 || self[index] >= 0x7f || self[index] == 0x22 || self[index] == 0x5c) { index += 1 }
    return index
  }

  /// The length of the well-formed UTF-8 character at `index` (RFC 3629 §4), which isn't ASCII; 0 if it is malformed.
  func characterLength(at index: Int) -> Int {
    func continues(_ offset: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xbf) -> Bool {
      index + offset < count && self[index + offset] >= low && self[index + offset] <= high
    }
    switch self[index] {
    case 0xc2...0xdf: return continues(1) ? 2 : 0
    case 0xe0: return continues(1, 0xa0) && continues(2) ? 3 : 0
    case 0xed: return continues(1, 0x80, 0x9f) && continues(2) ? 3 : 0
    case 0xe1...0xef: return continues(1) && continues(2) ? 3 : 0
    case 0xf0: return continues(1, 0x90) && continues(2) && continues(3) ? 4 : 0
    case 0xf1...0xf3: return continues(1) && continues(2) && continues(3) ? 4 : 0
    case 0xf4: return continues(1, 0x80, 0x8f) && continues(2) && continues(3) ? 4 : 0
    default: return 0
    }
  }
}
