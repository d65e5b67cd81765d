// TextRule — what the text of a setting may be. Rules are named here once; tables refer to them.

import Policy
import TLS

/// A rule for the text of one setting.
struct TextRule: Sendable {
  /// What it is, for the reference: `host name or IP address`.
  let description: String
  /// A regular expression that every acceptable text matches, for the schema; nil when there is none.
  var pattern: String?
  /// The text as it is kept.
  var normalise: @Sendable (String) -> String = { $0 }
  /// A complaint that follows the setting's path, such as `must be …`; nil when the text is good.
  let complaint: @Sendable (String) -> String?

  static let any = TextRule(description: "text") { _ in nil }

  /// A name that appears in messages and metrics.
  static let name = TextRule(description: "name", pattern: "^[^\\u0000-\\u0020\\u007f]+( [^\\u0000-\\u0020\\u007f]+)*$") { text in
    if text.isEmpty { return "must not be empty" }
    if text.utf8.count > 255 { return "must not be longer than 255 bytes" }
    return text.utf8.contains { $0 < 0x20 || $0 == 0x7f } ? "must not contain control characters" : nil
  }

  /// A name that systemd gives a descriptor (sd_listen_fds_with_names(3)).
  static let descriptorName = TextRule(description: "name", pattern: "^[!-9;-~]{1,255}$") { text in
    if text.isEmpty || text.utf8.count > 255 { return "must have 1 to 255 characters" }
    return text.utf8.contains { $0 <= 0x20 || $0 >= 0x7f || $0 == UInt8(ascii: ":") } ? "must consist of ASCII letters, digits and signs other than the colon" : nil
  }

  static let host = TextRule(
    description: "host name or IP address", normalise: HostSyntax.withoutBrackets,
    complaint: { HostSyntax.complaint($0).map { "is not a host name or IP address: \($0)" } })

  /// A host of backends, whose name may have underscores.
  static let backendHost = TextRule(
    description: "host name or IP address", normalise: HostSyntax.withoutBrackets,
    complaint: { HostSyntax.complaint($0, underscores: true).map { "is not a host name or IP address: \($0)" } })

  /// `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`; kept with the port.
  static let nameServer = TextRule(
    description: "IP address, with a port if it is not 53", normalise: { HostSyntax.server($0).map { "\($0.address.contains(":") ? "[\($0.address)]" : $0.address):\($0.port)" } ?? $0 },
    complaint: { HostSyntax.server($0) == nil ? "is not an IP address, with or without a port: \(JSON.quoted($0))" : nil })

  /// `example.com` or `*.example.com`.
  static let hostPattern = TextRule(description: "host name, or \"*.\" and a host name") { text in
    let name = text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
    if text.hasPrefix("*."), HostSyntax.isAddress(name) { return "has a wildcard before an IP address" }
    if name.hasSuffix(".") { return "must be written without the final dot" }
    return HostSyntax.complaint(HostSyntax.withoutBrackets(name)).map { "is not a host name or \"*.\" and a host name: \($0)" }
  }

  /// The path of a file to write; rules on absolute paths depend on how the gateway is started.
  static let logFile = TextRule(description: "path") { text in
    if text.utf8.contains(0) { return "must not contain NUL" }
    let last = text.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    return last.isEmpty || last == "." || last == ".." ? "must name a file (\(JSON.quoted(text)) names a directory)" : nil
  }

  /// The path of a file to read.
  static let file = TextRule(description: "path") { text in
    if text.isEmpty { return "must not be empty" }
    return text.utf8.contains(0) ? "must not contain NUL" : nil
  }

