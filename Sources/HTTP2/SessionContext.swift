// SessionContext — what nghttp2's callbacks find by their user data.
//
// The only code that nghttp2 calls for a server. Invariants: a context lives exactly as long as its session; `workspace` and
// `input` are set, and `outlet` is open, for the duration of one call into nghttp2 and not at any other time; a callback that
// finds them nil does nothing. Nothing that nghttp2 lends is kept beyond the callback.

import CNghttp2
import HTTPModel
import Memory
import Wire

@safe
struct SessionContext: ~Copyable {
  /// The session itself; set right after it has been made.
  var session: OpaquePointer?
  var workspace: UnsafeMutablePointer<Workspace>?
  var outlet = Outlet()
  var input: UnsafePointer<UInt8>?
  /// The section being filled, as its position in the workspace; -1: there is none.
  var current = -1
  /// The stream of that section, or of one that will be begun with its first field.
  var sectionStream: Int32 = 0
  var sectionIsTrailers = false
  /// The section being filled between two reads.
  var partial: UnsafeMutablePointer<FieldSection>?
  var flood: FloodGuard
  var scanner = FrameScanner()
  /// Bytes at the front of the next input that have been scanned already.
  var ahead = 0
  /// The highest stream that the client has opened, or tried to.
  var lastStream: Int32 = 0
  var closed = ClosedStreams()
  /// The stream that was reset last from here.
  var lastReset: Int32 = 0
  /// Streams that have been pushed, less those that the client has reset.
  var promises = 0
  /// New streams are ignored, so that frames on streams that are not there mean nothing.
  var isEnding = false
  /// What still comes is not looked at.
  var isTerminated = false
  /// Streams without a tag that have been closed by what was taken in last.
  var closedUnseen = 0
  /// Milliseconds of the monotonic clock when the client was heard last, and from when on the name of a field whose values are
  /// not to be kept is put into the table once more.
  var now: Int64 = 0
  private var namesAt: Int64 = 0
  let headerListLimit: Int
  private let knowsProtocol: Bool
  /// Body bytes passed on of which the connection's window has not been told, and how many are worth a frame.
  var owed = 0
  let owedLimit: Int

  init(_ settings: SessionSettings) {
    owedLimit = max(1, settings.connectionWindow / 4)
    flood = FloodGuard(settings.floods)
    headerListLimit = settings.maxHeaderListSize
    knowsProtocol = settings.connectProtocol
  }

  deinit {
    guard let partial = unsafe partial else { return }
    unsafe partial.deinitialize(count: 1)
    unsafe partial.deallocate()
  }

  // MARK: Events

  private func tag(of stream: Int32) -> UInt64 { unsafe UInt64(UInt(bitPattern: nghttp2_session_get_stream_user_data(session, stream))) }

  mutating func append(_ event: SessionEvent) {
    unsafe workspace?.pointee.append(event)
  }

  /// Ends the session: GOAWAY with an error code, and nothing after it.
  mutating func terminate(_ code: nghttp2_error_code) {
    isEnding = true
    isTerminated = true
    unsafe nghttp2_session_terminate_session(session, code.rawValue)
  }

  // MARK: Frames taken in

  /// Counts a frame that may be part of a flood; false when it is.
  mutating func count(_ frame: FrameHeader) -> Bool {
    switch frame.type {
    case FrameType.data: return frame.length > 0 || frame.endsStream || flood.count(.emptyFrames)
    case FrameType.headers:
      flood.headerSectionBegan()
      return frame.length > 0 || frame.endsStream || flood.count(.emptyFrames)
    case FrameType.continuation: return (frame.length > 0 || flood.count(.emptyFrames)) && flood.count(.continuations)
    case FrameType.reset:
      // What it never asked for it may refuse.
      if frame.stream & 1 == 0, promises > 0 {
        promises -= 1
        return true
      }
      return flood.count(.resets)
    case FrameType.settings: return frame.isAcknowledgement || flood.count(.settings)
    case FrameType.ping: return frame.isAcknowledgement || flood.count(.pings)
    case FrameType.windowUpdate: return flood.count(.windowUpdates)
    case FrameType.priority, FrameType.priorityUpdate: return flood.count(.priorities)
    default: return true
    }
  }

  /// Ends a session that was flooded with `kind`.
  mutating func endFlood(_ kind: Flood) {
    append(.flooded(kind))
    terminate(NGHTTP2_ENHANCE_YOUR_CALM)
  }

