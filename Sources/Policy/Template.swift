// Template — a text with variables in braces: what redirects, path rewrites and header rules are written in.
//
// The language is one, where a template stands decides what may be in it. It is taken apart once, when the configuration is read and when a
// worker starts; what runs per request is in TemplateBook.

import HTTPModel
import Memory

/// Why a template was refused.
public struct TemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes (UTF-8) from the start of the template.
  public let offset: Int
  public let message: String

  public var description: String { message }
}

/// Where a template stands.
public enum TemplateKind: UInt8, Sendable, BitwiseCopyable {
  /// The Location of a redirect: it begins with `/`, `http://`, `https://`, `{scheme}://`, `{path}` or `{uri}`.
  case redirect
  /// The target of a forwarded request: a path and perhaps, behind a `?`, its query.
  case target
  /// A field of a request, and of a response.
  case requestField, responseField

  public var isField: Bool { self == .requestField || self == .responseField }
}

/// A template taken apart.
public struct Template: Equatable, Sendable {
  /// A run of text, or a variable.
  public struct Part: Equatable, Sendable {
    public var variable: TemplateVariable
    /// The text; for variables with a name, that (of header fields in lower case).
    public var text = ""
    /// Which of the route's captures.
    public var capture = 0
  }

  public let parts: [Part]

  /// Longer ones are refused.
  public static let sizeLimit = 4096

  /// Takes a template apart. `{{` and `}}` stand for braces.
  /// - Parameter captures: the names of the route's captures.
  public init(parsing source: String, _ kind: TemplateKind, captures: [String]) throws(TemplateError) {
    let bytes = Array(source.utf8)
    var parts: [Part] = [], position = 0, literal: [UInt8] = [], isQuery = false
    func failure(_ message: String, at offset: Int) -> TemplateError { TemplateError(offset: offset, message: message) }
    func endLiteral() {
      if !literal.isEmpty { parts.append(Part(variable: .literal, text: String(decoding: literal, as: UTF8.self))) }
      literal = []
    }

    if bytes.count > Template.sizeLimit { throw failure("it is longer than \(Template.sizeLimit) bytes", at: Template.sizeLimit) }
    switch kind {
    case .redirect where !["/", "http://", "https://", "{scheme}://", "{path}", "{uri}"].contains(where: { source.hasPrefix($0) }):
      throw failure("a redirect begins with \"/\", \"http://\", \"https://\", \"{scheme}://\", {path} or {uri}", at: 0)
    case .target where !["/", "{path}", "{original_path}"].contains(where: { source.hasPrefix($0) }):
      throw failure("a path begins with \"/\", {path} or {original_path}", at: 0)
    default: break
    }
    while position < bytes.count {
      let byte = bytes[position]
      let isDoubled = position + 1 < bytes.count && bytes[position + 1] == byte
      if byte == UInt8(ascii: "{"), !isDoubled {
        guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "}")) else { throw failure("\"{\" without \"}\"", at: position) }
        endLiteral()
        let name = String(decoding: bytes[position + 1..<end], as: UTF8.self)
        parts += try Template.variable(name, kind, captures, isQuery: isQuery, offset: position)
        position = end + 1
        continue
      }
      if byte == UInt8(ascii: "}"), !isDoubled { throw failure("\"}\" without \"{\"", at: position) }
      if let complaint = Template.complaint(byte, kind) { throw failure(complaint, at: position) }
      if byte == UInt8(ascii: "?") { isQuery = true }
      literal.append(byte)
      position += byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") ? 2 : 1
    }
    endLiteral()
    self.parts = parts
  }

  /// What is wrong with a byte of the text itself; nil when nothing is.
  private static func complaint(_ byte: UInt8, _ kind: TemplateKind) -> String? {
    if kind.isField { return byte < 0x20 && byte != 0x09 || byte == 0x7f ? "control characters cannot stand in a header field" : nil }
    if byte == UInt8(ascii: "#"), kind == .target { return "a request has no fragment" }
    return byte.isURICharacter ? nil : "this character cannot stand in a URI; write it as an escape such as %20"
  }

  private static func variable(
    _ text: String, _ kind: TemplateKind, _ captures: [String], isQuery: Bool, offset: Int
  ) throws(TemplateError) -> [Part] {
    func failure(_ message: String) -> TemplateError { TemplateError(offset: offset, message: message) }
    let pieces = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let row = TemplateVariableRow.table.first(where: { $0.name == pieces[0] && $0.takesName == (pieces.count == 2) }) else {
      if let index = captures.firstIndex(of: text) { return [Part(variable: .capture, capture: index)] }
      if pieces.count == 1, TemplateVariableRow.table.contains(where: { $0.name == text }) { throw failure("{\(text)} needs a name: {\(text):NAME}") }
      throw failure("{\(text)} is neither a capture of the route nor a variable (known: \(known(kind, captures)))")
    }
    if row.needsResponse, kind != .responseField { throw failure("{\(row.name)} is known only once there is a response") }
    if row.variable.isForFields, !kind.isField { throw failure("{\(row.name)} can stand in header fields only") }
    guard row.takesName else {
      // Where a query is composed, its own "?" would be one of its characters.
      if row.variable == .uri { return [Part(variable: .path), Part(variable: .query)] }
      return [Part(variable: isQuery && kind == .target && row.variable == .query ? .queryString : row.variable)]
    }
    let name = pieces[1]
    switch row.variable {
    case .capture:
      guard let index = captures.firstIndex(of: name) else {
        throw failure("the route has no capture \"\(name)\" (captures: \(captures.isEmpty ? "none" : captures.joined(separator: ", ")))")
      }
      return [Part(variable: .capture, capture: index)]
    case .parameter:
      guard !name.isEmpty, name.utf8.allSatisfy({ $0.isURICharacter && $0 != UInt8(ascii: "&") && $0 != UInt8(ascii: "=") }) else {
        throw failure("\"\(name)\" cannot be the name of a parameter")
      }
      return [Part(variable: .parameter, text: name)]
    default:
      guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenCharacter) else { throw failure("\"\(name)\" is not a token, as a name must be") }
      return [Part(variable: row.variable, text: row.variable == .cookie ? name : name.lowercased())]
    }
  }

  private static func known(_ kind: TemplateKind, _ captures: [String]) -> String {
    let rows = TemplateVariableRow.table.filter { $0.variable != .capture && (!$0.needsResponse || kind == .responseField) && (!$0.variable.isForFields || kind.isField) }
    return (rows.map { $0.takesName ? "\($0.name):NAME" : $0.name } + captures).joined(separator: ", ")
  }
}

extension UInt8 {
  /// Visible ASCII without `"<>\^` and the backtick, braces and bar that RFC 3986 leaves out; queries in the wild contain the last three, which are harmless.
  var isURICharacter: Bool {
    switch self {
    case 0x22, 0x3c, 0x3e, 0x5c, 0x5e, 0x60: false
    default: self > 0x20 && self < 0x7f
    }
  }

  /// RFC 9110 §5.6.2.
  var isTokenCharacter: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x5e...0x60, 0x7c, 0x7e: true
    default: false
    }
  }
}
