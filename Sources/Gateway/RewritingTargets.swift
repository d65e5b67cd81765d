// RewritingTargets — the path that a backend is asked for, where the route says another one than the client's.
//
// It is composed for each attempt, and once before a connection is looked for: what must not be sent is refused then.

import HTTPModel
import Memory
import Plan
import Policy
import Wire

extension Gateway {
  /// Whether the target of an exchange whose route rewrites it may be sent.
  @inline(never)
  mutating func isRewritable(_ exchange: Handle) -> Bool {
    let place = actions.edits.routes[Int(exchanges[exchange].route)].target
    return composeTarget(exchange, place)
  }

  /// Puts the target in place in the request being composed.
  @inline(never)
  mutating func rewriteTarget(_ exchange: Handle) {
    let route = Int(exchanges[exchange].route)
    guard actions.edits.routes[route].rewrites, composeTarget(exchange, actions.edits.routes[route].target) else { return }
    var start = 0
    while start < services.request.count, services.request.bytes[start] != 0x20 { start += 1 }
    start += 1
    var end = start
    while end < services.request.count, services.request.bytes[end] != 0x20 { end += 1 }
    guard end < services.request.count, services.editLines.count <= services.request.freeCapacity else { return }
    services.request.remove(start..<end)
    var target = Buffer.absent
    swap(&target, &services.editLines)
    services.request.insert(target.bytes, at: start)
    swap(&target, &services.editLines)
  }

  /// Composes it in `services.editLines`.
  private mutating func composeTarget(_ exchange: Handle, _ place: TemplatePlace) -> Bool {
    tellFacts(of: exchange, place.needs)
    let keepsQuery = actions.edits.routes[Int(exchanges[exchange].route)].keepsQuery
    services.editLines.removeAll()
    guard Self.fill(place, &actions.edits, &exchanges[exchange], &services.captures, &services.facts, &services.editLines),
      normaliseRewritten(&services.editLines, scratch: &services.path)
    else { return false }
    return !keepsQuery || Self.appendQuery(&exchanges[exchange], to: &services.editLines)
  }

  private static func appendQuery(_ exchange: inout Exchange, to target: inout Buffer) -> Bool {
    guard exchange.head.hasQuery else { return true }
    let query = exchange.head.query.text(in: exchange.bytes.bytes)
    guard target.freeCapacity > query.count else { return false }
    target.append("?")
    target.append(query)
    return true
  }

  /// Lent to be changed, though it is not: the compiler copies what is not.
  private static func fill(
    _ place: TemplatePlace, _ edits: inout RouteEdits, _ exchange: inout Exchange, _ captures: inout Captures, _ facts: inout TemplateFacts,
    _ output: inout Buffer
  ) -> Bool {
    let bytes = exchange.bytes.bytes
    switch exchange.path {
    case .some(let path): return edits.book.append(place, RequestView(exchange.head, of: bytes, path: path.bytes), &captures, &facts, to: &output)
    case .none:
      return edits.book.append(place, RequestView(exchange.head, of: bytes, path: exchange.head.path.text(in: bytes)), &captures, &facts, to: &output)
    }
  }
}
