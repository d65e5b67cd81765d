// Handshake — the opening of a WebSocket (RFC 6455 §4): what a request must say, and what proves that the answer is one.

import HTTPModel
import Memory
import Wire

/// What a request is to a server of WebSockets.
public enum HandshakeOutcome: Equatable, Sendable {
  /// A handshake; where its key is in the bytes of the head.
  case valid(key: Extent)
  /// It does not ask for a WebSocket.
  case notAsked
  /// It asks for another version than 13.
  case otherVersion
  case malformed
}

/// What a response is to a client that has asked for a WebSocket.
public enum Handshake {
  /// Length of a key: 16 bytes in base64.
  public static var keyLength: Int { 24 }
  /// Length of what proves that it was read: 20 bytes in base64.
  public static var acceptLength: Int { 28 }

  /// Whether the request asks for a WebSocket, and rightly (RFC 6455 §4.2.1).
  public static func examine(_ head: borrowing RequestHead, in bytes: Span<UInt8>) -> HandshakeOutcome {
    let records = head.records
    guard head.flags.contains(.version11), head.names.contains(.upgrade), records.list(.upgrade, in: bytes, contains: "websocket"),
      records.list(.connection, in: bytes, contains: "upgrade")
    else { return .notAsked }
    return examineFields(head, in: bytes, needsKey: true)
  }

  /// As `examine`, of a request that asks by other means, as HTTP/2's extended CONNECT does (RFC 8441 §5), and has no key.
  public static func examineFields(_ head: borrowing RequestHead, in bytes: Span<UInt8>, needsKey: Bool) -> HandshakeOutcome {
    var key: Extent?, version: Extent?
    let records = head.records
    for index in records.indices where records[index].name == .other {
      let name = records[index].nameText.text(in: bytes)
      if name.equalsIgnoringCase("sec-websocket-key") {
        if key != nil { return .malformed }
        key = records[index].value
      } else if name.equalsIgnoringCase("sec-websocket-version") {
        // RFC 6455 §11.3.5: once in a request.
        if version != nil { return .malformed }
        version = records[index].value
      }
    }
    // A body would stand where frames are expected.
    let isBodyless = head.body == .none || head.body == .length(0)
    guard head.method == .get || !needsKey, isBodyless, let version else { return .malformed }
    guard version.text(in: bytes).equals("13") else {
      let isNumber = version.text(in: bytes).decimal != nil
      return isNumber ? .otherVersion : .malformed
    }
    guard needsKey else { return .valid(key: .none) }
    guard let key, key.text(in: bytes).isWebSocketKey else { return .malformed }
    return .valid(key: key)
  }

  /// Appends the value of `Sec-WebSocket-Accept` for `key`. Needs `acceptLength` bytes of room.
  public static func append(acceptFor key: Span<UInt8>, to output: inout Buffer) {
    var text = Buffer(capacity: key.count + 36)
    text.append(key)
    text.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    let digest = SHA1.digest(text.bytes)
    output.append(base64: digest.span)
  }

  /// Appends a key made of `random`. Needs `keyLength` bytes of room.
  public static func append(keyOf random: (UInt64, UInt64), to output: inout Buffer) {
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for index in 0..<8 {
      bytes[index] = UInt8(truncatingIfNeeded: random.0 >> UInt64(8 * index))
      bytes[index + 8] = UInt8(truncatingIfNeeded: random.1 >> UInt64(8 * index))
    }
    output.append(base64: bytes.span)
  }

  /// Whether a 101 response agrees to the WebSocket that was asked for with `key` (RFC 6455 §4.1).
  public static func isAgreed(_ head: borrowing ResponseHead, in bytes: Span<UInt8>, key: Span<UInt8>) -> Bool {
    let records = head.records
    guard head.status.code == 101, records.list(.upgrade, in: bytes, contains: "websocket"), records.list(.connection, in: bytes, contains: "upgrade") else {
      return false
    }
    var expected = Buffer(capacity: acceptLength)
    append(acceptFor: key, to: &expected)
    var found = 0
    for index in records.indices where records[index].name == .other && records[index].nameText.text(in: bytes).equalsIgnoringCase("sec-websocket-accept") {
      guard records[index].value.text(in: bytes).isEqual(to: expected.bytes) else { return false }
      found += 1
    }
    return found == 1
  }

