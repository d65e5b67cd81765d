// RouteTable — which route a request belongs to.
//
// One trie of segments per distinct set of host routes, in flat arrays: nodes, the hash slots of their static
// children, leaves, compiled constraints, and the bytes of all texts. A match walks them without allocating.
// Invariants: every index stored in an array is inside the array it points into, or negative for "none";
// each node has a vacant slot among its edges, so that a search ends; a trie is at most `segmentLimit` deep,
// each node is entered at most once per match, and so the walk ends whatever the path.

import HTTPModel
import Memory
import Plan

/// The outcome of looking for a route.
public enum RouteMatch: Equatable, Sendable {
  /// An index into `Plan.routes`.
  case route(Int)
  /// No pattern matches the host and path.
  case notFound
  /// Patterns match, but for these methods only.
  case methodNotAllowed(MethodSet)
}

/// Why a table could not be made.
public struct RouteTableError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The route at fault, an index into `Plan.routes`.
  public let route: Int
  /// The earlier route it conflicts with.
  public let other: Int?
  /// Bytes from the start of the route's pattern, when the fault is in there.
  public let offset: Int?
  public let message: String

  public var description: String { message }
}

/// A point in a trie: what may follow the segments so far.
struct RouteNode: BitwiseCopyable {
  /// The static children: slots `edges ... edges + edgeMask` of the edge table.
  var edges: UInt32
  var edgeMask: UInt32
  /// What a path that ends here belongs to.
  var leaf: Int32
  /// What any other path belongs to.
  var catchAll: Int32
  /// The child for a segment that `constraint` matches, and the one for every segment that is not empty.
  var constrained: Int32
  var constraint: Int32
  var plain: Int32

  /// Whether anything but static children could take a segment.
  @inline(__always)
  var hasAlternatives: Bool { constrained & plain & catchAll >= 0 }
}

/// A slot of the hash table of a node's static children.
struct RouteEdge: BitwiseCopyable {
  var first: UInt64
  var length: UInt32
  /// Negative: the slot is vacant.
  var child: Int32
  /// Where the text is, of which `first` has the first eight bytes.
  var text: UInt32
}

/// The routes of one pattern.
struct RouteLeaf: BitwiseCopyable {
  var allowed: MethodSet
  /// The route for all of `allowed`, or negative when they differ.
  var route: Int32
  /// Then: where the routes by method begin.
  var byMethod: UInt32
}

/// A constraint's place in the arrays of classes and transitions.
struct RouteConstraint: BitwiseCopyable {
  var classes: UInt32
  var transitions: UInt32
  var start: UInt16
  var firstAccepting: UInt16
}

/// A target that is no path.
struct RouteLiteral: BitwiseCopyable {
  var text: UInt32
  var length: UInt32
  var leaf: Int32
}

/// The routes of one set of hosts.
struct RouteTrie: BitwiseCopyable {
  var root: UInt32
  var literals: UInt32
  var literalCount: UInt32
}

/// The compiled routes of a plan.
public struct RouteTable: ~Copyable {
  private let nodes: BoundedArray<RouteNode>
  private let edges: BoundedArray<RouteEdge>
  private let leaves: BoundedArray<RouteLeaf>
  private let routesByMethod: BoundedArray<Int32>
  private let constraints: BoundedArray<RouteConstraint>
  private let classes: BoundedArray<UInt8>
  private let transitions: BoundedArray<UInt16>
  private let text: BoundedArray<UInt8>
  private let literals: BoundedArray<RouteLiteral>
  private let tries: BoundedArray<RouteTrie>
  private let hosts: HostTable
  private let names: [[String]]

  /// Methods a leaf has a row for.
  static let methodCount = 10

