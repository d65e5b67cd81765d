// HostSyntax — host names (RFC 1123) and literal addresses, without the leniency of inet_aton.

import Glibc

enum HostSyntax {
  /// An IPv4 address in four decimal parts.
  static func isIPv4(_ text: String) -> Bool {
    var address = in_addr()
    return unsafe inet_pton(AF_INET, text, &address) == 1 && !text.utf8.contains(0)
  }

  /// An IPv6 address without brackets and zone.
  static func isIPv6(_ text: String) -> Bool {
    var address = in6_addr()
    return unsafe inet_pton(AF_INET6, text, &address) == 1 && !text.utf8.contains(0)
  }

  static func isAddress(_ text: String) -> Bool { isIPv4(text) || isIPv6(text) }

  /// An address with a port, 53 if none is given; nil when it is something else.
  static func server(_ text: String) -> (address: String, port: Int)? {
    if isAddress(text) { return (text, 53) }
    if text.hasPrefix("["), text.hasSuffix("]") { return isIPv6(withoutBrackets(text)) ? (withoutBrackets(text), 53) : nil }
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let host = String(text[..<colon]), digits = text[text.index(after: colon)...]
    let address = withoutBrackets(host)
    // An IPv6 address without brackets would end in what looks like a port.
    guard isIPv4(host) || host.hasPrefix("[") && isIPv6(address) else { return nil }
    guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy(isDigit), let port = Int(digits), (1...65535).contains(port) else { return nil }
    return (address, port)
  }

  /// `[::1]` to `::1`; anything else as it is.
  static func withoutBrackets(_ text: String) -> String {
    guard text.hasPrefix("["), text.hasSuffix("]") else { return text }
    let inner = String(text.dropFirst().dropLast())
    return isIPv6(inner) ? inner : text
  }

  /// The domain that a service belongs to: `example.com` of `_http._tcp.example.com` (RFC 2782).
  static func domain(ofService name: String) -> String {
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let domain = labels.drop { $0.hasPrefix("_") }
    return domain.isEmpty || domain.allSatisfy(\.isEmpty) ? name : domain.joined(separator: ".")
  }

  /// Why `text` is neither a host name nor an address; nil when it is one.
  /// - Parameter underscores: whether they may stand in names, as those of SRV records and of some containers' names do.
  static func complaint(_ text: String, underscores: Bool = false) -> String? {
    if text.isEmpty { return "it is empty" }
    if isAddress(text) { return nil }
    let shown = JSON.quoted(text)
    if text.hasPrefix("[") { return "\(shown) has brackets around something other than an IPv6 address" }
    if text.contains("/") { return "\(shown) contains a path or scheme" }
    if text.contains(":") { return "\(shown) is not an IPv6 address, and a port has a key of its own" }
    var name = Substring(text)
    if name.hasSuffix(".") { name = name.dropLast() }
    if name.utf8.count > 253 { return "it is longer than 253 characters" }
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    for label in labels {
      if label.isEmpty { return "\(shown) has an empty label" }
      if label.utf8.count > 63 { return "a label is longer than 63 characters" }
      if label.hasPrefix("-") || label.hasSuffix("-") { return "a label of \(shown) begins or ends with \"-\"" }
      if !label.utf8.allSatisfy({ isLetter($0) || isDigit($0) || $0 == 0x2d || underscores && $0 == 0x5f }) {
        return "\(shown) contains characters other than letters, digits, \"-\"\(underscores ? ", \"_\"" : "") and \".\""
      }
    }
    // What inet_aton would take for an address must not reach a resolver that might agree with it.
    if let last = labels.last, last.utf8.allSatisfy(isDigit) || last.hasPrefix("0x") || last.hasPrefix("0X") {
      return "\(shown) looks like an IPv4 address but is not four decimal parts"
    }
    return nil
  }
}
