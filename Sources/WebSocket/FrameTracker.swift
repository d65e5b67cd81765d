// FrameTracker — where the frames of a stream end that is passed on as it is, so that one can be put between them.
//
// Nothing but headers is looked at. A stream that is not one of frames is given up: it has no boundary from then on.

import Memory

/// Follows the frames of one direction of a tunnel.
public struct FrameTracker: Sendable, BitwiseCopyable {
  /// The part of a header that has come, up to 14 bytes.
  private var header = InlineArray<14, UInt8>(repeating: 0)
  private var headerCount: UInt8 = 0
  private var isLost = false
  /// A Close frame has gone by: nothing may follow it.
  public private(set) var hasClosed = false
  private var isClosing = false
  private var remaining = 0

  public init() {}

  /// Whether the stream stands between two frames.
  public var isAtBoundary: Bool { !isLost && remaining == 0 && headerCount == 0 }

  /// Follows `bytes`, which come next.
  /// - Parameter stopsAtBoundary: not beyond the next boundary.
  /// - Returns: how many of them it has followed: all, unless it was to stop.
  @discardableResult
  public mutating func advance(_ bytes: Span<UInt8>, stopsAtBoundary: Bool = false) -> Int {
    if !stopsAtBoundary, isAtBoundary, Self.isWholeMessage(bytes) { return bytes.count }
    var position = 0
    while position < bytes.count {
      if isLost || stopsAtBoundary && isAtBoundary { break }
      if remaining > 0 {
        let count = min(remaining, bytes.count - position)
        remaining -= count
        position += count
        if remaining == 0, isClosing { hasClosed = true }
        continue
      }
      guard readHeader(bytes, &position) else { break }
    }
    return isLost && !stopsAtBoundary ? bytes.count : position
  }

  /// Whether the bytes are one short message in one frame, as most are.
  @inline(__always)
  private static func isWholeMessage(_ bytes: Span<UInt8>) -> Bool {
    guard bytes.count >= 2, bytes[0] == 0x81 || bytes[0] == 0x82 else { return false }
    let length = Int(bytes[1] & 0x7f)
    return length < 126 && bytes.count == (bytes[1] & 0x80 == 0 ? 2 : 6) + length
  }

  /// False when the header is not whole, or not one.
  private mutating func readHeader(_ bytes: Span<UInt8>, _ position: inout Int) -> Bool {
    if headerCount == 0, case .header(let found) = FrameHeader.parse(bytes, at: position) {
      position += found.size
      begin(found)
      return true
    }
    // In pieces: a byte at a time, until it is whole.
    while position < bytes.count, headerCount < 14 {
      header[Int(headerCount)] = bytes[position]
      headerCount += 1
      position += 1
      switch FrameHeader.parse(header.span.extracting(first: Int(headerCount)), at: 0) {
      case .incomplete: continue
      case .malformed:
        isLost = true
        return false
      case .header(let found):
        headerCount = 0
        begin(found)
        return true
      }
    }
    return false
  }

  private mutating func begin(_ found: FrameHeader) {
    remaining = found.length
    isClosing = found.opcode == .close
    if isClosing, remaining == 0 { hasClosed = true }
  }
}
