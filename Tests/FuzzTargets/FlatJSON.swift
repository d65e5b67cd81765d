// FlatJSON — a strict acceptor of one JSON object without nesting (RFC 8259), in UTF-8.

/// Reads one object from front to back.
struct FlatJSON {
  private var rest: ArraySlice<UInt8>

  static func accepts(_ text: ArraySlice<UInt8>) -> Bool {
    guard String(validating: text, as: UTF8.self) != nil else { return false }
    var reader = FlatJSON(rest: text)
    return reader.object() && reader.rest.isEmpty
  }

  private mutating func object() -> Bool {
    guard skip("{") else { return false }
    repeat {
      guard string(), skip(":"), value() else { return false }
    } while skip(",")
    return skip("}")
  }

  private mutating func value() -> Bool {
    if rest.first == 0x22 { return string() }
    if rest.starts(with: "null".utf8) {
      rest = rest.dropFirst(4)
      return true
    }
    let number = rest.prefix { 0x30...0x39 ~= $0 || $0 == 0x2e }
    rest = rest[number.endIndex...]
    let halves = number.split(separator: 0x2e, omittingEmptySubsequences: false)
    guard halves.count <= 2, halves.allSatisfy({ !$0.isEmpty }) else { return false }
    return halves[0].count == 1 || halves[0].first != 0x30
  }

  private mutating func string() -> Bool {
    guard skip("\"") else { return false }
    while let byte = rest.popFirst() {
      switch byte {
      case 0x22: return true
      case 0x5c:
        guard let escape = rest.popFirst() else { return false }
        if escape == 0x75 {
          guard rest.count >= 4, rest.prefix(4).allSatisfy({ "0123456789abcdefABCDEF".utf8.contains($0) }) else { return false }
          rest = rest.dropFirst(4)
        } else if !"\"\\/bfnrt".utf8.contains(escape) {
          return false
        }
      case 0..<0x20: return false
      default: break
      }
    }
    return false
  }

  private mutating func skip(_ text: String) -> Bool {
    guard rest.starts(with: text.utf8) else { return false }
    rest = rest.dropFirst(text.utf8.count)
    return true
  }
}
