// RouteExpansion — the configured routes, prefixes and local endpoints as one list of patterns.
//
// A route that ends in a catch-all, `/api/*rest`, also stands for `/api` when it forwards: its companion. A
// companion, and a local endpoint, yields each host and method that is configured explicitly for the same pattern.
// Two explicit routes that would take the same requests are an error.

import HTTPModel
import Plan

struct RouteExpansion {
  /// In the order of the plan.
  private(set) var routes: [RoutePlan] = []
  /// For each of them the path of the setting it comes from; empty for local endpoints.
  private(set) var sources: [String] = []

  private struct Slot: Hashable {
    var host: String
    var form: String
  }

  private struct Claim {
    var methods: MethodSet
    var source: String
  }

  private enum Kind { case explicit, yielding }

  private var claims: [Slot: [Claim]] = [:]
  private var pending: [(plan: RoutePlan, source: String, kind: Kind)] = []

  init(_ settings: Settings, _ reading: inout Reading) {
    var upstreamIndex: [String: Int] = [:]
    for (index, upstream) in settings.upstreams.enumerated() where upstreamIndex[upstream.name] == nil { upstreamIndex[upstream.name] = index }
    for (index, route) in settings.routes.enumerated() {
      guard let action = Self.action(of: route, upstreamIndex) else { continue }
      var methods = MethodNames.set(route.methods)
      if case .forward = action {
        if route.methods.isEmpty { methods = .any }
      } else if route.methods.isEmpty {
        methods = MethodSet(.get)
      }
      let hosts = route.hosts.map { $0.lowercased() }
      add(RoutePlan(hosts: hosts, pattern: route.path, methods: methods, action: action), "routes[\(index)].path", &reading)
    }
    for (index, upstream) in settings.upstreams.enumerated() where !upstream.routePrefix.isEmpty {
      guard let path = RoutePath(upstream.routePrefix) else { continue }
      var forward = upstream.forward
      forward.upstream = index
      let slash = upstream.routePrefix.hasSuffix("/") ? "" : "/"
      let pattern = path.beforeCatchAll == nil ? "\(upstream.routePrefix)\(slash)*\(RoutePath.implicitCatchAll)" : upstream.routePrefix
      let methods = upstream.methods.isEmpty ? MethodSet.any : MethodNames.set(upstream.methods)
      let source = "upstreams[\(index)].proxy.route_prefix"
      guard RoutePath(pattern) != nil else {
        reading.reject(source, "\(source) must not have a parameter named \(JSON.quoted(RoutePath.implicitCatchAll))")
        continue
      }
      add(RoutePlan(pattern: pattern, methods: methods, action: .forward(forward)), source, &reading)
      // "/api/" was meant to begin with its slash: it does not stand for "/api".
      if path.beforeCatchAll == nil, slash.isEmpty { dropCompanion(of: source) }
    }
    if settings.health { add(yielding: RoutePlan(pattern: "/health", methods: MethodSet(.get), action: .health), "") }
    if settings.stats { add(yielding: RoutePlan(pattern: "/stats", methods: MethodSet(.get), action: .stats), "") }
    settle()
  }

  private static func action(of route: RouteSettings, _ upstreamIndex: [String: Int]) -> RouteAction? {
    if let respond = route.respond { return .respond(respond) }
    if let redirect = route.redirect { return .redirect(redirect) }
    guard let index = upstreamIndex[route.upstream] else { return nil }
    var forward = route.forward ?? ForwardPlan(upstream: index)
    forward.upstream = index
    return .forward(forward)
  }

  /// Adds an explicit route, and its companion.
  private mutating func add(_ plan: RoutePlan, _ source: String, _ reading: inout Reading) {
    guard let path = RoutePath(plan.pattern) else { return }
    var isTaken = false
    for host in plan.hosts.isEmpty ? [""] : plan.hosts {
      let slot = Slot(host: host, form: path.form)
      if !isTaken, let other = claims[slot]?.first(where: { !$0.methods.isDisjoint(with: plan.methods) }) {
        isTaken = true
        let shared = MethodNames.text(other.methods.intersection(plan.methods))
        let onHost = host.isEmpty ? "" : " on host \(JSON.quoted(host))"
        reading.reject(
          source, "\(source) \(JSON.quoted(plan.pattern)) takes the same requests as \(other.source) at \(reading.place(of: other.source)) (\(shared)\(onHost))")
      }
      claims[slot, default: []].append(Claim(methods: plan.methods, source: source))
    }
    pending.append((plan, source, .explicit))
    guard case .forward = plan.action, let before = path.beforeCatchAll, !before.isEmpty else { return }
    var companion = plan
    companion.pattern = before
    add(yielding: companion, source)
  }

  private mutating func add(yielding plan: RoutePlan, _ source: String) { pending.append((plan, source, .yielding)) }

  private mutating func dropCompanion(of source: String) {
    if let last = pending.last, last.source == source, last.kind == .yielding { pending.removeLast() }
  }

  /// Lets what yields have what is left, once everything explicit is known.
  private mutating func settle() {
    for (plan, source, kind) in pending {
      guard kind == .yielding, let form = RoutePath(plan.pattern)?.form else {
        append(plan, source)
        continue
      }
      let hosts = plan.hosts.isEmpty ? [""] : plan.hosts
      let left = hosts.map { host in
        (claims[Slot(host: host, form: form)] ?? []).reduce(plan.methods) { $0.subtracting($1.methods) }
      }
      for (host, methods) in zip(hosts, left) { claims[Slot(host: host, form: form), default: []].append(Claim(methods: methods, source: source)) }
      if left.allSatisfy({ $0 == plan.methods }) {
        append(plan, source)
        continue
      }
      for (host, methods) in zip(hosts, left) where !methods.isEmpty {
        var part = plan
        part.hosts = host.isEmpty ? [] : [host]
        part.methods = methods
        append(part, source)
      }
    }
  }

  private mutating func append(_ plan: RoutePlan, _ source: String) {
    routes.append(plan)
    sources.append(source)
  }
}
