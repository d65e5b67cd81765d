// JSONText — a few lines of JSON for `status`: objects and lists written front to back.

/// JSON being written. Commas are put where they belong.
struct JSONText {
  private(set) var text = ""
  private var needsComma = false

  mutating func object(_ name: String? = nil, _ body: (inout JSONText) -> Void) { nest(name, "{", "}", body) }
  mutating func list(_ name: String? = nil, _ body: (inout JSONText) -> Void) { nest(name, "[", "]", body) }

  mutating func field(_ name: String?, _ value: String) { put(name, Self.quoted(value)) }
  mutating func field(_ name: String?, _ value: some BinaryInteger) { put(name, String(value)) }
  mutating func field(_ name: String?, _ value: Bool) { put(name, value ? "true" : "false") }
  mutating func null(_ name: String?) { put(name, "null") }

  private mutating func nest(_ name: String?, _ open: String, _ close: String, _ body: (inout JSONText) -> Void) {
    put(name, open)
    needsComma = false
    body(&self)
    text += close
    needsComma = true
  }

  private mutating func put(_ name: String?, _ value: String) {
    if needsComma { text += "," }
    if let name { text += Self.quoted(name) + ":" }
    text += value
    needsComma = true
  }

  static func quoted(_ value: String) -> String {
    var text = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case "\r": text += "\\r"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
