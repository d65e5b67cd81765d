// PreloadLinks — reads the values of Link fields (RFC 8288 §3) for what a response will need: rel=preload without nopush.
//
// What is not well-formed ends the list; what came before it holds.

import HTTPModel
import Memory

/// The links of one field value, one after the other.
public struct PreloadLinks {
  private var position: Int
  private let end: Int

  /// - Parameter value: where the value lies in the bytes that `next` is given.
  public init(_ value: Extent) {
    position = value.lower
    end = value.upper
  }

  /// The target of the next link to be preloaded; nil when there is none.
  public mutating func next(_ bytes: Span<UInt8>) -> Extent? {
    while true {
      skip(bytes) { $0 == 0x20 || $0 == 0x09 || $0 == 0x2c }
      guard position < end, bytes[position] == 0x3c else { return nil }
      position += 1
      let start = position
      skip(bytes) { $0 != 0x3e }
      guard position < end else { return nil }
      let target = Extent(start..<position)
      position += 1
      if takeParameters(bytes), !target.isEmpty { return target }
    }
  }

  /// Moves behind the parameters of a link; whether they want it preloaded, and pushed.
  private mutating func takeParameters(_ bytes: Span<UInt8>) -> Bool {
    var isPreload = false, mayBePushed = true, hasRelation = false
    while true {
      skipBlanks(bytes)
      guard position < end, bytes[position] == 0x3b else { return isPreload && mayBePushed }
      position += 1
      skipBlanks(bytes)
      let name = takeToken(bytes)
      skipBlanks(bytes)
      var value = 0..<0
      if position < end, bytes[position] == 0x3d {
        position += 1
        skipBlanks(bytes)
        value = takeValue(bytes)
      }
      let text = bytes.extracting(name)
      if text.equalsIgnoringCase("nopush") { mayBePushed = false }
      // Only the first counts.
      guard text.equalsIgnoringCase("rel"), !hasRelation else { continue }
      hasRelation = true
      isPreload = Self.isPreload(bytes.extracting(value))
    }
  }

  private mutating func takeToken(_ bytes: Span<UInt8>) -> Range<Int> {
    let start = position
    skip(bytes) { $0 != 0x3b && $0 != 0x2c && $0 != 0x3d && $0 != 0x20 && $0 != 0x09 && $0 != 0x22 }
    return start..<position
  }

  /// A token, or what stands between quotes.
  private mutating func takeValue(_ bytes: Span<UInt8>) -> Range<Int> {
    guard position < end, bytes[position] == 0x22 else { return takeToken(bytes) }
    position += 1
    let start = position
    while position < end, bytes[position] != 0x22 { position += bytes[position] == 0x5c ? 2 : 1 }
    position = min(position, end)
    let range = start..<position
    if position < end { position += 1 }
    return range
  }

  /// Whether one of the relations is "preload".
  private static func isPreload(_ relations: Span<UInt8>) -> Bool {
    var start = 0
    while start < relations.count {
      var end = start
      while end < relations.count, relations[end] != 0x20 { end += 1 }
      if relations.extracting(start..<end).equalsIgnoringCase("preload") { return true }
      start = end + 1
    }
    return false
  }

  private mutating func skipBlanks(_ bytes: Span<UInt8>) { skip(bytes) { $0 == 0x20 || $0 == 0x09 } }

  private mutating func skip(_ bytes: Span<UInt8>, _ isSkipped: (UInt8) -> Bool) {
    while position < end, isSkipped(bytes[position]) { position += 1 }
  }
}

extension Span<UInt8> {
  /// The path and query of this link target, if it lies in the origin that `scheme` ("https://") and `authority` name.
  /// - Returns: nil for another origin, a path that is not absolute, or anything that cannot stand in a request line.
  public func path(in scheme: StaticString, _ authority: Span<UInt8>) -> Range<Int>? {
    var start = 0
    if count > 0, self[0] != 0x2f {
      let length = scheme.utf8CodeUnitCount
      guard count >= length + authority.count, extracting(first: length).equalsIgnoringCase(scheme),
        extracting(length..<length + authority.count).equalsIgnoringCase(authority)
      else { return nil }
      start = length + authority.count
    }
    var end = start
    while end < count, self[end] != 0x23 {
      guard 0x21...0x7e ~= self[end] else { return nil }
      end += 1
    }
    guard end > start, self[start] == 0x2f, end == start + 1 || self[start + 1] != 0x2f else { return nil }
    return start..<end
  }
}
