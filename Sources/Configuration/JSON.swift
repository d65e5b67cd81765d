// JSON — a value to be written as text: the effective dump, the schema, and errors for machines.
//
// Invariant: the text is valid JSON, and is read back unchanged by the configuration reader, whose YAML
// rules are narrower than JSON's (see `appendQuoted`).

/// A JSON value; members keep their order.
enum JSON: Equatable, Sendable {
  case bool(Bool)
  case integer(Int)
  /// Thousandths.
  case decimal(Int)
  case string(String)
  case array([JSON])
  case object([Member])

  struct Member: Equatable, Sendable {
    var key: String
    var value: JSON
  }

  /// Whether the value is written on one line.
  private var isFlat: Bool {
    switch self {
    case .bool, .integer, .decimal, .string: true
    case .array(let elements): elements.allSatisfy(\.isScalar)
    case .object(let members): members.isEmpty
    }
  }

  private var isScalar: Bool {
    switch self {
    case .bool, .integer, .decimal, .string: true
    case .array, .object: false
    }
  }

  /// The value as text, objects indented by four spaces, without a newline at the end.
  var pretty: String {
    var text = ""
    write(to: &text, indent: 0)
    return text
  }

  /// The value on one line.
  var compact: String {
    switch self {
    case .bool(let value): value ? "true" : "false"
    case .integer(let value): String(value)
    case .decimal(let value): JSON.decimalText(value)
    case .string(let value): JSON.quoted(value)
    case .array(let elements): "[" + elements.map(\.compact).joined(separator: ", ") + "]"
    case .object(let members): "{" + members.map { JSON.quoted($0.key) + ": " + $0.value.compact }.joined(separator: ", ") + "}"
    }
  }

  private func write(to text: inout String, indent: Int) {
    guard !isFlat else {
      text += compact
      return
    }
    let margin = String(repeating: " ", count: indent + 4)
    var first = true
    func begin(_ text: inout String) {
      text += first ? "\n" : ",\n"
      text += margin
      first = false
    }
    switch self {
    case .array(let elements):
      text += "["
      for element in elements {
        begin(&text)
        element.write(to: &text, indent: indent + 4)
      }
      text += "\n" + String(repeating: " ", count: indent) + "]"
    case .object(let members):
      text += "{"
      for member in members {
        begin(&text)
        JSON.appendQuoted(member.key, to: &text)
        text += ": "
        member.value.write(to: &text, indent: indent + 4)
      }
      text += "\n" + String(repeating: " ", count: indent) + "}"
    case .bool, .integer, .decimal, .string: break
    }
  }

  /// Thousandths as a number: `0.5`, `20`.
  static func decimalText(_ thousandths: Int) -> String {
    let fraction = thousandths % 1000
    guard fraction != 0 else { return String(thousandths / 1000) }
    var digits = String(fraction + 1000).dropFirst()
    while digits.last == "0" { digits.removeLast() }
    return "\(thousandths / 1000).\(digits)"
  }

  static func quoted(_ value: String) -> String {
    var text = ""
    appendQuoted(value, to: &text)
    return text
  }

  /// Appends `value` between double quotes. Escaped are, beside what JSON demands, the characters that YAML
  /// refuses or takes for line ends: C1 controls, U+2028, U+2029, U+FEFF, U+FFFE and U+FFFF.
  private static func appendQuoted(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar.value {
      case 0x22: text += "\\\""
      case 0x5c: text += "\\\\"
      case 0x0a: text += "\\n"
      case 0x0d: text += "\\r"
      case 0x09: text += "\\t"
      case 0..<0x20, 0x7f...0x9f, 0x2028, 0x2029, 0xfeff, 0xfffe, 0xffff:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}

extension JSON: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByStringInterpolation,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  init(booleanLiteral value: Bool) { self = .bool(value) }
  init(integerLiteral value: Int) { self = .integer(value) }
  init(stringLiteral value: String) { self = .string(value) }
  init(arrayLiteral elements: JSON...) { self = .array(elements) }
  init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { Member(key: $0.0, value: $0.1) }) }
}
