// MessageReader — a client's side of a WebSocket: bytes in, messages out, piece by piece (RFC 6455 §5, RFC 7692).
//
// Invariants: nothing is kept but where the reader stands (and, of a compressed message, zlib's state): payload goes to a
// buffer of the caller as it comes, and when that is full the caller empties it, so that a message of any length, and one that
// inflates a thousandfold, takes no more memory than the buffer. A fault is found at the first byte that shows it. After
// `failed` and `close` the reader is not to be used again.

import Memory

/// What a message holds (RFC 6455 §5.6).
public enum MessageKind: UInt8, Sendable, BitwiseCopyable { case text = 1, binary = 2 }

/// What has come.
public enum MessageEvent: Equatable, Sendable {
  /// More bytes are needed; those from the position on are to be given again, in front of them.
  case needsMore
  /// The payload buffer is full, and there is more.
  case full
  /// A message is complete; the payload buffer holds the rest of it.
  case message(MessageKind)
  /// A control frame is complete; the scratch buffer holds its payload.
  case ping, pong, close
  /// The connection is to be failed, and the peer told this code.
  case failed(CloseCode)
}

/// Reads frames of a client.
public struct MessageReader: ~Copyable {
  private enum Stage: BitwiseCopyable { case header, data, control, endOfMessage }

  /// Bytes of a message at most; 0 means any number.
  private let limit: Int
  private let terms: CompressionTerms?
  private var stage = Stage.header
  private var opcode = Opcode.close
  private var isFinal = false
  private var key: UInt32 = 0
  /// Bytes of the frame's payload that have not come.
  private var remaining = 0
  /// Of the message at hand; nil between messages.
  public private(set) var kind: MessageKind?
  private var isCompressed = false
  /// Bytes of its frames so far, announced ones included, and bytes they came to.
  private var announced = 0
  private var size = 0
  private var check = UTF8Check()
  private var inflater: Inflater?
  /// The inflater had more than there was room for.
  private var hasMoreOutput = false

  /// - Parameter compression: as agreed; nil: not at all.
  public init(limit: Int, compression: CompressionTerms?) {
    self.limit = max(0, limit)
    terms = compression
  }

  /// Whether it stands between two messages and two frames.
  public var isBetweenMessages: Bool { kind == nil && stage == .header }

  /// Takes bytes from `position` on, which it moves, until something has come.
  /// - Parameters:
  ///   - payload: to which the message's bytes are appended. The caller empties it after `full` and `message`.
  ///   - scratch: whose contents are replaced; at least 125 bytes large.
  public mutating func next(_ bytes: Span<UInt8>, at position: inout Int, into payload: inout Buffer, scratch: inout Buffer) -> MessageEvent {
    while true {
      switch stage {
      case .header:
        switch FrameHeader.parse(bytes, at: position) {
        case .incomplete: return isAcceptable(bytes, position) ? .needsMore : .failed(.protocolError)
        case .malformed: return .failed(.protocolError)
        case .header(let header):
          guard isAcceptable(bytes, position) else { return .failed(.protocolError) }
          if let code = begin(header) { return .failed(code) }
          position += header.size
        }
      case .control:
        // It is short, so that nothing need be kept of it here.
        guard bytes.count - position >= remaining else { return .needsMore }
        scratch.removeAll()
        take(remaining, bytes, &position, into: &scratch)
        stage = .header
        return opcode == .ping ? .ping : opcode == .pong ? .pong : .close
      case .data:
        if let event = isCompressed ? inflateData(bytes, &position, &payload, &scratch) : copyData(bytes, &position, &payload) { return event }
        stage = isFinal ? .endOfMessage : .header
      case .endOfMessage:
        if let event = endMessage(&payload) { return event }
      }
    }
  }

  /// Whether a frame of a client that begins so may come here, as far as its first two bytes are there.
  private func isAcceptable(_ bytes: Span<UInt8>, _ position: Int) -> Bool {
    guard position < bytes.count else { return true }
    let opcode = bytes[position] & 0x0f, isCompressed = bytes[position] & 0x40 != 0
    if opcode == Opcode.continuation.rawValue {
      guard kind != nil, !isCompressed else { return false }
    } else if opcode < Opcode.close.rawValue {
      guard kind == nil, !isCompressed || terms != nil else { return false }
    }
    // RFC 6455 §5.1: a client masks every frame.
    return position + 1 >= bytes.count || bytes[position + 1] & 0x80 != 0
  }

