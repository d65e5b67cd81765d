// RouteTableBuilder — from the routes of a plan to the flat arrays of a RouteTable. Cold; its errors are for people.
//
// Hosts first: each host name gets the list of its routes, and hosts with equal lists share a trie. Then, for each trie:
// configured routes in their order, local endpoints where nobody took their place, bare prefixes of catch-alls where
// there is still room. Then the tries are laid out.

import HTTPModel
import Memory
import Plan

struct RouteTableBuilder {
  private let routes: [RoutePlan]
  private var patterns: [RoutePattern] = []
  private(set) var captureNames: [[String]] = []

  private(set) var nodes: [RouteNode] = []
  /// The first slot is the vacant one that all nodes without static children share.
  private(set) var edges = [RouteEdge.vacant]
  private(set) var leaves: [RouteLeaf] = []
  private(set) var routesByMethod: [Int32] = []
  private(set) var constraints: [RouteConstraint] = []
  private(set) var classes: [UInt8] = []
  private(set) var transitions: [UInt16] = []
  private(set) var text: [UInt8] = []
  private(set) var literals: [RouteLiteral] = []
  private(set) var tries: [RouteTrie] = []
  private(set) var hosts = HostTableSource()
  /// Compiled constraints by their source, and static texts by theirs.
  private var constraintNumbers: [String: Int32] = [:]
  private var textOffsets: [[UInt8]: UInt32] = [:]

  init(_ routes: [RoutePlan]) { self.routes = routes }

  mutating func build() throws(RouteTableError) {
    for (index, route) in routes.enumerated() {
      guard !route.methods.isEmpty else { throw RouteTableError(route: index, other: nil, offset: nil, message: "the route allows no method") }
      do {
        patterns.append(try RoutePattern(parsing: route.pattern))
      } catch {
        throw RouteTableError(route: index, other: nil, offset: error.offset, message: error.message)
      }
    }
    captureNames = patterns.map(\.captureNames)
    try buildTries()
  }

  /// One trie per distinct list of routes.
  private mutating func buildTries() throws(RouteTableError) {
    var order: [HostKey] = [], members: [HostKey: [Int]] = [:]
    for (index, route) in routes.enumerated() {
      var keys: [HostKey] = []
      for host in route.hosts { keys.append(try HostKey(host, route: index)) }
      if keys.isEmpty { keys = [.any] }
      for (position, key) in keys.enumerated() where !keys[..<position].contains(key) {
        if members[key] == nil { order.append(key) }
        members[key, default: []].append(index)
      }
    }
    if members[.any] == nil { order.append(.any) }
    var known: [[Int]: Int32] = [:]
    for key in order {
      let list = members[key] ?? []
      let trie: Int32
      if let number = known[list] {
        trie = number
      } else {
        trie = try buildTrie(list)
        known[list] = trie
      }
      switch key {
      case .any: hosts.anyHost = trie
      case .exact(let name): hosts.exact.append((name, trie))
      case .wildcard(let name): hosts.wildcards.append((name, trie))
      }
    }
  }

  private mutating func buildTrie(_ list: [Int]) throws(RouteTableError) -> Int32 {
    var draft = TrieDraft()
    for index in list where !routes[index].action.isLocalEndpoint {
      try draft.add(patterns[index], index, routes, .configured)
    }
    for index in list where routes[index].action.isLocalEndpoint {
      try draft.add(patterns[index], index, routes, .endpoint)
    }
    draft.pairHeads(routes)
    for index in list {
      guard routes[index].action.takesBarePrefix, patterns[index].endsInCatchAll, patterns[index].segments.count > 1 else { continue }
      try draft.add(patterns[index], index, routes, .barePrefix)
    }
    let firstLiteral = UInt32(literals.count)
    for literal in draft.literals {
      let leaf = append(draft.leaves[literal.leaf])
      literals.append(RouteLiteral(text: offset(ofText: literal.text), length: UInt32(literal.text.count), leaf: leaf))
    }
    let root = layOut(draft)
    tries.append(RouteTrie(root: root, children: nodes[Int(root)].children, literals: firstLiteral, literalCount: UInt32(draft.literals.count)))
    return Int32(tries.count - 1)
  }

  /// The paths of a trie that static segments alone lead to, with their leaves.
  func wholePaths(of trie: RouteTrie) -> [(text: [UInt8], leaf: RouteLeaf)] {
    var paths: [(text: [UInt8], leaf: RouteLeaf)] = [], open: [(node: UInt32, path: [UInt8])] = [(trie.root, [])]
    while let (node, path) = open.popLast() {
      let leaf = nodes[Int(node)].leaf, children = nodes[Int(node)].children
      if leaf >= 0, !path.isEmpty { paths.append((path, leaves[Int(leaf)])) }
      for edge in edges[Int(children.first)...Int(children.first + children.mask)] where edge.length != .max {
        open.append((edge.child, path + [.slash] + text[Int(edge.text)..<Int(edge.text) + Int(edge.length)]))
      }
    }
    return paths
  }

  // MARK: Laying out