  /// Whether a frame belongs to a stream that is neither open nor about to be opened by it.
  /// - Parameter mayHaveClosed: frames that may have closed the stream have come, but nghttp2 has not seen them yet.
  mutating func isStray(_ frame: FrameHeader, mayHaveClosed: Bool = false) -> Bool {
    guard frame.type == FrameType.headers || frame.type == FrameType.data, frame.stream > 0, !isEnding else { return false }
    if frame.stream > lastStream {
      if frame.type == FrameType.headers { lastStream = frame.stream }
      return false
    }
    // A stream with an even number never was the client's, which nghttp2 sees by itself.
    guard frame.stream & 1 == 1 else { return false }
    if mayHaveClosed { return true }
    return unsafe nghttp2_session_get_stream_local_close(session, frame.stream) < 0
  }

  /// The error that a frame on a stream that is not open amounts to; nil when it is to be ignored.
  func strayError(_ frame: FrameHeader) -> nghttp2_error_code? {
    switch closed.standing(of: frame.stream) {
    case .closed: NGHTTP2_STREAM_CLOSED
    case .neverOpened: frame.type == FrameType.headers ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_STREAM_CLOSED
    case .resetFromHere, .forgotten: nil
    }
  }

  mutating func streamClosed(_ stream: Int32, _ code: UInt32, _ tag: UInt64) {
    closed.note(stream, resetFromHere: stream == lastReset)
    if tag != 0 { append(.closed(tag: tag, code: code)) } else { closedUnseen &+= 1 }
  }

  mutating func frameIsInvalid(_ stream: Int32, _ code: nghttp2_error_code) {
    guard stream != 0 else { return }
    append(.streamError(stream: stream, code: code.rawValue))
    // A stream that is refused is never opened.
    if code == NGHTTP2_REFUSED_STREAM { closed.note(stream, resetFromHere: true) }
  }

  mutating func headersBegan(_ frame: nghttp2_frame) {
    let category = unsafe frame.headers.cat
    sectionStream = unsafe frame.hd.stream_id
    sectionIsTrailers = category == NGHTTP2_HCAT_HEADERS
    current = -1
  }

