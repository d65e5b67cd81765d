// RoutePattern — the language routes name paths in, checked and taken apart.
//
//   /static/text     compared as normalised: "/café" and "/caf%C3%A9" are one pattern
//   :name            one segment that is not empty
//   :name(regex)     … and that the expression matches as a whole
//   *name or *       the rest, which may be empty and contain slashes; last only
//   anything else    a pattern that does not begin with "/" is a literal for the whole target, such as "*"

/// Why a pattern was refused.
public struct RoutePatternError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes (UTF-8) from the start of the pattern to where the fault is.
  public let offset: Int
  public let message: String

  public var description: String { message }
}

/// A checked pattern.
public struct RoutePattern: Equatable, Sendable {
  public enum Segment: Equatable, Sendable {
    /// In normal form; empty only as the last one, after a final slash.
    case text([UInt8])
    case parameter(name: String, constraint: SegmentConstraint?)
    /// Only as the last one.
    case rest(name: String?)
  }

  /// Segments of a pattern, and so also its captures.
  public static let segmentLimit = 64
  /// Bytes of a pattern.
  public static let sizeLimit = 8_192

  public let source: String
  /// Without slashes; a literal is one text.
  public let segments: [Segment]
  /// Whether this is not a path but the whole of a request target.
  public let isLiteral: Bool

  /// The names of its captures in order.
  public var captureNames: [String] {
    segments.compactMap { segment in
      switch segment {
      case .text: nil
      case .parameter(let name, _): name
      case .rest(let name): name
      }
    }
  }

  public var endsInCatchAll: Bool {
    if case .rest = segments.last { true } else { false }
  }

  public init(parsing source: String) throws(RoutePatternError) {
    var parser = PatternParser(source)
    self.source = source
    isLiteral = source.utf8.first != .slash
    segments = isLiteral ? [.text(try parser.literal())] : try parser.segments()
  }
}

private struct PatternParser {
  private let bytes: [UInt8]
  private var position = 0
  private var names: Set<String> = []