  /// Compiles the routes.
  ///
  /// The first route with a host, pattern and method has it; a second one is an error, unless it is one of the local
  /// endpoints, which yield. A forward route whose pattern ends in a catch-all also takes the bare prefix where no
  /// other route does.
  public init(_ routes: [RoutePlan]) throws(RouteTableError) {
    var builder = RouteTableBuilder(routes)
    try builder.build()
    nodes = BoundedArray(builder.nodes)
    edges = BoundedArray(builder.edges)
    leaves = BoundedArray(builder.leaves)
    routesByMethod = BoundedArray(builder.routesByMethod)
    constraints = BoundedArray(builder.constraints)
    classes = BoundedArray(builder.classes)
    transitions = BoundedArray(builder.transitions)
    text = BoundedArray(builder.text)
    literals = BoundedArray(builder.literals)
    tries = BoundedArray(builder.tries)
    hosts = HostTable(builder.hosts)
    names = builder.captureNames
  }

  /// The names of a route's captures, in order; a catch-all without a name has none.
  public func captureNames(ofRoute route: Int) -> [String] {
    names.indices.contains(route) ? names[route] : []
  }

  /// Finds the route for a request.
  /// - Parameters:
  ///   - host: as in the Host field or the target, with port or without; empty when there is none.
  ///   - path: in normal form, without query.
  ///   - captures: filled when a route is found.
  public func match(host: Span<UInt8>, path: Span<UInt8>, method: Method, captures: inout Captures) -> RouteMatch {
    captures.reset()
    guard path.count > 0, path.count < Int(Int32.max) else { return .notFound }
    guard hosts.isEmpty else { return matchByHost(host, path, method, &captures) }
    return match(in: hosts.anyHost, path, method, &captures)
  }

  /// From the most specific set of hosts to the least, until one has the path.
  private func matchByHost(_ host: Span<UInt8>, _ path: Span<UInt8>, _ method: Method, _ captures: inout Captures) -> RouteMatch {
    let host = HostTable.name(in: host)
    if let trie = hosts.exact(host) {
      let result = match(in: trie, path, method, &captures)
      guard result == .notFound else { return result }
    }
    var label = HostTable.nextLabel(of: host, after: 0)
    while hosts.hasWildcards, let start = label {
      if let trie = hosts.wildcard(host.extracting(start..<host.count)) {
        let result = match(in: trie, path, method, &captures)
        guard result == .notFound else { return result }
      }
      label = HostTable.nextLabel(of: host, after: start)
    }
    return match(in: hosts.anyHost, path, method, &captures)
  }

  private func match(in trie: Int32, _ path: Span<UInt8>, _ method: Method, _ captures: inout Captures) -> RouteMatch {
    guard trie >= 0 else { return .notFound }
    let trie = tries.span[Int(trie)]
    var allowed = MethodSet()
    let route = path[0] == .slash ? walk(from: trie.root, path, method, &captures, &allowed) : literal(in: trie, path, method, &allowed)
    if route >= 0 { return .route(Int(route)) }
    captures.reset()
    return allowed.isEmpty ? .notFound : .methodNotAllowed(allowed)
  }

  /// The route, or -1 and in `allowed` the methods of every pattern that matches.
  private func walk(
    from root: UInt32, _ path: Span<UInt8>, _ method: Method, _ captures: inout Captures, _ allowed: inout MethodSet
  ) -> Int32 {
    var index = root
    var start = 1
    while true {
      let node = nodes.span[Int(index)]
      var stage: UInt16 = 0
      var end = start
      if start > path.count {
        // The path has ended: nothing but the routes here can match.
        let route = route(at: node.leaf, method, &allowed)
        if route >= 0 {
          captures.rest = path.count
          return route
        }
        stage = 3
      } else {
        let segment = path.segment(from: start)
        end = Int(segment.end)
        let child = child(of: node, segment, path, at: start)
        if child >= 0 {
          if node.hasAlternatives { remember(index, start, end, 0, &captures) }
          index = UInt32(truncatingIfNeeded: child)
          start = end + 1
          continue
        }
      }
      // No static child: the other ways on from here, then from where a choice was left behind.
      var found = alternative(of: node, index, path, start, end, stage, method, &captures, &allowed)
      while found.isDeadEnd {
        guard let choice = captures.pop() else { return -1 }
        captures.recorded = Int(choice.captures)
        (index, start, end) = (choice.node, Int(choice.start), Int(choice.end))
        found = alternative(of: nodes.span[Int(index)], index, path, start, end, choice.stage, method, &captures, &allowed)
      }
      if found.route >= 0 { return found.route }
      index = UInt32(truncatingIfNeeded: found.child)
      start = end + 1
    }
  }

