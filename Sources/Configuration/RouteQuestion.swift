// RouteQuestion — which route would take a request, and what would hold for it: the very tables and rules that workers use.

import HTTPModel
import Memory
import Plan
import Policy

/// A request as one would write it: `GET https://host/path?query`.
public struct RouteQuestion: Sendable {
  public let method: Method
  /// As it was written: methods are case-sensitive (RFC 9110 §9.1).
  public let methodName: String
  public let host: String
  public let path: String

  /// - Parameter text: a method (GET where none is given) and an absolute address, or a path.
  public init?(_ text: String) {
    var words = text.split(separator: " ")
    // As in a request line, or a log.
    if words.count == 3, words[2].hasPrefix("HTTP/") { words.removeLast() }
    guard (1...2).contains(words.count), let target = words.last else { return nil }
    let name = Array((words.count == 2 ? String(words[0]) : "GET").utf8)
    method = Method(name.span)
    methodName = words.count == 2 ? String(words[0]) : "GET"
    guard TextRule.token.complaint(methodName) == nil else { return nil }
    var rest = target
    var host = ""
    if let scheme = target.firstRange(of: "://") {
      guard ["http", "https", "ws", "wss"].contains(target[..<scheme.lowerBound].lowercased()) else { return nil }
      let authority = target[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
      host = String(authority)
      if host.hasPrefix("[") { host = String(host.prefix { $0 != "]" }) + "]" } else { host = String(host.prefix { $0 != ":" }) }
      rest = target[authority.endIndex...]
    }
    let path = rest.prefix { $0 != "?" && $0 != "#" }
    guard path.isEmpty ? !host.isEmpty : path.hasPrefix("/") else { return nil }
    self.host = host.lowercased()
    self.path = path.isEmpty ? "/" : String(path)
  }
}

public struct RouteReply: Sendable {
  public enum Outcome: Sendable, Equatable {
    /// Of `Plan.routes`.
    case route(Int)
    case notFound
    case methodNotAllowed(MethodSet)
    case rejectedPath
  }

  public let outcome: Outcome
  /// The path that routes and policy see.
  public let path: String
  /// Routes that match host and path of some request for another host or method, and why they did not take this one.
  public let others: [(route: Int, reason: String)]
  /// Names of the zones of rate limits that look at it.
  public let zones: [String]
}

extension RouteQuestion {
  /// - Throws: when the plan's routes are no table, which a plan that was loaded never is.
  public func answer(_ plan: Plan) throws(RouteTableError) -> RouteReply {
    let bytes = Array(path.utf8), host = Array(self.host.utf8)
    var buffer = Buffer(capacity: bytes.count + 16)
    var normal = bytes
    switch normalisePath(bytes.span, into: &buffer) {
    case .unchanged: break
    case .rewritten:
      normal = []
      let span = buffer.bytes
      for index in span.indices { normal.append(span[index]) }
    case .rejected: return RouteReply(outcome: .rejectedPath, path: path, others: [], zones: [])
    }
    let text = String(decoding: normal, as: UTF8.self)
    let zones = plan.rateLimit.isActive ? plan.rateLimit.zones.filter { zone in zone.appliesTo.isEmpty || zone.appliesTo.contains { Self.covers($0, text) } }.map(\.name) : []
    var captures = Captures()
    let outcome: RouteReply.Outcome =
      switch try RouteTable(plan.routes).match(host: host.span, path: normal.span, method: method, captures: &captures) {
      case .route(let route): .route(Int(route))
      case .notFound: .notFound
      case .methodNotAllowed(let methods): .methodNotAllowed(methods)
      }
    var others: [(Int, String)] = []
    for index in plan.routes.indices where outcome != .route(index) {
      // Alone, and for every host and method: does its pattern match at all?
      var alone = plan.routes[index]
      alone.hosts = []
      alone.methods = .any
      guard let table = try? RouteTable([alone]), case .route = table.match(host: host.span, path: normal.span, method: .get, captures: &captures) else { continue }
      others.append((index, Self.reason(plan.routes[index], self)))
    }
    return RouteReply(outcome: outcome, path: text, others: others, zones: zones)
  }

  private static func reason(_ route: RoutePlan, _ question: RouteQuestion) -> String {
    let isHost = route.hosts.isEmpty || route.hosts.contains { $0 == question.host || ($0.hasPrefix("*.") && question.host.hasSuffix($0.dropFirst())) }
    if !isHost { return "for other hosts (\(route.hosts.joined(separator: ", ")))" }
    if !route.methods.contains(question.method) { return "for other methods" }
    return "less specific"
  }

  /// As a zone's `applies_to`: on borders of segments.
  private static func covers(_ prefix: String, _ path: String) -> Bool {
    guard path.hasPrefix(prefix) else { return false }
    return prefix.hasSuffix("/") || path.utf8.count == prefix.utf8.count || path.dropFirst(prefix.count).hasPrefix("/")
  }
}
