// ClientSession — the client's side of one HTTP/2 connection (RFC 9113), without I/O: bytes in, events and bytes out.
//
// nghttp2 does framing, header compression, flow control and the state of streams; whoever owns the session decides what a
// response means. Each request is given a number of the owner's (its tag, not 0), by which events name its stream.
// Invariants: the context and the arena, in which nghttp2 keeps the session, outlive it; the pointers in it are set only while a method here runs.

import CLinux
import CNghttp2
import HTTPModel
import Memory
import Wire

/// One connection's session.
@safe
public struct ClientSession: ~Copyable {
  private let session: OpaquePointer
  private let context: UnsafeMutablePointer<ClientContext>
  /// Its blocks are of few sizes and short lives, which an arena serves faster than malloc does.
  private let arena: UnsafeMutablePointer<Arena>

  /// Makes a session and lets it say its preface and SETTINGS. Nil when there is no memory.
  public init?(_ profile: borrowing ClientProfile, _ settings: ClientSettings) {
    guard let option = unsafe profile.makeOption(settings) else { return nil }
    defer { unsafe nghttp2_option_del(option) }
    guard let base = unsafe clx_reserve(Arena.size) else { return nil }
    let arena = unsafe Arena.make(at: base)
    var functions = unsafe Arena.functions(arena)
    let context = UnsafeMutablePointer<ClientContext>.allocate(capacity: 1)
    unsafe context.initialize(to: ClientContext(settings))
    var session: OpaquePointer?
    guard unsafe nghttp2_session_client_new3(&session, profile.callbacks, context, option, &functions) == 0, let session = unsafe session else {
      unsafe context.deinitialize(count: 1)
      unsafe context.deallocate()
      unsafe clx_release(base, Arena.size)
      return nil
    }
    unsafe arena.pointee.framePlaceIsFree = false
    unsafe context.pointee.session = session
    unsafe self.session = session
    unsafe self.context = context
    unsafe self.arena = arena
    submit(settings)
  }

  deinit {
    unsafe nghttp2_session_del(session)
    unsafe context.deinitialize(count: 1)
    unsafe context.deallocate()
    unsafe clx_release(arena, Arena.size)
  }

