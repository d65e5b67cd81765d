// Tests of the route table: priorities, methods, hosts, captures, conflicts; and random tables against a plain reference.

import HTTPModel
import Memory
import Plan
import Testing

@testable import Policy

@Suite struct RouteTableTests {
  @Test func priorities() throws {
    let table = try RouteTable([
      respond("/users/me"), respond("/users/:id([0-9]+)"), respond("/users/:name"), respond("/users/*rest"), respond("/:a/:b/c"), respond("/*all"), respond("/"),
      respond("/users/"),
    ])
    #expect(table.find("/users/me") == .route(0))
    #expect(table.find("/users/42") == .route(1))
    #expect(table.find("/users/bob") == .route(2))
    #expect(table.find("/users/bob/x") == .route(3))
    #expect(table.find("/users/") == .route(7))
    #expect(table.find("/users") == .route(5))
    #expect(table.find("/x/y/c") == .route(4))
    #expect(table.find("/") == .route(6))
    #expect(table.find("/x") == .route(5))
    // A deeper static branch that fails gives way.
    #expect(table.find("/users/42/c") == .route(3))
    #expect(table.find("/users/me/") == .route(3))
  }

  @Test func backtracksAcrossLevels() throws {
    let table = try RouteTable([
      respond("/a/b/c/d"), respond("/a/:x(b)/c/e"), respond("/a/:x/c/f"), respond("/:y/b/c/g"), respond("/a/*r"), respond("/:p/:q/:r/:s"),
    ])
    #expect(table.find("/a/b/c/d") == .route(0))
    #expect(table.find("/a/b/c/e") == .route(1))
    #expect(table.find("/a/b/c/f") == .route(2))
    #expect(table.find("/a/b/c/g") == .route(4))
    #expect(table.find("/z/b/c/g") == .route(3))
    #expect(table.find("/z/b/c/h") == .route(5))
    #expect(table.find("/z/b/c") == .notFound)
    #expect(table.captured("/z/b/c/h").values == ["z", "b", "c", "h"])
    #expect(table.captured("/z/b/c/g").values == ["z"])
    #expect(table.captured("/a/b/c/x").values == ["b/c/x"])
    #expect(table.captured("/a/b/c/f").values == ["b"])
  }

  @Test func wholePathsAreToldApart() throws {
    // Of one length, and alike in their first and last eight bytes.
    let table = try RouteTable([
      respond("/tenants/alpha/dashboard"), respond("/tenants/gamma/dashboard"), respond("/12345678"), respond("/1234567"), respond("/a"),
      respond("/both", set(.get)), respond("/both", set(.post)), respond("/*all", set(.delete)), respond("/a/:x"),
    ])
    #expect(table.find("/tenants/alpha/dashboard") == .route(0))
    #expect(table.find("/tenants/gamma/dashboard") == .route(1))
    #expect(table.find("/tenants/delta/dashboard") == .methodNotAllowed(set(.delete)))
    #expect(table.find("/12345678") == .route(2))
    #expect(table.find("/1234567") == .route(3))
    #expect(table.find("/both") == .route(5))
    #expect(table.find("/both", .post) == .route(6))
    // Where a path is known, but not for the method, others may take it.
    #expect(table.find("/a", .delete) == .route(7))
    #expect(table.find("/a", .put) == .methodNotAllowed(set(.get, .head, .delete)))
    #expect(table.captured("/a").values == [] && table.captured("/a").tail == 2)
  }

  @Test func trailingSlashAndCaseAreSignificant() throws {
    let table = try RouteTable([respond("/a"), respond("/b/"), respond("/c/:x")])
    #expect(table.find("/a") == .route(0))
    #expect(table.find("/a/") == .notFound)
    #expect(table.find("/A") == .notFound)
    #expect(table.find("/b") == .notFound)
    #expect(table.find("/b/") == .route(1))
    #expect(table.find("/c/") == .notFound)
    #expect(table.find("/c/x/") == .notFound)
    #expect(table.find("") == .notFound)
    #expect(table.find("a") == .notFound)
  }

