// Compression — the terms of permessage-deflate, and how they are agreed upon (RFC 7692 §7.1).
//
// An offer is declined, not an error, when it names a parameter that is not known, twice, or with a value it cannot have.
// The first offer that can be taken is.

import Memory
import Wire

/// What was agreed. Base-two logarithms for windows, 8...15.
public struct CompressionTerms: Equatable, Sendable, BitwiseCopyable {
  /// Of what the server sends.
  public var serverWindowBits = 15
  /// The server forgets its window after each message.
  public var serverForgets = false
  /// Of what the client sends.
  public var clientWindowBits = 15
  public var clientForgets = false
  /// The client has said that it can be told a window, so that the answer may name one.
  var clientTakesWindow = false

  public init() {}
}

/// What a server wants.
public struct CompressionWish: Equatable, Sendable, BitwiseCopyable {
  /// For both directions, 8...15.
  public var windowBits: Int
  /// Whether windows are kept from one message to the next.
  public var keepsContext: Bool

  public init(windowBits: Int, keepsContext: Bool) {
    self.windowBits = windowBits
    self.keepsContext = keepsContext
  }
}

/// What the `Sec-WebSocket-Extensions` of a request amounts to.
public enum CompressionOutcome: Equatable, Sendable {
  case none
  case agreed(CompressionTerms)
  /// It is not a list of extensions (RFC 6455 §9.1).
  case malformed
}

extension CompressionTerms {
  /// Chooses among the offers in one field value.
  public static func choose(among offers: Span<UInt8>, _ wish: CompressionWish) -> CompressionOutcome {
    var scanner = ExtensionScanner(offers)
    var chosen: CompressionTerms?
    while let name = scanner.nextExtension() {
      let isDeflate = offers.extracting(name).equalsIgnoringCase("permessage-deflate")
      var offer = Offer()
      while let parameter = scanner.nextParameter() {
        if isDeflate { offer.take(parameter.name, parameter.value, of: offers) }
      }
      if isDeflate, chosen == nil, !offer.isDeclined { chosen = offer.terms(wish) }
    }
    if scanner.isMalformed { return .malformed }
    return chosen.map { .agreed($0) } ?? .none
  }
}

/// One offer of permessage-deflate.
private struct Offer {
  private var serverForgets = false, clientForgets = false
  private var serverWindow: Int?, clientWindow: Int?
  private var namesClientWindow = false
  private(set) var isDeclined = false

  mutating func take(_ nameRange: Range<Int>, _ value: Range<Int>?, of bytes: Span<UInt8>) {
    let name = bytes.extracting(nameRange)
    if name.equalsIgnoringCase("server_no_context_takeover") {
      if serverForgets || value != nil { isDeclined = true }
      serverForgets = true
    } else if name.equalsIgnoringCase("client_no_context_takeover") {
      if clientForgets || value != nil { isDeclined = true }
      clientForgets = true
    } else if name.equalsIgnoringCase("server_max_window_bits") {
      guard serverWindow == nil, let bits = Self.bits(value, bytes) else { return isDeclined = true }
      serverWindow = bits
    } else if name.equalsIgnoringCase("client_max_window_bits") {
      if namesClientWindow { isDeclined = true }
      namesClientWindow = true
      // Without a value it only says that the answer may hold one.
      guard value != nil else { return }
      guard let bits = Self.bits(value, bytes) else { return isDeclined = true }
      clientWindow = bits
    } else {
      isDeclined = true
    }
  }

  /// 8...15, without leading zeros.
  private static func bits(_ value: Range<Int>?, _ bytes: Span<UInt8>) -> Int? {
    guard let value, bytes[value.lowerBound] != 0x30, let bits = bytes.extracting(value).decimal, 8...15 ~= bits else { return nil }
    return bits
  }

  func terms(_ wish: CompressionWish) -> CompressionTerms {
    var terms = CompressionTerms()
    terms.serverForgets = serverForgets || !wish.keepsContext
    // A server may ask this of a client that has not offered it (RFC 7692 §7.1.1.2).
    terms.clientForgets = clientForgets || !wish.keepsContext
    terms.serverWindowBits = min(serverWindow ?? 15, wish.windowBits)
    terms.clientTakesWindow = namesClientWindow
    if namesClientWindow { terms.clientWindowBits = min(clientWindow ?? 15, wish.windowBits) }
    return terms
  }
}

extension Buffer {
  /// Appends the value of the answer's `Sec-WebSocket-Extensions`. Needs 160 bytes of room.
  public mutating func append(_ terms: CompressionTerms) {
    append("permessage-deflate")
    if terms.serverForgets { append("; server_no_context_takeover") }
    if terms.clientForgets { append("; client_no_context_takeover") }
    if terms.serverWindowBits < 15 {
      append("; server_max_window_bits=")
      append(decimal: terms.serverWindowBits)
    }
    if terms.clientTakesWindow, terms.clientWindowBits < 15 {
      append("; client_max_window_bits=")
      append(decimal: terms.clientWindowBits)
    }
  }
}

/// Reads `1#( token *( ";" token [ "=" ( token | quoted-string ) ] ) )` (RFC 6455 §9.1). A quoted value must be a token inside.
private struct ExtensionScanner: ~Escapable {
  private let bytes: Span<UInt8>
  private var position = 0
  private var isWithin = false
  private(set) var isMalformed = false

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>) { self.bytes = bytes }

  /// The name of the next extension, after its predecessor's parameters have been read.
  @_lifetime(self: copy self)
  mutating func nextExtension() -> Range<Int>? {
    guard !isMalformed else { return nil }
    skipBlanks()
    // A list may have empty elements (RFC 9110 §5.6.1).
    while position < bytes.count, bytes[position] == 0x2c {
      position += 1
      skipBlanks()
    }
    guard position < bytes.count else { return nil }
    return token()
  }

  /// The next parameter of the extension at hand.
  @_lifetime(self: copy self)
  mutating func nextParameter() -> (name: Range<Int>, value: Range<Int>?)? {
    guard !isMalformed else { return nil }
    skipBlanks()
    guard position < bytes.count, bytes[position] != 0x2c else { return nil }
    guard bytes[position] == 0x3b else {
      isMalformed = true
      return nil
    }
    position += 1
    skipBlanks()
    guard let name = token() else { return nil }
    skipBlanks()
    guard position < bytes.count, bytes[position] == 0x3d else { return (name, nil) }
    position += 1
    skipBlanks()
    let isQuoted = position < bytes.count && bytes[position] == 0x22
    if isQuoted { position += 1 }
    guard let value = token() else { return nil }
    if isQuoted {
      guard position < bytes.count, bytes[position] == 0x22 else {
        isMalformed = true
        return nil
      }
      position += 1
    }
    return (name, value)
  }

  @_lifetime(self: copy self)
  private mutating func token() -> Range<Int>? {
    let start = position
    while position < bytes.count, bytes[position].isTokenByte { position += 1 }
    guard position > start else {
      isMalformed = true
      return nil
    }
    return start..<position
  }

  @_lifetime(self: copy self)
  private mutating func skipBlanks() {
    while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 { position += 1 }
  }
}

extension UInt8 {
  /// RFC 9110 §5.6.2.
  fileprivate var isTokenByte: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x5e...0x60, 0x7c, 0x7e: true
    default: false
    }
  }
}
