// FieldCollecting — heads as the fields that nghttp2 is given.

import CNghttp2
import Glibc
import HTTPModel
import Memory
import Wire

extension Workspace {
  /// Makes `fields` those of a response head whose text begins at `text`.
  mutating func collect(_ head: borrowing ResponseHead, _ text: UnsafePointer<UInt8>) -> Bool {
    unsafe fields.removeAll()
    // "HTTP/1.1 200 …": the digits of the status stand where a status line has them.
    guard unsafe fields.append(nghttp2_nv(Self.statusName, text + 9, 3)) else { return false }
    return unsafe fields.append(head.records, text)
  }

  /// Makes `fields` those of a trailer section.
  mutating func collect(_ records: Span<HeaderField>, _ text: UnsafePointer<UInt8>) -> Bool {
    unsafe fields.removeAll()
    return unsafe fields.append(records, text)
  }

  /// Makes `fields` those of a request that is promised.
  mutating func collect(_ head: borrowing RequestHead, _ text: UnsafePointer<UInt8>, isSecure: Bool) -> Bool {
    unsafe fields.removeAll()
    guard unsafe fields.append(nghttp2_nv(Self.methodName, text + head.methodText.lower, Int(head.methodText.count))),
      unsafe fields.append(isSecure ? nghttp2_nv(Self.schemeName, "https") : nghttp2_nv(Self.schemeName, "http")),
      unsafe fields.append(nghttp2_nv(Self.authorityName, text + head.host.lower, Int(head.host.count))),
      unsafe fields.append(nghttp2_nv(Self.pathName, text + head.target.lower, Int(head.target.count)))
    else { return false }
    for index in head.records.indices where head.records[index].name != .host {
      let record = head.records[index]
      let field = unsafe nghttp2_nv(text + record.nameText.lower, Int(record.nameText.count), text + record.value.lower, Int(record.value.count))
      guard unsafe fields.append(field) else { return false }
    }
    return true
  }

  private static var statusName: StaticString { ":status" }
  private static var methodName: StaticString { ":method" }
  private static var schemeName: StaticString { ":scheme" }
  private static var authorityName: StaticString { ":authority" }
  private static var pathName: StaticString { ":path" }
}
