// RedirectTemplate — the Location of a redirect, put together from its template and the request.
//
// Names in braces are looked up once, when the plan is loaded. What is inserted comes from a parsed request, and is
// checked all the same: no byte that could end a header field gets through.

import Memory

/// Why a template was refused.
public struct RedirectTemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes (UTF-8) from the start of the template.
  public let offset: Int
  public let message: String

  public var description: String { message }
}

/// A compiled `RedirectPlan.to`.
public struct RedirectTemplate: Sendable {
  private enum Part: Sendable {
    case text(Range<Int>)
    case scheme
    case host
    case path
    case query
    case capture(Int)
  }

  /// The template, and behind it what `{scheme}` can be.
  private let text: [UInt8]
  private let parts: [Part]

  private static let schemes = Array("https".utf8)

  /// Compiles a template: `{scheme}`, `{host}`, `{path}`, `{query}`, `{uri}`, or `{name}` for one of `captures`, the names of the route's captures.
  ///
  /// It must begin with `/`, `http://`, `https://`, `{scheme}://`, `{path}` or `{uri}`, and consist of characters that a URI may contain.
  public init(parsing source: String, captures: [String]) throws(RedirectTemplateError) {
    let bytes = Array(source.utf8)
    var parts: [Part] = [], position = 0, literal = 0
    func endLiteral() { if literal < position { parts.append(.text(literal..<position)) } }
    func failure(_ message: String) -> RedirectTemplateError { RedirectTemplateError(offset: position, message: message) }

    guard ["/", "http://", "https://", "{scheme}://", "{path}", "{uri}"].contains(where: { source.hasPrefix($0) }) else {
      throw failure("a redirect begins with \"/\", \"http://\", \"https://\", \"{scheme}://\", {path} or {uri}")
    }
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "{") {
        guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "}")) else { throw failure("\"{\" without \"}\"") }
        endLiteral()
        switch String(decoding: bytes[position + 1..<end], as: UTF8.self) {
        case "scheme": parts.append(.scheme)
        case "host": parts.append(.host)
        case "path": parts.append(.path)
        case "query": parts.append(.query)
        case "uri": parts += [.path, .query]
        case let name:
          guard let index = captures.firstIndex(of: name) else {
            let known = (["scheme", "host", "path", "query", "uri"] + captures).joined(separator: ", ")
            throw failure("{\(name)} is neither a capture of the route nor a part of the request (known: \(known))")
          }
          parts.append(.capture(index))
        }
        position = end + 1
        literal = position
      } else {
        guard byte != UInt8(ascii: "}") else { throw failure("\"}\" without \"{\"") }
        guard byte.isURICharacter else { throw failure("this character cannot stand in a URI; write it as an escape such as %20") }
        position += 1
      }
    }
    endLiteral()
    text = bytes + Self.schemes
    self.parts = parts
  }

  /// Appends the Location for a request.
  /// - Parameters:
  ///   - isSecure: whether the client speaks TLS.
  ///   - host: as the client wrote it, with its port.
  ///   - path: the normalised path that was matched.
  ///   - query: the rest of the target, with its `?`; empty when there is none.
  ///   - captures: of the match.
  /// - Returns: false, and nothing is appended, when it does not fit in the free space, when the template asks for a host
  ///   and there is none, or when a part contains a byte that cannot stand in a URI.
  public func append(
    to output: inout Buffer, isSecure: Bool, host: Span<UInt8>, path: Span<UInt8>, query: Span<UInt8>, captures: borrowing Captures
  ) -> Bool {
    let text = text.span, parts = parts.span
    // "https" is the last of the text; "http" is all but its last letter.
    let scheme = text.extracting(last: Self.schemes.count).extracting(first: Self.schemes.count - (isSecure ? 0 : 1))
    var size = 0
    for index in parts.indices {
      let part: Span<UInt8>
      switch parts[index] {
      case .text(let range): part = text.extracting(range)
      case .scheme: part = scheme
      case .host:
        guard host.count > 0 else { return false }
        part = host
      case .path: part = path
      case .query: part = query
      case .capture(let capture): part = captures.value(capture, in: path)
      }
      guard part.isURIText else { return false }
      size += part.count
    }
    guard size <= output.freeCapacity else { return false }
    for index in parts.indices {
      let part = switch parts[index] {
      case .text(let range): text.extracting(range)
      case .scheme: scheme
      case .host: host
      case .path: path
      case .query: query
      case .capture(let capture): captures.value(capture, in: path)
      }
      if part.count > 0 { output.append(part) }
    }
    return true
  }
}

extension Span<UInt8> {
  fileprivate var isURIText: Bool {
    for index in indices where !self[index].isURICharacter { return false }
    return true
  }
}

extension UInt8 {
  /// Visible ASCII without `"<>\^` and the backtick, braces and bar that RFC 3986 leaves out; queries in the wild contain the last three, which are harmless.
  fileprivate var isURICharacter: Bool {
    switch self {
    case 0x22, 0x3c, 0x3e, 0x5c, 0x5e, 0x60: false
    default: self > 0x20 && self < 0x7f
    }
  }
}
