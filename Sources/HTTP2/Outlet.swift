// Outlet — where a session's frames go while it produces them, and where the bytes of its DATA come from.
//
// Invariant: `output` and `supply` are set for the duration of one `produce` and nil at all other times; a callback that finds
// them nil sends nothing.

import CNghttp2
import Memory

/// What is there to be sent of a body.
public struct BodyState: BitwiseCopyable {
  /// Bytes that can be sent now.
  public var count: Int
  /// Nothing will come after these.
  public var isComplete: Bool
  /// Trailers follow.
  public var hasTrailers: Bool

  public init(count: Int, isComplete: Bool, hasTrailers: Bool) {
    self.count = count
    self.isComplete = isComplete
    self.hasTrailers = hasTrailers
  }
}

/// Says what there is of the body of the stream with this tag, after moving `take` bytes of it, which are there, to the output.
public typealias BodySource = (_ tag: UInt64, _ take: Int, _ output: inout Buffer) -> BodyState

/// What `produce` left undone.
public enum ProduceOutcome: Equatable, Sendable {
  /// Nothing is left to be sent now.
  case idle
  /// The output is full.
  case full
  case failed
}

/// What goes into the next DATA frame.
struct DataOffer: BitwiseCopyable {
  /// Bytes, or one of nghttp2's codes.
  var count: Int
  /// All of the body is in it and in those before.
  var isLast = false
  /// The trailers are to be handed in now.
  var wantsTrailers = false
}

@safe
struct Outlet: ~Copyable {
  private var output: UnsafeMutablePointer<Buffer>?
  private var supply: BodySource?
  /// Where `output` counts as full.
  private var limit = 0
  /// DATA had to wait because `output` is full.
  private(set) var isFull = false

  mutating func open(_ output: UnsafeMutablePointer<Buffer>, limit: Int, _ supply: @escaping BodySource) {
    unsafe self.output = output
    self.supply = supply
    self.limit = limit
    isFull = false
  }

  mutating func close() {
    supply = nil
    unsafe output = nil
  }

  /// How much of a body goes into the next DATA frame, which may hold `most` bytes.
  mutating func offer(_ tag: UInt64, _ most: Int, _ flags: inout UInt32) -> DataOffer {
    guard let output = unsafe output, let supply else { return DataOffer(count: Int(NGHTTP2_ERR_DEFERRED.rawValue)) }
    let room = unsafe min(limit, output.pointee.capacity) - output.pointee.count - 9
    let state = supply(tag, 0, &(unsafe output.pointee))
    if state.count > 0, room <= 0 {
      isFull = true
      return DataOffer(count: Int(NGHTTP2_ERR_PAUSE.rawValue))
    }
    let count = min(most, state.count, max(0, room))
    guard count > 0 || state.isComplete else { return DataOffer(count: Int(NGHTTP2_ERR_DEFERRED.rawValue)) }
    if count > 0 { flags |= UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue) }
    guard count == state.count, state.isComplete else { return DataOffer(count: count) }
    flags |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
    if state.hasTrailers { flags |= UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue) }
    return DataOffer(count: count, isLast: true, wantsTrailers: state.hasTrailers)
  }

  /// Writes a DATA frame: the nine bytes at `header`, and `count` of the body.
  func write(_ tag: UInt64, _ header: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard let output = unsafe output, let supply, unsafe output.pointee.freeCapacity >= count + 9 else { return CInt(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    unsafe output.pointee.append(Span(_unsafeStart: header, count: 9))
    let before = unsafe output.pointee.count
    _ = supply(tag, count, &(unsafe output.pointee))
    let written = unsafe output.pointee.count - before
    return written == count ? 0 : CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
  }

  /// What one frame may take beyond the limit.
  static var slack: Int { 32 << 10 }

  /// Appends what nghttp2 has to send to `output` until that holds `limit` bytes; nil: there is no more.
  static func drain(_ session: OpaquePointer, _ output: UnsafeMutablePointer<Buffer>, limit: Int) -> ProduceOutcome? {
    while true {
      guard unsafe output.pointee.count < limit, unsafe output.pointee.freeCapacity >= slack else { return .full }
      var bytes: UnsafePointer<UInt8>?
      let count = unsafe nghttp2_session_mem_send(session, &bytes)
      guard count > 0, let bytes = unsafe bytes else { return count < 0 ? .failed : nil }
      guard unsafe output.pointee.freeCapacity >= count else { return .failed }
      unsafe output.pointee.append(Span(_unsafeStart: bytes, count: count))
    }
  }
}
