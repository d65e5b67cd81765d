// RoutePath — what the configuration needs to know of a route's pattern: its form, its captures, what it equals.
//
// The matching itself is `Policy`'s. Here a pattern is only taken apart, so that errors have positions and two
// patterns that differ in nothing but the names of their parameters are found to be the same.

struct RoutePath: Equatable {
  var captures: [String] = []
  /// The pattern without the names of its parameters: equal for patterns that match the same paths.
  var form = ""
  /// The pattern before a final catch-all, without the `/` in front of it; nil when there is no catch-all.
  var beforeCatchAll: String?

  /// The name given to the catch-all of a `route_prefix` that has none.
  static let implicitCatchAll = "gateway_rest"

  /// Takes `pattern` apart; nil when it has a complaint.
  init?(_ pattern: String) {
    guard case .success(let path) = RoutePath.parse(pattern) else { return nil }
    self = path
  }

  private init() {}

  private struct Complaint: Error { var text: String }

  /// What is wrong with `pattern`, to follow the path of its setting; nil when nothing is.
  static func complaint(_ pattern: String) -> String? {
    if case .failure(let complaint) = parse(pattern) { return "\(JSON.quoted(pattern)) \(complaint.text)" }
    return PatternSyntax.complaint(pattern)
  }

  private static func parse(_ pattern: String) -> Result<RoutePath, Complaint> {
    func fail(_ text: String) -> Result<RoutePath, Complaint> { .failure(Complaint(text: text)) }
    guard pattern.hasPrefix("/") else { return fail("is not a path pattern: it must begin with \"/\"") }
    guard pattern.utf8.count <= 4096 else { return fail("is longer than 4096 bytes") }
    if pattern.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f || $0 == 0x3f || $0 == 0x23 }) && !pattern.contains("(") {
      return fail("contains a blank, a control character, \"?\" or \"#\", which no path contains")
    }
    var path = RoutePath()
    let bytes = Array(pattern.utf8)
    var at = 1
    while true {
      let start = at
      if at < bytes.count, bytes[at] == 0x2a {  // *
        let name = String(decoding: bytes[(at + 1)...], as: UTF8.self)
        if name.contains("/") { return fail("has a catch-all that is not the last segment") }
        if !name.isEmpty, let complaint = path.capture(name) { return fail(complaint) }
        path.beforeCatchAll = String(decoding: bytes[..<(start - 1)], as: UTF8.self)
        path.form += "/*"
        return .success(path)
      }
      if at < bytes.count, bytes[at] == 0x3a {  // :
        at += 1
        let nameStart = at
        while at < bytes.count, bytes[at] != 0x2f, bytes[at] != 0x28 { at += 1 }
        if let complaint = path.capture(String(decoding: bytes[nameStart..<at], as: UTF8.self)) { return fail(complaint) }
        path.form += "/:"
        if at < bytes.count, bytes[at] == 0x28 {
          guard let end = constraintEnd(bytes, at) else { return fail("has a constraint that is not closed") }
          if end == at + 2 { return fail("has an empty constraint") }
          path.form += String(decoding: bytes[at..<end], as: UTF8.self)
          at = end
        }
        if at < bytes.count, bytes[at] != 0x2f { return fail("has text after a parameter within its segment") }
      } else {
        while at < bytes.count, bytes[at] != 0x2f { at += 1 }
        if start == at, at < bytes.count { return fail("contains \"//\"") }
        path.form += "/" + String(decoding: bytes[start..<at], as: UTF8.self)
      }
      if at == bytes.count { return .success(path) }
      at += 1
    }
  }

  private mutating func capture(_ name: String) -> String? {
    guard let first = name.utf8.first, !isDigit(first), name.utf8.allSatisfy({ isLetter($0) || isDigit($0) || $0 == 0x5f }) else {
      return "has a parameter named \(JSON.quoted(name)); names consist of letters, digits and \"_\" and do not begin with a digit"
    }
    if captures.contains(name) { return "has two parameters named \(JSON.quoted(name))" }
    captures.append(name)
    return nil
  }

  /// The index after the parenthesis that closes the one at `start`; classes and escapes hide parentheses.
  private static func constraintEnd(_ bytes: [UInt8], _ start: Int) -> Int? {
    var depth = 0, at = start, inClass = false
    while at < bytes.count {
      switch bytes[at] {
      case 0x5c: at += 1
      case 0x5b where !inClass: inClass = true
      case 0x5d where inClass: inClass = false
      case 0x28 where !inClass: depth += 1
      case 0x29 where !inClass:
        depth -= 1
        if depth == 0 { return at + 1 }
      default: break
      }
      at += 1
    }
    return nil
  }
}

/// SEAM: the full check of a pattern, constraints included, belongs to `Policy`; until it offers one, every pattern that
/// `RoutePath` can take apart is accepted here, and `RouteTable` has the last word.
private enum PatternSyntax {
  static func complaint(_ pattern: String) -> String? { nil }
}
