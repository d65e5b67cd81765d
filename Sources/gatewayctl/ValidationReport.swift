// ValidationReport — the outcome of `validate --json`.

import Configuration

enum ValidationReport {
  /// `{"valid": …, "errors": […], "warnings": […]}`, each with file, line, column, path, message and suggestion as far as they apply.
  static func json(errors: [ConfigurationError], warnings: [ConfigurationError]) -> String {
    let errorList = list(errors, "error"), warningList = list(warnings, "warning")
    return "{\n  \"valid\": \(errors.isEmpty),\n  \"errors\": \(errorList),\n  \"warnings\": \(warningList)\n}"
  }

  private static func list(_ errors: [ConfigurationError], _ severity: String) -> String {
    if errors.isEmpty { return "[]" }
    return "[\n" + errors.map { "    " + object($0, severity) }.joined(separator: ",\n") + "\n  ]"
  }

  private static func object(_ error: ConfigurationError, _ severity: String) -> String {
    var members = [("severity", JSONValue.quoted(severity))]
    if let file = error.file { members.append(("file", JSONValue.quoted(file))) }
    if error.line > 0 { members += [("line", "\(error.line)"), ("column", "\(error.column)")] }
    switch error.origin {
    case .environment(let name): members.append(("variable", JSONValue.quoted(name)))
    case .flag(let flag): members.append(("flag", JSONValue.quoted(flag)))
    case .file, .wholeFile, .builtIn: break
    }
    members += [("path", JSONValue.quoted(error.path)), ("message", JSONValue.quoted(error.message))]
    if let suggestion = error.suggestion { members.append(("suggestion", JSONValue.quoted(suggestion))) }
    return "{" + members.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}"
  }
}
