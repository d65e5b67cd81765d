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
      value = value &* 10 &+ Int(self[index] &- 0x30)
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

  /// An acceptable host and optional port, without the port.
  public var withoutPort: Span<UInt8> {
    @_lifetime(copy self)
    get {
      var end = count
      while end > 0, 0x30...0x39 ~= self[end - 1] { end -= 1 }
      return end > 0 && self[end - 1] == .colon ? extracting(first: end - 1) : self
    }
  }

  /// Whether the bytes are an acceptable host and optional port (RFC 9110 §7.2): a name or IPv4 address, or an
  /// IPv6 literal in brackets; the port up to five digits.
  @inline(__always)
  public var isHostAndPort: Bool { isHostAndPort(in: 0..<count) }

  /// Whether those of `range` are.
  @inline(__always)
  public func isHostAndPort(in range: Range<Int>) -> Bool { isPlainHostAndPort(in: range) || extracting(range).isBracketedHostAndPort }

  @inline(never)
  private var isBracketedHostAndPort: Bool {
    guard count > 3, self[0] == .leftBracket else { return false }
    var end = 1
    while end < count, self[end] != .rightBracket {
      switch self[end] {
      case 0x30...0x39, 0x41...0x46, 0x61...0x66, .colon, 0x2e: end += 1
      default: return false
      }
    }
    guard end < count, end > 2 else { return false }
    guard end + 1 < count else { return true }
    guard self[end + 1] == .colon, count - end - 1 <= 6 else { return false }
    for index in (end + 2)..<count where !(0x30...0x39 ~= self[index]) { return false }
    return true
  }
}

extension UInt8 {
  @inlinable static var space: UInt8 { 0x20 }
  @inlinable static var tab: UInt8 { 0x09 }
  @inlinable static var colon: UInt8 { 0x3a }
  @inlinable static var comma: UInt8 { 0x2c }
  static var quote: UInt8 { 0x22 }
  static var equals: UInt8 { 0x3d }
  static var backslash: UInt8 { 0x5c }
  static var semicolon: UInt8 { 0x3b }
  @inlinable static var carriageReturn: UInt8 { 0x0d }
  @inlinable static var lineFeed: UInt8 { 0x0a }
  @inlinable static var slash: UInt8 { 0x2f }
  static var leftBracket: UInt8 { 0x5b }
  static var rightBracket: UInt8 { 0x5d }

  /// The lower-case form of an ASCII letter; every other byte as it is.
  @inlinable var lowercased: UInt8 { 0x41...0x5a ~= self ? self | 0x20 : self }
}
