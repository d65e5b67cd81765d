// ServerSession — the server's side of one HTTP/2 connection (RFC 9113), without I/O: bytes in, events and bytes out.
//
// nghttp2 does framing, header compression, flow control, the state of streams and the order of DATA (RFC 9218); whoever owns
// the session decides what a request means. The owner tags each stream it takes on with a number of its own (not 0).
// Invariants: the context and the nghttp2 session lie in one arena and end together; the pointers in the context are set only
// while a method here runs; neither is touched while the session sleeps.

import CNghttp2
import Glibc
import HTTPModel
import Memory
import Wire

/// What became of bytes handed to a session.
public enum ReceiveOutcome: Equatable, Sendable {
  /// So many were taken in. Fewer than there were: deal with the events first, then hand in the rest.
  case consumed(Int)
  /// The client does not speak HTTP/2, or cannot be served on; what `produce` still gives is to be sent before the end.
  case failed
}

/// One connection's session.
@safe
public struct ServerSession: ~Copyable {
  private let session: OpaquePointer
  private let context: UnsafeMutablePointer<SessionContext>
  /// Where both of them lie.
  private let arena: UnsafeMutablePointer<Arena>
  private let pool: ArenaPool.Reference
  /// What is left of the arena while the session sleeps.
  private var image: UnsafeMutablePointer<UInt>?

  /// Makes a session and lets it say its SETTINGS. Nil when there is no memory.
  public init?(_ profile: borrowing SessionProfile) {
    let pool = unsafe profile.pool
    guard let arena = unsafe pool.pointee.take() else { return nil }
    guard let room = unsafe Arena.room(arena, MemoryLayout<SessionContext>.size) else {
      unsafe ArenaPool.put(pool, arena, isAsleep: false)
      return nil
    }
    let context = unsafe room.bindMemory(to: SessionContext.self, capacity: 1)
    unsafe context.initialize(to: SessionContext(profile.settings))
    var session: OpaquePointer?
    var functions = unsafe Arena.functions(arena)
    guard unsafe nghttp2_session_server_new3(&session, profile.callbacks, context, profile.option, &functions) == 0, let session = unsafe session else {
      unsafe context.deinitialize(count: 1)
      unsafe ArenaPool.put(pool, arena, isAsleep: false)
      return nil
    }
    unsafe context.pointee.session = session
    unsafe self.session = session
    unsafe self.context = context
    unsafe self.arena = arena
    unsafe self.pool = pool
    unsafe image = nil
    unsafe arena.pointee.framePlaceIsFree = false
    submit(profile.settings)
  }

  deinit {
    if let image = unsafe image {
      unsafe free(image)
      return unsafe ArenaPool.put(pool, arena, isAsleep: true)
    }
    unsafe context.deinitialize(count: 1)
    // All of it goes with the arena, unless some lies elsewhere.
    if unsafe arena.pointee.strays > 0 { unsafe nghttp2_session_del(session) }
    unsafe ArenaPool.put(pool, arena, isAsleep: false)
  }