  @Test func capturesAndStripping() throws {
    let table = try RouteTable([forward("/api/*rest"), forward("/u/:id/*p"), forward("/bare/*"), forward("/exact"), forward("/s/:a/:b"), forward("/dir/")])
    #expect(table.captured("/api/x/y") == (["x/y"], 5, "/x/y"))
    #expect(table.captured("/api/") == ([""], 5, "/"))
    #expect(table.captured("/api") == ([], 4, "/"))
    #expect(table.captured("/u/42/f/g") == (["42", "f/g"], 6, "/f/g"))
    #expect(table.captured("/u/42") == (["42"], 5, "/"))
    #expect(table.captured("/bare/q") == (["q"], 6, "/q"))
    #expect(table.captured("/exact") == ([], 6, "/"))
    #expect(table.captured("/dir/") == ([], 5, "/"))
    #expect(table.captured("/s/1/2") == (["1", "2"], 6, "/"))
    #expect(table.captured("/nothing") == ([], 0, "/"))
    #expect(table.captured("/api//x") == (["/x"], 5, "/x"))
    #expect(table.captureNames(ofRoute: 1) == ["id", "p"])
    #expect(table.captureNames(ofRoute: 2) == [])
    #expect(table.captureNames(ofRoute: 99) == [])
  }

  @Test func captureOutOfRangeIsEmpty() throws {
    let table = try RouteTable([respond("/:a")])
    var captures = Captures()
    let path = Array("/abc".utf8), short = Array("/a".utf8)
    _ = table.match(host: path.span, path: path.span, method: .get, captures: &captures)
    let values = [0, 1, -1, 64].map { text(captures.value($0, in: path.span)) }
    #expect(values == ["abc", "", "", ""])
    let elsewhere = [text(captures.value(0, in: short.span)), text(captures.strippedPath(of: short.span))]
    #expect(elsewhere == ["a", "/"])
  }

  // MARK: Methods

  @Test func methods() throws {
    let table = try RouteTable([
      respond("/a"), forward("/a", set(.post)), forward("/b", set(.get)), forward("/c", set(.get, .head)), respond("/d"), respond("/d", set(.head)), forward("/e"),
    ])
    #expect(table.find("/a", .get) == .route(0))
    #expect(table.find("/a", .head) == .route(0))
    #expect(table.find("/a", .post) == .route(1))
    #expect(table.find("/a", .put) == .methodNotAllowed(set(.get, .head, .post)))
    #expect(table.find("/b", .head) == .methodNotAllowed(set(.get)))
    #expect(table.find("/c", .head) == .route(3))
    #expect(table.find("/d", .head) == .route(5))
    #expect(table.find("/d", .get) == .route(4))
    #expect(table.find("/e", .other) == .route(6))
    #expect(table.find("/e", .connect) == .methodNotAllowed(.any))
  }

  @Test func anotherMethodMayBeLessSpecific() throws {
    let table = try RouteTable([respond("/users/me"), respond("/users/:id", set(.delete)), respond("/users/*r", set(.put)), endpoint("/health", .health)])
    #expect(table.find("/users/me", .delete) == .route(1))
    #expect(table.find("/users/me", .put) == .route(2))
    #expect(table.find("/users/me", .patch) == .methodNotAllowed(set(.get, .head, .delete, .put)))
    #expect(table.find("/health", .post) == .methodNotAllowed(set(.get, .head)))
  }

  @Test func barePrefixYields() throws {
    let table = try RouteTable([forward("/api/*rest"), respond("/api"), forward("/files/*f", set(.get, .put)), respond("/local/*x"), forward("/:v(v[0-9])/*y")])
    #expect(table.find("/api") == .route(1))
    #expect(table.find("/api", .head) == .route(1))
    #expect(table.find("/api", .post) == .route(0))
    #expect(table.find("/api/") == .route(0))
    #expect(table.find("/files") == .route(2))
    #expect(table.find("/files", .head) == .methodNotAllowed(set(.get, .put)))
    #expect(table.find("/local") == .notFound)
    #expect(table.find("/v1") == .route(4))
    #expect(table.find("/w1") == .notFound)
    #expect(try RouteTable([forward("/*all")]).find("/") == .route(0))
  }

