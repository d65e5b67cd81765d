// PlanCommand — what a reload would change, before it does.

import ArgumentParser
import Control

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show what a reload would change.",
    discussion: "The running gateway reads its configuration again, judges it, and compares what it means with what runs. Nothing is changed.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  func run() throws {
    let gateway = try instance.running()
    guard let answer = try gateway.ask(.plan, seconds: 60) else { throw Outcome.failed }
    guard answer.status == .ok else { return try gateway.report(answer) }
    guard let border = answer.lines.firstIndex(of: "---"),
      let old = JSONValue(answer.lines[..<border].joined(separator: "\n")), let new = JSONValue(answer.lines[(border + 1)...].joined(separator: "\n"))
    else {
      Terminal.complain("what runs was loaded by another version: there is nothing to compare with until the next reload")
      throw Outcome.failed
    }
    let changes = SettingsDifference.between(old, new).map(\.hidingPasswords)
    if output.isJSON {
      let list = changes.map { JSONValue.object(["path": .string($0.path), "old": $0.old ?? .null, "new": $0.new ?? .null]) }
      return Terminal.print(JSONValue.object(["changes": .list(list)]).text)
    }
    guard !changes.isEmpty else { return Terminal.print("A reload would change nothing.") }
    let colours = Terminal.hasColours
    for change in changes {
      switch (change.old, change.new) {
      case (let old?, let new?): Terminal.print(Cell("~ \(change.path): \(old.text) → \(new.text)", .waiting).shown(colours: colours))
      case (nil, let new?): Terminal.print(Cell("+ \(change.path): \(new.text)", .good).shown(colours: colours))
      case (let old?, nil): Terminal.print(Cell("- \(change.path): \(old.text)", .bad).shown(colours: colours))
      case (nil, nil): break
      }
    }
    Terminal.print("\n\(changes.count) change\(changes.count == 1 ? "" : "s"); a reload starts new workers with them, and no connection is lost.")
  }
}
