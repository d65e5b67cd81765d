// HeaderTable — reads the header blocks that a session has written.

import CNghttp2

struct UnreadableBlock: Error {}

/// The fields of a HEADERS frame that is the first of its connection.
func decoded(_ frame: Frame) throws -> [String] {
  var inflater: OpaquePointer?
  guard unsafe nghttp2_hd_inflate_new(&inflater) == 0, let inflater = unsafe inflater else { throw UnreadableBlock() }
  defer { unsafe nghttp2_hd_inflate_del(inflater) }
  var fields: [String] = [], rest = frame.payload
  while true {
    var field = unsafe nghttp2_nv(), flags: CInt = 0
    let count = unsafe nghttp2_hd_inflate_hd2(inflater, &field, &flags, rest, rest.count, 1)
    guard count >= 0 else { throw UnreadableBlock() }
    rest.removeFirst(count)
    if flags & CInt(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
      let name = unsafe String(decoding: UnsafeBufferPointer(start: field.name, count: field.namelen), as: UTF8.self)
      let value = unsafe String(decoding: UnsafeBufferPointer(start: field.value, count: field.valuelen), as: UTF8.self)
      fields.append("\(name): \(value)")
    }
    if flags & CInt(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 { return fields }
    if count == 0, rest.isEmpty, flags & CInt(NGHTTP2_HD_INFLATE_EMIT.rawValue) == 0 { throw UnreadableBlock() }
  }
}
