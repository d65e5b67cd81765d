// ResponseRewriter — a response's head with the addresses in it as the client must see them.
//
// A backend behind a stripped prefix, or behind a name that only the gateway knows, sends clients to places that they cannot reach. Here the paths in
// Location and in the Path of cookies get the prefix back, and addresses that name the backend become paths. Everything else is
// written as it was understood.

import HTTPModel
import Memory

/// What is rewritten, and how.
public struct ResponseRewriter: BitwiseCopyable, Sendable {
  public var location: Bool
  public var cookiePath: Bool

  public init(location: Bool, cookiePath: Bool) {
    self.location = location
    self.cookiePath = cookiePath
  }

  /// Whether `head`, as parsed from `bytes`, has a field that is rewritten.
  public func concerns(_ head: borrowing ResponseHead, in bytes: Span<UInt8>) -> Bool {
    for index in 0..<head.fieldCount {
      let name = head.field(at: index).nameText.text(in: bytes)
      if location && name.equalsIgnoringCase("location") || cookiePath && name.equalsIgnoringCase("set-cookie") { return true }
    }
    return false
  }

  /// Bytes that the rewritten head takes at most.
  public static func capacity(_ head: borrowing ResponseHead, of bytes: Span<UInt8>, prefix: Span<UInt8>) -> Int {
    2 * bytes.count + (prefix.count + 8) * (bytes.count / 16 + head.fieldCount + 1)
  }

  /// Appends the head to `output`, which has room for `capacity`.
  /// - Parameters:
  ///   - head: as parsed from `bytes`, which hold the head and nothing else.
  ///   - prefix: what was taken from the path of the request; without a final slash.
  ///   - authority: by which the backend is addressed, as in Host.
  public func rewrite(_ head: borrowing ResponseHead, of bytes: Span<UInt8>, prefix: Span<UInt8>, authority: Span<UInt8>, into output: inout Buffer) {
    var lineEnd = 0
    while lineEnd < bytes.count, bytes[lineEnd] != 0x0d { lineEnd += 1 }
    output.append(bytes.extracting(first: lineEnd))
    output.append("\r\n")
    for index in 0..<head.fieldCount {
      let field = head.field(at: index)
      let name = field.nameText.text(in: bytes), value = field.value.text(in: bytes)
      output.append(name)
      output.append(": ")
      if location, name.equalsIgnoringCase("location") {
        ResponseRewriter.append(location: value, prefix, authority, to: &output)
      } else if cookiePath, name.equalsIgnoringCase("set-cookie") {
        ResponseRewriter.append(cookie: value, prefix, to: &output)
      } else {
        output.append(value)
      }
      output.append("\r\n")
    }
    output.append("\r\n")
  }

  // MARK: Location

  private static func append(location value: Span<UInt8>, _ prefix: Span<UInt8>, _ authority: Span<UInt8>, to output: inout Buffer) {
    guard !isNetworkPath(prefix) else { return output.append(value) }
    if value.first == 0x2f, !isNetworkPath(value) {
      output.append(prefix)
      return output.append(value)
    }
    guard let start = authorityStart(value) else { return output.append(value) }
    var end = start
    while end < value.count, value[end] != 0x2f, value[end] != 0x3f, value[end] != 0x23 { end += 1 }
    let rest = value.extracting(droppingFirst: end)
    guard equalIgnoringCase(value.extracting(start..<end), authority), !(prefix.isEmpty && isNetworkPath(rest)) else { return output.append(value) }
    output.append(prefix)
    if rest.first != 0x2f { output.append("/") }
    output.append(rest)
  }

  /// Whether `text` begins like `//host/path`.
  private static func isNetworkPath(_ text: Span<UInt8>) -> Bool { text.count >= 2 && text[0] == 0x2f && (text[1] == 0x2f || text[1] == 0x5c) }

  /// Where the authority of an absolute address begins; nil when there is none.
  private static func authorityStart(_ value: Span<UInt8>) -> Int? {
    if isNetworkPath(value) { return 2 }
    if value.count >= 7, value.extracting(first: 7).equalsIgnoringCase("http://") { return 7 }
    if value.count >= 8, value.extracting(first: 8).equalsIgnoringCase("https://") { return 8 }
    return nil
  }

  private static func equalIgnoringCase(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    for index in a.indices where lower(a[index]) != lower(b[index]) { return false }
    return true
  }

  private static func lower(_ byte: UInt8) -> UInt8 { 0x41...0x5a ~= byte ? byte | 0x20 : byte }

  // MARK: Cookies (RFC 6265 §5.2)

  private static func append(cookie value: Span<UInt8>, _ prefix: Span<UInt8>, to output: inout Buffer) {
    // A cookie of that name is for "/" and nothing else; and no attribute can hold a semicolon.
    guard !prefix.isEmpty, !beginsWithHost(value), !contains(prefix, 0x3b) else { return output.append(value) }
    var start = 0
    while true {
      var end = start
      while end < value.count, value[end] != 0x3b { end += 1 }
      let part = value.extracting(start..<end)
      if start > 0, let path = pathStart(part) {
        output.append(part.extracting(first: path))
        output.append(prefix)
        // "/" becomes the prefix, so that the cookie is good for the prefix itself.
        let rest = part.extracting(droppingFirst: path)
        if !isRoot(rest) { output.append(rest) }
      } else {
        output.append(part)
      }
      guard end < value.count else { return }
      output.append(";")
      start = end + 1
    }
  }

  /// Where in an attribute ` Path=/x` the path begins; nil when it is another one, or not an absolute path.
  private static func pathStart(_ part: Span<UInt8>) -> Int? {
    var position = skipBlanks(part, 0)
    guard part.count - position >= 4, part.extracting(position..<position + 4).equalsIgnoringCase("path") else { return nil }
    position = skipBlanks(part, position + 4)
    guard position < part.count, part[position] == 0x3d else { return nil }
    position = skipBlanks(part, position + 1)
    return position < part.count && part[position] == 0x2f ? position : nil
  }

  private static func isRoot(_ path: Span<UInt8>) -> Bool { skipBlanks(path, 1) == path.count }

  private static func skipBlanks(_ text: Span<UInt8>, _ start: Int) -> Int {
    var position = start
    while position < text.count, text[position] == 0x20 || text[position] == 0x09 { position += 1 }
    return position
  }

  private static func beginsWithHost(_ value: Span<UInt8>) -> Bool {
    let start = skipBlanks(value, 0)
    return value.count - start >= 7 && value.extracting(start..<start + 7).equalsIgnoringCase("__Host-")
  }

  private static func contains(_ text: Span<UInt8>, _ byte: UInt8) -> Bool {
    for index in text.indices where text[index] == byte { return true }
    return false
  }
}

extension Span<UInt8> {
  fileprivate var first: UInt8? { isEmpty ? nil : self[0] }
}
