// Scanner — a position moving over bytes: the vocabulary that the parser is written in.
//
// Invariant: 0 <= position <= bytes.count. The SIMD searches are bounded by `bytes.count`.

import Memory

/// Reads bytes from front to back.
struct Scanner: ~Escapable {
  let bytes: Span<UInt8>
  private(set) var position: Int

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>, at position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  var isAtEnd: Bool { position == bytes.count }
  var remaining: Int { bytes.count &- position }

  /// The next byte, or nil at the end.
  var next: UInt8? { isAtEnd ? nil : bytes[position] }

  /// Moves to `position`, which a scan of the same bytes has found.
  mutating func move(to position: Int) {
    precondition(position >= self.position && position <= bytes.count)
    self.position = position
  }

  /// Moves past `byte` if it comes next.
  mutating func skip(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    position &+= 1
    return true
  }

  /// - Precondition: not at the end.
  mutating func skipOne() {
    precondition(!isAtEnd)
    position += 1
  }

  mutating func skipBlanks() {
    while let byte = next, byte == .space || byte == .tab { position += 1 }
  }

  /// Moves past `\r\n` if it comes next.
  mutating func skipLineEnd() -> Bool {
    guard remaining >= 2, bytes.word(UInt16.self, at: position) == 0x0a0d else { return false }
    position &+= 2
    return true
  }

  /// Whether a line feed is among the bytes to come.
  var hasLineEnd: Bool {
    for index in position..<bytes.count where bytes[index] == 0x0a { return true }
    return false
  }

  /// Moves past four bytes if they are those of `word`, read as little-endian.
  mutating func skip(word: UInt32) -> Bool {
    guard remaining >= 4, bytes.word(UInt32.self, at: position) == word else { return false }
    position &+= 4
    return true
  }

  /// Moves past eight bytes and returns them as a little-endian word.
  mutating func takeWord() -> UInt64? {
    guard remaining >= 8 else { return nil }
    defer { position &+= 8 }
    return bytes.word(UInt64.self, at: position)
  }

  /// The longest run of token characters from here.
  mutating func takeToken() -> Range<Int> { take(upTo: bytes.firstNonToken(from: position)) }

  /// The request target from here.
  mutating func takeTarget() -> TargetScan {
    let target = bytes.target(from: position)
    position = Int(target.end)
    return target
  }

  /// The longest run without control characters from here, trailing blanks left out.
  mutating func takeFieldValue() -> Range<Int> {
    let text = take(upTo: bytes.firstControl(from: position))
    var end = text.upperBound
    while end > text.lowerBound, bytes[end - 1] == .space || bytes[end - 1] == .tab { end -= 1 }
    return text.lowerBound..<end
  }

  private mutating func take(upTo end: Int) -> Range<Int> {
    defer { position = end }
    return position..<end
  }
}
