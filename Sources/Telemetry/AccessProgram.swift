// AccessProgram — an access-log format compiled into flat tables: what one line runs through.
//
// Invariants: the operations are run in order; each first writes its literal text, then its value. Longer text is divided among
// operations without a value. The text and the widest fixed values of all operations together fit into a line, so only values of
// unbounded length have to leave a reserve.

import HTTPModel
import Memory

/// One step of a line: literal text, then a value.
struct AccessOperation: BitwiseCopyable {
  /// Literal text of at most sixteen bytes, which are stored all at once.
  var literal: SIMD2<UInt64>
  var literalCount: UInt8
  var value: AccessValue
  /// The header field to look for, when the gateway has a number for its name.
  var header: HeaderName
  /// For other header fields: the name in lower case, in the program's text.
  var name: Extent
}

/// A compiled format.
struct AccessProgram: ~Copyable {
  /// The longest line, line feed included: what a pipe takes in one piece.
  static let lineLimit = 4096

  let style: AccessLogFormat.Style
  /// The format is `json`, which is not a table but `AccessLine.writeJSON`.
  let isBuiltInJSON: Bool
  let showsRequestIDs: Bool
  let showsEndpoints: Bool
  let operations: BoundedArray<AccessOperation>
  let text: Buffer
  /// Bytes of a line that values of unbounded length leave for the rest.
  let reserve: Int
  let routes: NameTable
  let upstreams: NameTable
  /// The tokens of faults, the one of `.none` empty.
  let faults: NameTable

  /// - Parameter worker: the text of `$worker`.
  init(_ format: borrowing AccessLogFormat, worker: String, routes: [String], upstreams: [String]) {
    var text: [UInt8] = []
    var steps: [AccessOperation] = []
    var pending: [UInt8] = []
    for piece in format.pieces {
      pending += piece.text.utf8
      if piece.value == .worker {
        pending += worker.utf8
      } else {
        AccessProgram.append(piece, behind: &pending, to: &steps, &text)
      }
    }
    if !pending.isEmpty { AccessProgram.append(AccessLogFormat.Piece(text: ""), behind: &pending, to: &steps, &text) }
    var operations = BoundedArray<AccessOperation>(capacity: max(1, steps.count))
    for step in steps {
      let isAdded = operations.append(step)
      precondition(isAdded)
    }
    var bytes = Buffer(capacity: max(1, text.count))
    for byte in text { bytes.append(byte) }
    style = format.style
    isBuiltInJSON = format.isBuiltInJSON
    showsEndpoints = format.isBuiltInJSON || format.pieces.contains { $0.value == .endpoint }
    showsRequestIDs = format.isBuiltInJSON || format.pieces.contains { $0.value == .requestID }
    self.operations = operations
    self.text = bytes
    reserve = min(AccessProgram.lineLimit, format.reserve + worker.utf8.count * format.pieces.count { $0.value == .worker })
    self.routes = NameTable(routes, style: format.style)
    self.upstreams = NameTable(upstreams, style: format.style)
    faults = NameTable(Fault.allCases.map { $0 == .none ? "" : "\($0.row.token)" }, style: format.style)
  }

  /// Adds the operations that write `literal`, which is used up, and then the value of `piece`.
  private static func append(_ piece: AccessLogFormat.Piece, behind literal: inout [UInt8], to steps: inout [AccessOperation], _ text: inout [UInt8]) {
    repeat {
      let part = literal.prefix(16)
      literal.removeFirst(part.count)
      var words = SIMD2<UInt64>()
      for (index, byte) in part.enumerated() { words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8) }
      let isLast = literal.isEmpty
      let nameStart = text.count
      if isLast { text += piece.header.utf8 }
      steps.append(AccessOperation(
        literal: words, literalCount: UInt8(part.count), value: isLast ? piece.value : .none,
        header: HeaderName(piece.header.utf8Span.span), name: Extent(nameStart..<text.count)))
    } while !literal.isEmpty
  }
}

/// Configured names, escaped once.
struct NameTable: ~Copyable {
  private let entries: BoundedArray<Extent>
  private let text: Buffer

  init(_ names: [String], style: AccessLogFormat.Style) {
    var entries = BoundedArray<Extent>(capacity: max(1, names.count))
    var text: [UInt8] = []
    for name in names {
      var buffer = LineBuffer(capacity: LineWriter.fieldLimit)
      var line = buffer.newLine(upTo: LineWriter.fieldLimit, reserve: 0)
      line.append(text: name.utf8Span.span, style: style)
      let count = line.count
      buffer.commit(count)
      let escaped = buffer.lines(upTo: .max)
      let isAdded = entries.append(Extent(text.count..<text.count + escaped.count))
      precondition(isAdded)
      for index in escaped.indices { text.append(escaped[index]) }
    }
    var bytes = Buffer(capacity: max(1, text.count))
    for byte in text { bytes.append(byte) }
    self.entries = entries
    self.text = bytes
  }

  /// The name at `index`; empty when there is none.
  @inline(__always)
  subscript(index: Int32) -> Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let entries = entries.span
      guard index >= 0, Int(index) < entries.count else { return text.bytes.extracting(first: 0) }
      let entry = entries[Int(index)]
      return text.bytes.extracting(entry.lower..<entry.upper)
    }
  }
}
