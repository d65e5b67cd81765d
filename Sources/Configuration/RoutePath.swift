// RoutePath — what the configuration needs to know of a route's pattern: that it is one, its captures, what it equals.
//
// The language and the matching are `Policy`'s.

import Policy

struct RoutePath {
  let captures: [String]
  /// The pattern without the names of its parameters: equal for patterns that match the same paths.
  let form: String
  let endsInCatchAll: Bool

  /// Takes `pattern` apart; nil when it is not a pattern.
  init?(_ pattern: String) {
    guard let parsed = try? RoutePattern(parsing: pattern) else { return nil }
    captures = parsed.captureNames
    endsInCatchAll = parsed.endsInCatchAll
    form = parsed.segments.map { segment in
      switch segment {
      case .text(let bytes): "/" + String(decoding: bytes, as: UTF8.self)
      case .parameter(_, let constraint): "/:" + (constraint.map { "(\($0.source))" } ?? "")
      case .rest: "/*"
      }
    }.joined()
  }

  /// What is wrong with `pattern`, to follow the path of its setting; nil when nothing is.
  static func complaint(_ pattern: String) -> String? {
    let shown = JSON.quoted(pattern)
    guard pattern.hasPrefix("/") else { return "\(shown) is not a path pattern: it must begin with \"/\"" }
    do throws(RoutePatternError) {
      _ = try RoutePattern(parsing: pattern)
      return nil
    } catch {
      return "\(shown) is not a path pattern: \(error.message) (character \(String(decoding: pattern.utf8.prefix(error.offset), as: UTF8.self).count + 1))"
    }
  }
}
