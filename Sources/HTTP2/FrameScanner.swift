// FrameScanner — looks at the header of each frame before nghttp2 gets the bytes.
//
// For two reasons. Frames that cost their sender next to nothing are counted, also those that nghttp2 drops without a word.
// And frames on streams that are closed are found: nghttp2 forgets streams at once and then ignores what comes on them, where
// RFC 9113 §5.1 wants an error unless the stream was reset from here.
//
// Invariant: `left` bytes of the current frame's payload (or of the preface) are still to come, after `have` bytes of a header.

import Memory

/// The header of a frame (RFC 9113 §4.1).
struct FrameHeader: BitwiseCopyable {
  var length: Int
  var type: UInt8
  var flags: UInt8
  var stream: Int32
  /// The stream that a PRIORITY frame of the right length makes this one depend on; otherwise 0.
  var dependency: Int32 = 0

  var endsStream: Bool { flags & 1 != 0 }
  var isAcknowledgement: Bool { flags & 1 != 0 }
}

/// The types of frames that are told apart here.
enum FrameType {
  static let data: UInt8 = 0, headers: UInt8 = 1, priority: UInt8 = 2, reset: UInt8 = 3, settings: UInt8 = 4, ping: UInt8 = 6
  static let windowUpdate: UInt8 = 8, continuation: UInt8 = 9, priorityUpdate: UInt8 = 16
}

struct FrameScanner {
  private static let prefaceLength = 24

  private var left = FrameScanner.prefaceLength
  /// Where in the bytes at hand the last frame begins; 0 when it began before them.
  private(set) var start = 0
  /// The bytes of a header that has come in part, as a big-endian number.
  private var low: UInt64 = 0
  private var high: UInt64 = 0
  private var have = 0
  /// A PRIORITY frame of which that many bytes of the dependency are still to come.
  private var priority: FrameHeader?
  private var missing = 0

  /// Other bytes are at hand: what was begun before began before them.
  mutating func begin() { if have > 0 || missing > 0 { start = 0 } }

  /// The next frame header that is complete within `bytes`, from `position` on, which moves behind it. Nil when the bytes
  /// are used up.
  mutating func next(_ bytes: Span<UInt8>, _ position: inout Int) -> FrameHeader? {
    if missing > 0 {
      guard let frame = takeDependency(bytes, &position) else { return nil }
      return frame
    }
    if left > 0 {
      let skipped = min(left, bytes.count - position)
      left -= skipped
      position += skipped
      if left > 0 { return nil }
    }
    if have == 0 { start = position }
    if have == 0, bytes.count - position >= 9 {
      let first = UInt64(bigEndian: bytes.word(UInt64.self, at: position))
      let last = bytes[position + 8]
      position += 9
      if let frame = take(first, last) { return frame }
      return next(bytes, &position)
    }
    while position < bytes.count {
      if have < 8 { low = low << 8 | UInt64(bytes[position]) } else { high = UInt64(bytes[position]) }
      have += 1
      position += 1
      if have == 9 {
        have = 0
        defer { low = 0 }
        if let frame = take(low, UInt8(truncatingIfNeeded: high)) { return frame }
        return takeDependency(bytes, &position)
      }
    }
    return nil
  }

  /// The rest of what is looked at of a PRIORITY frame.
  private mutating func takeDependency(_ bytes: Span<UInt8>, _ position: inout Int) -> FrameHeader? {
    guard var frame = priority else { return nil }
    while missing > 0, position < bytes.count {
      frame.dependency = frame.dependency << 8 | Int32(bytes[position])
      position += 1
      missing -= 1
      left -= 1
    }
    priority = frame
    guard missing == 0 else { return nil }
    frame.dependency &= 0x7fff_ffff
    priority = nil
    return frame
  }

  /// The header, unless more is to be looked at.
  private mutating func take(_ first: UInt64, _ last: UInt8) -> FrameHeader? {
    left = Int(first >> 40)
    // The highest bit of the stream is reserved.
    let stream = UInt32(truncatingIfNeeded: first << 8 | UInt64(last)) & 0x7fff_ffff
    let frame = FrameHeader(
      length: left, type: UInt8(truncatingIfNeeded: first >> 32), flags: UInt8(truncatingIfNeeded: first >> 24), stream: Int32(bitPattern: stream))
    guard frame.type == FrameType.priority, left == 5 else { return frame }
    priority = frame
    missing = 4
    return nil
  }
}

/// The streams that were closed last, and by whom: one place for each of 32 neighbours, taken by whoever comes later.
struct ClosedStreams {
  enum Standing { case closed, resetFromHere, neverOpened, forgotten }

  /// Negative: reset from here.
  private var ids = InlineArray<32, Int32>(repeating: 0)

  private static func place(_ stream: Int32) -> Int { Int(stream >> 1 & 31) }

  mutating func note(_ stream: Int32, resetFromHere: Bool) {
    let place = Self.place(stream)
    // A stream that was refused is noted when it comes and when its reset goes.
    guard abs(ids[place]) < stream else { return }
    ids[place] = resetFromHere ? -stream : stream
  }

  /// What is known of a stream below the last one that the client has opened, and not open now.
  func standing(of stream: Int32) -> Standing {
    let id = ids[Self.place(stream)]
    if id == stream { return .closed }
    if id == -stream { return .resetFromHere }
    // Somebody later has taken its place, or it was passed over.
    return abs(id) > stream ? .forgotten : .neverOpened
  }
}
