// ResponseSection — a response's header section as it comes out of HPACK, put into the shape of an HTTP/1.1 head.
//
// As `FieldSection` for requests: the section becomes the text of an HTTP/1.1 head, with a record for each field, so that
// whoever can relay an HTTP/1.1 response can relay this one without parsing it. nghttp2 has checked each field by itself, the pseudo-header field, and the fields that
// HTTP/2 has not (RFC 9113 §8.2, §8.3.2). A section without `:status` is one of trailers, which are lines only.
//
// Invariants: every extent of `head` lies in `bytes`, whose first byte is never consumed; the status is final once the first
// field has been added.

import HTTPModel
import Memory
import Wire

/// One header section of a response.
public struct ResponseSection: ~Copyable {
  /// The text of the section.
  public var bytes: Buffer
  /// Where its parts lie; meaningless for trailers.
  public var head: ResponseHead
  private(set) var stream: Int32 = 0
  private(set) var isTrailers = false
  private var isFirst = true
  /// Names, values and 32 for each field (RFC 9113 §6.5.2).
  private var listSize = 0

  init(capacity: Int, fieldLimit: Int) {
    bytes = Buffer(capacity: capacity)
    head = ResponseHead(fieldLimit: fieldLimit)
  }

  /// Forgets everything, for the section of `stream`.
  mutating func begin(_ stream: Int32) {
    bytes.removeAll()
    head.reset()
    self.stream = stream
    isTrailers = false
    isFirst = true
    listSize = 0
  }

  /// Adds a field; returns what is wrong with it, if anything.
  mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>, limit: Int) -> ResponseViolation? {
    listSize += name.count + value.count + 32
    guard listSize <= limit, bytes.freeCapacity >= name.count + value.count + 128 else { return .tooLarge }
    let isPseudo = !name.isEmpty && name[0] == 0x3a
    if isFirst {
      isFirst = false
      isTrailers = !isPseudo
    }
    if isTrailers {
      guard !isPseudo else { return .malformed }
      bytes.append(field: name, value)
      return nil
    }
    return isPseudo ? takeStatus(name, value) : addField(name, value)
  }

  private mutating func takeStatus(_ name: Span<UInt8>, _ value: Span<UInt8>) -> ResponseViolation? {
    guard head.status.code == 0, name.equals(":status"), value.count == 3, let code = value.decimal, 100...599 ~= code, code != 101 else { return .malformed }
    head.status = Status(UInt16(truncatingIfNeeded: code))
    head.flags.formUnion([.version11, .version2])
    bytes.append("HTTP/1.1 ")
    bytes.append(threeDigits: head.status.code)
    bytes.append(head.status.reason)
    head.reason = Extent(13..<bytes.count)
    bytes.append("\r\n")
    return nil
  }

  private mutating func addField(_ name: Span<UInt8>, _ value: Span<UInt8>) -> ResponseViolation? {
    let known = HeaderName(name)
    switch known {
    case .other: break
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: return .malformed
    case .contentLength:
      guard let length = value.decimal, head.body == .untilClose else { return .malformed }
      head.body = .length(length)
      if value.count > 1, value[0] == 0x30 { head.flags.insert(.oddLength) }
    case .trailer: head.flags.insert(.announcesTrailers)
    default: break
    }
    if known != .other { head.names.insert(HeaderNameSet(known)) }
    let start = bytes.count, valueStart = start + name.count + 2
    bytes.append(field: name, value)
    let field = HeaderField(name: known, nameText: Extent(start..<start + name.count), value: Extent(valueStart..<valueStart + value.count), isCanonical: true)
    return head.append(field) ? nil : .tooLarge
  }

  /// Ends the text, as a head ends; trailers are lines only.
  mutating func finish() {
    if !isTrailers { bytes.append("\r\n") }
  }
}
