// FieldValue — reading the few field values that the gateway itself must understand.

import Memory

extension Span<UInt8> {
  /// The bytes as a decimal number; nil unless they are one to eighteen digits.
  @inlinable
  public var decimal: Int? {
    guard 1...18 ~= count else { return nil }
    var value = 0
    for index in indices {
      guard 0x30...0x39 ~= self[index] else { return nil }
      value = value * 10 + Int(self[index] - 0x30)
    }
    return value
  }

  /// Calls `body` with each token of a comma-separated list.
  public func forEachToken(_ body: (Span<UInt8>) -> Void) {
    var scanner = Scanner(self)
    while !scanner.isAtEnd {
      let token = scanner.takeToken()
      if token.isEmpty { scanner.skipOne() } else { body(extracting(token)) }
    }
  }

  /// Whether `token`, compared without case, is an element of the comma-separated list.
  public func listContains(_ token: Span<UInt8>) -> Bool {
    var found = false
    forEachToken { if $0.equalsIgnoringCase(token) { found = true } }
    return found
  }

  /// Whether both are the same text but for the case of ASCII letters.
  public func equalsIgnoringCase(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index].lowercased != other[index].lowercased { return false }
    return true
  }

  /// Whether the bytes are an acceptable host and optional port (RFC 9110 §7.2): a name or IPv4 address, or an
  /// IPv6 literal in brackets; the port up to five digits.
  public var isHostAndPort: Bool {
    guard !isEmpty, firstNonHost(from: 0) == count else { return false }
    var position = 0
    if self[0] == .leftBracket {
      while position < count, self[position] != .rightBracket { position += 1 }
      guard position < count, position > 2 else { return false }
      position += 1
    } else {
      while position < count, self[position] != .colon {
        guard self[position] != .leftBracket, self[position] != .rightBracket else { return false }
        position += 1
      }
      guard position > 0 else { return false }
    }
    guard position < count else { return true }
    guard self[position] == .colon, count - position <= 6 else { return false }
    for index in (position + 1)..<count where !(0x30...0x39 ~= self[index]) { return false }
    return true
  }
}

extension UInt8 {
  @inlinable static var space: UInt8 { 0x20 }
  @inlinable static var tab: UInt8 { 0x09 }
  @inlinable static var colon: UInt8 { 0x3a }
  @inlinable static var comma: UInt8 { 0x2c }
  @inlinable static var carriageReturn: UInt8 { 0x0d }
  @inlinable static var lineFeed: UInt8 { 0x0a }
  @inlinable static var slash: UInt8 { 0x2f }
  static var leftBracket: UInt8 { 0x5b }
  static var rightBracket: UInt8 { 0x5d }

  /// The lower-case form of an ASCII letter; every other byte as it is.
  @inlinable var lowercased: UInt8 { 0x41...0x5a ~= self ? self | 0x20 : self }
}
