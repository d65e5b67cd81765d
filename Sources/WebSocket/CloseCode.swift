// CloseCode — why a WebSocket ends (RFC 6455 §7.4), and the payload of a Close frame.

import Memory

/// A status code of a Close frame.
public struct CloseCode: RawRepresentable, Equatable, Hashable, Sendable, BitwiseCopyable {
  public let rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static var normal: CloseCode { CloseCode(rawValue: 1000) }
  public static var goingAway: CloseCode { CloseCode(rawValue: 1001) }
  public static var protocolError: CloseCode { CloseCode(rawValue: 1002) }
  /// Stands for a Close without a code; never sent.
  public static var noStatus: CloseCode { CloseCode(rawValue: 1005) }
  /// Stands for an end without a Close; never sent.
  public static var abnormal: CloseCode { CloseCode(rawValue: 1006) }
  public static var invalidData: CloseCode { CloseCode(rawValue: 1007) }
  public static var tooBig: CloseCode { CloseCode(rawValue: 1009) }
  public static var missingExtension: CloseCode { CloseCode(rawValue: 1010) }
  public static var internalError: CloseCode { CloseCode(rawValue: 1011) }

  /// Whether a Close frame may carry it: those that are registered, and those left to libraries and applications.
  public var mayBeSent: Bool {
    switch rawValue {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }

  /// What a Close with this code is answered with. Only clients miss extensions.
  public var reply: CloseCode { self == .missingExtension ? .normal : self }
}

/// What the payload of a received Close frame says.
public enum ClosePayload: Equatable, Sendable {
  /// A code; what follows it is a reason in UTF-8.
  case code(CloseCode)
  case empty
  /// It may not be so, and is answered with this code.
  case malformed(CloseCode)

  public init(_ payload: Span<UInt8>) {
    guard !payload.isEmpty else {
      self = .empty
      return
    }
    guard payload.count >= 2 else {
      self = .malformed(.protocolError)
      return
    }
    let code = CloseCode(rawValue: payload.word(UInt16.self, at: 0).byteSwapped)
    guard code.mayBeSent else {
      self = .malformed(.protocolError)
      return
    }
    var check = UTF8Check()
    guard check.accept(payload.extracting(droppingFirst: 2)), check.isComplete else {
      self = .malformed(.invalidData)
      return
    }
    self = .code(code)
  }
}

extension Buffer {
  /// Appends a Close frame; `noStatus` gives one without a code. Needs 16 bytes of room.
  /// - Parameter key: to mask it with, as clients must.
  public mutating func append(close code: CloseCode, key: UInt32? = nil) {
    let bytes = [UInt8(truncatingIfNeeded: code.rawValue >> 8), UInt8(truncatingIfNeeded: code.rawValue)]
    let payload = code == .noStatus ? bytes.span.extracting(first: 0) : bytes.span
    if let key { append(frame: .close, payload, maskedWith: key) } else { append(frame: .close, payload) }
  }
}
