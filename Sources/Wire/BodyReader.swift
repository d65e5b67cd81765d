// BodyReader — takes a message body out of a stream, whatever its framing.

import HTTPModel
import Memory

/// Reads one body.
public struct BodyReader: Sendable, BitwiseCopyable {
  public private(set) var framing: BodyFraming
  private var remaining = 0
  private var chunks = ChunkDecoder()
  /// Whether the body has been read to its end.
  public private(set) var isComplete: Bool

  public init(_ framing: BodyFraming) {
    self.framing = framing
    switch framing {
    case .none, .length(0): isComplete = true
    case .length(let length):
      remaining = length
      isComplete = false
    case .chunked, .untilClose: isComplete = false
    }
  }

  /// Bytes still to come of a body of known length.
  public var remainingLength: Int { remaining }

  /// Bytes that are certain to come: of a body of known length all, of a chunked one those of the chunk at hand.
  public var announced: Int { framing == .chunked ? chunks.announced : remaining }

  /// Goes on at `position` of `bytes`. Once `end` has been returned, `position` is the start of what follows the body.
  public mutating func next(_ bytes: Span<UInt8>, at position: inout Int) -> ChunkStep {
    if isComplete { return .end(next: position) }
    switch framing {
    case .none: return .end(next: position)
    case .length:
      guard position < bytes.count else { return .needsMore }
      let count = min(remaining, bytes.count - position)
      let range = position..<position + count
      remaining -= count
      position += count
      if remaining == 0 { isComplete = true }
      return .data(range)
    case .untilClose:
      guard position < bytes.count else { return .needsMore }
      let range = position..<bytes.count
      position = bytes.count
      return .data(range)
    case .chunked:
      let step = chunks.next(bytes, at: &position)
      if case .end = step { isComplete = true }
      return step
    }
  }

  /// `count` bytes of a body of known length have gone another way.
  public mutating func skip(_ count: Int) {
    guard case .length = framing else { return }
    remaining -= min(max(0, count), remaining)
    if remaining == 0 { isComplete = true }
  }

  /// The stream has ended: true when that is where the body may end.
  public mutating func streamEnded() -> Bool {
    if framing == .untilClose { isComplete = true }
    return isComplete
  }
}
