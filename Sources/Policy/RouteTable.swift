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

/// The static children of a node: the slots `first ... first + mask` of the edge table. A mask of 0: there are none.
struct RouteChildren: BitwiseCopyable {
  struct Facts: OptionSet, BitwiseCopyable {
    let rawValue: UInt32
    /// Something else than a static child could take a segment here.
    static var alternatives: Facts { Facts(rawValue: 1) }
    /// Not every child is in the first slot that its hash leads to.
    static var crowded: Facts { Facts(rawValue: 2) }
    /// What static children do not take, a catch-all takes, and nothing else could.
    static var restOnly: Facts { Facts(rawValue: 4) }
  }

  var first: UInt32
  var mask: UInt32
  var facts: Facts
}

/// A point in a trie: what may follow the segments so far.
struct RouteNode: BitwiseCopyable {
  var children: RouteChildren
  /// What a path that ends here belongs to.
  var leaf: Int32
  /// What any other path belongs to.
  var catchAll: Int32
  /// The child for a segment that `constraint` matches, and the one for every segment that is not empty.
  var constrained: Int32
  var constraint: Int32
  var plain: Int32
}

/// A slot of the hash table of a node's static children. With the child goes what the walk needs to know of it next.
struct RouteEdge: BitwiseCopyable {
  static let vacant = RouteEdge(word: .max, length: .max, child: 0, children: RouteChildren(first: 0, mask: 0, facts: []), text: 0)

  /// That of the text as a segment; `UInt64.max`, which is no segment's, for a long text and for a vacant slot.
  var word: UInt64
  /// `UInt32.max`, which is no segment's length: the slot is vacant.
  var length: UInt32
  var child: UInt32
  var children: RouteChildren
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
  var children: RouteChildren
  var literals: UInt32
  var literalCount: UInt32
}

