// ClientProfile — nghttp2's table of callbacks for clients, made once and used by every client session of a worker.
//
// Each callback finds its `ClientContext` by the user data and lets it do the work. Invariant: what nghttp2 lends is lent on
// as a span or a copy of the plain part of it, for the time of the callback.

import CNghttp2
import Memory

/// How the client sessions of a worker are made.
@safe
public struct ClientProfile: ~Copyable {
  let callbacks: OpaquePointer

  /// Nil when there is no memory.
  public init?() {
    var callbacks: OpaquePointer?
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0, let callbacks = unsafe callbacks else { return nil }
    unsafe self.callbacks = callbacks
    unsafe ClientProfile.fill(callbacks)
  }

  deinit { unsafe nghttp2_session_callbacks_del(callbacks) }

  /// The options of one session; nil when there is no memory. The caller deletes them.
  func makeOption(_ settings: ClientSettings) -> OpaquePointer? {
    var option: OpaquePointer?
    guard unsafe nghttp2_option_new(&option) == 0, let option = unsafe option else { return nil }
    // Windows are given back by hand, as bytes are passed on.
    unsafe nghttp2_option_set_no_auto_window_update(option, 1)
    unsafe nghttp2_option_set_no_closed_streams(option, 1)
    unsafe nghttp2_option_set_max_continuations(option, 8 + settings.maxHeaderListSize / 1024)
    unsafe nghttp2_option_set_max_send_header_block_length(option, 256 << 10)
    unsafe nghttp2_option_set_max_deflate_dynamic_table_size(option, settings.headerTableSize)
    return unsafe option
  }

  private static func fill(_ table: OpaquePointer) {
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.headersBegan(frame.pointee.hd.stream_id) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_header_callback(table) { _, _, name, nameCount, value, valueCount, _, user in
      guard let context = unsafe context(user), let name = unsafe name, let value = unsafe value else { return 0 }
      return unsafe context.pointee.field(Span(_unsafeStart: name, count: nameCount), Span(_unsafeStart: value, count: valueCount))
    }
    // A field that is not even a field makes the response malformed; nghttp2 would drop it.
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(table) { _, _, _, _, _, _, _, user in
      guard let context = unsafe context(user) else { return 0 }
      return unsafe context.pointee.refuse(.malformed)
    }
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.frameCame(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table) { _, frame, _, user in
      guard let context = unsafe context(user), let frame = unsafe frame else { return 0 }
      unsafe context.pointee.frameIsInvalid(frame.pointee.hd.stream_id)
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) { _, _, stream, bytes, count, user in
      if let context = unsafe context(user) { unsafe context.pointee.dataCame(stream, bytes, count) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table) { _, stream, code, user in
      if let context = unsafe context(user) { unsafe context.pointee.streamClosed(stream, code) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, user in
      if let context = unsafe context(user), let frame = unsafe frame { unsafe context.pointee.frameWent(frame.pointee) }
      return 0
    }
    unsafe nghttp2_session_callbacks_set_send_data_callback(table) { _, _, header, count, source, user in
      guard let context = unsafe context(user), let header = unsafe header, let source = unsafe source else {
        return CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
      }
      return unsafe context.pointee.outlet.write(UInt64(UInt(bitPattern: source.pointee.ptr)), header, count)
    }
  }

  /// The source of a request's DATA.
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
}

private func context(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<ClientContext>? {
  unsafe user?.assumingMemoryBound(to: ClientContext.self)
}
