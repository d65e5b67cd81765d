// ChunkDecoder — the chunked coding (RFC 9112 §7.1) as a state machine over whatever pieces arrive.
//
// It keeps no bytes: data and trailer bytes are named by range within the piece at hand. Extensions are
// checked and dropped. Invariant: `remaining` is the data still to come of the current chunk.

import CLinux
import HTTPModel
import Memory

/// What the decoder found next in a piece.
public enum ChunkStep {
  /// Body bytes.
  case data(Range<Int>)
  /// Bytes of the trailer section, line ends included, to be collected; the empty line at its end is not among them.
  case trailer(Range<Int>)
  /// The piece is used up.
  case needsMore
  /// The body is over; the message ended before `next`.
  case end(next: Int)
  case malformed
}

/// Decodes one chunked body.
public struct ChunkDecoder: Sendable, BitwiseCopyable {
  private enum State: UInt8 {
    case sizeStart, size, blanks, extensionStart, extensionText, sizeLineFeed
    case data, dataReturn, dataLineFeed
    case lineStart, lineName, lineValue, lineFeed, lastLineFeed
    case over
  }

  /// Bytes of chunk extensions that one body may carry: they are never of use here, and free to send.
  public static let extensionLimit = 16_384

  private var state = State.sizeStart
  private var digits: UInt8 = 0
  private var extensionBytes: UInt32 = 0
  private var remaining = 0

  public init() {}

  /// Data bytes of the current chunk that are still to come.
  public var announced: Int { state == .data ? remaining : 0 }

  /// Whether the last chunk has come, so that only trailers may follow.
  public var isInTrailers: Bool { state.rawValue >= State.lineStart.rawValue }

  /// Goes on at `position` of `bytes`; the caller continues behind what the step names.
  public mutating func next(_ bytes: Span<UInt8>, at position: inout Int) -> ChunkStep {
    while position < bytes.count {
      let byte = bytes[position]
      switch state {
      case .sizeStart, .size:
        if let digit = byte.hexDigit {
          // Fifteen digits are more than any body has and cannot overflow.
          guard digits < 15 else { return .malformed }
          remaining = remaining << 4 | Int(digit)
          digits += 1
          state = .size
        } else {
          guard state == .size else { return .malformed }
          switch byte {
          case .carriageReturn: state = .sizeLineFeed
          case 0x3b: state = .extensionStart
          case .space, .tab: state = .blanks  // before ';' (RFC 9112 §7.1.1)
          default: return .malformed
          }
        }
        position += 1
      case .blanks:
        guard byte == 0x3b || byte == .space || byte == .tab, countExtensionByte() else { return .malformed }
        if byte == 0x3b { state = .extensionStart }
        position += 1
      case .extensionStart, .extensionText:
        guard skipExtension(byte) else { return .malformed }
        position += 1
      case .sizeLineFeed:
        guard byte == .lineFeed else { return .malformed }
        position += 1
        state = remaining == 0 ? .lineStart : .data
      case .data:
        let count = min(remaining, bytes.count - position)
        let range = position..<position + count
        remaining -= count
        position += count
        if remaining == 0 { state = .dataReturn }
        return .data(range)
      case .dataReturn:
        guard byte == .carriageReturn else { return .malformed }
        position += 1
        state = .dataLineFeed
      case .dataLineFeed:
        guard byte == .lineFeed else { return .malformed }
        position += 1
        beginChunk()
      case .lineStart:
        if byte == .carriageReturn {
          position += 1
          state = .lastLineFeed
        } else {
          guard byte.isToken else { return .malformed }
          state = .lineName
        }
      case .lineName, .lineValue, .lineFeed:
        return takeTrailerLine(bytes, at: &position)
      case .lastLineFeed:
        guard byte == .lineFeed else { return .malformed }
        position += 1
        state = .over
        return .end(next: position)
      case .over:
        return .end(next: position)
      }
    }
    return state == .over ? .end(next: position) : .needsMore
  }

  private mutating func beginChunk() {
    state = .sizeStart
    digits = 0
    remaining = 0
  }

  private mutating func countExtensionByte() -> Bool {
    extensionBytes += 1
    return extensionBytes <= ChunkDecoder.extensionLimit
  }

  /// One byte of an extension: visible characters and blanks up to the line's end, and a name right after the semicolon.
  private mutating func skipExtension(_ byte: UInt8) -> Bool {
    guard countExtensionByte() else { return false }
    if state == .extensionStart {
      if byte == .space || byte == .tab { return true }
      guard byte > 0x20, byte != 0x7f, byte != 0x3b, byte != 0x3d, byte != 0x22 else { return false }
      state = .extensionText
      return true
    }
    if byte == .carriageReturn {
      state = .sizeLineFeed
      return true
    }
    return (byte >= 0x20 || byte == .tab) && byte != 0x7f
  }

  /// One field line, as far as it is there, under the rules for header fields.
  private mutating func takeTrailerLine(_ bytes: Span<UInt8>, at position: inout Int) -> ChunkStep {
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch state {
      case .lineName:
        if byte == .colon { state = .lineValue } else if !byte.isToken { return .malformed }
      case .lineValue:
        if byte == .carriageReturn { state = .lineFeed } else if byte < 0x20 && byte != .tab || byte == 0x7f { return .malformed }
      default:
        guard byte == .lineFeed else { return .malformed }
        state = .lineStart
        return .trailer(start..<position)
      }
    }
    return .trailer(start..<position)
  }
}

extension UInt8 {
  /// Whether the byte may stand in a token (RFC 9110 §5.6.2).
  fileprivate var isToken: Bool { clx_is_token(self) != 0 }

  @inline(__always)
  fileprivate var hexDigit: UInt8? {
    switch self {
    case 0x30...0x39: self - 0x30
    case 0x41...0x46: self - 0x37
    case 0x61...0x66: self - 0x57
    default: nil
    }
  }
}
