// Frame — the header of a WebSocket frame (RFC 6455 §5.2): read from bytes, and written.
//
// What no frame of any sender may be is refused here, as soon as the byte that shows it has come: reserved bits and
// opcodes, control frames that are long or in pieces, lengths that are not written in the shortest form. What depends on
// who sends, or on what came before, is MessageReader's.

import Memory

/// What a frame is (RFC 6455 §11.8).
public enum Opcode: UInt8, Sendable, BitwiseCopyable {
  case continuation = 0, text = 1, binary = 2
  case close = 8, ping = 9, pong = 10

  @inlinable
  public var isControl: Bool { rawValue >= 8 }
}

/// A frame's header.
public struct FrameHeader: Equatable, Sendable, BitwiseCopyable {
  /// A control frame's payload at most, in bytes.
  public static var controlLimit: Int { 125 }
  /// The longest header: 2 bytes, 8 of length, 4 of key.
  public static var maxSize: Int { 14 }

  public var opcode: Opcode
  /// The last frame of its message.
  public var isFinal: Bool
  /// RSV1: the message is compressed (RFC 7692 §6).
  public var isCompressed: Bool
  /// The masking key, its first byte lowest; nil: not masked.
  public var key: UInt32?
  /// Bytes of payload.
  public var length: Int

  public init(_ opcode: Opcode, length: Int, isFinal: Bool = true, isCompressed: Bool = false, key: UInt32? = nil) {
    self.opcode = opcode
    self.isFinal = isFinal
    self.isCompressed = isCompressed
    self.key = key
    self.length = length
  }

  /// Bytes that the header takes.
  public var size: Int { 2 + (length < 126 ? 0 : length < 1 << 16 ? 2 : 8) + (key == nil ? 0 : 4) }

  /// What the bytes from `start` on begin with.
  public static func parse(_ bytes: Span<UInt8>, at start: Int) -> FrameOutcome {
    guard start >= 0, start < bytes.count else { return .incomplete }
    let first = bytes[start], available = bytes.count - start
    guard first & 0x30 == 0, let opcode = Opcode(rawValue: first & 0x0f) else { return .malformed }
    let isFinal = first & 0x80 != 0, isCompressed = first & 0x40 != 0
    if opcode.isControl, !isFinal || isCompressed { return .malformed }
    guard available >= 2 else { return .incomplete }
    let second = bytes[start + 1]
    let isMasked = second & 0x80 != 0
    var length = Int(second & 0x7f), position = start + 2
    if opcode.isControl, length > controlLimit { return .malformed }
    if length == 126 {
      guard available >= 4 else { return .incomplete }
      length = Int(bytes.word(UInt16.self, at: position).byteSwapped)
      guard length >= 126 else { return .malformed }
      position += 2
    } else if length == 127 {
      // The highest bit must be 0, which its first byte shows.
      if available >= 3, bytes[position] & 0x80 != 0 { return .malformed }
      guard available >= 10 else { return .incomplete }
      length = Int(truncatingIfNeeded: bytes.word(UInt64.self, at: position).byteSwapped)
      guard length >= 1 << 16 else { return .malformed }
      position += 8
    }
    var key: UInt32?
    if isMasked {
      guard bytes.count - position >= 4 else { return .incomplete }
      key = bytes.word(UInt32.self, at: position)
    }
    return .header(FrameHeader(opcode, length: length, isFinal: isFinal, isCompressed: isCompressed, key: key))
  }
}

/// What bytes begin with.
public enum FrameOutcome: Equatable, Sendable {
  /// A header, of `size` bytes.
  case header(FrameHeader)
  /// Part of a header, or nothing.
  case incomplete
  case malformed
}

extension Buffer {
  /// Appends a frame's header. Needs `FrameHeader.maxSize` bytes of room.
  public mutating func append(_ header: FrameHeader) {
    append(header.opcode.rawValue | (header.isFinal ? 0x80 : 0) | (header.isCompressed ? 0x40 : 0))
    let maskBit: UInt8 = header.key == nil ? 0 : 0x80
    let length = UInt64(max(0, header.length))
    if length < 126 {
      append(UInt8(truncatingIfNeeded: length) | maskBit)
    } else if length < 1 << 16 {
      append(126 | maskBit)
      append(bigEndian: length, bytes: 2)
    } else {
      append(127 | maskBit)
      append(bigEndian: length, bytes: 8)
    }
    if let key = header.key {
      for shift in [UInt32(0), 8, 16, 24] { append(UInt8(truncatingIfNeeded: key >> shift)) }
    }
  }

  private mutating func append(bigEndian value: UInt64, bytes: Int) {
    for index in (0..<bytes).reversed() { append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
  }

  /// Appends an unmasked frame, as servers send them. Needs `payload.count` and `FrameHeader.maxSize` bytes of room.
  public mutating func append(frame opcode: Opcode, _ payload: Span<UInt8>, isFinal: Bool = true, isCompressed: Bool = false) {
    append(FrameHeader(opcode, length: payload.count, isFinal: isFinal, isCompressed: isCompressed))
    append(payload)
  }

  /// Appends a frame masked with `key`, as clients send them. Needs `payload.count` and `FrameHeader.maxSize` bytes of room.
  public mutating func append(frame opcode: Opcode, _ payload: Span<UInt8>, maskedWith key: UInt32) {
    append(FrameHeader(opcode, length: payload.count, key: key))
    append(payload, maskedWith: key)
  }
}
