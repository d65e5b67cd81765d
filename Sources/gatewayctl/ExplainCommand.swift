// ExplainCommand — what a setting or a fault means.

import ArgumentParser
import Configuration

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "explain", abstract: "Explain a setting (upstreams.pool.max_connections, GATEWAY_WORKERS) or a fault (connection_refused).")

  @Argument(help: "A key, a path of keys, a variable of the environment, or a fault's token.")
  var term: String

  @OptionGroup var output: JSONOptions

  func run() throws {
    let found = Explanation.of(term)
    guard !found.isEmpty else {
      let hint = Explanation.suggestion(for: term).map { "; did you mean \"\($0)\"?" } ?? ""
      Terminal.complain("there is no setting and no fault \"\(term)\"\(hint)")
      throw Outcome.failed
    }
    if output.isJSON {
      let list = found.map { entry in
        JSONValue.object(["name": .string(entry.name), "meaning": .string(entry.sentence)].merging(entry.facts.map { ($0.heading.replacing(" ", with: "_"), JSONValue.string($0.text)) }) { first, _ in first })
      }
      return Terminal.print(JSONValue.list(list).text)
    }
    for (position, entry) in found.enumerated() {
      var table = Table()
      table.rows = entry.facts.map { [Cell($0.heading), Cell($0.text)] }
      Terminal.print((position == 0 ? "" : "\n") + Cell(entry.name, .heading).shown(colours: Terminal.hasColours) + "\n  \(entry.sentence)\n" + table.text(indent: 2, colours: false))
    }
  }
}