  /// Acts on a frame's header, which is acceptable; a code when it announces too much.
  private mutating func begin(_ header: FrameHeader) -> CloseCode? {
    guard let mask = header.key else { return .protocolError }
    key = mask
    remaining = header.length
    opcode = header.opcode
    guard !header.opcode.isControl else {
      stage = .control
      return nil
    }
    if header.opcode != .continuation {
      kind = header.opcode == .text ? .text : .binary
      isCompressed = header.isCompressed
      announced = 0
      size = 0
      check = UTF8Check()
    }
    isFinal = header.isFinal
    stage = .data
    let (sum, overflow) = announced.addingReportingOverflow(header.length)
    guard !overflow, limit == 0 || sum <= announcedLimit else { return .tooBig }
    announced = sum
    return nil
  }

  /// What a message's frames may come to. What cannot be compressed grows a little by the attempt.
  private var announcedLimit: Int { isCompressed ? limit.addingReportingOverflow(limit / 64 + 256).partialValue : limit }

  private mutating func take(_ count: Int, _ bytes: Span<UInt8>, _ position: inout Int, into buffer: inout Buffer) {
    buffer.append(bytes.extracting(position..<position + count), maskedWith: key)
    key = key.maskingKey(after: count)
    position += count
    remaining -= count
  }

  @inline(__always)
  private mutating func copyData(_ bytes: Span<UInt8>, _ position: inout Int, _ payload: inout Buffer) -> MessageEvent? {
    guard remaining > 0 else { return nil }
    let count = min(remaining, bytes.count - position, payload.freeCapacity)
    let before = payload.count
    take(count, bytes, &position, into: &payload)
    size += count
    if kind == .text, !check.accept(payload.bytes.extracting(droppingFirst: before)) { return .failed(.invalidData) }
    guard remaining > 0 else { return nil }
    return position < bytes.count ? .full : .needsMore
  }

  // MARK: Compressed messages

  /// Unmasks a little at a time, and inflates it. What the inflater has not taken is unmasked again, so nothing need be kept.
  private mutating func inflateData(_ bytes: Span<UInt8>, _ position: inout Int, _ payload: inout Buffer, _ clear: inout Buffer) -> MessageEvent? {
    if inflater == nil {
      guard let fresh = Inflater(windowBits: terms?.clientWindowBits ?? 15) else { return .failed(.internalError) }
      inflater = consume fresh
    }
    while remaining > 0 || hasMoreOutput {
      let count = min(remaining, bytes.count - position, clear.capacity)
      guard count > 0 || hasMoreOutput else { return .needsMore }
      clear.removeAll()
      clear.append(bytes.extracting(position..<position + count), maskedWith: key)
      var used = 0
      let before = payload.count
      guard let outcome = inflater?.inflate(clear.bytes, at: &used, into: &payload) else { return .failed(.internalError) }
      position += used
      remaining -= used
      key = key.maskingKey(after: used)
      let wasWaiting = hasMoreOutput
      hasMoreOutput = outcome == .needsOutput
      if let event = judge(outcome, payload, from: before) { return event }
      guard used > 0 || wasWaiting else { return .failed(.invalidData) }
    }
    return nil
  }

  /// What inflating comes to, with the bytes it gave, from `start` on; nil: go on.
  private mutating func judge(_ outcome: InflateOutcome, _ payload: borrowing Buffer, from start: Int) -> MessageEvent? {
    // What comes first is found first, whatever the pieces.
    size += payload.count - start
    let excess = limit == 0 ? 0 : max(0, size - limit)
    if kind == .text, !check.accept(payload.bytes.extracting(start..<payload.count - excess)) { return .failed(.invalidData) }
    if excess > 0 { return .failed(.tooBig) }
    return outcome == .corrupt ? .failed(.invalidData) : outcome == .needsOutput ? .full : nil
  }

  // MARK: The end of a message

  private mutating func endMessage(_ payload: inout Buffer) -> MessageEvent? {
    guard let kind else { return .failed(.internalError) }
    if isCompressed {
      let before = payload.count
      guard let outcome = inflater?.endMessage(into: &payload) else { return .failed(.internalError) }
      if let event = judge(outcome, payload, from: before) { return event }
      // Without a context to keep, nothing is kept.
      if terms?.clientForgets ?? true { inflater = nil }
    }
    if kind == .text, !check.isComplete { return .failed(.invalidData) }
    self.kind = nil
    stage = .header
    return .message(kind)
  }
}
