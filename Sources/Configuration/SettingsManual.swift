// SettingsManual — the settings table as a manual page, gateway.json(5).

public enum SettingsManual {
  /// Lines in the language of man(7).
  public static var roff: String {
    var text = """
      .TH GATEWAY.JSON 5 "" "gateway" "File formats"
      .ad l
      .SH NAME
      gateway.json \\- configuration of the HTTP gateway
      .SH DESCRIPTION
      One object in JSON or YAML; # begins a comment. Unknown keys are errors, and all errors are reported at once.
      .B gatewayctl validate
      checks a file,
      .B gatewayctl explain
      .I KEY
      explains a key.
      .SH KEYS

      """
    SettingsTable.visit(SettingsTable.root.rows, "") { row, path in
      text += ".TP\n.B \(Roff.escaped(path))\n"
      var sentence = row.sentence
      let value = row.required ? "required" : row.shape.defaultValue.map { "default " + $0.compact } ?? ""
      let facts = [row.shape.type, row.shape.bounds, value].filter { !$0.isEmpty }
      sentence += " (" + facts.joined(separator: "; ") + ")"
      if !row.variables.isEmpty { sentence += " Environment: " + row.variables.map { "GATEWAY_" + $0 }.joined(separator: ", ") + "." }
      text += Roff.escaped(sentence) + "\n"
    }
    return text + ".SH SEE ALSO\n.BR gatewayd (8),\n.BR gatewayctl (1)\n"
  }
}

/// Text in a manual page.
public enum Roff {
  /// `text` such that nothing in it is a request, an escape or a hyphen to break at; a list with colons may be broken behind these.
  public static func escaped(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      var escaped = ""
      var previous: Character = " "
      for character in line {
        if previous == ":", character != " " { escaped += "\\:" }
        previous = character
        switch character {
        case "\\": escaped += "\\e"
        case "-": escaped += "\\-"
        case _ where !character.isASCII: for scalar in character.unicodeScalars { escaped += "\\[u" + String(scalar.value, radix: 16, uppercase: true).leftPadded + "]" }
        default: escaped.append(character)
        }
      }
      return escaped.hasPrefix(".") || escaped.hasPrefix("'") ? "\\&" + escaped : escaped
    }.joined(separator: "\n")
  }
}

extension String {
  /// At least four digits, as a Unicode character is written in a manual page.
  fileprivate var leftPadded: String { String(repeating: "0", count: max(0, 4 - count)) + self }
}
