// ErrorCode — why a stream or a connection ends, as it is said on the wire; and how an HTTP/2 connection begins.

import Memory

/// The error codes of RFC 9113 §7.
public enum ErrorCode: UInt32, Sendable, BitwiseCopyable {
  case noError, protocolError, internalError, flowControlError, settingsTimeout, streamClosed, frameSizeError, refusedStream, cancel
  case compressionError, connectError, enhanceYourCalm, inadequateSecurity, http11Required

  /// In lower case, as logs have it; the number of one that is not known.
  public static func name(_ code: UInt32) -> String {
    ErrorCode(rawValue: code).map { "\($0)" } ?? "\(code)"
  }
}

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
public enum ClientPreface {
  case whole, part, other

  private static var text: StaticString { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }

  /// What `bytes`, the first of a connection, have of it.
  public static func compare(_ bytes: Span<UInt8>) -> ClientPreface {
    let count = min(bytes.count, text.utf8CodeUnitCount)
    for position in 0..<count where unsafe bytes[position] != text.utf8Start[position] { return .other }
    return count == text.utf8CodeUnitCount ? .whole : .part
  }
}