  static let ciphers = TextRule(description: "list of ciphers") { text in
    text.utf8.contains(0) ? "must not contain NUL" : TLSServer.complaint(ciphers: text).map { "\($0) (found \(JSON.quoted(text)))" }
  }
  static let cipherSuites = TextRule(description: "list of cipher suites") { text in
    text.utf8.contains(0) ? "must not contain NUL" : TLSServer.complaint(cipherSuites: text).map { "\($0) (found \(JSON.quoted(text)))" }
  }
  static let groups = TextRule(description: "list of groups") { text in
    text.utf8.contains(0) ? "must not contain NUL" : TLSServer.complaint(groups: text).map { "\($0) (found \(JSON.quoted(text)))" }
  }

  static let socketPath = TextRule(description: "absolute path", pattern: "^/") { text in
    if !text.hasPrefix("/") { return "must be an absolute path (found \(JSON.quoted(text)))" }
    if text.utf8.contains(0) { return "must not contain NUL" }
    if text.hasSuffix("/") { return "must name a file (\(JSON.quoted(text)) names a directory)" }
    return text.utf8.count > 107 ? "is too long for a Unix socket (107 bytes at most)" : nil
  }

  static let fileMode = TextRule(description: "three or four octal digits", pattern: "^0?[0-7]{3}$") { text in
    let digits = text.utf8
    let isMode = (digits.count == 3 || digits.count == 4 && digits.first == 0x30) && digits.allSatisfy { $0 >= 0x30 && $0 <= 0x37 }
    return isMode ? nil : "must be octal permission bits such as \"0660\" (found \(JSON.quoted(text)))"
  }

  static let account = TextRule(description: "name", pattern: "^[A-Za-z0-9_][A-Za-z0-9_.-]*\\$?$") { text in
    guard let first = text.utf8.first, isDigit(first) || isLetter(first) || first == 0x5f,
      text.utf8.allSatisfy({ isDigit($0) || isLetter($0) || [0x5f, 0x2e, 0x2d, 0x24].contains($0) })
    else { return "must be an account name (found \(JSON.quoted(text)))" }
    return nil
  }

  /// RFC 9110 §5.6.2.
  static let token = TextRule(description: "token", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") { text in
    let isToken = !text.isEmpty && text.utf8.allSatisfy { isDigit($0) || isLetter($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    return isToken ? nil : "must be a token: letters, digits and !#$%&'*+-.^_`|~ (found \(JSON.quoted(text)))"
  }

  /// What of a request its endpoint goes by.
  static let balanceKey = TextRule(
    description: "client_ip, path, header:NAME, cookie:NAME or param:NAME", pattern: "^(client_ip|path|(header|cookie|param):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$"
  ) { text in
    do throws(BalanceKeyError) { _ = try BalanceKey(parsing: text) } catch { return error.complaint }
    return nil
  }

  /// RFC 6265 §4.1.1.
  static let cookiePath = TextRule(description: "path", pattern: "^/[^\\u0000-\\u0020\\u007f-\\uffff;]*$") { text in
    text.hasPrefix("/") && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x3b }
      ? nil : "must be a path that begins with \"/\", without blanks and semicolons (found \(JSON.quoted(text)))"
  }

  static let pattern = TextRule(description: "path pattern", pattern: "^/") { RoutePath.complaint($0) }

  static let method = TextRule(description: "method", pattern: "^(" + MethodNames.all.joined(separator: "|") + ")$") { text in
    if MethodNames.all.contains(text) { return nil }
    let meant = MethodNames.all.first { $0 == text.uppercased() } ?? Suggestion.nearest(to: text, among: MethodNames.all)
    return "has no method \(JSON.quoted(text)) (methods: \(MethodNames.all.joined(separator: " ")))" + (meant.map { "; did you mean \"\($0)\"?" } ?? "")
  }

  static let accessFormat = TextRule(description: "\"json\", \"combined\", or a format with variables such as $status") { text in
    AccessFormat.complaint(text)
  }

  /// The address of a redirect; it is judged together with the captures of the route.
  static let redirectTarget = TextRule(description: "address with placeholders", pattern: "^(/|https?://|\\{scheme\\}://|\\{path\\}|\\{uri\\})") { text in
    text.isEmpty ? "must not be empty" : nil
  }
}