/// The compiled routes of a plan. A class, though nothing in it changes: a struct of so many parts would be copied whenever it
/// is lent.
public final class RouteTable {
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
  private let anyHost: RouteTrie
  /// Of the routes for any host; empty where some are for certain hosts.
  private let wholePaths: WholePaths
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
    anyHost = builder.tries[Int(builder.hosts.anyHost)]
    wholePaths = WholePaths(builder.hosts.exact.isEmpty && builder.hosts.wildcards.isEmpty ? builder.wholePaths(of: anyHost) : [])
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
    guard path.count > 0, path.count < Int(Int32.max) else {
      captures.reset(for: method)
      return .notFound
    }
    let route = wholePaths.route(path, method)
    guard route >= 0 else { return walk(host, path, method, &captures) }
    captures.note(rest: path.count)
    return .route(Int(route))
  }

  @inline(never)
  private func walk(_ host: Span<UInt8>, _ path: Span<UInt8>, _ method: Method, _ captures: inout Captures) -> RouteMatch {
    captures.reset(for: method)
    let route = hosts.isEmpty ? find(in: anyHost, path, &captures) : findByHost(host, path, &captures)
    if route >= 0 { return .route(Int(route)) }
    return captures.allowed.isEmpty ? .notFound : .methodNotAllowed(captures.allowed)
  }

  /// From the most specific set of hosts to the least, until one has the path.
  @inline(never)
  private func findByHost(_ host: Span<UInt8>, _ path: Span<UInt8>, _ captures: inout Captures) -> Int32 {
    let host = HostTable.name(in: host)
    if let trie = hosts.exact(host) {
      let route = find(in: tries[Int(trie)], path, &captures)
      if route >= 0 || !captures.allowed.isEmpty { return route }
    }
    if hosts.hasWildcards {
      var label = HostTable.nextLabel(of: host, after: 0)
      while let start = label {
        if let trie = hosts.wildcard(host.extracting(start..<host.count)) {
          let route = find(in: tries[Int(trie)], path, &captures)
          if route >= 0 || !captures.allowed.isEmpty { return route }
        }
        label = HostTable.nextLabel(of: host, after: start)
      }
    }
    return find(in: anyHost, path, &captures)
  }

  /// The route of a trie, or -1 and in `captures.allowed` the methods of every pattern that matches.
  ///
  /// The loop is kept to what nearly every segment needs: a short text, found in the first slot.
  @inline(never)
  private func find(in trie: RouteTrie, _ path: Span<UInt8>, _ captures: inout Captures) -> Int32 {
    guard path[0] == .slash else { return literal(in: trie, path, &captures) }
    var index = trie.root, children = trie.children
    var start = 1
    while true {
      var end = start
      if start <= path.count {
        let segment = path.segment(from: start)
        end = segment.end
        var position = Int(children.first &+ (UInt32(truncatingIfNeeded: segment.hash >> 32) & children.mask))
        if edges[position].word != segment.word {
          position = segment.word != 0 && !children.facts.contains(.crowded) || children.mask == 0 ? -1 : search(children, segment, path, at: start)
        }
        if position >= 0 {
          if children.facts.contains(.alternatives) { remember(index, start, end, 0, &captures) }
          index = edges[position].child
          children = edges[position].children
          start = end &+ 1
          continue
        }
        if children.facts.contains(.restOnly) {
          let route = rest(of: index, path, from: start, &captures)
          if route >= 0 { return route }
        }
      } else {
        // The path has ended: nothing but the routes here can match.
        let route = route(at: nodes[Int(index)].leaf, &captures)
        if route >= 0 {
          captures.rest = path.count
          return route
        }
      }
      let way = detour(from: index, path, start, end, &captures)
      // A route that a catch-all found, or the dead end.
      if way < 0 {
        guard way == Self.deadEnd else { return way &- Int32.min }
        captures.forget()
        return -1
      }
      index = UInt32(bitPattern: way)
      children = nodes[Int(index)].children
      start = captures.position
    }
  }

  private static var deadEnd: Int32 { -1 }

  /// The way on where no static child is: by the other children, then from the last place where a choice was left behind.
  /// - Returns: the child, with `captures.position` behind its segment; or `deadEnd`; or `Int32.min` plus the route.
  @inline(never)
  private func detour(from index: UInt32, _ path: Span<UInt8>, _ start: Int, _ end: Int, _ captures: inout Captures) -> Int32 {
    if start <= path.count {
      let way = alternative(of: index, path, start, end, 0, &captures)
      if way != Self.deadEnd { return way }
    }
    while let choice = captures.pop() {
      captures.recorded = Int(choice.captures)
      let way = alternative(of: choice.node, path, Int(choice.start), Int(choice.end), choice.stage, &captures)
      if way != Self.deadEnd { return way }
    }
    return Self.deadEnd
  }

  /// Takes the segment with the next less specific child from `stage` on: 0 constrained, 1 any text, 2 catch-all.
  @inline(__always)
  private func alternative(
    of index: UInt32, _ path: Span<UInt8>, _ start: Int, _ end: Int, _ stage: UInt16, _ captures: inout Captures
  ) -> Int32 {
    let node = nodes[Int(index)]
    if end > start {
      captures.position = end &+ 1
      if stage == 0, node.constrained >= 0, satisfies(node.constraint, path, start, end) {
        if node.plain & node.catchAll >= 0 { remember(index, start, end, 1, &captures) }
        return captures.append(start: start, end: end) ? node.constrained : Self.deadEnd
      }
      if stage <= 1, node.plain >= 0 {
        if node.catchAll >= 0 { remember(index, start, end, 2, &captures) }
        return captures.append(start: start, end: end) ? node.plain : Self.deadEnd
      }
    }
    let route = rest(of: index, path, from: start, &captures)
    return route >= 0 ? Int32.min &+ route : Self.deadEnd
  }

  /// The route of a node's catch-all, which takes all of `path` from `start` on; -1 when there is none for the method.
  @inline(__always)
  private func rest(of index: UInt32, _ path: Span<UInt8>, from start: Int, _ captures: inout Captures) -> Int32 {
    let route = route(at: nodes[Int(index)].catchAll, &captures)
    guard route >= 0, captures.append(start: start, end: path.count) else { return -1 }
    captures.rest = start
    return route
  }

  @inline(never)
  private func remember(_ node: UInt32, _ start: Int, _ end: Int, _ stage: UInt16, _ captures: inout Captures) {
    _ = captures.push(Captures.Choice(
      node: node, start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: end), stage: stage,
      captures: UInt16(truncatingIfNeeded: captures.recorded)))
  }

  /// The slot of the static child for a segment, or -1: for long texts, and where the first slot has another.
  @inline(never)
  private func search(_ children: RouteChildren, _ segment: PathSegment, _ path: Span<UInt8>, at start: Int) -> Int {
    let length = segment.end - start
    var slot = UInt32(truncatingIfNeeded: segment.hash >> 32)
    while true {
      let position = Int(children.first &+ (slot & children.mask))
      let edge = edges[position]
      guard edge.length != .max else { return -1 }
      if Int(edge.length) == length, path.matches(length, at: start, text, at: Int(edge.text)) { return position }
      slot &+= 1
    }
  }

  @inline(__always)
  private func route(at leaf: Int32, _ captures: inout Captures) -> Int32 {
    guard leaf >= 0 else { return -1 }
    let leaf = leaves[Int(leaf)]
    guard leaf.allowed.rawValue &>> UInt16(captures.method.rawValue) & 1 != 0 else {
      captures.allowed.formUnion(leaf.allowed)
      return -1
    }
    return leaf.route >= 0 ? leaf.route : routesByMethod[Int(leaf.byMethod) + Int(captures.method.rawValue)]
  }

  private func satisfies(_ index: Int32, _ path: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    let constraint = constraints[Int(index)]
    var state = constraint.start
    for position in start..<end {
      let column = classes[Int(constraint.classes) + Int(path[position])]
      state = transitions[Int(constraint.transitions) + Int(state) + Int(column)]
    }
    return state >= constraint.firstAccepting
  }

  private func literal(in trie: RouteTrie, _ path: Span<UInt8>, _ captures: inout Captures) -> Int32 {
    for index in Int(trie.literals)..<Int(trie.literals) + Int(trie.literalCount) {
      let literal = literals[index]
      guard Int(literal.length) == path.count, path.matches(path.count, at: 0, text, at: Int(literal.text)) else { continue }
      let route = route(at: literal.leaf, &captures)
      if route >= 0 { captures.rest = path.count }
      return route
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
