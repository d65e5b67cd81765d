// ResponseWriter — appends responses to the output that a turn's responses to one client share.
//
// The writer knows the date and how a response says whether the connection stays open.
// Callers see to it that `output` has room: every function says how much it needs.

import HTTPModel
import Memory

/// What a response must know of the request it answers.
public struct ResponseContext: BitwiseCopyable {
  public var isHead: Bool
  public var isVersion11: Bool
  public var isPersistent: Bool

  @inlinable
  public init(isHead: Bool, isVersion11: Bool, isPersistent: Bool) {
    self.isHead = isHead
    self.isVersion11 = isVersion11
    self.isPersistent = isPersistent
  }

  /// Nothing has to be said of the connection, and a body may follow.
  @inlinable @inline(__always)
  var isUsual: Bool { isVersion11 && isPersistent && !isHead }
}

/// Writes response heads.
public struct ResponseWriter: ~Copyable {
  /// Bytes of everything this writer adds to a head by itself.
  public static var reserve: Int { 512 }

  public var output: Buffer
  private var date = InlineArray<29, UInt8>(repeating: 0x20)

  public init(capacity: Int) { output = Buffer(capacity: capacity) }

  /// The value of `Date` now.
  public var dateText: Span<UInt8> {
    @_lifetime(borrow self)
    borrowing get { date.span }
  }

  public mutating func update(date: InlineArray<29, UInt8>) { self.date = date }

  /// Appends a prepared response; without its body when the request was HEAD.
  /// Needs `response.byteCount` plus the length of the request id, plus `reserve`.
  @inlinable @inline(__always)
  public mutating func send(_ response: borrowing PreparedResponse, _ context: ResponseContext, requestID: Span<UInt8>) {
    send(response.text.bytes, response.places, context, requestID)
  }

  @usableFromInline
  mutating func send(_ text: Span<UInt8>, _ places: PreparedResponse.Places, _ context: ResponseContext, _ requestID: Span<UInt8>) {
    guard context.isUsual, requestID.count == PreparedResponse.idLength else { return sendUnusually(text, places, context, requestID) }
    let start = output.count
    output.append(text)
    output.replace(date.span, at: start &+ Int(places.date))
    output.replace(requestID, at: start &+ Int(places.id))
  }

  @inline(never)
  private mutating func sendUnusually(_ text: Span<UInt8>, _ places: PreparedResponse.Places, _ context: ResponseContext, _ requestID: Span<UInt8>) {
    let start = output.count
    output.append(text.extracting(first: Int(places.date)))
    if !context.isVersion11 { output.replace(0x30, at: start + 7) }
    output.append(date.span)
    output.append("\r\nX-Request-Id: ")
    output.append(requestID)
    output.append("\r\n")
    end(context)
    if !context.isHead { output.append(text.extracting(droppingFirst: Int(places.body))) }
  }

  /// Appends a status line and the fields that every response of the gateway itself has, up to the first own field line.
  public mutating func begin(_ status: Status, _ context: ResponseContext, server: Bool) {
    output.append(context.isVersion11 ? "HTTP/1.1 " : "HTTP/1.0 ")
    output.append(threeDigits: status.code)
    output.append(status.reason)
    if server { output.append("\r\nServer: gateway") }
    output.append("\r\nDate: ")
    output.append(date.span)
    output.append("\r\n")
  }

  /// Ends a head whose last line has ended: says what becomes of the connection, and appends the empty line.
  public mutating func end(_ context: ResponseContext) {
    if !context.isPersistent {
      output.append("Connection: close\r\n\r\n")
    } else if context.isVersion11 {
      // HTTP/1.1 connections persist unless told otherwise (RFC 9112 §9.3).
      output.append("\r\n")
    } else {
      output.append("Connection: keep-alive\r\n\r\n")
    }
  }

