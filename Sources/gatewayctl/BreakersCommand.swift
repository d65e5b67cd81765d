// BreakersCommand — the circuit breakers of a running gateway: looking at them, and taking them in hand.

import ArgumentParser
import Control

struct BreakersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "breakers",
    abstract: "Show the circuit breakers of upstreams and endpoints, or hold one open or closed.",
    discussion: """
      Without an order, shows them. "open" and "close" hold the breaker of an upstream open (requests are refused) or closed (whatever \
      becomes of them) until "reset" lets it go: closed, with nothing counted. All workers obey at once, and reloads change nothing.
      """)

  enum Order: String, ExpressibleByArgument, CaseIterable { case open, close, reset }

  @OptionGroup var instance: InstanceOptions

  @OptionGroup var output: JSONOptions

  @Argument(help: "open, close or reset.")
  var order: Order?

  @Argument(help: "The upstream, or UPSTREAM/ENDPOINT where endpoints have breakers.")
  var name: String?

  func validate() throws {
    if order != nil, (name ?? "").isEmpty { throw ValidationError("which upstream's breaker? (\(order?.rawValue ?? "") NAME)") }
  }

  func run() throws {
    let gateway = try instance.running()
    let request: ControlRequest =
      switch order {
      case .open: .openBreaker(name ?? "")
      case .close: .closeBreaker(name ?? "")
      case .reset: .resetBreaker(name ?? "")
      case nil: .breakers
      }
    guard let answer = try gateway.ask(request, seconds: 10) else { throw Outcome.failed }
    if order != nil { return try gateway.report(answer, output) }
    if output.isJSON || answer.status != .ok { return try gateway.report(answer) }
    guard let state = JSONValue(answer.lines.joined(separator: "\n")) else {
      Terminal.complain("\(Product.tool): the state that \(Product.daemon) sent cannot be read")
      throw Outcome.failed
    }
    Terminal.print(BreakersText.text(state, colours: Terminal.hasColours))
  }
}

/// The breakers drawn for people: the master's JSON in, text out.
enum BreakersText {
  static func text(_ state: JSONValue, colours: Bool) -> String {
    let breakers = state["breakers"].list
    guard !breakers.isEmpty else { return "No upstream has a circuit breaker." }
    var table = Table(numeric: [2, 3, 4, 5, 6, 7])
    table.rows.append(["UPSTREAM", "STATE", "FAILED", "OF", "IN A ROW", "UNDER WAY", "OPENED", "REFUSED"].map { Cell($0, .heading) })
    for breaker in breakers {
      func count(_ name: String) -> Cell { Cell(breaker[name].number.map { "\($0)" } ?? "-") }
      let refused = (breaker["refused"].number ?? 0) + (breaker["spared"].number ?? 0)
      table.rows.append([
        Cell((breaker["upstream"].string ?? "-") + (breaker["endpoint"].string.map { "/" + $0 } ?? "")), phase(breaker), count("window_failures"), count("window_requests"), count("consecutive_failures"),
        count("requests_under_way"), count("opened"), Cell("\(refused)"),
      ])
    }
    return table.text(indent: 0, colours: colours)
  }

  private static func phase(_ breaker: JSONValue) -> Cell {
    let isHeld = breaker["held"].bool == true
    let suffix = breaker["dry_run"].bool == true ? " (dry run)" : ""
    switch breaker["state"].string {
    case "open":
      if isHeld { return Cell("held open" + suffix, .bad) }
      return Cell("open" + (breaker["retry_in_ms"].number.map { ", \(($0 + 999) / 1000) s" } ?? "") + suffix, .bad)
    case "half_open":
      let counts = ["probes_succeeded", "probes_permitted"].map { breaker[$0].number ?? 0 }
      return Cell("half-open, \(counts[0]) of \(counts[1])" + suffix, .waiting)
    case "closed" where breaker["scope"].string == "endpoint": return Cell("by endpoint" + suffix)
    case "closed": return Cell((isHeld ? "held closed" : "closed") + suffix, isHeld ? .waiting : .good)
    default: return Cell("-")
    }
  }
}