  @Test func localEndpointsYield() throws {
    let table = try RouteTable([
      forward("/health", set(.get)), forward("/stats", set(.post)), endpoint("/health", .health), endpoint("/stats", .stats), forward("/*all"),
    ])
    #expect(table.find("/health") == .route(0))
    #expect(table.find("/health", .post) == .route(4))
    #expect(table.find("/stats", .get) == .route(3))
    #expect(table.find("/stats", .head) == .route(3))
    #expect(table.find("/stats", .post) == .route(1))
  }

  @Test func literals() throws {
    let table = try RouteTable([respond("*", set(.options)), respond("/*all")])
    #expect(table.find("*", .options) == .route(0))
    #expect(table.find("*", .get) == .methodNotAllowed(set(.options)))
    #expect(table.find("**", .options) == .notFound)
    #expect(table.find("/x") == .route(1))
  }

  // MARK: Hosts

  @Test func hosts() throws {
    let table = try RouteTable([
      respond("/a", hosts: ["www.example.com"]), respond("/:x", hosts: ["*.example.com"]), respond("/b", hosts: ["*.eu.example.com"]), respond("/c"),
      respond("/six", hosts: ["[::1]", "10.0.0.1"]), respond("/a"),
    ])
    #expect(table.find("/a", host: "www.example.com") == .route(0))
    #expect(table.find("/a", host: "WWW.Example.COM:8080") == .route(0))
    #expect(table.find("/a", host: "www.example.com.") == .route(0))
    #expect(table.find("/a", host: "www.example.com.:80") == .route(0))
    #expect(table.find("/z", host: "www.example.com") == .route(1))
    #expect(table.find("/a", host: "x.example.com") == .route(1))
    #expect(table.find("/b", host: "x.eu.example.com") == .route(2))
    #expect(table.find("/z", host: "x.eu.example.com") == .route(1))
    #expect(table.find("/b", host: "a.b.eu.example.com") == .route(2))
    #expect(table.find("/z", host: "example.com") == .notFound)
    #expect(table.find("/z", host: ".example.com") == .notFound)
    #expect(table.find("/a", host: "example.com") == .route(5))
    #expect(table.find("/c", host: "other") == .route(3))
    #expect(table.find("/c", host: "") == .route(3))
    #expect(table.find("/six", host: "[::1]:8080") == .route(4))
    #expect(table.find("/six", host: "[::1]") == .route(4))
    #expect(table.find("/six", host: "10.0.0.1:80") == .route(4))
    #expect(table.find("/six", host: "[::2]") == .notFound)
    #expect(table.find("/six", host: "[::1") == .route(4))
    #expect(table.find("/c", host: "[") == .route(3))
    #expect(table.find("/c", host: ":") == .route(3))
    #expect(table.find("/c", host: "...") == .route(3))
    #expect(table.find("/c", host: String(repeating: "a.", count: 5_000)) == .route(3))
  }

  /// What a more specific set of hosts captured before it failed is not left behind.
  @Test func capturesAfterFallingBack() throws {
    let table = try RouteTable([respond("/:a/:b/c", hosts: ["h.example.com"]), respond("/:a/:b/c", set(.post), hosts: ["*.example.com"]), respond("/x/:y/*z")])
    var captures = Captures()
    let host = Array("h.example.com".utf8), path = Array("/x/1/d/e".utf8)
    let result = table.match(host: host.span, path: path.span, method: .get, captures: &captures)
    let values = (0..<captures.count).map { text(captures.value($0, in: path.span)) }
    #expect(result == .route(2))
    #expect(values == ["1", "d/e"])
  }

