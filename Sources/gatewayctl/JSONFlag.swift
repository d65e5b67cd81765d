// JSONFlag — the flag for machines, and the little JSON that commands write themselves.

import ArgumentParser

struct JSONOptions: ParsableArguments {
  @Flag(name: .customLong("json"), help: "Print the answer as JSON.")
  var isJSON = false
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