  /// The first of the protocols that the client offers which `isSupported` takes, as a place in `bytes`.
  public static func chooseProtocol(_ head: borrowing RequestHead, in bytes: Span<UInt8>, _ isSupported: (Span<UInt8>) -> Bool) -> Extent? {
    let records = head.records
    for index in records.indices where records[index].name == .other && records[index].nameText.text(in: bytes).equalsIgnoringCase("sec-websocket-protocol") {
      var start = records[index].value.lower
      while start < records[index].value.upper {
        var end = start
        while end < records[index].value.upper, bytes[end] != 0x2c { end += 1 }
        var first = start, last = end
        while first < last, bytes[first] == 0x20 || bytes[first] == 0x09 { first += 1 }
        while last > first, bytes[last - 1] == 0x20 || bytes[last - 1] == 0x09 { last -= 1 }
        if first < last, isSupported(bytes.extracting(first..<last)) { return Extent(first..<last) }
        start = end + 1
      }
    }
    return nil
  }

  /// What the client offers for compression, over all its fields.
  public static func chooseCompression(_ head: borrowing RequestHead, in bytes: Span<UInt8>, _ wish: CompressionWish) -> CompressionOutcome {
    let records = head.records
    var outcome = CompressionOutcome.none
    for index in records.indices where records[index].name == .other && records[index].nameText.text(in: bytes).equalsIgnoringCase("sec-websocket-extensions") {
      switch CompressionTerms.choose(among: records[index].value.text(in: bytes), wish) {
      case .malformed: return .malformed
      case .none: break
      case .agreed(let terms): if outcome == .none { outcome = .agreed(terms) }
      }
    }
    return outcome
  }
}

extension Span<HeaderField> {
  /// Whether a field called `name` lists `token`, which is written in lower case. A version behind it (`websocket/13`) is not looked at.
  fileprivate func list(_ name: HeaderName, in bytes: Span<UInt8>, contains token: StaticString) -> Bool {
    var found = false
    for index in indices where self[index].name == name {
      self[index].value.text(in: bytes).forEachToken { if $0.equalsIgnoringCase(token) { found = true } }
    }
    return found
  }
}

extension Span<UInt8> {
  /// Whether the bytes are sixteen bytes in base64.
  fileprivate var isWebSocketKey: Bool {
    guard count == Handshake.keyLength, self[22] == 0x3d, self[23] == 0x3d else { return false }
    for index in 0..<22 {
      switch self[index] {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2b, 0x2f: break
      default: return false
      }
    }
    // The last letter holds two bits and four zeros: A, Q, g or w.
    return self[21] == 0x41 || self[21] == 0x51 || self[21] == 0x67 || self[21] == 0x77
  }

  fileprivate func isEqual(to other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }
}

extension Buffer {
  /// Appends `bytes` in base64 (RFC 4648 §4).
  fileprivate mutating func append(base64 bytes: Span<UInt8>) {
    var index = 0
    while index < bytes.count {
      let left = bytes.count - index
      let a = UInt32(bytes[index]), b = left > 1 ? UInt32(bytes[index + 1]) : 0, c = left > 2 ? UInt32(bytes[index + 2]) : 0
      let group = a << 16 | b << 8 | c
      append(Self.letter(group >> 18))
      append(Self.letter(group >> 12 & 63))
      append(left > 1 ? Self.letter(group >> 6 & 63) : 0x3d)
      append(left > 2 ? Self.letter(group & 63) : 0x3d)
      index += 3
    }
  }

  private static func letter(_ value: UInt32) -> UInt8 {
    let value = UInt8(truncatingIfNeeded: value)
    switch value {
    case 0..<26: return 0x41 + value
    case 26..<52: return 0x61 + (value - 26)
    case 52..<62: return 0x30 + (value - 52)
    case 62: return 0x2b
    default: return 0x2f
    }
  }
}
