// RouteExpansion — the configured routes, prefixes and local endpoints as one list of patterns.
//
// A `route_prefix` without catch-all, `/api`, becomes `/api/*`. That a forwarding route `/api/*rest` also
// takes `/api`, and that local endpoints yield to what is configured, is the route table's work. Two configured routes
// that would take the same requests are an error; all such errors are found here, with both positions.

import HTTPModel
import Plan
import Policy

struct RouteExpansion {
  /// In the order of the plan.
  private(set) var routes: [RoutePlan] = []
  /// For each of them the path of the setting it comes from; empty for local endpoints.
  private var sources: [String] = []

  private struct Slot: Hashable {
    var host: String
    var form: String
  }

  /// Who takes which methods.
  private var claims: [Slot: [(methods: MethodSet, source: String)]] = [:]

  init(_ settings: Settings, _ reading: inout Reading) {
    var upstreamIndex: [String: Int] = [:]
    for (index, upstream) in settings.upstreams.enumerated() where upstreamIndex[upstream.name] == nil { upstreamIndex[upstream.name] = index }
    for (index, route) in settings.routes.enumerated() {
      guard let action = Self.action(of: route, upstreamIndex) else { continue }
      var methods = MethodNames.set(route.methods)
      if route.methods.isEmpty {
        if case .forward = action { methods = .any } else { methods = MethodSet(.get) }
      }
      let hosts = route.hosts.map { $0.lowercased() }
      var plan = RoutePlan(hosts: hosts, pattern: route.path, methods: methods, action: action, rules: Self.resolved(route.rules, upstreamIndex))
      plan.access = AddressRulePlan(route.access)
      plan.compresses = settings.isCompressed(route.compression)
      add(plan, "routes[\(index)].path", &reading)
    }
    for (index, upstream) in settings.upstreams.enumerated() where !upstream.routePrefix.isEmpty {
      guard let path = reading.routePath(upstream.routePrefix) else { continue }
      var pattern = upstream.routePrefix
      if !path.endsInCatchAll { pattern += (pattern.hasSuffix("/") ? "*" : "/*") }
      var forward = upstream.forward
      forward.upstream = index
      let methods = upstream.methods.isEmpty ? MethodSet.any : MethodNames.set(upstream.methods)
      var plan = RoutePlan(pattern: pattern, methods: methods, action: .forward(forward), rules: Self.resolved(upstream.rules, upstreamIndex))
      plan.access = AddressRulePlan(upstream.access)
      plan.compresses = settings.isCompressed(upstream.compression)
      add(plan, "upstreams[\(index)].proxy.route_prefix", &reading)
    }
    if settings.health { append(RoutePlan(pattern: "/health", methods: MethodSet(.get), action: .health), "") }
    if settings.stats { append(RoutePlan(pattern: "/stats", methods: MethodSet(.get), action: .stats), "") }
    compile(&reading)
  }

  private static func action(of route: RouteSettings, _ upstreamIndex: [String: Int]) -> RouteAction? {
    if let respond = route.respond { return .respond(respond) }
    if let redirect = route.redirect { return .redirect(redirect) }
    if let echo = route.echo { return .echo(echo) }
    if let files = route.files { return .files(files) }
    guard let index = upstreamIndex[route.rules.split.arms.first?.name ?? route.upstream] else { return nil }
    var forward = route.forward ?? ForwardPlan(upstream: index)
    forward.upstream = index
    return .forward(forward)
  }

  /// The rules with the upstreams that they name.
  private static func resolved(_ rules: RouteRulesPlan, _ upstreamIndex: [String: Int]) -> RouteRulesPlan {
    var rules = rules
    for index in rules.split.arms.indices { rules.split.arms[index].upstream = upstreamIndex[rules.split.arms[index].name] ?? 0 }
    if let name = rules.mirror?.name { rules.mirror?.upstream = upstreamIndex[name] ?? 0 }
    return rules
  }

  /// Adds a configured route, unless it collides with an earlier one.
  private mutating func add(_ plan: RoutePlan, _ source: String, _ reading: inout Reading) {
    guard let path = reading.routePath(plan.pattern) else {
      // A route's own pattern has been complained about; one that was completed here has not.
      if let complaint = RoutePath.complaint(plan.pattern), source.hasPrefix("upstreams") { reading.reject(source, "\(source) \(complaint)") }
      return
    }
    for host in plan.hosts.isEmpty ? [""] : plan.hosts {
      let slot = Slot(host: host, form: path.form)
      if let other = claims[slot]?.first(where: { !$0.methods.isDisjoint(with: plan.methods) }) {
        let shared = MethodNames.text(other.methods.intersection(plan.methods))
        let onHost = host.isEmpty ? "" : " on host \(JSON.quoted(host))"
        return reading.reject(
          source, "\(source) \(JSON.quoted(plan.pattern)) takes the same requests as \(other.source) at \(reading.place(of: other.source)) (\(shared)\(onHost))")
      }
      claims[slot, default: []].append((plan.methods, source))
    }
    append(plan, source)
  }

  private mutating func append(_ plan: RoutePlan, _ source: String) {
    routes.append(plan)
    sources.append(source)
  }

  /// Has the route table made, for what only it can find. It names one fault at a time, so each is taken out and the
  /// rest tried again.
  private func compile(_ reading: inout Reading) {
    var routes = routes, sources = sources
    for _ in 0..<20 {
      do throws(RouteTableError) {
        _ = try RouteTable(routes)
        return
      } catch {
        guard routes.indices.contains(error.route) else { return reading.reject("routes", error.message) }
        let source = sources[error.route]
        var message = "\(source) \(JSON.quoted(routes[error.route].pattern)): \(error.message)"
        if let other = error.other, sources.indices.contains(other), !sources[other].isEmpty {
          message += " (\(sources[other]) at \(reading.place(of: sources[other])))"
        }
        reading.reject(source, message)
        routes.remove(at: error.route)
        sources.remove(at: error.route)
      }
    }
  }
}
