// HeadText — a parsed head as copied texts, so that two parses of different bytes can be compared.

import HTTPModel
import Memory
import Wire

/// The fields of a head as texts.
struct FieldText: Equatable {
  var name: [UInt8]
  var value: [UInt8]
}

/// What a request head says.
struct RequestText: Equatable {
  var method: Method
  var methodText: [UInt8]
  var target: [UInt8]
  var path: [UInt8]
  var query: [UInt8]
  var hasQuery: Bool
  var host: [UInt8]
  var body: BodyFraming
  var size: Int
  var flags: UInt16
  var names: UInt64
  var fields: [FieldText]

  /// - Parameter length: of the head within `bytes`; every extent must lie inside it.
  init(_ head: borrowing RequestHead, _ bytes: [UInt8], length: Int) throws(Violation) {
    let parts = [head.methodText, head.target, head.path, head.query, head.host]
    for part in parts { try require(part.upper <= length, "a part of the request line lies outside the head") }
    method = head.method
    methodText = Array(bytes[head.methodText.lower..<head.methodText.upper])
    target = Array(bytes[head.target.lower..<head.target.upper])
    path = Array(bytes[head.path.lower..<head.path.upper])
    query = Array(bytes[head.query.lower..<head.query.upper])
    hasQuery = head.hasQuery
    host = Array(bytes[head.host.lower..<head.host.upper])
    body = head.body
    size = head.size
    flags = head.flags.rawValue
    names = head.names.rawValue
    fields = try fieldTexts(head.records, bytes, length: length)
  }
}

/// What a response head says.
struct ResponseText: Equatable {
  var status: UInt16
  var reason: [UInt8]
  var body: BodyFraming
  var flags: UInt16
  var names: UInt64
  var fields: [FieldText]

  init(_ head: borrowing ResponseHead, _ bytes: [UInt8], length: Int) throws(Violation) {
    try require(head.reason.upper <= length, "the reason lies outside the head")
    status = head.status.code
    reason = Array(bytes[head.reason.lower..<head.reason.upper])
    body = head.body
    flags = head.flags.rawValue
    names = head.names.rawValue
    fields = try fieldTexts(head.records, bytes, length: length)
  }
}

private func fieldTexts(_ records: Span<HeaderField>, _ bytes: [UInt8], length: Int) throws(Violation) -> [FieldText] {
  var fields: [FieldText] = []
  for index in records.indices {
    let record = records[index]
    try require(record.nameText.upper < length && record.value.upper < length, "a field lies outside the head")
    let field = FieldText(
      name: Array(bytes[record.nameText.lower..<record.nameText.upper]), value: Array(bytes[record.value.lower..<record.value.upper]))
    try require(field.name.isToken, "a field name is not a token")
    try require(field.value.isFieldValue && field.value.trimmed == field.value, "a field value has control characters or outer blanks")
    try require(HeaderName(field.name.lowercased.span) == record.name, "a name is recognised in one spelling only")
    fields.append(field)
  }
  return fields
}

/// Fields written as the gateway forwards them; compared with writing them one by one.
func serialised(_ records: Span<HeaderField>, of bytes: [UInt8], without dropped: HeaderNameSet = []) throws(Violation) -> [UInt8] {
  var inRuns = Buffer(capacity: bytes.count * 2 + 16), oneByOne = Buffer(capacity: bytes.count * 2 + 16)
  inRuns.append(fields: records, of: bytes.span, without: dropped)
  for index in records.indices where !dropped.contains(records[index].name) {
    oneByOne.append(field: records[index].nameText.text(in: bytes.span), records[index].value.text(in: bytes.span))
  }
  let text = array(inRuns.bytes)
  try require(text == array(oneByOne.bytes), "fields copied in runs differ from fields written one by one")
  return text
}
