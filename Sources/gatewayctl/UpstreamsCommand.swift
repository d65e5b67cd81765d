// UpstreamsCommand — the upstreams of a running gateway and their endpoints: looking at them, and taking endpoints out of use.

import ArgumentParser
import Control

struct UpstreamsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upstreams",
    abstract: "Show the endpoints of upstreams, or take one out of use.",
    discussion: """
      Without an order, shows them. "drain" gives an endpoint no more requests, but for those of clients that a cookie binds to it; "disable" none at all, and \
      no checks; "enable" takes it into use again. What is under way is finished. All workers obey within a second, and reloads change nothing.
      """)

  enum Order: String, ExpressibleByArgument, CaseIterable { case drain, enable, disable }

  @OptionGroup var instance: InstanceOptions

  @OptionGroup var output: JSONOptions

  @Argument(help: "drain, enable or disable.")
  var order: Order?

  @Argument(help: "The endpoint: UPSTREAM/ENDPOINT, such as app/10.0.0.1:8080.")
  var name: String?

  func validate() throws {
    if order != nil, (name ?? "").isEmpty { throw ValidationError("which endpoint? (\(order?.rawValue ?? "") UPSTREAM/ENDPOINT)") }
  }

  func run() throws {
    let gateway = try instance.running()
    let request: ControlRequest =
      switch order {
      case .drain: .drainEndpoint(name ?? "")
      case .enable: .enableEndpoint(name ?? "")
      case .disable: .disableEndpoint(name ?? "")
      case nil: .upstreams
      }
    guard let answer = try gateway.ask(request, seconds: 10) else { throw Outcome.failed }
    if order != nil { return try gateway.report(answer, output) }
    if output.isJSON || answer.status != .ok { return try gateway.report(answer) }
    guard let state = JSONValue(answer.lines.joined(separator: "\n")) else {
      Terminal.complain("\(Product.tool): the state that \(Product.daemon) sent cannot be read")
      throw Outcome.failed
    }
    Terminal.print(UpstreamsText.text(state, colours: Terminal.hasColours))
  }
}

/// The endpoints drawn for people: the master's JSON in, text out.
enum UpstreamsText {
  static func text(_ state: JSONValue, colours: Bool) -> String {
    let upstreams = state["upstreams"].list
    guard !upstreams.isEmpty else { return "There are no upstreams." }
    var table = Table(numeric: [3, 4, 5])
    table.rows.append(["UPSTREAM", "ENDPOINT", "STATE", "IN FLIGHT", "REQUESTS", "FAILED", "WHY"].map { Cell($0, .heading) })
    for upstream in upstreams {
      if upstream["endpoints"].list.isEmpty {
        table.rows.append([Cell(upstream["name"].string ?? "-"), Cell("-"), Cell("no address", .bad), Cell("-"), Cell("-"), Cell("-"), Cell("no name of its endpoints resolves: see status")])
      }
      for endpoint in upstream["endpoints"].list {
        func count(_ name: String) -> Cell { Cell(endpoint[name].number.map { "\($0)" } ?? "-") }
        table.rows.append([
          Cell(upstream["name"].string ?? "-"), Cell(endpoint["name"].string ?? "-"), standing(endpoint), count("in_flight"), count("requests"), count("failures"),
          Cell(endpoint["reason"].string ?? ""),
        ])
      }
    }
    return table.text(indent: 0, colours: colours)
  }

  private static func standing(_ endpoint: JSONValue) -> Cell {
    let suffix = endpoint["backup"].bool == true ? " (backup)" : ""
    if let order = endpoint["administration"].string, order != "enabled" { return Cell(order + suffix, .waiting) }
    if let left = endpoint["ejected_for_ms"].number { return Cell("ejected, \((left + 999) / 1000) s" + suffix, .bad) }
    switch endpoint["health"].string {
    case "unhealthy": return Cell("unhealthy" + suffix, .bad)
    case "healthy": return Cell("healthy" + suffix, .good)
    case "unknown": return Cell("not checked yet" + suffix, .waiting)
    default: return Cell("enabled" + suffix, .good)
    }
  }
}
