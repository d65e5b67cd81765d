// AccessLogFormat — the text of an access-log format, checked and taken apart.
//
// Invariant: the pieces, in order, make up one line without its line feed; text that can come from a
// client is escaped in the format's style, so a line stays one line and a JSON format stays JSON.

/// A checked access-log format: `json`, `combined`, or text with variables.
public struct AccessLogFormat: Equatable, Sendable {
  /// How text that comes from outside is written.
  enum Style: UInt8, Sendable {
    /// `\xHH` for quotes, backslashes, control characters and everything that is not ASCII; `-` for what is absent.
    case plain
    /// JSON string escapes; `null` for an absent number, nothing for an absent text.
    case json
  }

  /// Literal text, then a value.
  struct Piece: Equatable, Sendable {
    var text: String
    var value = AccessValue.none
    /// For `.header`: its name in lower case.
    var header = ""
  }

  let style: Style
  /// `json`, whose members are written by `AccessLine.writeJSON`.
  let isBuiltInJSON: Bool
  let pieces: [Piece]

  /// Bytes a format's own text may have.
  public static let maxLength = 1024

  /// Parses `text`: the name of a built-in format, or a format of its own. One that begins with `{` is escaped as JSON.
  public init(_ text: String) throws(AccessLogFormatError) {
    switch text {
    case "json":
      style = .json
      isBuiltInJSON = true
      pieces = []
    case "combined":
      style = .plain
      isBuiltInJSON = false
      pieces = try AccessLogFormat.parse(AccessLogFormat.combined)
    default:
      isBuiltInJSON = false
      style = text.utf8.first == UInt8(ascii: "{") ? .json : .plain
      pieces = try AccessLogFormat.parse(text)
    }
    guard reserve < AccessProgram.lineLimit else {
      throw AccessLogFormatError(column: 1, message: "the lines of the format would be longer than \(AccessProgram.lineLimit) bytes")
    }
  }

  /// Bytes of a line for everything but values of unbounded length: literal text, the widest numbers, the line feed, and
  /// the sixteen bytes that a literal is stored in.
  var reserve: Int {
    isBuiltInJSON ? AccessLine.widestJSON : pieces.reduce(17) { $0 + $1.text.utf8.count + $1.value.widest }
  }

  private static let combined = #"$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#

  // MARK: Parsing

  private static func parse(_ text: String) throws(AccessLogFormatError) -> [Piece] {
    let bytes = Array(text.utf8)
    guard !bytes.isEmpty else { throw AccessLogFormatError(column: 1, message: "the format is empty") }
    guard bytes.count <= maxLength else {
      throw AccessLogFormatError(column: maxLength + 1, message: "the format is longer than \(maxLength) bytes")
    }
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      guard byte >= 0x20, byte != 0x7f else {
        throw AccessLogFormatError(column: index + 1, message: "a control character cannot stand in a format")
      }
      guard byte == UInt8(ascii: "$") else {
        literal.append(byte)
        index += 1
        continue
      }
      if index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "$") {
        literal.append(byte)
        index += 2
        continue
      }
      let (name, end) = try self.name(in: bytes, at: index)
      var piece = try self.piece(named: name, column: index + 1)
      piece.text = String(decoding: literal, as: UTF8.self)
      pieces.append(piece)
      literal.removeAll()
      index = end
    }
    if !literal.isEmpty { pieces.append(Piece(text: String(decoding: literal, as: UTF8.self))) }
    return pieces
  }

  /// The name after the `$` at `dollar`, with or without braces, and the index after it.
  private static func name(in bytes: [UInt8], at dollar: Int) throws(AccessLogFormatError) -> (String, Int) {
    let isBraced = dollar + 1 < bytes.count && bytes[dollar + 1] == UInt8(ascii: "{")
    let start = dollar + (isBraced ? 2 : 1)
    var end = start
    while end < bytes.count, isNameByte(bytes[end]) { end += 1 }
    guard end > start else {
      throw AccessLogFormatError(column: dollar + 1, message: "\"$\" is not followed by a name (write \"$$\" for a dollar sign)")
    }
    let name = String(decoding: bytes[start..<end], as: UTF8.self)
    guard isBraced else { return (name, end) }
    guard end < bytes.count, bytes[end] == UInt8(ascii: "}") else {
      throw AccessLogFormatError(column: dollar + 1, message: "\"${\(name)\" is not closed by \"}\"")
    }
    return (name, end + 1)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
    default: false
    }
  }

  private static func piece(named name: String, column: Int) throws(AccessLogFormatError) -> Piece {
    if let variable = AccessVariable.table.first(where: { "\($0.name)" == name }) { return Piece(text: "", value: variable.value) }
    if name.hasPrefix("http_"), name.utf8.count > 5 {
      let header = name.utf8.dropFirst(5).map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }
      return Piece(text: "", value: .header, header: String(decoding: header, as: UTF8.self))
    }
    throw AccessLogFormatError(column: column, message: "unknown variable \"$\(name)\"")
  }
}

/// Why a format is refused.
public struct AccessLogFormatError: Error, Equatable, CustomStringConvertible {
  /// Where in the format, in bytes, from 1.
  public let column: Int
  public let message: String

  public var description: String { "column \(column): \(message)" }
}