  /// A way on: into a child, or the end of the search.
  private struct Way {
    var child: Int32 = -1
    var route: Int32 = -1
    var isDeadEnd: Bool { child & route < 0 }
  }

  /// Takes the segment with the next less specific child from `stage` on: 0 constrained, 1 any text, 2 catch-all.
  @inline(__always)
  private func alternative(
    of node: RouteNode, _ index: UInt32, _ path: Span<UInt8>, _ start: Int, _ end: Int, _ stage: UInt16, _ method: Method,
    _ captures: inout Captures, _ allowed: inout MethodSet
  ) -> Way {
    if stage == 0, node.constrained >= 0, end > start, satisfies(node.constraint, path, start, end) {
      if node.plain & node.catchAll >= 0 { remember(index, start, end, 1, &captures) }
      guard captures.append(start: start, end: end) else { return Way() }
      return Way(child: node.constrained)
    }
    if stage <= 1, node.plain >= 0, end > start {
      if node.catchAll >= 0 { remember(index, start, end, 2, &captures) }
      guard captures.append(start: start, end: end) else { return Way() }
      return Way(child: node.plain)
    }
    if stage <= 2, node.catchAll >= 0 {
      let route = route(at: node.catchAll, method, &allowed)
      if route >= 0, captures.append(start: start, end: path.count) {
        captures.rest = start
        return Way(route: route)
      }
    }
    return Way()
  }

  @inline(__always)
  private func remember(_ node: UInt32, _ start: Int, _ end: Int, _ stage: UInt16, _ captures: inout Captures) {
    _ = captures.push(Captures.Choice(
      node: node, start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: end), stage: stage,
      captures: UInt16(truncatingIfNeeded: captures.recorded)))
  }

  /// The static child for a segment, or -1.
  @inline(__always)
  private func child(of node: RouteNode, _ segment: PathSegment, _ path: Span<UInt8>, at start: Int) -> Int32 {
    let edges = edges.span
    let length = Int(segment.end) &- start
    var slot = UInt32(truncatingIfNeeded: segment.hash)
    while true {
      let edge = edges[Int(node.edges &+ (slot & node.edgeMask))]
      guard edge.child >= 0 else { return -1 }
      if edge.first == segment.first, Int(edge.length) == length,
        length <= 8 || path.matches(length &- 8, at: start &+ 8, text.span, at: Int(edge.text) &+ 8)
      { return edge.child }
      slot &+= 1
    }
  }

  @inline(__always)
  private func route(at leaf: Int32, _ method: Method, _ allowed: inout MethodSet) -> Int32 {
    guard leaf >= 0 else { return -1 }
    let leaf = leaves.span[Int(leaf)]
    guard leaf.allowed.contains(method) else {
      allowed.formUnion(leaf.allowed)
      return -1
    }
    return leaf.route >= 0 ? leaf.route : routesByMethod.span[Int(leaf.byMethod) + Int(method.rawValue)]
  }

  private func satisfies(_ index: Int32, _ path: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    let constraint = constraints.span[Int(index)], classes = classes.span, transitions = transitions.span
    var state = constraint.start
    for position in start..<end {
      let column = classes[Int(constraint.classes) + Int(path[position])]
      state = transitions[Int(constraint.transitions) + Int(state) + Int(column)]
    }
    return state >= constraint.firstAccepting
  }

  private func literal(in trie: RouteTrie, _ path: Span<UInt8>, _ method: Method, _ allowed: inout MethodSet) -> Int32 {
    let literals = literals.span
    for index in Int(trie.literals)..<Int(trie.literals) + Int(trie.literalCount) {
      let literal = literals[index]
      guard Int(literal.length) == path.count, path.matches(path.count, at: 0, text.span, at: Int(literal.text)) else { continue }
      return route(at: literal.leaf, method, &allowed)
    }
    return -1
  }
}

extension BoundedArray {
  /// An array that holds exactly `elements`.
  init(_ elements: [Element]) {
    self.init(capacity: elements.count)
    for element in elements { _ = append(element) }
  }
}
