// YAMLEvents — libyaml's parser as a sequence of Swift values. All of the target's unsafe code for libyaml is here.
//
// Invariants: the parser and the text it reads are owned by this value and freed with it; every event that
// libyaml hands out is copied into Swift values and deleted before `next` returns.

import CYAML

/// A place in the text as libyaml counts it: from 0, columns and index in characters.
struct Mark: Equatable {
  var index: Int
  var line: Int
  var column: Int

  init(index: Int, line: Int, column: Int) {
    self.index = index
    self.line = line
    self.column = column
  }

  fileprivate init(_ mark: yaml_mark_t) {
    index = mark.index
    line = mark.line
    column = mark.column
  }
}

/// What the parser found.
struct YAMLEvent {
  enum Content {
    case scalar(String, quoted: Bool)
    case mappingStart, mappingEnd, sequenceStart, sequenceEnd
    case documentStart, alias, streamEnd
    /// The start of the stream and the end of a document: of no interest.
    case other
  }

  var content: Content
  var mark: Mark
  var hasAnchor = false
  var hasTag = false
}

/// Why the text cannot be read.
struct YAMLProblem: Error {
  var message: String
  var mark: Mark
  /// Where what could not be finished began.
  var contextMark: Mark?
  var context: String?
}

@safe struct YAMLEvents: ~Copyable {
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let text: UnsafeMutableBufferPointer<UInt8>

  /// Begins to read UTF-8 text without a byte order mark.
  init(_ bytes: [UInt8]) throws(YAMLProblem) {
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    guard unsafe yaml_parser_initialize(parser) == 1 else {
      unsafe parser.deallocate()
      throw YAMLProblem(message: "out of memory", mark: Mark(index: 0, line: 0, column: 0))
    }
    let text = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(bytes.count, 1))
    _ = unsafe text.initialize(from: bytes)
    unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    unsafe yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
    unsafe self.parser = parser
    unsafe self.text = text
  }

  deinit {
    unsafe yaml_parser_delete(parser)
    unsafe parser.deallocate()
    unsafe text.deallocate()
  }

  /// The next event. Not to be called again after `.streamEnd` or an error.
  mutating func next() throws(YAMLProblem) -> YAMLEvent {
    var event = unsafe yaml_event_t()
    guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw problem() }
    defer { unsafe yaml_event_delete(&event) }
    let mark = unsafe Mark(event.start_mark)
    switch unsafe event.type {
    case YAML_SCALAR_EVENT:
      let scalar = unsafe event.data.scalar
      let value = unsafe String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      return unsafe YAMLEvent(
        content: .scalar(value, quoted: scalar.style != YAML_PLAIN_SCALAR_STYLE), mark: mark,
        hasAnchor: scalar.anchor != nil, hasTag: scalar.tag != nil)
    case YAML_MAPPING_START_EVENT:
      let start = unsafe event.data.mapping_start
      return unsafe YAMLEvent(content: .mappingStart, mark: mark, hasAnchor: start.anchor != nil, hasTag: start.tag != nil)
    case YAML_SEQUENCE_START_EVENT:
      let start = unsafe event.data.sequence_start
      return unsafe YAMLEvent(content: .sequenceStart, mark: mark, hasAnchor: start.anchor != nil, hasTag: start.tag != nil)
    case YAML_MAPPING_END_EVENT: return YAMLEvent(content: .mappingEnd, mark: mark)
    case YAML_SEQUENCE_END_EVENT: return YAMLEvent(content: .sequenceEnd, mark: mark)
    case YAML_ALIAS_EVENT: return YAMLEvent(content: .alias, mark: mark)
    case YAML_DOCUMENT_START_EVENT: return YAMLEvent(content: .documentStart, mark: mark)
    case YAML_STREAM_END_EVENT: return YAMLEvent(content: .streamEnd, mark: mark)
    default: return YAMLEvent(content: .other, mark: mark)
    }
  }

  private func problem() -> YAMLProblem {
    let message = unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "unreadable"
    let context = unsafe parser.pointee.context.map { unsafe String(cString: $0) }
    if unsafe parser.pointee.error == YAML_READER_ERROR {
      return YAMLProblem(message: message, mark: unsafe mark(ofByte: parser.pointee.problem_offset))
    }
    let hasContext = unsafe parser.pointee.context != nil
    return unsafe YAMLProblem(
      message: message, mark: Mark(parser.pointee.problem_mark),
      contextMark: hasContext ? Mark(parser.pointee.context_mark) : nil, context: context)
  }

  /// The reader stage knows only byte offsets.
  private func mark(ofByte offset: Int) -> Mark {
    var mark = Mark(index: 0, line: 0, column: 0)
    for unsafe byte in unsafe text.prefix(offset) where byte & 0xc0 != 0x80 {
      mark.index += 1
      mark.column += 1
      if byte == 0x0a {
        mark.line += 1
        mark.column = 0
      }
    }
    return mark
  }
}
