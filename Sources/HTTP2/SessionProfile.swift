// SessionProfile — nghttp2's options and table of callbacks, made once and used by every session of a worker.
//
// Each callback finds its `SessionContext` by the user data and lets it do the work. Invariant: what nghttp2 lends is lent on
// as a span or a copy of the plain part of it, for the time of the callback.

import CNghttp2
import Memory

/// How the sessions of a worker are made.
@safe
public struct SessionProfile: ~Copyable {
  let callbacks: OpaquePointer
  let option: OpaquePointer
  /// Where the sessions have their memory from.
  let pool: ArenaPool.Reference
  public let settings: SessionSettings

  /// Nil when there is no memory.
  public init?(_ settings: SessionSettings) {
    var callbacks: OpaquePointer?
    var option: OpaquePointer?
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0, unsafe nghttp2_option_new(&option) == 0, let callbacks = unsafe callbacks,
      let option = unsafe option
    else { return nil }
    unsafe self.callbacks = callbacks
    unsafe self.option = option
    self.settings = settings
    unsafe pool = ArenaPool.make()
    // Windows are given back by hand, as bytes are passed on.
    unsafe nghttp2_option_set_no_auto_window_update(option, 1)
    unsafe nghttp2_option_set_no_closed_streams(option, 1)
    unsafe nghttp2_option_set_builtin_recv_extension_type(option, UInt8(NGHTTP2_PRIORITY_UPDATE.rawValue))
    // What a message may be is for `FieldSection` and for the owner of its stream to say.
    unsafe nghttp2_option_set_no_http_messaging(option, 1)
    // Both are counted here, where the bound can be set and the end has a name.
    unsafe nghttp2_option_set_stream_reset_rate_limit(option, UInt64(UInt32.max), UInt64(UInt32.max))
    unsafe nghttp2_option_set_max_continuations(option, Int(Int32.max))
    unsafe nghttp2_option_set_max_send_header_block_length(option, 256 << 10)
    unsafe SessionProfile.fill(callbacks)
  }

  deinit {
    unsafe ArenaPool.disown(pool)
    unsafe nghttp2_option_del(option)
    unsafe nghttp2_session_callbacks_del(callbacks)
  }

  private static func fill(_ table: OpaquePointer) {
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.headersBegan(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_header_callback(table) { _, _, name, nameCount, value, valueCount, _, user in
      guard let context = unsafe context(user), let name = unsafe name, let value = unsafe value else { return 0 }
      return unsafe context.pointee.field(Span(_unsafeStart: name, count: nameCount), Span(_unsafeStart: value, count: valueCount))
    }
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.frameCame(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table) { _, frame, code, user in
      guard let context = unsafe context(user), let frame = unsafe frame else { return 0 }
      unsafe context.pointee.frameIsInvalid(frame.pointee.hd.stream_id, errorCode(code))
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, _, stream, bytes, count, user in
      if let context = unsafe context(user) { unsafe context.pointee.dataCame(stream, bytes, count) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table) { session, stream, code, user in
      guard let context = unsafe context(user) else { return 0 }
      unsafe context.pointee.streamClosed(stream, code, UInt64(UInt(bitPattern: nghttp2_session_get_stream_user_data(session, stream))))
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.frameWent(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(table) { _, frame, _, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.frameWasDropped(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_send_data_callback(table) { _, _, header, count, source, user in
      guard let context = unsafe context(user), let header = unsafe header, let source = unsafe source else {
        return CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
      }
      return unsafe context.pointee.outlet.write(UInt64(UInt(bitPattern: source.pointee.ptr)), header, count)
    }
  }

  /// The source of a stream's DATA.
  static func provider(_ tag: UInt64) -> nghttp2_data_provider {
    unsafe nghttp2_data_provider(
      source: nghttp2_data_source(ptr: UnsafeMutableRawPointer(bitPattern: UInt(tag))),
      read_callback: { _, stream, _, most, flags, source, user in
        guard let context = unsafe context(user), let flags = unsafe flags, let source = unsafe source else {
          return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        return unsafe context.pointee.offer(UInt64(UInt(bitPattern: source.pointee.ptr)), stream, most, &flags.pointee)
      })
  }

  /// The source of a stream's DATA, where that is the answer prepared at `index`.
  static func provider(answer index: Int) -> nghttp2_data_provider {
    unsafe nghttp2_data_provider(
      source: nghttp2_data_source(ptr: UnsafeMutableRawPointer(bitPattern: UInt(PreparedAnswers.place(index)))),
      read_callback: { _, stream, target, most, flags, source, user in
        guard let context = unsafe context(user), let target = unsafe target, let flags = unsafe flags, let source = unsafe source else {
          return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
        }
        return unsafe context.pointee.copy(stream, source, to: target, most, &flags.pointee)
      })
  }
}

private func context(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<SessionContext>? {
  unsafe user?.assumingMemoryBound(to: SessionContext.self)
}

/// The code on the wire for one of nghttp2's own.
private func errorCode(_ code: CInt) -> nghttp2_error_code {
  switch nghttp2_error(code) {
  case NGHTTP2_ERR_STREAM_CLOSED: NGHTTP2_STREAM_CLOSED
  case NGHTTP2_ERR_FLOW_CONTROL: NGHTTP2_FLOW_CONTROL_ERROR
  case NGHTTP2_ERR_FRAME_SIZE_ERROR: NGHTTP2_FRAME_SIZE_ERROR
  case NGHTTP2_ERR_REFUSED_STREAM: NGHTTP2_REFUSED_STREAM
  default: NGHTTP2_PROTOCOL_ERROR
  }
}
