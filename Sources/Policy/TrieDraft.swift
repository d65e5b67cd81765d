// TrieDraft — one trie of routes while it is being built: where conflicts between routes show.

import HTTPModel
import Plan

/// How a route takes a place in a trie that others want as well.
enum RouteStanding {
  /// Two of these at one place are an error.
  case configured
  /// Takes the methods that are left.
  case endpoint
  /// The prefix of a catch-all pattern without its slash: takes the methods that are left.
  case barePrefix
}

/// The routes of one pattern, by method; -1 where there is none.
struct LeafDraft {
  var routes = [Int32](repeating: -1, count: RouteTable.methodCount)
}

struct TrieDraft {
  struct Node {
    var children: [(text: [UInt8], node: Int)] = []
    /// Positions in `children`.
    var childNumbers: [[UInt8]: Int] = [:]
    /// With the route that brought the constraint.
    var constrained: (constraint: SegmentConstraint, node: Int, route: Int)?
    var plain: Int?
    var leaf: Int?
    var catchAll: Int?
  }

  /// The root first.
  private(set) var nodes = [Node()]
  private(set) var leaves: [LeafDraft] = []
  private(set) var literals: [(text: [UInt8], leaf: Int)] = []

  mutating func add(_ pattern: RoutePattern, _ route: Int, _ plans: [RoutePlan], _ standing: RouteStanding) throws(RouteTableError) {
    let leaf = try leaf(for: pattern, route, standing)
    let plan = plans[route]
    for method in Method.allCases where plan.methods.contains(method) {
      let slot = Int(method.rawValue), holder = leaves[leaf].routes[slot]
      if holder < 0 {
        leaves[leaf].routes[slot] = Int32(route)
      } else if standing == .configured {
        throw conflict(route, with: Int(holder), pattern, method, plans)
      }
    }
  }

  /// A local answer to GET answers HEAD as well, unless a route names HEAD; a backend is asked only what it was given.
  /// To be called when all configured routes and endpoints are in, and before the bare prefixes, which yield.
  mutating func pairHeads(_ plans: [RoutePlan]) {
    for leaf in leaves.indices {
      let get = leaves[leaf].routes[Int(Method.get.rawValue)]
      guard get >= 0, !plans[Int(get)].action.isForward, leaves[leaf].routes[Int(Method.head.rawValue)] < 0 else { continue }
      leaves[leaf].routes[Int(Method.head.rawValue)] = get
    }
  }

  /// The leaf of a pattern, made if need be.
  private mutating func leaf(for pattern: RoutePattern, _ route: Int, _ standing: RouteStanding) throws(RouteTableError) -> Int {
    if pattern.isLiteral, case .text(let text)? = pattern.segments.first {
      if let known = literals.first(where: { $0.text == text }) { return known.leaf }
      literals.append((text, newLeaf()))
      return leaves.count - 1
    }
    var node = 0
    let isBarePrefix = standing == .barePrefix
    for segment in isBarePrefix ? pattern.segments.dropLast() : pattern.segments[...] {
      switch segment {
      case .text(let text): node = child(of: node, text)
      case .parameter(_, nil): node = plainChild(of: node)
      case .parameter(let name, let constraint?): node = try constrainedChild(of: node, name, constraint, route)
      case .rest:
        if let known = nodes[node].catchAll { return known }
        nodes[node].catchAll = newLeaf()
        return leaves.count - 1
      }
    }
    if let known = nodes[node].leaf { return known }
    nodes[node].leaf = newLeaf()
    return leaves.count - 1
  }

  private mutating func newLeaf() -> Int {
    leaves.append(LeafDraft())
    return leaves.count - 1
  }

  private mutating func newNode() -> Int {
    nodes.append(Node())
    return nodes.count - 1
  }

  private mutating func child(of node: Int, _ text: [UInt8]) -> Int {
    if let known = nodes[node].childNumbers[text] { return nodes[node].children[known].node }
    let child = newNode()
    nodes[node].childNumbers[text] = nodes[node].children.count
    nodes[node].children.append((text, child))
    return child
  }

  private mutating func plainChild(of node: Int) -> Int {
    if let known = nodes[node].plain { return known }
    let child = newNode()
    nodes[node].plain = child
    return child
  }

  private mutating func constrainedChild(
    of node: Int, _ name: String, _ constraint: SegmentConstraint, _ route: Int
  ) throws(RouteTableError) -> Int {
    if let known = nodes[node].constrained {
      guard known.constraint == constraint else {
        throw RouteTableError(
          route: route, other: known.route, offset: nil,
          message: "the constraint (\(constraint.source)) of \":\(name)\" differs from (\(known.constraint.source)) at the same place of another route")
      }
      return known.node
    }
    let child = newNode()
    nodes[node].constrained = (constraint, child, route)
    return child
  }

  private func conflict(
    _ route: Int, with other: Int, _ pattern: RoutePattern, _ method: Method, _ plans: [RoutePlan]
  ) -> RouteTableError {
    let name = method == .other ? "other methods" : String(describing: method.name)
    let earlier = plans[other].pattern
    let message = if pattern.endsInCatchAll, earlier != pattern.source {
      "\"\(pattern.source)\" is a second catch-all for \(name) at the place of \"\(earlier)\""
    } else if earlier == pattern.source {
      "\"\(pattern.source)\" has a route for \(name) already"
    } else {
      "\"\(pattern.source)\" matches the same paths as \"\(earlier)\", which has a route for \(name) already"
    }
    return RouteTableError(route: route, other: other, offset: nil, message: message)
  }
}