  @Test func aHostWithThePathButNotTheMethodAnswers() throws {
    let table = try RouteTable([respond("/a", hosts: ["h"]), respond("/a", set(.post))])
    #expect(table.find("/a", host: "h", .post) == .methodNotAllowed(set(.get, .head)))
    #expect(table.find("/a", host: "g", .post) == .route(1))
  }

  @Test(arguments: ["", "*", "*.", "a.com:80", "a b", "*.*.com", "a/b", "http://a", "[::1]:80", ".com", "*..com"])
  func refusesHost(_ host: String) {
    #expect(refusal(of: [respond("/"), respond("/a", hosts: ["ok", host])])?.route == 1)
  }

  // MARK: Conflicts

  @Test func duplicates() {
    func conflict(_ routes: [RoutePlan]) -> [Int?] {
      refusal(of: routes).map { [$0.route, $0.other] } ?? []
    }
    #expect(conflict([respond("/a"), respond("/a")]) == [1, 0])
    #expect(conflict([respond("/:a"), respond("/b"), forward("/:c", set(.post, .get))]) == [2, 0])
    #expect(conflict([respond("/x/*a"), respond("/x/*b")]) == [1, 0])
    #expect(conflict([respond("/x/*a"), respond("/x/*", set(.post))]) == [])
    #expect(conflict([respond("/:a([0-9]+)"), respond("/:b([a-z]+)", set(.post))]) == [1, 0])
    #expect(conflict([respond("/:a([0-9]+)"), respond("/:b([0-9]+)", set(.post))]) == [])
    #expect(conflict([respond("/:a([0-9]+)"), respond("/:b")]) == [])
    #expect(conflict([respond("/a", hosts: ["x"]), respond("/a", hosts: ["y", "X"])]) == [1, 0])
    #expect(conflict([respond("/a", hosts: ["x", "x."])]) == [])
    #expect(conflict([respond("/a", hosts: ["x"]), respond("/a", hosts: ["*.x"]), respond("/a")]) == [])
    #expect(conflict([respond("*"), respond("*")]) == [1, 0])
    #expect(conflict([respond("/é"), respond("/%c3%a9")]) == [1, 0])
    #expect(conflict([respond("/a"), respond("/b", MethodSet())]) == [1, nil])
    #expect(conflict([respond("/a"), respond("/:x(")]) == [1, nil])
  }

  @Test func errorPointsIntoThePattern() {
    #expect(refusal(of: [respond("/a//b")])?.offset == 3)
  }

  @Test func emptyTable() throws {
    #expect(try RouteTable([]).find("/") == .notFound)
    #expect(try RouteTable([respond("/a", hosts: ["h"])]).find("/a") == .notFound)
  }

  // MARK: Sizes and chance

