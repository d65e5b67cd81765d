// FieldWriter — header fields from parsed parts to bytes.
//
// What is forwarded is what was understood: a field line is written from its name and value. Where the line
// in the received head is, byte for byte, what would be written ("name: value" and CRLF), neighbouring lines
// are copied together; that is the same text, only cheaper.

import HTTPModel
import Memory

extension Buffer {
  /// Appends one field line.
  @inlinable
  public mutating func append(field name: Span<UInt8>, _ value: Span<UInt8>) {
    append(name)
    append(": ")
    append(value)
    append("\r\n")
  }

  /// Appends the fields whose names are not in `dropped`, in their order, duplicates kept.
  /// - Parameter connection: whether fields named by `Connection` must be looked for and left out as well.
  /// - Precondition: there is room for twice `bytes.count`, which are those that `fields` point into.
  @inline(__always)
  public mutating func append(
    fields: Span<HeaderField>, of bytes: Span<UInt8>, without dropped: HeaderNameSet, connection: Bool = false
  ) {
    if connection { return append(fields: fields, of: bytes, withoutConnectionOptionsAnd: dropped) }
    let fits = fill { fields.write(to: &$0, of: bytes, without: dropped) }
    precondition(fits)
  }

  @inline(never)
  private mutating func append(fields: Span<HeaderField>, of bytes: Span<UInt8>, withoutConnectionOptionsAnd dropped: HeaderNameSet) {
    for index in fields.indices {
      let field = fields[index]
      if dropped.contains(field) || (field.name.mayBeConnectionOption && fields.isNamedByConnection(field, in: bytes)) { continue }
      append(field: field.nameText.text(in: bytes), field.value.text(in: bytes))
    }
  }
}

extension HeaderName {
  /// Whether a `Connection` field may take the field away. A sender could otherwise strip what frames the message, or what
  /// says where it came from (RFC 9110 §7.6.1 forbids such options).
  @inline(__always)
  fileprivate var mayBeConnectionOption: Bool {
    switch self {
    case .contentLength, .contentType, .contentEncoding, .authorization, .via, .forwardedFor, .forwardedProto, .forwardedHost, .forwarded, .forwardedPort, .realIP, .date: false
    default: true
    }
  }
}

extension Span<HeaderField> {
  /// Whether some `Connection` field lists this field's name (RFC 9110 §7.6.1).
  @inline(never)
  public func isNamedByConnection(_ field: HeaderField, in bytes: Span<UInt8>) -> Bool {
    for index in indices where self[index].isNamed(.connection) {
      if self[index].value.text(in: bytes).listContains(field.nameText.text(in: bytes)) { return true }
    }
    return false
  }
}
