// OriginRules — which web origins may read what a route answers (the CORS protocol of the Fetch standard).
//
// An origin is compared as it is serialised: byte by byte, scheme and port included. Invariant: what a pattern's `*` stands for is one or more
// labels of a host name and nothing else, so that no text in front of, behind or inside an allowed name is taken for it.

import HTTPModel
import Memory

/// Why a text is not an origin.
public struct OriginError: Error, Equatable, Sendable {
  /// Follows the name of the setting: `must …`.
  public let complaint: String
}

/// An origin of the configuration: `https://example.com`, `https://*.example.com`, `http://localhost:*`, `null`, or `*`.
public struct OriginPattern: Equatable, Sendable {
  /// `*`: any origin, and requests without one.
  public let isAny: Bool
  /// Of a pattern, what stands before `*`; else the whole.
  let head: String
  /// Of a pattern, what stands behind `*`: a dot, a name, and its port.
  let tail: String
  let hasWildcard: Bool
  /// The port may be any.
  let isAnyPort: Bool

  public init(parsing text: String) throws(OriginError) {
    isAny = text == "*"
    if isAny || text == "null" {
      (head, tail, hasWildcard, isAnyPort) = (text, "", false, false)
      return
    }
    guard let separator = text.range(of: "://") else { throw OriginError(complaint: "must be an origin such as \"https://example.com\"") }
    let scheme = text[..<separator.lowerBound]
    var rest = String(text[separator.upperBound...])
    guard let first = scheme.utf8.first, first.isLowerLetter, scheme.utf8.allSatisfy({ $0.isLowerLetter || $0.isDigit || "+-.".utf8.contains($0) }) else {
      throw OriginError(complaint: "must begin with a scheme in lower case, such as \"https://\"")
    }
    isAnyPort = rest.hasSuffix(":*")
    if isAnyPort { rest.removeLast(2) }
    hasWildcard = rest.hasPrefix("*.")
    let name = hasWildcard ? String(rest.dropFirst()) : rest
    try OriginPattern.check(name, scheme: String(scheme), mayHavePort: !isAnyPort)
    head = "\(scheme)://" + (hasWildcard ? "" : name)
    tail = hasWildcard ? name : ""
  }

  private static func check(_ name: String, scheme: String, mayHavePort: Bool) throws(OriginError) {
    if name.contains(where: { "/?#@".contains($0) }) { throw OriginError(complaint: "must have no path, query, fragment or user: an origin ends with the host or its port") }
    var host = name
    if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") {
      let port = name[name.index(after: colon)...]
      host = String(name[..<colon])
      guard mayHavePort, let number = UInt16(port), number > 0, !port.hasPrefix("0"), !port.hasPrefix("+") else { throw OriginError(complaint: "must have a port between 1 and 65535, or \"*\"") }
      if scheme == "https" && number == 443 || scheme == "http" && number == 80 {
        throw OriginError(complaint: "must be written without its port, which is that of the scheme: browsers leave it out")
      }
    }
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]") && host.utf8.count > 3
    let inner = isBracketed ? host.dropFirst().dropLast() : Substring(host)
    let isGood = !inner.isEmpty && inner != "." && inner.utf8.allSatisfy { byte in
      isBracketed ? byte.isDigit || (0x61...0x66).contains(byte) || byte == 0x3a || byte == 0x2e : byte.isHostByte
    }
    guard isGood, !inner.hasSuffix("."), !inner.contains("..") else {
      throw OriginError(complaint: "must name a host in lower case, perhaps with \"*.\" before it")
    }
  }
}

extension String {
  fileprivate func range(of text: String) -> Range<String.Index>? {
    var index = startIndex
    while index < endIndex {
      if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
      index = self.index(after: index)
    }
    return nil
  }
}

/// The origins of all routes.
public struct OriginBook: ~Copyable {
  private struct Entry: BitwiseCopyable {
    var head: Extent
    var tail: Extent
    var hasWildcard: Bool
    var isAnyPort: Bool
  }

  /// Those of one route.
  public struct Part: BitwiseCopyable, Sendable {
    fileprivate var start: UInt32
    fileprivate var end: UInt32
    /// Any origin will do.
    public let isAny: Bool
  }

  private var text: [UInt8] = []
  private var entries: [Entry] = []

  public init() {}

  public mutating func add(_ patterns: [OriginPattern]) -> Part {
    let start = entries.count
    for pattern in patterns where !pattern.isAny {
      let first = text.count
      text += pattern.head.utf8
      let middle = text.count
      text += pattern.tail.utf8
      entries.append(
        Entry(head: Extent(first..<middle), tail: Extent(middle..<text.count), hasWildcard: pattern.hasWildcard, isAnyPort: pattern.isAnyPort))
    }
    return Part(start: UInt32(start), end: UInt32(entries.count), isAny: patterns.contains(where: \.isAny))
  }

  /// Whether `origin`, the value of an Origin field, is one of them.
  public func allows(_ origin: Span<UInt8>, _ part: Part) -> Bool {
    if part.isAny { return true }
    let entries = entries.span, text = text.span
    guard part.end <= entries.count else { return false }
    for index in Int(part.start)..<Int(part.end) {
      let entry = entries[index]
      let origin = entry.isAnyPort ? origin.withoutPortOfOrigin : origin
      let head = entry.head.text(in: text), tail = entry.tail.text(in: text)
      guard entry.hasWildcard else {
        if origin.isSame(as: head) { return true }
        continue
      }
      guard origin.count > head.count + tail.count, origin.extracting(first: head.count).isSame(as: head), origin.extracting(last: tail.count).isSame(as: tail)
      else { continue }
      if origin.extracting(head.count..<origin.count - tail.count).areLabels { return true }
    }
    return false
  }
}

extension Span<UInt8> {
  /// The bytes without a colon and one to five digits at their end.
  fileprivate var withoutPortOfOrigin: Span<UInt8> {
    @_lifetime(copy self)
    get {
      var end = count
      while end > 0, count - end < 5, self[end - 1].isDigit { end -= 1 }
      return end > 0 && end < count && self[end - 1] == 0x3a ? extracting(first: end - 1) : self
    }
  }

  /// Whether the bytes are labels of a host name with dots between.
  fileprivate var areLabels: Bool {
    var length = 0
    for index in indices {
      if self[index] == 0x2e {
        if length == 0 { return false }
        length = 0
      } else {
        guard self[index].isHostByte else { return false }
        length += 1
      }
    }
    return length > 0
  }
}

extension UInt8 {
  fileprivate var isLowerLetter: Bool { 0x61...0x7a ~= self }
  fileprivate var isHostByte: Bool { isLowerLetter || isDigit || self == 0x2d || self == 0x2e || self == 0x5f }
}