  private func submit(_ settings: ClientSettings) {
    func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
      nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
    }
    let entries: InlineArray<5, nghttp2_settings_entry> = [
      entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.initialWindow),
      entry(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.maxFrameSize),
      entry(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, settings.headerTableSize),
      entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.maxHeaderListSize),
      entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
    ]
    let span = entries.span
    unsafe span.withUnsafeBufferPointer {
      _ = unsafe nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), $0.baseAddress, $0.count)
    }
    unsafe nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: settings.connectionWindow))
  }

  // MARK: In

  /// Takes in bytes from the server; what they mean is appended to `workspace` as events.
  public mutating func receive(_ bytes: Span<UInt8>, _ workspace: inout ClientWorkspace) -> ReceiveOutcome {
    if unsafe context.pointee.isTerminated { return .consumed(bytes.count) }
    return unsafe withUnsafeMutablePointer(to: &workspace) { workspace in
      unsafe context.pointee.workspace = workspace
      defer { unsafe context.pointee.workspace = nil }
      let count = unsafe bytes.withUnsafeBufferPointer { input in
        unsafe context.pointee.input = input.baseAddress
        unsafe context.pointee.resume()
        let count = unsafe nghttp2_session_mem_recv(session, input.baseAddress, input.count)
        unsafe context.pointee.suspend()
        unsafe context.pointee.input = nil
        return count
      }
      guard count < 0 else { return .consumed(count) }
      let code = count == Int(NGHTTP2_ERR_FLOODED.rawValue) ? ErrorCode.enhanceYourCalm : .internalError
      unsafe context.pointee.append(.connectionError(code: code.rawValue))
      terminate(code)
      return .failed
    }
  }

  // MARK: Requests

  /// How many streams the server allows at the same time. Before it has said so, 100.
  public var peerStreamLimit: Int {
    Int(unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
  }

  /// Whether the connection may carry another request: the server has not said GOAWAY, and there are numbers left.
  public var mayRequest: Bool { unsafe nghttp2_session_check_request_allowed(session) != 0 }

  /// Opens a stream with a request.
  /// - Parameters:
  ///   - tag: by which events will name it; not 0.
  ///   - head: an HTTP/1.1 head in origin or asterisk form, of which `bytes` are the text.
  ///   - acceptsTrailers: whether to say `te: trailers`; what the head says of it is not looked at.
  ///   - hasBody: whether DATA may follow, to be asked for in `produce`.
  /// - Returns: the stream, or nil when the head cannot be sent or the numbers have been used up. (One that comes behind a GOAWAY is closed as refused.)
  public mutating func request(
    tag: UInt64, _ head: borrowing RequestHead, of bytes: Span<UInt8>, isSecure: Bool, acceptsTrailers: Bool, hasBody: Bool, _ workspace: inout ClientWorkspace
  ) -> Int32? {
    unsafe bytes.withUnsafeBufferPointer { text in
      guard let base = text.baseAddress, unsafe workspace.collect(head, base, isSecure: isSecure, acceptsTrailers: acceptsTrailers) else { return nil }
      return unsafe workspace.fields.span.withUnsafeBufferPointer { fields in
        var stream: Int32
        if hasBody {
          var provider = unsafe ClientProfile.provider(tag)
          stream = unsafe nghttp2_submit_request(session, nil, fields.baseAddress, fields.count, &provider, UnsafeMutableRawPointer(bitPattern: UInt(tag)))
        } else {
          stream = unsafe nghttp2_submit_request(session, nil, fields.baseAddress, fields.count, nil, UnsafeMutableRawPointer(bitPattern: UInt(tag)))
        }
        return stream > 0 ? stream : nil
      }
    }
  }

  /// Sends the trailers that `wantsTrailers` asked for, which end the request.
  public mutating func sendTrailers(_ stream: Int32, _ head: borrowing RequestHead, of bytes: Span<UInt8>, _ workspace: inout ClientWorkspace) -> Bool {
    unsafe bytes.withUnsafeBufferPointer { text in
      unsafe workspace.fields.removeAll()
      guard let base = text.baseAddress, unsafe workspace.fields.append(head.records, base) else { return false }
      return unsafe workspace.fields.span.withUnsafeBufferPointer {
        unsafe nghttp2_submit_trailer(session, stream, $0.baseAddress, $0.count) == 0
      }
    }
  }

  /// There is more of a request's body, or its end, than `produce` was told of.
  public mutating func resume(_ stream: Int32) {
    unsafe nghttp2_session_resume_data(session, stream)
  }

  /// Resets a stream. A request that has not been sent yet never will be.
  public mutating func reset(_ stream: Int32, _ code: ErrorCode) {
    unsafe nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
  }

  /// Forgets the tag of a stream: nothing more is to be heard of it.
  public mutating func untag(_ stream: Int32) {
    unsafe nghttp2_session_set_stream_user_data(session, stream, nil)
  }

  /// Whether the server gives room to send on any stream. Without it, requests with bodies wait.
  public var hasRoom: Bool { unsafe nghttp2_session_get_remote_window_size(session) > 0 }

  /// Whether the server gives room to send on this stream, so that what waits there waits for others.
  public func hasRoom(_ stream: Int32) -> Bool {
    unsafe nghttp2_session_get_remote_window_size(session) > 0 && nghttp2_session_get_stream_remote_window_size(session, stream) > 0
  }

  // MARK: Windows

  /// Bytes of a response's body have been passed on: their room in the window of the stream is given back, once that is worth
  /// a frame.
  public mutating func giveBack(_ stream: Int32, _ count: Int) {
    if count > 0 { unsafe nghttp2_session_consume_stream(session, stream, count) }
  }

  /// Bytes of some body have been passed on, or will not be: as `giveBack`, in the window of the connection.
  public mutating func giveBackToConnection(_ count: Int) {
    if count > 0 { unsafe nghttp2_session_consume_connection(session, count) }
  }

  // MARK: Out

  /// Appends frames to `output` until it holds `limit` bytes or there are no more. `supply` is asked for bodies.
  /// `output` has room for `limit` and `ServerSession.slack` bytes.
  public mutating func produce(into output: inout Buffer, limit: Int, _ workspace: inout ClientWorkspace, _ supply: BodySource) -> ProduceOutcome {
    withoutActuallyEscaping(supply) { supply in
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

  /// Asks the server for a sign of life; it comes as the event `pong`.
  public mutating func ping() {
    unsafe nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
  }

  // MARK: The end

  /// Whether nothing is to be expected of the session any more, in either direction.
  public var isOver: Bool { unsafe nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0 }

  /// Ends the session: GOAWAY with an error code, and nothing after it.
  public mutating func terminate(_ code: ErrorCode) {
    unsafe context.pointee.isTerminated = true
    unsafe nghttp2_session_terminate_session(session, code.rawValue)
  }
}

extension ClientWorkspace {
  /// Makes `fields` those of a request whose text begins at `text` (RFC 9113 §8.3.1).
  mutating func collect(_ head: borrowing RequestHead, _ text: UnsafePointer<UInt8>, isSecure: Bool, acceptsTrailers: Bool) -> Bool {
    unsafe fields.removeAll()
    guard unsafe fields.append(nghttp2_nv(":method", text + head.methodText.lower, Int(head.methodText.count))),
      unsafe fields.append(isSecure ? nghttp2_nv(":scheme", "https") : nghttp2_nv(":scheme", "http")),
      unsafe fields.append(nghttp2_nv(":authority", text + head.host.lower, Int(head.host.count))),
      unsafe fields.append(nghttp2_nv(":path", text + head.target.lower, Int(head.target.count)))
    else { return false }
    // The authority stands for Host, and only one value of TE is left in HTTP/2.
    guard unsafe fields.append(head.records, text, without: [HeaderNameSet(.host), HeaderNameSet(.te)]) else { return false }
    return unsafe !acceptsTrailers || fields.append(nghttp2_nv("te", "trailers"))
  }
}