  /// Returns what nghttp2 wants to know: go on, pause, or reset the stream.
  mutating func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> CInt {
    guard let workspace = unsafe workspace else { return CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    if current < 0 { current = unsafe workspace.pointee.takeSection(sectionStream, isTrailers: sectionIsTrailers, knowsProtocol: knowsProtocol) }
    switch unsafe workspace.pointee.sections[current].add(name, value, limit: headerListLimit) {
    case .taken: return unsafe workspace.pointee.used > Workspace.sectionLimit ? CInt(NGHTTP2_ERR_PAUSE.rawValue) : 0
    case .tooLong: return reset(sectionStream, NGHTTP2_ENHANCE_YOUR_CALM)
    case .malformed: return reset(sectionStream, NGHTTP2_PROTOCOL_ERROR)
    }
  }

  /// Resets a stream for the client's mistake. Counted like the client's own resets: either way work was begun in vain.
  mutating func reset(_ stream: Int32, _ code: nghttp2_error_code) -> CInt {
    append(.streamError(stream: stream, code: code.rawValue))
    unsafe nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    return CInt(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }

  mutating func frameCame(_ frame: nghttp2_frame) {
    let header = unsafe frame.hd
    let ends = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch nghttp2_frame_type(UInt32(header.type)) {
    case NGHTTP2_HEADERS: sectionCame(header.stream_id, ends)
    case NGHTTP2_DATA: if ends { append(.end(stream: header.stream_id, tag: tag(of: header.stream_id))) }
    case NGHTTP2_RST_STREAM: append(.resetReceived)
    default: break
    }
  }

  private mutating func sectionCame(_ stream: Int32, _ ends: Bool) {
    guard let workspace = unsafe workspace else { return }
    let position = current
    current = -1
    guard position >= 0 else {
      // Without a field: a request is malformed, and trailers are nothing.
      if sectionIsTrailers, ends { append(.end(stream: stream, tag: tag(of: stream))) } else { _ = reset(stream, NGHTTP2_PROTOCOL_ERROR) }
      return
    }
    guard unsafe workspace.pointee.sections[position].finish(endsStream: ends) else { return _ = reset(stream, NGHTTP2_PROTOCOL_ERROR) }
    if sectionIsTrailers {
      append(.trailers(stream: stream, tag: tag(of: stream), section: position))
    } else {
      if let priority = unsafe workspace.pointee.sections[position].priority { apply(priority, to: stream) }
      append(.request(stream: stream, section: position, endsStream: ends))
    }
  }

  @inline(never)
  private func apply(_ priority: StreamPriority, to stream: Int32) {
    var priority = nghttp2_extpri(urgency: UInt32(priority.urgency), inc: priority.isIncremental ? 1 : 0)
    // What a PRIORITY_UPDATE frame says later counts still.
    unsafe nghttp2_session_change_extpri_stream_priority(session, stream, &priority, 0)
  }

  mutating func dataCame(_ stream: Int32, _ bytes: UnsafePointer<UInt8>?, _ count: Int) {
    guard let input = unsafe input, let bytes = unsafe bytes, count > 0 else { return }
    append(.data(stream: stream, tag: tag(of: stream), start: unsafe bytes - input, count: count))
  }

  // MARK: Frames put out

  mutating func frameWent(_ frame: nghttp2_frame) {
    switch nghttp2_frame_type(UInt32(unsafe frame.hd.type)) {
    case NGHTTP2_RST_STREAM:
      let code = unsafe frame.rst_stream.error_code
      lastReset = unsafe frame.hd.stream_id
      append(.resetSent)
      switch nghttp2_error_code(code) {
      case NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR: break  // ours, not for a mistake of the client
      default:
        // As good as a reset by the client: work was begun in vain.
        if !flood.count(.resets) { endFlood(.resets) }
      }
    case NGHTTP2_HEADERS, NGHTTP2_DATA:
      guard unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 else { break }
      let stream = unsafe frame.hd.stream_id
      if unsafe nghttp2_session_get_stream_remote_close(session, stream) == 0 { append(.answered(stream: stream)) }
    case NGHTTP2_GOAWAY:
      let code = unsafe frame.goaway.error_code
      if code != NGHTTP2_NO_ERROR.rawValue, flood.flood == nil { append(.connectionError(code: code)) }
    default: break
    }
  }

  /// A frame that was to be sent is dropped.
  mutating func frameWasDropped(_ frame: nghttp2_frame) {
    guard nghttp2_frame_type(UInt32(unsafe frame.hd.type)) == NGHTTP2_PUSH_PROMISE else { return }
    append(.promiseFailed(stream: unsafe frame.push_promise.promised_stream_id))
  }

  /// How much of a body goes into the next DATA frame, which may hold `most` bytes.
  mutating func offer(_ tag: UInt64, _ stream: Int32, _ most: Int, _ flags: inout UInt32) -> Int {
    let offer = outlet.offer(tag, most, &flags)
    if offer.wantsTrailers { append(.wantsTrailers(tag: tag, stream: stream)) }
    if offer.count >= 0 { flood.dataWasSent(offer.count, isLast: offer.isLast) }
    return offer.count
  }

  /// The next bytes of a prepared answer, of whose body `source` says how far it has gone.
  mutating func copy(_ stream: Int32, _ source: UnsafeMutablePointer<nghttp2_data_source>, to target: UnsafeMutablePointer<UInt8>, _ most: Int, _ flags: inout UInt32) -> Int {
    guard let workspace = unsafe workspace else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
    let place = unsafe UInt64(UInt(bitPattern: source.pointee.ptr))
    guard let piece = unsafe workspace.pointee.answers.copy(place, to: target, most) else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    flood.dataWasSent(piece.count, isLast: piece.isLast)
    let tag = tag(of: stream)
    if piece.isLast {
      flags |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
      if tag == 0 { unsafe workspace.pointee.openAnswers -= 1 }
    } else {
      unsafe source.pointee.ptr = UnsafeMutableRawPointer(bitPattern: UInt(place + UInt64(piece.count)))
      if tag != 0 { append(.progress(tag: tag)) }
    }
    return piece.count
  }

  /// Whether the name of a field whose values are not kept is to be put into the table with the next one: once in a while, so that
  /// the others can refer to it.
  mutating func renewsNames() -> Bool {
    guard now >= namesAt else { return false }
    namesAt = now &+ 1_000
    return true
  }

  // MARK: Sections across reads

  /// Moves the unfinished section into the workspace.
  mutating func resume() {
    guard let section = unsafe partial, let workspace = unsafe workspace else { return }
    current = unsafe workspace.pointee.attach(section.move())
    unsafe section.deallocate()
    unsafe partial = nil
  }

  /// Moves the unfinished section out of the workspace, which others will use.
  mutating func suspend() {
    guard current >= 0, let workspace = unsafe workspace else { return }
    let section = UnsafeMutablePointer<FieldSection>.allocate(capacity: 1)
    unsafe section.initialize(to: workspace.pointee.detach(current))
    unsafe partial = section
    current = -1
  }
}