  /// Appends the head of a relayed response: status line, end-to-end fields, `Via` and what the relay's own framing asks for.
  /// Needs twice `bytes.count` plus `reserve`.
  /// - Parameters:
  ///   - head: the backend's head, of which `bytes` are the text.
  ///   - dropped: names left out besides those that the framing replaces.
  public mutating func relay(
    _ head: borrowing ResponseHead, of bytes: Span<UInt8>, _ context: ResponseContext, framing: RelayFraming, dropped: HeaderNameSet,
    via: Bool
  ) {
    if context.isVersion11, head.flags.contains(.version11), !head.reason.isEmpty {
      // It stands there as it would be written.
      output.append(bytes.extracting(first: head.reason.upper))
    } else {
      output.append(context.isVersion11 ? "HTTP/1.1 " : "HTTP/1.0 ")
      output.append(threeDigits: head.status.code)
      output.append(head.reason.text(in: bytes))
    }
    output.append("\r\n")
    output.append(fields: head.records, of: bytes, without: dropped, connection: head.flags.contains(.namesConnectionFields))
    if !head.names.contains(.date) {
      // RFC 9110 §6.6.1: a recipient that forwards a response without Date may add one.
      output.append("Date: ")
      output.append(date.span)
      output.append("\r\n")
    }
    if via { append(via: head, of: bytes) }
    switch framing {
    case .asReceived, .stream: break
    case .length(let length):
      output.append("Content-Length: ")
      output.append(decimal: length)
      output.append("\r\n")
    case .chunked: output.append("Transfer-Encoding: chunked\r\n")
    }
    end(context)
  }

  /// Appends an interim response (RFC 9110 §15.2). Needs twice `bytes.count` plus `reserve`.
  public mutating func relay(interim head: borrowing ResponseHead, of bytes: Span<UInt8>, dropped: HeaderNameSet) {
    output.append("HTTP/1.1 ")
    output.append(threeDigits: head.status.code)
    output.append(head.status.reason)
    output.append("\r\n")
    output.append(fields: head.records, of: bytes, without: dropped, connection: head.flags.contains(.namesConnectionFields))
    output.append("\r\n")
  }

  /// Appends a 101 response to a WebSocket handshake (RFC 6455 §4.2.2). Needs twice `bytes.count` plus `reserve`.
  /// - Parameter isConnect: the client has asked by an extended CONNECT (RFC 8441 §5): it is told 200, and nothing of keys.
  public mutating func relay(upgrade head: borrowing ResponseHead, of bytes: Span<UInt8>, dropped: HeaderNameSet, via: Bool, isConnect: Bool) {
    if isConnect {
      output.append("HTTP/1.1 200 OK\r\n")
      for index in 0..<head.fieldCount {
        let field = head.field(at: index)
        if dropped.contains(field) || field.nameText.text(in: bytes).equalsIgnoringCase("sec-websocket-accept") { continue }
        output.append(field: field.nameText.text(in: bytes), field.value.text(in: bytes))
      }
    } else {
      output.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
      output.append(fields: head.records, of: bytes, without: dropped)
    }
    if via { append(via: head, of: bytes) }
    output.append("\r\n")
  }

  /// `Via` is one list: ours is appended to what the backend's answer carries (RFC 9110 §7.6.3).
  private mutating func append(via head: borrowing ResponseHead, of bytes: Span<UInt8>) {
    output.append("Via: ")
    if head.names.contains(.via) {
      output.append(viaOf: head.records, bytes)
    }
    output.append(head.flags.contains(.version2) ? "2.0 gateway\r\n" : head.flags.contains(.version11) ? "1.1 gateway\r\n" : "1.0 gateway\r\n")
  }
}

/// How a relayed response's end is marked towards the client.
public enum RelayFraming: Equatable {
  /// By the fields received (Content-Length), by having no body, or by the connection's end.
  case asReceived
  case length(Int)
  case chunked
  /// By the end of the stream it is sent on.
  case stream
}

extension Buffer {
  /// Appends the elements of all `Via` fields, each followed by a comma and a blank.
  public mutating func append(viaOf fields: Span<HeaderField>, _ bytes: Span<UInt8>) { append(listOf: .via, fields, bytes) }

  /// Appends the values of all fields called `name`, each followed by a comma and a blank.
  public mutating func append(listOf name: HeaderName, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) {
    for index in fields.indices where fields[index].isNamed(name) && !fields[index].value.isEmpty {
      append(fields[index].value.text(in: bytes))
      append(", ")
    }
  }

  /// Appends a chunk's size line (RFC 9112 §7.1).
  public mutating func append(chunkSize count: Int) {
    append(hexadecimal: UInt64(max(0, count)))
    append("\r\n")
  }
}
