// Node — a configuration file as a tree in which everything knows where it stands.

/// A value of the file (or one made from an environment variable or a flag).
struct Node: Sendable {
  enum Content: Sendable {
    case scalar(String, quoted: Bool)
    case mapping([Entry])
    case sequence([Node])
  }

  struct Entry: Sendable {
    var key: String
    var origin: Origin
    var value: Node
  }

  var content: Content
  var origin: Origin

  /// What a scalar is, by the rules of JSON and of YAML's core schema.
  enum Kind {
    case null, boolean(Bool), integer(Int), hugeInteger, fraction, text(String), mapping, sequence
  }

  var kind: Kind {
    switch content {
    case .mapping: .mapping
    case .sequence: .sequence
    case .scalar(let text, quoted: true): .text(text)
    case .scalar(let text, quoted: false): Node.plainKind(text)
    }
  }

  /// A number in thousandths; nil where it has more decimals than that, or an exponent. What is too large is `Int.max`.
  var thousandths: Int? {
    guard case .scalar(let text, quoted: false) = content else { return nil }
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let decimals = parts.count == 2 ? String(parts[1]) : ""
    guard decimals.utf8.count <= 3, decimals.utf8.allSatisfy(isDigit), parts[0].utf8.allSatisfy({ isDigit($0) || $0 == 0x2d }) else { return nil }
    let digits = parts[0] + decimals + String(repeating: "0", count: 3 - decimals.utf8.count)
    return Int(digits) ?? (digits.utf8.contains { isDigit($0) } ? .max : nil)
  }

  /// The node with a plain number given in `unit`, as text that says so.
  func quantity(in unit: Unit) -> Node {
    guard case .scalar(let text, quoted: false) = content, case .integer = kind else { return self }
    return Node(content: .scalar(text + (unit == .milliseconds ? "ms" : unit == .seconds ? "s" : "B"), quoted: false), origin: origin)
  }

  /// For messages: what was found instead of what was expected.
  var found: String {
    switch content {
    case .mapping: "found an object"
    case .sequence: "found a list"
    case .scalar("", quoted: false): "found nothing"
    case .scalar(let text, quoted: false): "found \(Node.shortened(text))"
    case .scalar(let text, quoted: true): "found the text \(JSON.quoted(Node.shortened(text)))"
    }
  }

  private static func shortened(_ text: String) -> String {
    let line = text.prefix(60).map { $0.isNewline ? " " : $0 }
    return String(line) + (text.count > 60 ? "…" : "")
  }

  private static func plainKind(_ text: String) -> Kind {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .boolean(true)
    case "false", "False", "FALSE": return .boolean(false)
    default: break
    }
    var digits = Substring(text).utf8[...]
    if let sign = digits.first, sign == 0x2d || sign == 0x2b { digits = digits.dropFirst() }
    guard let first = digits.first, isDigit(first) || first == 0x2e else { return .text(text) }
    if digits.allSatisfy(isDigit) {
      // 0660 is a number to some readers of YAML and a text to others: leave it to who asks.
      if first == 0x30, digits.count > 1 { return .text(text) }
      return Int(text).map(Kind.integer) ?? .hugeInteger
    }
    return Double(text) != nil && !text.utf8.contains(where: { $0 | 0x20 == 0x78 }) ? .fraction : .text(text)
  }
}

func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a }
