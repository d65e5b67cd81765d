// GRPC — the little that a proxy understands of gRPC: which requests are calls, how long they may take, what became of them.
//
// After "gRPC over HTTP2" (the protocol's own description) and its mapping of HTTP statuses.

import HTTPModel
import Memory

/// What became of a call.
public enum CallStatus: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case ok, cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied, resourceExhausted
  case failedPrecondition, aborted, outOfRange, unimplemented, internalError, unavailable, dataLoss, unauthenticated

  /// As gRPC writes it.
  public var name: StaticString {
    switch self {
    case .ok: "OK"
    case .cancelled: "CANCELLED"
    case .unknown: "UNKNOWN"
    case .invalidArgument: "INVALID_ARGUMENT"
    case .deadlineExceeded: "DEADLINE_EXCEEDED"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .failedPrecondition: "FAILED_PRECONDITION"
    case .aborted: "ABORTED"
    case .outOfRange: "OUT_OF_RANGE"
    case .unimplemented: "UNIMPLEMENTED"
    case .internalError: "INTERNAL"
    case .unavailable: "UNAVAILABLE"
    case .dataLoss: "DATA_LOSS"
    case .unauthenticated: "UNAUTHENTICATED"
    }
  }

  /// The status of a call that is refused for `fault`: that of its HTTP status, unless gRPC has one of its own.
  public init(_ fault: Fault) {
    self =
      switch (fault, fault.row.status) {
      case (.grpcDeadlineExceeded, _): .deadlineExceeded
      case (_, 400): .internalError
      case (_, 401): .unauthenticated
      case (_, 403): .permissionDenied
      case (_, 404): .unimplemented
      case (_, 429), (_, 502), (_, 503), (_, 504): .unavailable
      default: .unknown
      }
  }

  /// A status as it is written in a field; 255 for what none can be. Nil: it is no number.
  static func number(_ text: Span<UInt8>) -> UInt8? {
    var result = 0, digits = 0
    for index in text.indices {
      let byte = text[index]
      if byte == 0x20 || byte == 0x09 || byte == 0x0d { continue }
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      result = min(255, result * 10 + Int(byte - 0x30))
      digits += 1
    }
    return digits == 0 ? nil : UInt8(result)
  }

  /// The status in trailer lines; nil when there is none.
  public static func status(inTrailers lines: Span<UInt8>) -> UInt8? {
    var start = 0
    while start < lines.count {
      var end = start
      while end < lines.count, lines[end] != 0x0a { end += 1 }
      if end - start > 12, lines.extracting(start..<start + 12).equalsIgnoringCase("grpc-status:") {
        return number(lines.extracting(start + 12..<end))
      }
      start = end + 1
    }
    return nil
  }
}

extension RequestHead {
  /// Whether the request is a gRPC call: over HTTP/2, with a content type of `application/grpc` or one of its kinds.
  public func isCall(in bytes: Span<UInt8>) -> Bool {
    guard flags.contains(.version2), method == .post, names.contains(.contentType), let type = headers(in: bytes).first(.contentType) else { return false }
    let length = 16  // "application/grpc"
    guard type.count >= length, type.extracting(0..<length).equalsIgnoringCase("application/grpc") else { return false }
    if type.count == length { return true }
    let next = type[length]
    return next == UInt8(ascii: "+") || next == UInt8(ascii: ";") || next == UInt8(ascii: " ") || next == UInt8(ascii: "\t")
  }

  /// The time a call may take, in milliseconds, rounded up; nil when it does not say, or not as it should.
  public func callTimeout(in bytes: Span<UInt8>) -> Int? {
    let list = headers(in: bytes)
    for index in 0..<list.count where list.name(at: index).equalsIgnoringCase("grpc-timeout") {
      return RequestHead.milliseconds(list.value(at: index))
    }
    return nil
  }

  /// Up to eight digits and a unit.
  private static func milliseconds(_ text: Span<UInt8>) -> Int? {
    guard text.count >= 2, text.count <= 9 else { return nil }
    var amount = 0
    for index in 0..<text.count - 1 {
      guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
      amount = amount * 10 + Int(text[index] - 0x30)
    }
    switch text[text.count - 1] {
    case UInt8(ascii: "H"): return amount * 3_600_000
    case UInt8(ascii: "M"): return amount * 60_000
    case UInt8(ascii: "S"): return amount * 1_000
    case UInt8(ascii: "m"): return amount
    case UInt8(ascii: "u"): return (amount + 999) / 1_000
    case UInt8(ascii: "n"): return (amount + 999_999) / 1_000_000
    default: return nil
    }
  }
}

extension HeaderList {
  /// The status in a head that is all there is of a response (trailers only); nil when there is none.
  public var callStatus: UInt8? {
    for index in 0..<count where name(at: index).equalsIgnoringCase("grpc-status") { return CallStatus.number(value(at: index)) }
    return nil
  }
}

extension Buffer {
  /// Appends a sentence as `grpc-message` wants it: what is not printable ASCII, and "%", as percent escapes.
  public mutating func append(callMessage text: StaticString) {
    var escaped = Buffer(capacity: 3 * text.utf8CodeUnitCount + 1)
    var plain = Buffer(capacity: text.utf8CodeUnitCount + 1)
    plain.append(text)
    let bytes = plain.bytes
    for index in bytes.indices {
      let byte = bytes[index]
      if byte >= 0x20, byte <= 0x7e, byte != UInt8(ascii: "%") {
        escaped.append(byte)
      } else {
        escaped.append(UInt8(ascii: "%"))
        escaped.append(Buffer.upperHexadecimal(byte >> 4))
        escaped.append(Buffer.upperHexadecimal(byte & 15))
      }
    }
    append(escaped.bytes)
  }

  private static func upperHexadecimal(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x37 + digit }
}