  @Test func manySiblings() throws {
    var routes: [RoutePlan] = []
    for index in 0..<3_000 { routes.append(respond("/svc/service-number-\(index)/x")) }
    let table = try RouteTable(routes)
    for index in stride(from: 0, to: 3_000, by: 7) { #expect(table.find("/svc/service-number-\(index)/x") == .route(index)) }
    #expect(table.find("/svc/service-number-3000/x") == .notFound)
  }

  @Test func segmentsOfEveryLength() throws {
    let names = (0...40).map { String(repeating: "x", count: $0) }
    let table = try RouteTable(names.map { respond("/p" + ($0.isEmpty ? "" : "/" + $0)) })
    for (index, name) in names.enumerated() {
      #expect(table.find("/p" + (name.isEmpty ? "" : "/" + name)) == .route(index))
      #expect(table.find("/p/" + name + "y") == .notFound)
    }
  }

  @Test func deepBacktrackingEnds() throws {
    var routes: [RoutePlan] = []
    for bits in 0..<256 { routes.append(respond((0..<8).map { bits >> $0 & 1 == 0 ? "/a" : "/:p\($0)" }.joined() + "/end")) }
    let table = try RouteTable(routes)
    #expect(table.find(String(repeating: "/a", count: 8) + "/end") == .route(0))
    #expect(table.find(String(repeating: "/a", count: 8) + "/no") == .notFound)
    #expect(table.find(String(repeating: "/a", count: 100_000)) == .notFound)
  }

  @Test func agreesWithTheReference() throws {
    var dice = Dice(4)
    let words = ["a", "b", "cc", "a-long-segment-name", ":x", ":y", ":n([0-9]+)", "1"]
    for _ in 0..<400 {
      var routes: [RoutePlan] = []
      for _ in 0..<(1 + dice.roll(12)) {
        var pattern = ""
        for position in 0..<(1 + dice.roll(3)) {
          let word = dice.pick(words)
          pattern += "/" + (word.hasPrefix(":") ? word.prefix(2) + "\(position)" + word.dropFirst(2) : word)
        }
        if dice.roll(4) == 0 { pattern += "/*r" } else if dice.roll(6) == 0 { pattern += "/" }
        let methods = dice.pick([set(.get), set(.post), set(.get, .post), set(.head)])
        let route = dice.roll(2) == 0 ? forward(pattern, methods) : respond(pattern, methods)
        if let error = refusal(of: routes + [route]) {
          #expect(error.route == routes.count && error.other != nil)
        } else {
          routes.append(route)
        }
      }
      let table = try RouteTable(routes), patterns = try routes.map { try RoutePattern(parsing: $0.pattern) }
      for _ in 0..<40 {
        var path = ""
        for _ in 0..<(1 + dice.roll(4)) { path += "/" + dice.pick(["a", "b", "cc", "a-long-segment-name", "a-long-segment-nam", "1", "22", "z"]) }
        if dice.roll(5) == 0 { path += "/" }
        let method = dice.pick([Method.get, .post, .head, .put])
        #expect(table.find(path, method) == reference(path, method, routes, patterns), "\(path) \(method) \(routes.map(\.pattern))")
      }
    }
  }

  /// Of all patterns that match, per place the most specific; rank 9 marks a bare prefix, which yields to everything at its place.
  private func reference(_ path: String, _ method: Method, _ routes: [RoutePlan], _ patterns: [RoutePattern]) -> RouteMatch {
    let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    var best: (rank: [Int], route: Int)?, allowed = MethodSet()
    for (index, pattern) in patterns.enumerated() {
      guard let rank = rank(pattern, segments, isForward: routes[index].action.isForward) else { continue }
      var methods = routes[index].methods
      if methods.contains(Method.get), !routes[index].action.isForward { methods.formUnion(MethodSet(.head)) }
      allowed.formUnion(methods)
      guard methods.contains(method) else { continue }
      // HEAD served through GET comes after a route that names HEAD at the same place.
      let full = rank + [routes[index].methods.contains(method) ? 0 : 1]
      let order = rank.last == 9 ? rank.dropLast() + [1, 9] : full
      if best == nil || order.lexicographicallyPrecedes(best!.rank) { best = (Array(order), index) }
    }
    if let best { return .route(best.route) }
    return allowed.isEmpty ? .notFound : .methodNotAllowed(allowed)
  }

  private func rank(_ pattern: RoutePattern, _ segments: [String], isForward: Bool) -> [Int]? {
    var rank: [Int] = [], rest = segments[...]
    for segment in pattern.segments {
      if case .rest = segment {
        if rest.isEmpty { return isForward ? rank + [9] : nil }
        return rank + [3]
      }
      guard let next = rest.popFirst() else { return nil }
      switch segment {
      case .text(let text):
        guard text == Array(next.utf8) else { return nil }
        rank.append(0)
      case .parameter(_, let constraint?):
        guard !next.isEmpty, constraint.accepts(next) else { return nil }
        rank.append(1)
      case .parameter(_, nil):
        guard !next.isEmpty else { return nil }
        rank.append(2)
      case .rest: return nil
      }
    }
    return rest.isEmpty ? rank : nil
  }
}