  /// Writes the nodes of a draft, the root first.
  private mutating func layOut(_ draft: TrieDraft) -> UInt32 {
    let base = nodes.count
    let children = draft.nodes.map { reserveEdges($0) }
    for (node, children) in zip(draft.nodes, children) {
      var constrained: Int32 = -1, constraint: Int32 = -1
      if let child = node.constrained {
        constrained = Int32(base + child.node)
        constraint = number(of: child.constraint)
      }
      let leaf = node.leaf.map { append(draft.leaves[$0]) } ?? -1
      let catchAll = node.catchAll.map { append(draft.leaves[$0]) } ?? -1
      let plain = node.plain.map { Int32(base + $0) } ?? -1
      nodes.append(RouteNode(
        children: children, leaf: leaf, catchAll: catchAll, constrained: constrained, constraint: constraint, plain: plain))
    }
    for (node, slots) in zip(draft.nodes, children) {
      for child in node.children { fillEdge(of: slots, child.text, UInt32(base + child.node), children[child.node]) }
    }
    return UInt32(base)
  }

  private mutating func reserveEdges(_ node: TrieDraft.Node) -> RouteChildren {
    var facts: RouteChildren.Facts = node.constrained == nil && node.plain == nil && node.catchAll == nil ? [] : .alternatives
    if node.constrained == nil, node.plain == nil, node.catchAll != nil { facts.insert(.restOnly) }
    guard !node.children.isEmpty else { return RouteChildren(first: 0, mask: 0, facts: facts) }
    var size = 2
    while size < node.children.count * 2 { size *= 2 }
    let homes = Set(node.children.map { UInt32(truncatingIfNeeded: segment($0.text).hash >> 32) & UInt32(size - 1) })
    if homes.count < node.children.count { facts.insert(.crowded) }
    defer { edges += [RouteEdge](repeating: .vacant, count: size) }
    return RouteChildren(first: UInt32(edges.count), mask: UInt32(size - 1), facts: facts)
  }

  /// Hashed behind a slash, as it is found in a path.
  private func segment(_ name: [UInt8]) -> PathSegment { ([.slash] + name).span.segment(from: 1) }

  private mutating func fillEdge(of slots: RouteChildren, _ name: [UInt8], _ child: UInt32, _ children: RouteChildren) {
    let segment = segment(name)
    var slot = UInt32(truncatingIfNeeded: segment.hash >> 32) & slots.mask
    while edges[Int(slots.first + slot)].length != .max { slot = (slot + 1) & slots.mask }
    edges[Int(slots.first + slot)] = RouteEdge(
      word: segment.word == 0 ? .max : segment.word, length: UInt32(name.count), child: child, children: children, text: offset(ofText: name))
  }

  private mutating func append(_ draft: LeafDraft) -> Int32 {
    var allowed = MethodSet(), distinct: Set<Int32> = []
    for (method, route) in draft.routes.enumerated() where route >= 0 {
      allowed.formUnion(MethodSet(rawValue: 1 << UInt16(method)))
      distinct.insert(route)
    }
    let isUniform = distinct.count == 1
    leaves.append(RouteLeaf(allowed: allowed, route: isUniform ? (distinct.first ?? -1) : -1, byMethod: UInt32(routesByMethod.count)))
    if !isUniform { routesByMethod += draft.routes }
    return Int32(leaves.count - 1)
  }

  private mutating func offset(ofText bytes: [UInt8]) -> UInt32 {
    if let known = textOffsets[bytes] { return known }
    let offset = UInt32(text.count)
    text += bytes
    textOffsets[bytes] = offset
    return offset
  }

  private mutating func number(of constraint: SegmentConstraint) -> Int32 {
    if let known = constraintNumbers[constraint.source] { return known }
    let number = Int32(constraints.count)
    constraints.append(RouteConstraint(
      classes: UInt32(classes.count), transitions: UInt32(transitions.count), start: constraint.start,
      firstAccepting: constraint.firstAccepting))
    classes += constraint.classes
    transitions += constraint.transitions
    constraintNumbers[constraint.source] = number
    return number
  }
}

/// The hosts a route is for.
private enum HostKey: Hashable {
  case any
  case exact([UInt8])
  /// Without the `*.`.
  case wildcard([UInt8])

  init(_ host: String, route: Int) throws(RouteTableError) {
    var name = host.utf8.map(\.lowercased)
    let isWildcard = name.starts(with: "*.".utf8)
    if isWildcard { name.removeFirst(2) }
    if name.first == UInt8(ascii: "["), name.last == UInt8(ascii: "]") { name = Array(name.dropFirst().dropLast()) }
    else if name.last == .dot { name.removeLast() }
    let isAddress = name.filter { $0 == .colon }.count > 1
    let isValid = !name.isEmpty && name.count <= HostTable.nameLimit && name.first != .dot
      && name.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"*/?#[]@\\".utf8.contains($0) && ($0 != .colon || (isAddress && !isWildcard)) }
    guard isValid else {
      throw RouteTableError(
        route: route, other: nil, offset: nil, message: "\"\(host)\" is not a host name without port or a wildcard such as *.example.com")
    }
    self = isWildcard ? .wildcard(name) : .exact(name)
  }
}

extension RouteAction {
  /// Whether this is served by the gateway itself and yields to configured routes.
  var isLocalEndpoint: Bool {
    switch self {
    case .health, .stats: true
    case .forward, .respond, .redirect, .echo, .files: false
    }
  }

  var isForward: Bool { if case .forward = self { true } else { false } }

  /// Whether `/a/*rest` is for `/a` as well.
  var takesBarePrefix: Bool {
    switch self {
    case .forward, .files: true
    case .respond, .redirect, .echo, .health, .stats: false
    }
  }
}
