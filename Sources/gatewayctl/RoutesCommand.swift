// RoutesCommand — the routes in their order, or the one that would take a request, and why.

import ArgumentParser
import Configuration
import HTTPModel
import Plan

struct RoutesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "routes", abstract: "List the routes of a configuration, or tell which one takes a request.",
    discussion: "Judged with the tables that workers use: gatewayctl routes --match 'GET https://example.com/users/7'.")

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var output: JSONOptions

  @Option(name: .customLong("match"), help: ArgumentHelp("A request: its method (default GET) and address.", valueName: "request"))
  var match: String?

  func run() throws {
    let plan: Plan
    switch options.load() {
    case .failure(let errors):
      Terminal.complain(errors.description)
      throw Outcome.failed
    case .success(let loaded):
      loaded.tellWhereNothingIs()
      plan = loaded.plan
    }
    guard let match else {
      if output.isJSON { return Terminal.print(JSONValue.list(plan.routes.map { Self.json($0, plan) }).text) }
      var table = Table(numeric: [0])
      table.rows = [["", "HOSTS", "METHODS", "PATTERN", "ACTION"].map { Cell($0, .heading) }]
      for (index, route) in plan.routes.enumerated() { table.rows.append([Cell("\(index)")] + Self.cells(route, plan)) }
      return Terminal.print(table.text(indent: 0, colours: Terminal.hasColours))
    }
    guard let question = RouteQuestion(match) else {
      Terminal.complain("\"\(match)\" is no request such as 'GET https://example.com/path'")
      throw Outcome.usage
    }
    guard let reply = try? question.answer(plan) else { throw Outcome.failed }
    output.isJSON ? printJSON(reply, plan) : printText(reply, plan, question)
    if case .route = reply.outcome { return }
    throw Outcome.failed
  }

  private func printText(_ reply: RouteReply, _ plan: Plan, _ question: RouteQuestion) {
    var table = Table()
    func add(_ name: String, _ text: String, _ tone: Cell.Tone = .plain) { table.rows.append([Cell(name), Cell(text, tone)]) }
    add("request", "\(question.methodName) \(question.host.isEmpty ? "(any host)" : question.host) \(question.path)")
    if reply.path != question.path { add("normalised", reply.path) }
    switch reply.outcome {
    case .route(let index):
      let route = plan.routes[index]
      add("route", "\(index): \(route.pattern)", .good)
      add("hosts", route.hosts.isEmpty ? "every host" : route.hosts.joined(separator: ", "))
      add("action", Self.action(route, plan))
      for line in Self.policies(route, plan) { add("policy", line) }
    case .notFound: add("route", "none: 404 (route_not_found)", .bad)
    case .methodNotAllowed(let methods): add("route", "none for this method: 405 (allowed: \(Self.text(methods)))", .bad)
    case .rejectedPath: add("route", "none: 400, the path cannot be normalised safely", .bad)
    }
    for zone in reply.zones { add("rate limit", zone) }
    for other in reply.others { add("not taken", "\(other.route): \(plan.routes[other.route].pattern), \(other.reason)") }
    Terminal.print(table.text(indent: 0, colours: Terminal.hasColours))
  }

  private func printJSON(_ reply: RouteReply, _ plan: Plan) {
    var members: [String: JSONValue] = ["path": .string(reply.path), "rate_limits": .list(reply.zones.map { .string($0) })]
    members["not_taken"] = .list(reply.others.map { .object(["route": .number(Int64($0.route)), "reason": .string($0.reason)]) })
    switch reply.outcome {
    case .route(let index): members["route"] = Self.json(plan.routes[index], plan, index)
    case .notFound: members["status"] = .number(404)
    case .methodNotAllowed: members["status"] = .number(405)
    case .rejectedPath: members["status"] = .number(400)
    }
    Terminal.print(JSONValue.object(members).text)
  }

  private static func json(_ route: RoutePlan, _ plan: Plan, _ index: Int? = nil) -> JSONValue {
    var members: [String: JSONValue] = [
      "pattern": .string(route.pattern), "hosts": .list(route.hosts.map { .string($0) }), "methods": .string(text(route.methods)), "action": .string(action(route, plan)),
    ]
    members["policies"] = .list(policies(route, plan).map { .string($0) })
    if let index { members["index"] = .number(Int64(index)) }
    return .object(members)
  }

  private static func cells(_ route: RoutePlan, _ plan: Plan) -> [Cell] {
    [Cell(route.hosts.isEmpty ? "*" : route.hosts.joined(separator: ", ")), Cell(text(route.methods)), Cell(route.pattern), Cell(action(route, plan))]
  }

  private static func text(_ methods: MethodSet) -> String {
    methods == .any ? "all" : Method.allCases.filter { methods.contains($0) }.map { "\($0.name)" }.joined(separator: ", ")
  }

  private static func action(_ route: RoutePlan, _ plan: Plan) -> String {
    let arms = route.rules.split.arms
    if !arms.isEmpty { return "forward, split between \(arms.map(\.name).joined(separator: ", "))" }
    if case .forward(let forward) = route.action { return "forward to \(plan.upstreams.indices.contains(forward.upstream) ? plan.upstreams[forward.upstream].name : "?")" }
    if case .respond(let respond) = route.action { return "respond \(respond.status)" }
    if case .redirect(let redirect) = route.action { return "redirect \(redirect.status) to \(redirect.to)" }
    if case .files(let files) = route.action { return "files below \(files.root)" }
    // The others are called what they are.
    return String("\(route.action)".prefix { $0.isLetter })
  }

  /// What holds for the requests of a route besides its action.
  private static func policies(_ route: RoutePlan, _ plan: Plan) -> [String] {
    let rules = route.rules
    var lines: [String] = []
    for arm in rules.split.arms {
      let condition = arm.when.isEmpty ? "" : " when \(arm.when.map { "\($0.name): \($0.value)" }.joined(separator: ", "))"
      lines.append("split: \(arm.name), weight \(arm.weight)\(condition)\(rules.split.key.isEmpty ? "" : ", by \(rules.split.key)")")
    }
    if let mirror = rules.mirror { lines.append("mirrored to \(mirror.name): \(percent(mirror.percent)), at most \(mirror.maxConcurrent) at the same time") }
    if !route.access.isEmpty { lines.append("clients by address: \(route.access.allow.count) ranges allowed, \(route.access.deny.count) denied") }
    if !rules.rewrite.isEmpty { lines.append("path rewritten to \(rules.rewrite)") }
    for (name, edit) in [("request", rules.request), ("response", rules.response)] where !edit.isEmpty { lines.append("\(name) headers: \(text(edit))") }
    if let cors = rules.cors { lines.append("CORS for \(cors.origins.joined(separator: ", "))") }
    if let size = rules.bounds.maxBodySize { lines.append("request body at most \(size == 0 ? "unlimited" : "\(size) bytes")") }
    if let timeout = rules.bounds.requestTimeout { lines.append("request within \(timeout) ms") }
    if let timeout = rules.bounds.sendTimeout { lines.append("response taken within \(timeout) ms") }
    if rules.rateLimitCost != 1 { lines.append("costs \(rules.rateLimitCost) tokens of each rate limit") }
    if route.compresses { lines.append("responses are compressed") }
    guard case .forward(let forward) = route.action else { return lines }
    if forward.stripPrefix { lines.append("the prefix is stripped") }
    lines.append("answer within \(forward.responseTimeout) ms\(forward.timeout > 0 ? ", the whole within \(forward.timeout) ms" : "")")
    if forward.retry.maxRetries > 0 { lines.append("sent again up to \(forward.retry.maxRetries) times") }
    if forward.hedgeDelay > 0 { lines.append("hedged after \(forward.hedgeDelay) ms") }
    if forward.webSocket { lines.append("WebSockets pass") }
    return lines
  }

  private static func text(_ edit: HeaderEditPlan) -> String {
    let parts = [
      ("remove", edit.remove), ("set", edit.set.map(\.name)), ("default", edit.fallback.map(\.name)), ("add", edit.add.map(\.name)),
    ]
    return parts.filter { !$0.1.isEmpty }.map { "\($0.0) \($0.1.joined(separator: ", "))" }.joined(separator: "; ")
  }

  /// Thousandths of a percent, as a percentage.
  private static func percent(_ thousandths: Int) -> String {
    thousandths % 1000 == 0 ? "\(thousandths / 1000) %" : "\(Double(thousandths) / 1000) %"
  }
}
