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
    var text: [UInt8] = []
    write(to: &text, indent: 0)
    return String(decoding: text, as: UTF8.self)
  }

  /// The value on one line.
  var compact: String {
    var text: [UInt8] = []
    writeCompact(to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  private func writeCompact(to text: inout [UInt8]) {
    switch self {
    case .bool(let value): text += (value ? "true" : "false").utf8
    case .integer(let value): text += String(value).utf8
    case .decimal(let value): text += JSON.decimalText(value).utf8
    case .string(let value): JSON.appendQuoted(value, to: &text)
    case .array(let elements):
      text.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { text += ", ".utf8 }
        element.writeCompact(to: &text)
      }
      text.append(UInt8(ascii: "]"))
    case .object(let members):
      text.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { text += ", ".utf8 }
        JSON.appendQuoted(member.key, to: &text)
        text += ": ".utf8
        member.value.writeCompact(to: &text)
      }
      text.append(UInt8(ascii: "}"))
    }
  }

  private func write(to text: inout [UInt8], indent: Int) {
    guard !isFlat else { return writeCompact(to: &text) }
    func begin(_ text: inout [UInt8], _ isFirst: Bool) {
      if !isFirst { text.append(UInt8(ascii: ",")) }
      text.append(UInt8(ascii: "\n"))
      for _ in 0..<indent + 4 { text.append(0x20) }
    }
    func end(_ text: inout [UInt8], _ bracket: UInt8) {
      text.append(UInt8(ascii: "\n"))
      for _ in 0..<indent { text.append(0x20) }
      text.append(bracket)
    }
    switch self {
    case .array(let elements):
      text.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        begin(&text, index == 0)
        element.write(to: &text, indent: indent + 4)
      }
      end(&text, UInt8(ascii: "]"))
    case .object(let members):
      text.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        begin(&text, index == 0)
        JSON.appendQuoted(member.key, to: &text)
        text += ": ".utf8
        member.value.write(to: &text, indent: indent + 4)
      }
      end(&text, UInt8(ascii: "}"))
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
    var text: [UInt8] = []
    appendQuoted(value, to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  /// Appends `value` between double quotes. Escaped are, beside what JSON demands, the characters that YAML
  /// refuses or takes for line ends: C1 controls, U+2028, U+2029, U+FEFF, U+FFFE and U+FFFF.
  private static func appendQuoted(_ value: String, to text: inout [UInt8]) {
    text.append(0x22)
    if value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x5c }) {
      text += value.utf8
    } else {
      for scalar in value.unicodeScalars { append(scalar, to: &text) }
    }
    text.append(0x22)
  }

  private static func append(_ scalar: Unicode.Scalar, to text: inout [UInt8]) {
    switch scalar.value {
    case 0x22: text += "\\\"".utf8
    case 0x5c: text += "\\\\".utf8
    case 0x0a: text += "\\n".utf8
    case 0x0d: text += "\\r".utf8
    case 0x09: text += "\\t".utf8
    case 0..<0x20, 0x7f...0x9f, 0x2028, 0x2029, 0xfeff, 0xfffe, 0xffff:
      let digits = String(scalar.value, radix: 16)
      text += ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8
    default: text += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
    }
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
