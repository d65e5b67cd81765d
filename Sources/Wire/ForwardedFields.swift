// ForwardedFields — who a request has come from before its peer, as X-Forwarded-For and Forwarded (RFC 7239) tell.
//
// Both are lists to which each proxy appends; only what trusted proxies have appended can be believed. So they are read from the
// right, element by element, and whoever reads says when to stop. What stands further to the left, however it is written, has
// no bearing on what was read before.

import HTTPModel
import Memory

/// One hop: who has sent the request to the proxy that wrote the element, and how.
public struct ForwardedHop: BitwiseCopyable {
  /// `none` where it is not an address: unknown, obfuscated, or malformed.
  public var address = PeerAddress.none
  /// The scheme, where it is said: nil, or whether it was https.
  public var isSecure: Bool?
}

extension Span<UInt8> {
  /// The element of an X-Forwarded-For value that ends before `end`, which moves to where it begins; nil where there is none.
  public func forwardedFor(before end: inout Int) -> ForwardedHop? {
    while end > 0, end <= count {
      var start = end
      while start > 0, self[start - 1] != .comma { start -= 1 }
      let element = extracting(start..<end).withoutBlanks
      end = start - 1
      // Empty elements of a list mean nothing (RFC 9110 §5.6.1).
      if !element.isEmpty { return ForwardedHop(address: element.nodeAddress) }
    }
    return nil
  }

  /// The same for a value of Forwarded.
  public func forwarded(before end: inout Int) -> ForwardedHop? {
    while end > 0, end <= count {
      var start = end, isQuoted = false
      while start > 0 {
        let byte = self[start - 1]
        if byte == .quote, !(isQuoted && isEscaped(start - 1)) { isQuoted.toggle() } else if byte == .comma, !isQuoted { break }
        start -= 1
      }
      let element = extracting(start..<end).withoutBlanks
      end = start - 1
      if !element.isEmpty { return element.forwardedHop }
    }
    return nil
  }

  /// Whether an odd number of backslashes stands before `position`.
  private func isEscaped(_ position: Int) -> Bool {
    var start = position
    while start > 0, self[start - 1] == .backslash { start -= 1 }
    return (position - start) & 1 == 1
  }

  /// The element as pairs separated by semicolons (RFC 7239 §4); nothing of it counts unless all of it is well-formed.
  private var forwardedHop: ForwardedHop {
    var hop = ForwardedHop(), hasAddress = false, hasScheme = false
    var scanner = Scanner(self)
    while true {
      let name = extracting(scanner.takeToken())
      guard !name.isEmpty, scanner.skip(.equals) else { return ForwardedHop() }
      let value: Span<UInt8>
      if scanner.skip(.quote) {
        let start = scanner.position
        while let byte = scanner.next, byte != .quote {
          scanner.skipOne()
          if byte == .backslash {
            guard !scanner.isAtEnd else { return ForwardedHop() }
            scanner.skipOne()
          }
        }
        value = extracting(start..<scanner.position)
        guard scanner.skip(.quote) else { return ForwardedHop() }
      } else {
        // An address and port without quotes is no token, but is what people send.
        let start = scanner.position
        while let byte = scanner.next, byte != .semicolon, byte != .space, byte != .tab, byte != .quote { scanner.skipOne() }
        value = extracting(start..<scanner.position)
        guard !value.isEmpty else { return ForwardedHop() }
      }
      if name.equalsIgnoringCase("for") {
        // Nothing may be said twice.
        guard !hasAddress else { return ForwardedHop() }
        hasAddress = true
        hop.address = value.nodeAddress
      } else if name.equalsIgnoringCase("proto") {
        guard !hasScheme else { return ForwardedHop() }
        hasScheme = true
        hop.isSecure = value.isSecureScheme
      }
      scanner.skipBlanks()
      if scanner.isAtEnd { return hop }
      guard scanner.skip(.semicolon) else { return ForwardedHop() }
      scanner.skipBlanks()
    }
  }

  /// Whether it is the name of a scheme that is secure; nil when it is none that is known.
  public var isSecureScheme: Bool? {
    if equalsIgnoringCase("https") || equalsIgnoringCase("wss") { return true }
    return equalsIgnoringCase("http") || equalsIgnoringCase("ws") ? false : nil
  }

  /// The address of a node (RFC 7239 §6): with or without a port, IPv6 with or without brackets. `none` when there is none.
  var nodeAddress: PeerAddress {
    guard !isEmpty else { return .none }
    if self[0] == .leftBracket {
      var end = 1
      while end < count, self[end] != .rightBracket { end += 1 }
      let inner = extracting(1..<end)
      guard end < count, inner.hasColon, extracting(droppingFirst: end + 1).isNothingOrPort else { return .none }
      return PeerAddress(inner) ?? .none
    }
    var colon = 0
    while colon < count, self[colon] != .colon { colon += 1 }
    guard colon < count else { return PeerAddress(self) ?? .none }
    // Two colons are those of IPv6.
    if extracting(droppingFirst: colon + 1).hasColon { return PeerAddress(self) ?? .none }
    guard extracting(droppingFirst: colon).isNothingOrPort else { return .none }
    return PeerAddress(extracting(first: colon)) ?? .none
  }

  private var hasColon: Bool {
    for index in indices where self[index] == .colon { return true }
    return false
  }

  /// Empty, or a colon and a port: up to five digits, or an obfuscated one.
  private var isNothingOrPort: Bool {
    guard !isEmpty else { return true }
    guard count > 1, self[0] == .colon else { return false }
    if self[1] == 0x5f { return count > 2 }
    guard count <= 6 else { return false }
    for index in 1..<count where !(0x30...0x39 ~= self[index]) { return false }
    return true
  }

  /// Without blanks at either end.
  var withoutBlanks: Span<UInt8> {
    @_lifetime(copy self)
    get {
      var start = 0, end = count
      while start < end, self[start] == .space || self[start] == .tab { start += 1 }
      while end > start, self[end - 1] == .space || self[end - 1] == .tab { end -= 1 }
      return extracting(start..<end)
    }
  }
}

extension Buffer {
  /// Appends an element of Forwarded; without blanks at its ends. Needs 80 bytes and the length of `host`.
  /// - Parameters:
  ///   - address: the peer's, as text.
  ///   - host: an acceptable host and port, or empty.
  public mutating func append(forwardedFor address: Span<UInt8>, of kind: PeerAddress.Kind, host: Span<UInt8>, isSecure: Bool) {
    switch kind {
    case .ipv4:
      append("for=")
      append(address)
    case .ipv6:
      append("for=\"[")
      append(address)
      append("]\"")
    case .none, .unix: append("for=unknown")
    }
    if !host.isEmpty {
      append(";host=\"")
      append(host)
      append("\"")
    }
    if isSecure { append(";proto=https") } else { append(";proto=http") }
  }
}
