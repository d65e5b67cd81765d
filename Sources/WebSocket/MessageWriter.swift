// MessageWriter — a server's side of a WebSocket: messages in, piece by piece, frames out.
//
// Invariant: whatever has been taken of a message is in frames already; nothing of it is kept but zlib's state.

import Memory

/// Writes messages as unmasked frames.
public struct MessageWriter: ~Copyable {
  /// Messages that are complete and shorter than this are not compressed: it would hardly pay.
  public static var compressionThreshold: Int { 48 }

  private let terms: CompressionTerms?
  private let level: Int
  private var isOpen = false
  /// A frame of the message has been written: the next is a continuation.
  private var hasBegun = false
  private var isCompressed = false
  private var deflater: Deflater?

  /// - Parameters:
  ///   - compression: as agreed; nil: not at all.
  ///   - level: 1 (fast) to 9 (small).
  public init(compression: CompressionTerms?, level: Int = 1) {
    terms = compression
    self.level = level
  }

  /// Whether a message has been begun and not ended. Control frames may come in between.
  public var isWithinMessage: Bool { isOpen }

  /// Room in the output that a piece of `count` bytes may need.
  public func room(for count: Int) -> Int {
    // Deflate may make it longer by 5 bytes in 127 at worst; and what it holds back of earlier pieces, up to 16 Ki symbols,
    // may come out with it. Then there are headers, one for each filling of the scratch buffer.
    terms == nil ? count + FrameHeader.maxSize : count + count / 8 + (40 << 10)
  }

  /// Appends the next piece of a message to `output`.
  /// - Parameters:
  ///   - kind: the same for all pieces of a message.
  ///   - output: with room for `room(for: piece.count)` bytes.
  ///   - scratch: whose contents are replaced; at least 256 bytes large.
  public mutating func append(_ kind: MessageKind, _ piece: Span<UInt8>, isLast: Bool, to output: inout Buffer, scratch: inout Buffer) {
    if !isOpen { isCompressed = terms != nil && !(isLast && piece.count < Self.compressionThreshold) }
    if isCompressed {
      deflate(kind, piece, isLast, &output, &scratch)
    } else if isLast || !piece.isEmpty {
      frame(kind, piece, isLast, &output)
    }
    isOpen = !isLast
    if isLast { hasBegun = false }
  }

  private mutating func frame(_ kind: MessageKind, _ payload: Span<UInt8>, _ isLast: Bool, _ output: inout Buffer) {
    let opcode: Opcode = hasBegun ? .continuation : kind == .text ? .text : .binary
    output.append(frame: opcode, payload, isFinal: isLast, isCompressed: isCompressed && !hasBegun)
    hasBegun = true
  }

  private mutating func deflate(_ kind: MessageKind, _ piece: Span<UInt8>, _ isLast: Bool, _ output: inout Buffer, _ scratch: inout Buffer) {
    if deflater == nil {
      guard let fresh = Deflater(windowBits: terms?.serverWindowBits ?? 15, level: level) else {
        // No memory: the message goes as it is, if none of it has gone.
        if !hasBegun { isCompressed = false }
        return frame(kind, piece, isLast, &output)
      }
      deflater = consume fresh
    }
    scratch.removeAll()
    var position = 0
    while let isDone = deflater?.deflate(piece, at: &position, isLast: isLast, into: &scratch), !isDone {
      // Its last four bytes may be the end mark, or a part of it.
      let ready = scratch.count - 4
      frame(kind, scratch.bytes.extracting(first: ready), false, &output)
      scratch.consume(ready)
      scratch.compact()
    }
    guard isLast else {
      if !scratch.isEmpty { frame(kind, scratch.bytes, false, &output) }
      return
    }
    scratch.truncate(to: max(0, scratch.count - 4))
    // A message of nothing is a block of nothing (RFC 7692 §7.2.3.6).
    if scratch.isEmpty { scratch.append(0) }
    frame(kind, scratch.bytes, true, &output)
    if terms?.serverForgets ?? true { deflater?.reset() }
  }

  /// Whether there is a window, and none of a message in it is still to be written.
  public var mayReleaseContext: Bool { deflater != nil && !isOpen }

  /// Gives up the window, and its memory. A sender may always do so between messages: it only has to begin anew.
  public mutating func releaseContext() {
    if !isOpen { deflater = nil }
  }
}
