// FieldVector — header fields as nghttp2 takes them: pointers into a text that lives as long as the call.

import CNghttp2
import HTTPModel
import Memory

extension BoundedArray<nghttp2_nv> {
  /// Appends the fields that HTTP/2 has, of which the text begins at `text`. False when there are too many.
  mutating func append(_ records: Span<HeaderField>, _ text: UnsafePointer<UInt8>, without dropped: HeaderNameSet = []) -> Bool {
    for index in records.indices {
      let record = records[index]
      guard !record.name.concernsConnection, !dropped.contains(record) else { continue }
      var field = unsafe nghttp2_nv(text + record.nameText.lower, Int(record.nameText.count), text + record.value.lower, Int(record.value.count))
      // What differs each time would only push useful entries out of the table.
      if record.name == .requestID { unsafe field.flags = UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) }
      guard unsafe append(field) else { return false }
    }
    return true
  }
}

extension HeaderName {
  /// Whether HTTP/2 has no such field (RFC 9113 §8.2.2).
  var concernsConnection: Bool {
    switch self {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: true
    default: false
    }
  }
}

extension nghttp2_nv {
  /// A field that nghttp2 copies, its name in lower case.
  init(_ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafePointer<UInt8>, _ valueCount: Int) {
    unsafe self.init(
      name: UnsafeMutablePointer(mutating: name), value: UnsafeMutablePointer(mutating: value), namelen: nameCount, valuelen: valueCount,
      flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
  }

  init(_ name: StaticString, _ value: UnsafePointer<UInt8>, _ valueCount: Int) {
    unsafe self.init(name.utf8Start, name.utf8CodeUnitCount, value, valueCount)
  }

  init(_ name: StaticString, _ value: StaticString) {
    unsafe self.init(name, value.utf8Start, value.utf8CodeUnitCount)
  }
}
