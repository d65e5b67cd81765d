// ClientContext — what nghttp2's callbacks find by their user data in the session of a client.
//
// The only code that nghttp2 calls for a client. Invariants: a context lives exactly as long as its session; `workspace` and
// `input` are set, and `outlet` is open, for the duration of one call into nghttp2 and not at any other time; a callback that
// finds them nil does nothing. Nothing that nghttp2 lends is kept beyond the callback.

import CNghttp2
import HTTPModel
import Memory
import Wire

@safe
struct ClientContext: ~Copyable {
  /// The session itself; set right after it has been made.
  var session: OpaquePointer?
  var workspace: UnsafeMutablePointer<ClientWorkspace>?
  var outlet = Outlet()
  var input: UnsafePointer<UInt8>?
  /// The section being filled, as its position in the workspace; -1: there is none.
  var current = -1
  /// The stream of that section, or of one that will be begun with its first field.
  var sectionStream: Int32 = 0
  /// The section being filled between two reads.
  var partial: UnsafeMutablePointer<ResponseSection>?
  let headerListLimit: Int
  /// The stream that was reset last from here.
  var lastReset: Int32 = 0
  /// What still comes is not looked at.
  var isTerminated = false

  init(_ settings: ClientSettings) {
    headerListLimit = settings.maxHeaderListSize
  }

  deinit {
    guard let partial = unsafe partial else { return }
    unsafe partial.deinitialize(count: 1)
    unsafe partial.deallocate()
  }

  mutating func append(_ event: ClientEvent) {
    unsafe workspace?.pointee.append(event)
  }

  func tag(of stream: Int32) -> UInt64 {
    UInt64(UInt(bitPattern: unsafe nghttp2_session_get_stream_user_data(session, stream)))
  }

  // MARK: Frames taken in

  mutating func headersBegan(_ stream: Int32) {
    sectionStream = stream
    current = -1
  }

  /// Returns what nghttp2 wants to know: go on, pause, or reset the stream.
  mutating func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> CInt {
    guard let workspace = unsafe workspace else { return CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    if current < 0 { current = unsafe workspace.pointee.takeSection(sectionStream) }
    if let violation = unsafe workspace.pointee.sections[current].add(name, value, limit: headerListLimit) { return refuse(violation) }
    return unsafe workspace.pointee.used > ClientWorkspace.sectionLimit ? CInt(NGHTTP2_ERR_PAUSE.rawValue) : 0
  }

  /// Resets the stream of the section being filled.
  mutating func refuse(_ violation: ResponseViolation) -> CInt {
    append(.violated(tag: tag(of: sectionStream), violation))
    let code = violation == .tooLarge ? NGHTTP2_CANCEL : NGHTTP2_PROTOCOL_ERROR
    unsafe nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), sectionStream, code.rawValue)
    return CInt(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  }

  mutating func frameCame(_ frame: nghttp2_frame) {
    let header = unsafe frame.hd
    let flag = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch nghttp2_frame_type(UInt32(header.type)) {
    case NGHTTP2_HEADERS: sectionCame(header.stream_id, ends: flag)
    case NGHTTP2_DATA: if flag { end(header.stream_id) }
    case NGHTTP2_RST_STREAM: append(.resetReceived)
    case NGHTTP2_SETTINGS: if !flag { append(.settings) }  // the bit says "acknowledged" here
    case NGHTTP2_PING: if flag { append(.pong) }
    case NGHTTP2_GOAWAY: append(.goAway(lastStream: unsafe frame.goaway.last_stream_id, code: unsafe frame.goaway.error_code))
    default: break
    }
  }

  private mutating func end(_ stream: Int32) {
    let tag = tag(of: stream)
    if tag != 0 { append(.end(tag: tag)) }
  }

  private mutating func sectionCame(_ stream: Int32, ends: Bool) {
    guard let workspace = unsafe workspace else { return }
    let position = current
    current = -1
    let tag = tag(of: stream)
    guard tag != 0 else { return }
    // Without a field, it can only be one of trailers.
    guard position >= 0 else { return append(.end(tag: tag)) }
    unsafe workspace.pointee.sections[position].finish()
    if unsafe workspace.pointee.sections[position].isTrailers {
      append(.trailers(tag: tag, section: position))
    } else {
      append(.head(tag: tag, section: position, endsStream: ends))
    }
  }

  mutating func dataCame(_ stream: Int32, _ bytes: UnsafePointer<UInt8>?, _ count: Int) {
    guard let input = unsafe input, let bytes = unsafe bytes, count > 0 else { return }
    let tag = tag(of: stream)
    guard tag != 0 else {
      unsafe nghttp2_session_consume_connection(session, count)
      return
    }
    append(.data(tag: tag, stream: stream, start: unsafe bytes - input, count: count))
  }

  mutating func frameIsInvalid(_ stream: Int32) {
    let tag = tag(of: stream)
    if tag != 0 { append(.violated(tag: tag, .malformed)) }
  }

  mutating func streamClosed(_ stream: Int32, _ code: UInt32) {
    let tag = tag(of: stream)
    guard tag != 0 else { return }
    // What is reset by the owner has lost its tag before: nghttp2 has found something wrong, such as a body of another length
    // than was announced.
    if stream == lastReset { append(.violated(tag: tag, .malformed)) }
    append(.closed(tag: tag, code: code))
  }

  // MARK: Frames put out

  mutating func frameWent(_ frame: nghttp2_frame) {
    switch nghttp2_frame_type(UInt32(unsafe frame.hd.type)) {
    case NGHTTP2_RST_STREAM:
      lastReset = unsafe frame.hd.stream_id
      append(.resetSent)
    case NGHTTP2_HEADERS, NGHTTP2_DATA:
      guard unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 else { break }
      let tag = tag(of: unsafe frame.hd.stream_id)
      if tag != 0 { append(.requestWent(tag: tag)) }
    case NGHTTP2_GOAWAY:
      let code = unsafe frame.goaway.error_code
      if code != NGHTTP2_NO_ERROR.rawValue { append(.connectionError(code: code)) }
    default: break
    }
  }

  mutating func offer(_ tag: UInt64, _ stream: Int32, _ most: Int, _ flags: inout UInt32) -> Int {
    let offer = outlet.offer(tag, most, &flags)
    if offer.wantsTrailers { append(.wantsTrailers(tag: tag, stream: stream)) }
    return offer.count
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
    let section = UnsafeMutablePointer<ResponseSection>.allocate(capacity: 1)
    unsafe section.initialize(to: workspace.pointee.detach(current))
    unsafe partial = section
    current = -1
  }
}