  init(_ source: String) { bytes = Array(source.utf8) }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }
  private var isAtSegmentEnd: Bool { position == bytes.count || bytes[position] == .slash }

  private func failure(_ message: String, at offset: Int? = nil) -> RoutePatternError {
    RoutePatternError(offset: offset ?? position, message: message)
  }

  private func checkSize() throws(RoutePatternError) {
    guard !bytes.isEmpty else { throw failure("the pattern is empty") }
    guard bytes.count <= RoutePattern.sizeLimit else {
      throw failure("the pattern is longer than \(RoutePattern.sizeLimit) bytes", at: RoutePattern.sizeLimit)
    }
  }

  mutating func literal() throws(RoutePatternError) -> [UInt8] {
    try checkSize()
    for (offset, byte) in bytes.enumerated() where byte <= 0x20 || byte >= 0x7f {
      throw failure("a literal consists of visible ASCII characters", at: offset)
    }
    return bytes
  }

  /// - Precondition: the pattern begins with a slash.
  mutating func segments() throws(RoutePatternError) -> [RoutePattern.Segment] {
    try checkSize()
    var segments: [RoutePattern.Segment] = []
    while position < bytes.count {
      position += 1  // the slash
      guard segments.count < RoutePattern.segmentLimit else { throw failure("the pattern has more than \(RoutePattern.segmentLimit) segments") }
      segments.append(try segment())
    }
    return segments
  }

  private mutating func segment() throws(RoutePatternError) -> RoutePattern.Segment {
    switch next {
    case UInt8.slash: throw failure("\"//\" in the pattern: requests have their slashes merged and could never match")
    case UInt8.colon: return try parameter()
    case UInt8.asterisk: return try rest()
    default: return .text(try text())
    }
  }

  private mutating func parameter() throws(RoutePatternError) -> RoutePattern.Segment {
    position += 1
    let name = try name(of: "parameter")
    guard !name.isEmpty else {
      throw failure(isAtSegmentEnd || next == UInt8(ascii: "(") ? "the parameter has no name" : "a parameter name begins with a letter or \"_\"")
    }
    var constraint: SegmentConstraint?
    if next == UInt8(ascii: "(") { constraint = try self.constraint() }
    guard isAtSegmentEnd else { throw failure("text after the parameter \":\(name)\" within a segment (names consist of letters, digits and \"_\")") }
    return .parameter(name: name, constraint: constraint)
  }

  private mutating func rest() throws(RoutePatternError) -> RoutePattern.Segment {
    let start = position
    position += 1
    let name = try name(of: "catch-all")
    if !isAtSegmentEnd {
      throw failure(name.isEmpty ? "a catch-all name begins with a letter or \"_\"" : "text after the catch-all \"*\(name)\" (names consist of letters, digits and \"_\")")
    }
    guard position == bytes.count else { throw failure("a catch-all must be the last segment", at: start) }
    return .rest(name: name.isEmpty ? nil : name)
  }

  /// The name from here, which may be empty; fails if the pattern has it already.
  private mutating func name(of kind: String) throws(RoutePatternError) -> String {
    let start = position
    while let byte = next, byte.isLetter || byte == UInt8(ascii: "_") || (byte.isDigit && position > start) { position += 1 }
    let name = String(decoding: bytes[start..<position], as: UTF8.self)
    guard name.isEmpty || names.insert(name).inserted else { throw failure("the name \"\(name)\" of the \(kind) occurs twice in the pattern", at: start) }
    return name
  }

  /// `(regex)`; parentheses inside are counted, except escaped ones and those in classes.
  private mutating func constraint() throws(RoutePatternError) -> SegmentConstraint {
    let open = position
    var depth = 0, inClass = false
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\\"): position += 1
      case UInt8(ascii: "["): inClass = true
      case UInt8(ascii: "]"): inClass = false
      case UInt8(ascii: "(") where !inClass: depth += 1
      case UInt8(ascii: ")") where !inClass: depth -= 1
      default: break
      }
      position += 1
      if depth == 0 { break }
    }
    guard depth == 0, position <= bytes.count else { throw failure("the constraint's \"(\" has no \")\"", at: open) }
    let source = String(decoding: bytes[open + 1..<position - 1], as: UTF8.self)
    do {
      return try SegmentConstraint(source)
    } catch {
      throw failure(error.message, at: open + 1 + error.offset)
    }
  }

  /// A static segment in normal form.
  private mutating func text() throws(RoutePatternError) -> [UInt8] {
    let start = position
    var text: [UInt8] = []
    while let byte = next, byte != .slash {
      if byte == .percent {
        text += try escape()
      } else {
        switch byte.rawSpelling {
        case .plain: text.append(byte)
        case .escaped: text += [.percent, .hexadecimalDigit(byte >> 4), .hexadecimalDigit(byte & 15)]
        case .refused: throw failure(Self.reason(forRefusing: byte))
        }
        position += 1
      }
    }
    let dots = text.prefix { $0 == .dot }.count
    if dots == 1 || dots == 2, dots == text.count || text[dots] == .semicolon {
      throw failure("a segment \".\" or \"..\" never reaches the routes", at: start)
    }
    return text
  }

  private mutating func escape() throws(RoutePatternError) -> [UInt8] {
    guard bytes.count - position > 2, let high = bytes[position + 1].hexadecimalValue, let low = bytes[position + 2].hexadecimalValue else {
      throw failure("\"%\" must be followed by two hexadecimal digits")
    }
    let byte = high << 4 | low
    switch byte.escapedSpelling {
    case .plain:
      position += 3
      return [byte]
    case .escaped:
      position += 3
      return [.percent, .hexadecimalDigit(high), .hexadecimalDigit(low)]
    case .refused: throw failure("requests with an escaped slash, backslash or control character are refused before the routes")
    }
  }

  private static func reason(forRefusing byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "?"), UInt8(ascii: "#"): "the query and fragment are not part of a pattern"
    case UInt8(ascii: "\\"): "requests with a backslash in the path are refused before the routes"
    default: "blanks and control characters cannot occur in a path; a space is %20"
    }
  }
}