  private func submit(_ settings: SessionSettings) {
    func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
      nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
    }
    let entries: InlineArray<7, nghttp2_settings_entry> = [
      entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams),
      entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.initialWindow),
      entry(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.maxFrameSize),
      entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.maxHeaderListSize),
      entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
      entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
      entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
    ]
    let span = entries.span
    // The last one is said only where it holds.
    let count = settings.connectProtocol ? span.count : span.count - 1
    unsafe span.withUnsafeBufferPointer {
      _ = unsafe nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), $0.baseAddress, count)
    }
    unsafe nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: settings.connectionWindow))
  }

  // MARK: Sleep

  /// Puts the session aside in a small fraction of its memory, until the next call that concerns the client; to be called when
  /// nothing has happened on it for a while. Does nothing where something is begun (a header section, or frames to be
  /// sent), or all is over.
  public mutating func sleep() {
    guard !isAsleep, !isWithinSection, unsafe nghttp2_session_want_write(session) == 0, unsafe nghttp2_session_want_read(session) != 0 else { return }
    unsafe image = pool.pointee.sleep(arena)
  }

  public var isAsleep: Bool { unsafe image != nil }

  @inline(__always)
  private mutating func wake() { if isAsleep { restore() } }

  @inline(never)
  private mutating func restore() {
    guard let image = unsafe image else { return }
    unsafe pool.pointee.wake(arena, image)
    unsafe self.image = nil
  }

  // MARK: In

  /// Takes in bytes from the client; what they mean is appended to `workspace` as events.
  /// - Parameter now: milliseconds of the monotonic clock.
  public mutating func receive(_ bytes: Span<UInt8>, now: Int64, _ workspace: inout Workspace) -> ReceiveOutcome {
    wake()
    unsafe context.pointee.flood.timeIs(now)
    unsafe context.pointee.now = now
    unsafe context.pointee.closedUnseen = 0
    return unsafe withUnsafeMutablePointer(to: &workspace) { workspace in
      unsafe context.pointee.workspace = workspace
      defer { unsafe context.pointee.workspace = nil }
      return take(bytes)
    }
  }

  /// Hands `bytes` on to nghttp2, up to each frame that must be judged by the state that those before it have left.
  private mutating func take(_ bytes: Span<UInt8>) -> ReceiveOutcome {
    if unsafe context.pointee.isTerminated { return .consumed(bytes.count) }
    var taken = 0
    var scanned = unsafe min(context.pointee.ahead, bytes.count)
    unsafe context.pointee.ahead = 0
    unsafe context.pointee.scanner.begin()
    while taken < bytes.count {
      let found = scan(bytes, &scanned)
      // The frame is held back, as far as it came with these bytes.
      let end = found.isNothing ? bytes.count : unsafe max(taken, context.pointee.scanner.start)
      let count = end > taken ? hand(bytes, taken, end) : 0
      guard count >= 0 else { return fail(count) }
      taken += count
      if taken < end {
        unsafe context.pointee.ahead = scanned - taken
        return .consumed(taken)
      }
      switch found {
      case .nothing: break
      case .flood(let kind): unsafe context.pointee.endFlood(kind)
      case .misplaced: unsafe context.pointee.terminate(NGHTTP2_PROTOCOL_ERROR)
      case .suspect(let frame):
        guard unsafe context.pointee.isStray(frame), let code = unsafe context.pointee.strayError(frame) else { continue }
        unsafe context.pointee.terminate(code)
      }
      return .consumed(bytes.count)
    }
    return .consumed(bytes.count)
  }

  /// Looks at frame headers until one that may have to be refused, or until the bytes are used up.
  private mutating func scan(_ bytes: Span<UInt8>, _ position: inout Int) -> ScanOutcome {
    var mayHaveClosed = false
    while let frame = unsafe context.pointee.scanner.next(bytes, &position) {
      if unsafe !context.pointee.count(frame), let kind = unsafe context.pointee.flood.flood { return .flood(kind) }
      // A PRIORITY frame on no stream, or that makes a stream depend on itself (RFC 9113 §6.3, RFC 7540 §5.3.1). What else it
      // says is ignored.
      if frame.type == FrameType.priority, frame.stream == 0 || frame.dependency == frame.stream { return .misplaced }
      if unsafe context.pointee.isStray(frame, mayHaveClosed: mayHaveClosed) { return .suspect(frame) }
      mayHaveClosed = mayHaveClosed || frame.type == FrameType.reset || frame.type <= FrameType.headers && frame.endsStream
    }
    return .nothing
  }

  private mutating func hand(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
    unsafe bytes.withUnsafeBufferPointer { input in
      unsafe context.pointee.input = input.baseAddress
      unsafe context.pointee.resume()
      let count = unsafe nghttp2_session_mem_recv(session, input.baseAddress.map { unsafe $0 + start }, end - start)
      unsafe context.pointee.suspend()
      unsafe context.pointee.input = nil
      return count
    }
  }

  private mutating func fail(_ error: Int) -> ReceiveOutcome {
    let calm = error == Int(NGHTTP2_ERR_FLOODED.rawValue)
    if calm, unsafe context.pointee.flood.flood == nil { unsafe context.pointee.append(.flooded(.settings)) }
    let code = calm ? NGHTTP2_ENHANCE_YOUR_CALM : error == Int(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue) ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_INTERNAL_ERROR
    unsafe context.pointee.terminate(code)
    return .failed
  }

  /// Whether a header section has begun whose end has not come.
  public var isWithinSection: Bool { unsafe !isAsleep && context.pointee.partial != nil }

  // MARK: Streams

  /// Whether a stream whose request has just come is open still. (Asking is worth it only where one has been closed meanwhile.)
  public mutating func isStillOpen(_ stream: Int32) -> Bool {
    unsafe context.pointee.closedUnseen == 0 || isOpen(stream)
  }

  /// Whether the session knows the stream, and it is not being reset.
  @inline(never)
  public mutating func isOpen(_ stream: Int32) -> Bool {
    wake()
    return unsafe nghttp2_session_get_stream_local_close(session, stream) == 0
  }

  /// Gives a stream its tag; false when it is closed already.
  public mutating func tag(_ stream: Int32, _ tag: UInt64) -> Bool {
    wake()
    return unsafe nghttp2_session_set_stream_user_data(session, stream, UnsafeMutableRawPointer(bitPattern: UInt(tag))) == 0
  }

  /// The tag of a stream; 0 when it has none, or is closed.
  public func tag(of stream: Int32) -> UInt64 {
    isAsleep ? 0 : UInt64(UInt(bitPattern: unsafe nghttp2_session_get_stream_user_data(session, stream)))
  }

  /// Bytes of a stream's body have been passed on: their room in the window of the stream is given back, and in that of the
  /// connection once there is enough to be worth a frame. Of a stream that has gone, only the connection's.
  public mutating func giveBack(_ stream: Int32, _ count: Int) {
    wake()
    if count > 0 { unsafe nghttp2_submit_window_update(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, Int32(clamping: count)) }
  }

  /// Bytes of some body have been passed on: their room in the window of the connection is given back, once there is enough
  /// to be worth a frame.
  public mutating func giveBackToConnection(_ count: Int) {
    wake()
    unsafe context.pointee.owed += count
    guard unsafe context.pointee.owed >= context.pointee.owedLimit else { return }
    unsafe nghttp2_submit_window_update(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: context.pointee.owed))
    unsafe context.pointee.owed = 0
  }

  /// Resets a stream.
  public mutating func reset(_ stream: Int32, _ code: ErrorCode) {
    wake()
    unsafe nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
  }

  /// Forgets the tag of a stream: nothing more is to be heard of it.
  public mutating func untag(_ stream: Int32) {
    wake()
    unsafe nghttp2_session_set_stream_user_data(session, stream, nil)
  }

  /// Whether the client gives room to send on this stream, so that what waits there waits for others.
  public func hasRoom(_ stream: Int32) -> Bool {
    unsafe !isAsleep && nghttp2_session_get_remote_window_size(session) > 0 && nghttp2_session_get_stream_remote_window_size(session, stream) > 0
  }

  // MARK: Responses

  /// Sends a response head.
  /// - Parameters:
  ///   - head: its status and fields, of which `bytes` are the text.
  ///   - hasBody: whether DATA may follow, to be asked for in `produce`.
  /// - Returns: false when the stream is gone or the head cannot be sent.
  public mutating func respond(
    _ stream: Int32, tag: UInt64, _ head: borrowing ResponseHead, of bytes: Span<UInt8>, hasBody: Bool, _ workspace: inout Workspace
  ) -> Bool {
    wake()
    return unsafe bytes.withUnsafeBufferPointer { text in
      guard let base = text.baseAddress, unsafe workspace.collect(head, base) else { return false }
      return unsafe workspace.fields.span.withUnsafeBufferPointer { fields in
        if head.status.code < 200 {
          return unsafe nghttp2_submit_headers(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, fields.baseAddress, fields.count, nil) == 0
        }
        guard hasBody else { return unsafe nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, nil) == 0 }
        var provider = unsafe SessionProfile.provider(tag)
        return unsafe nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, &provider) == 0
      }
    }
  }

  /// Sends the whole answer that was prepared as `index`, on a stream without a tag, whose request has ended.
  /// - Parameters:
  ///   - date: the value of `date`.
  ///   - id: the value of `x-request-id`.
  /// - Returns: false when the stream is gone or the answer cannot be sent.
  public mutating func respond(
    _ stream: Int32, answer index: Int, date: Span<UInt8>, id: Span<UInt8>, isHead: Bool, _ workspace: inout Workspace
  ) -> Bool {
    wake()
    let renewsNames = unsafe context.pointee.renewsNames()
    let hasBody = !isHead && workspace.answers.hasBody(index)
    let isTaken = unsafe workspace.answers.lend(index, date: date, id: id, keepsID: renewsNames) { fields in
      guard hasBody else { return unsafe nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, nil) == 0 }
      var provider = unsafe SessionProfile.provider(answer: index)
      return unsafe nghttp2_submit_response(session, stream, fields.baseAddress, fields.count, &provider) == 0
    }
    if isTaken, hasBody { workspace.openAnswers += 1 }
    return isTaken
  }

  // MARK: Promises

  /// Whether the client takes pushed streams.
  public var takesPushes: Bool { unsafe !isAsleep && nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_PUSH) != 0 }

  /// How many of them it takes at a time.
  public var pushLimit: Int { isAsleep ? 0 : Int(unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)) }

  /// Promises the answer to a request on a stream of its own, before the response on `parent` that makes it wanted.
  /// - Parameters:
  ///   - tag: that of the new stream.
  ///   - head: a GET with a host, of which `bytes` are the text.
  /// - Returns: the number of the new stream; nil when it cannot be promised. Whether it is known only when it is sent:
  ///   `promiseFailed` tells of the others.
  public mutating func promise(
    on parent: Int32, tag: UInt64, _ head: borrowing RequestHead, of bytes: Span<UInt8>, isSecure: Bool, _ workspace: inout Workspace
  ) -> Int32? {
    wake()
    return unsafe bytes.withUnsafeBufferPointer { text in
      guard let base = text.baseAddress, unsafe workspace.collect(head, base, isSecure: isSecure) else { return nil }
      let stream = unsafe workspace.fields.span.withUnsafeBufferPointer {
        unsafe nghttp2_submit_push_promise(
          session, UInt8(NGHTTP2_FLAG_NONE.rawValue), parent, $0.baseAddress, $0.count, UnsafeMutableRawPointer(bitPattern: UInt(tag)))
      }
      guard stream > 0 else { return nil }
      unsafe context.pointee.promises += 1
      return stream
    }
  }

  // MARK: Trailers

  /// Sends the trailers that `wantsTrailers` asked for, which end the stream.
  public mutating func sendTrailers(_ stream: Int32, _ head: borrowing RequestHead, of bytes: Span<UInt8>, _ workspace: inout Workspace) -> Bool {
    wake()
    return unsafe bytes.withUnsafeBufferPointer { text in
      guard let base = text.baseAddress, unsafe workspace.collect(head.records, base) else { return false }
      return unsafe workspace.fields.span.withUnsafeBufferPointer {
        unsafe nghttp2_submit_trailer(session, stream, $0.baseAddress, $0.count) == 0
      }
    }
  }

  /// There is more of a stream's body, or its end, than `produce` was told of.
  public mutating func resume(_ stream: Int32) {
    wake()
    unsafe nghttp2_session_resume_data(session, stream)
  }

  // MARK: Out

  /// Appends frames to `output` until it holds `limit` bytes or there are no more. `supply` is asked for bodies.
  /// `output` has room for `limit` and `ServerSession.slack` bytes.
  public mutating func produce(into output: inout Buffer, limit: Int, _ workspace: inout Workspace, _ supply: BodySource) -> ProduceOutcome {
    // What sleeps has nothing to say.
    if isAsleep { return .idle }
    return withoutActuallyEscaping(supply) { supply in
      unsafe withUnsafeMutablePointer(to: &workspace) { workspace in
        unsafe withUnsafeMutablePointer(to: &output) { output in
          unsafe context.pointee.workspace = workspace
          unsafe context.pointee.outlet.open(output, limit: limit, supply)
          let outcome = unsafe Outlet.drain(session, output, limit: limit)
          unsafe context.pointee.outlet.close()
          unsafe context.pointee.workspace = nil
          return unsafe outcome ?? (context.pointee.outlet.isFull ? .full : .idle)
        }
      }
    }
  }

  /// What one frame may take beyond the limit.
  public static var slack: Int { Outlet.slack }

  // MARK: The end

  /// Whether nothing is to be expected of the session any more, in either direction.
  public var isOver: Bool { unsafe !isAsleep && nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0 }

  /// Says that the connection will end, while requests that are under way are still taken (RFC 9113 §6.8).
  public mutating func announceEnd() {
    wake()
    unsafe nghttp2_submit_shutdown_notice(session)
  }

  /// Says which request was the last; those that come later are ignored, for the client to repeat elsewhere.
  public mutating func refuseNewStreams() {
    wake()
    unsafe context.pointee.isEnding = true
    let last = unsafe nghttp2_session_get_last_proc_stream_id(session)
    unsafe nghttp2_submit_goaway(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, NGHTTP2_NO_ERROR.rawValue, nil, 0)
  }

  /// Ends the session: GOAWAY with an error code, and nothing after it.
  public mutating func terminate(_ code: ErrorCode) {
    wake()
    unsafe context.pointee.terminate(nghttp2_error_code(code.rawValue))
  }
}

/// What looking at frame headers has found.
private enum ScanOutcome {
  case nothing
  /// A frame on a stream that may not be open any more: to be judged once those before it have been dealt with.
  case suspect(FrameHeader)
  /// One frame too many.
  case flood(Flood)
  /// A PRIORITY frame that means nothing.
  case misplaced

  var isNothing: Bool {
    if case .nothing = self { true } else { false }
  }
}
