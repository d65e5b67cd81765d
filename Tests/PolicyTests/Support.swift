// Support — what the tests of Policy share: plain text in and out, and a repeatable source of randomness.

import HTTPModel
import Memory
import Plan

@testable import Policy

/// The normal form of a path, or nil when it is rejected.
func normalised(_ path: [UInt8]) -> [UInt8]? {
  var output = Buffer(capacity: path.count * 3 + 1)
  switch normalisePath(path.span, into: &output) {
  case .rejected: return nil
  case .unchanged: return path
  case .rewritten: return array(output.bytes)
  }
}

func normalised(_ path: String) -> String? {
  normalised(Array(path.utf8)).map { String(decoding: $0, as: UTF8.self) }
}

func outcome(_ path: String) -> PathOutcome {
  var output = Buffer(capacity: path.utf8.count * 3 + 1)
  return normalisePath(Array(path.utf8).span, into: &output)
}

func array(_ span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

func text(_ span: Span<UInt8>) -> String { String(decoding: array(span), as: UTF8.self) }

/// A small linear congruential generator: the same cases on every run.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 2 &+ 1 }

  /// A number below `bound`.
  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[roll(elements.count)] }
}

func forward(_ pattern: String, _ methods: MethodSet = .any, hosts: [String] = []) -> RoutePlan {
  RoutePlan(hosts: hosts, pattern: pattern, methods: methods, action: .forward(ForwardPlan(upstream: 0)))
}

func respond(_ pattern: String, _ methods: MethodSet = MethodSet(.get), hosts: [String] = []) -> RoutePlan {
  RoutePlan(hosts: hosts, pattern: pattern, methods: methods, action: .respond(RespondPlan()))
}

func endpoint(_ pattern: String, _ action: RouteAction) -> RoutePlan {
  RoutePlan(pattern: pattern, methods: MethodSet(.get), action: action)
}

func set(_ methods: Method...) -> MethodSet {
  methods.reduce(into: MethodSet()) { $0.formUnion(MethodSet($1)) }
}

extension RouteTable {
  func find(_ path: String, host: String = "", _ method: Method = .get) -> RouteMatch {
    var captures = Captures()
    return match(host: Array(host.utf8).span, path: Array(path.utf8).span, method: method, captures: &captures)
  }

  /// What was captured, in order, and the path with the prefix stripped.
  func captured(_ path: String) -> (values: [String], tail: Int, stripped: String) {
    var captures = Captures()
    let bytes = Array(path.utf8)
    _ = match(host: Array("".utf8).span, path: bytes.span, method: .get, captures: &captures)
    let values = (0..<captures.count).map { text(captures.value($0, in: bytes.span)) }
    return (values, captures.tail, text(captures.strippedPath(of: bytes.span)))
  }
}

/// Why a table of these routes is refused, or nil.
func refusal(of routes: [RoutePlan]) -> RouteTableError? {
  do {
    _ = try RouteTable(routes)
    return nil
  } catch { return error }
}

extension SegmentConstraint {
  func accepts(_ segment: [UInt8]) -> Bool { matches(segment.span) }
  func accepts(_ segment: String) -> Bool { accepts(Array(segment.utf8)) }
}

/// The first byte that keeps the path from being its own normal form.
func firstIrregular(_ path: [UInt8]) -> Int { path.span.firstIrregular }
