// LimitsCommand — the zones of a running gateway's limits: what is refused, how many keys are short, and which ask most where that may be known.

import ArgumentParser
import Control

struct LimitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limits",
    abstract: "Show the zones of rate and concurrency limits.",
    discussion: """
      Keys are named only of zones with track_keys: those that ask most, lately (counts are halved every five minutes). A count that begins with "<" may be \
      too high, because its key has taken the place of another. Keys of a zone with a backend are counted as the fallback's buckets have them, not as the server has.
      """)

  @OptionGroup var instance: InstanceOptions

  @Option(name: .customLong("top"), help: "Keys to name of each zone.")
  var top = 10

  @OptionGroup var output: JSONOptions

  func validate() throws {
    if !(0...ControlRequest.topLimit).contains(top) { throw ValidationError("--top must be between 0 and \(ControlRequest.topLimit)") }
  }

  func run() throws {
    let gateway = try instance.running()
    guard let answer = try gateway.ask(.limits(top), seconds: 10) else { throw Outcome.failed }
    if output.isJSON || answer.status != .ok { return try gateway.report(answer) }
    guard let state = JSONValue(answer.lines.joined(separator: "\n")) else {
      Terminal.complain("\(Product.tool): the state that \(Product.daemon) sent cannot be read")
      throw Outcome.failed
    }
    Terminal.print(LimitsText.text(state, colours: Terminal.hasColours))
  }
}

/// The zones drawn for people: the master's JSON in, text out.
enum LimitsText {
  static func text(_ state: JSONValue, colours: Bool) -> String {
    let rates = state["rate_limits"].list, counts = state["concurrency_limits"].list
    guard !rates.isEmpty || !counts.isEmpty else { return "There are no rate or concurrency limits." }
    var parts: [String] = []
    if !rates.isEmpty {
      var table = Table(numeric: [2, 3, 4, 5])
      table.rows.append(["RATE LIMIT", "KEY", "REFUSED", "KEYS", "BELOW CAPACITY", "WITHOUT TOKEN"].map { Cell($0, .heading) })
      for zone in rates {
        table.rows.append([name(zone), Cell(zone["key_type"].string ?? "-"), refused(zone), number(zone, "keys"), number(zone, "keys_below_capacity"), number(zone, "keys_without_token")])
      }
      parts.append(table.text(indent: 0, colours: colours))
    }
    if !counts.isEmpty {
      var table = Table(numeric: [3, 4, 5, 6, 7])
      table.rows.append(["CONCURRENCY LIMIT", "KEY", "COUNTS", "REFUSED", "KEYS", "UNDER WAY", "MOST OF A KEY", "LIMIT"].map { Cell($0, .heading) })
      for zone in counts {
        table.rows.append([
          name(zone), Cell(zone["key_type"].string ?? "-"), Cell(zone["counts"].string ?? "-"), refused(zone), number(zone, "keys"), number(zone, "under_way"),
          number(zone, "most_of_a_key"), number(zone, "limit"),
        ])
      }
      parts.append(table.text(indent: 0, colours: colours))
    }
    for zone in rates where !zone["top"].list.isEmpty {
      var table = Table(numeric: [1, 2])
      table.rows.append(["\(zone["zone"].string ?? "-"): KEY", "REQUESTS", "REFUSED"].map { Cell($0, .heading) })
      for key in zone["top"].list {
        let requests = key["requests"].number ?? 0, least = key["requests_at_least"].number ?? 0
        table.rows.append([Cell(key["key"].string ?? "(unknown)"), Cell(least < requests ? "<\(requests)" : "\(requests)"), number(key, "refused")])
      }
      parts.append(table.text(indent: 0, colours: colours))
    }
    return parts.joined(separator: "\n\n")
  }

  private static func name(_ zone: JSONValue) -> Cell {
    let text = (zone["zone"].string ?? "-") + (zone["dry_run"].bool == true ? " (dry run)" : "")
    guard let backend = zone["backend"].string else { return Cell(text) }
    return zone["backend_away"].bool == true ? Cell("\(text) (\(backend) is away: \(zone["fallback"].string ?? "-"))", .bad) : Cell("\(text) (on \(backend))")
  }

  private static func number(_ value: JSONValue, _ name: String) -> Cell { Cell(value[name].number.map { "\($0)" } ?? "-") }

  private static func refused(_ zone: JSONValue) -> Cell {
    let count = (zone["refused"].number ?? 0) + (zone["dry_run_refused"].number ?? 0)
    return Cell("\(count)", count > 0 ? .waiting : .plain)
  }
}
