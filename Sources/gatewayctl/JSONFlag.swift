// JSONFlag — the flag for machines, and the little JSON that commands write themselves.

import ArgumentParser

struct JSONOptions: ParsableArguments {
  @Flag(name: .customLong("json"), help: "Print the answer as JSON.")
  var isJSON = false

  func validate() { if isJSON { Terminal.speakJSON() } }
}

/// What came of an order, or of a command that failed, for programs.
enum OutcomeReport {
  /// `{"messages": ["generation 2 serves"], "outcome": "ok"}`
  /// - Parameter outcome: ok, signalled (what became of it is in the gateway's log), failed or not running.
  static func json(_ outcome: String, _ messages: [String]) -> String {
    JSONValue.object(["outcome": .string(outcome), "messages": .list(messages.map { .string($0) })]).text
  }
}

extension JSONOptions {
  /// Says what has been done.
  func tell(_ text: String, _ outcome: String = "ok") { Terminal.print(isJSON ? OutcomeReport.json(outcome, [text]) : text) }
}

extension JSONValue {
  /// The value as JSON text.
  var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let value): "\(value)"
    case .decimal(let text): text
    case .string(let text): Self.quoted(text)
    case .list(let values): "[" + values.map(\.text).joined(separator: ", ") + "]"
    case .object(let members): "{" + members.sorted { $0.key < $1.key }.map { Self.quoted($0.key) + ": " + $0.value.text }.joined(separator: ", ") + "}"
    }
  }
}
