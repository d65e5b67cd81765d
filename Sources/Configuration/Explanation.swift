// Explanation — what there is to say about one setting or fault, found by any of its names.

import HTTPModel

/// One setting or fault, as pairs of a heading and a text.
public struct Explanation: Equatable, Sendable {
  /// `upstreams[].pool.max_connections`, `connection_refused`.
  public let name: String
  public let sentence: String
  public let facts: [(heading: String, text: String)]

  public static func == (a: Explanation, b: Explanation) -> Bool {
    a.name == b.name && a.sentence == b.sentence && a.facts.map(\.heading) == b.facts.map(\.heading) && a.facts.map(\.text) == b.facts.map(\.text)
  }

  /// Everything that `term` may mean: a path with or without `[]` and numbers, its last key alone, a variable of the environment, a fault's token.
  public static func of(_ term: String) -> [Explanation] {
    let wanted = plain(term)
    var exact: [Explanation] = []
    var byKey: [Explanation] = []
    SettingsTable.visit(SettingsTable.root.rows, "") { row, path in
      if plain(path) == wanted || row.variables.contains(where: { term == "GATEWAY_" + $0 || term == "REACTOR_" + $0 }) {
        exact.append(setting(row, path))
      } else if row.key == wanted || row.aliases.contains(wanted) || plain(path).hasSuffix("." + wanted) {
        byKey.append(setting(row, path))
      }
    }
    for row in FaultRow.table where row.fault != .none && "\(row.token)" == term { exact.append(fault(row)) }
    return exact.isEmpty ? byKey : exact
  }

  /// What was probably meant; nil when nothing is near.
  public static func suggestion(for term: String) -> String? {
    var known = FaultRow.table.filter { $0.fault != .none }.map { "\($0.token)" }
    SettingsTable.visit(SettingsTable.root.rows, "") { row, _ in known.append(row.key) }
    return Suggestion.nearest(to: plain(term).split(separator: ".").last.map(String.init) ?? term, among: known)
  }

  /// Without the brackets of lists and what stands in them.
  private static func plain(_ path: String) -> String {
    var text = ""
    var isInside = false
    for character in path {
      if character == "[" { isInside = true }
      if !isInside { text.append(character) }
      if character == "]" { isInside = false }
    }
    return text
  }

  private static func setting(_ row: SettingRow, _ path: String) -> Explanation {
    var facts = [("value", row.shape.type)]
    if row.required { facts.append(("default", "none: it is required")) } else if let value = row.shape.defaultValue { facts.append(("default", value.compact)) }
    if !row.shape.bounds.isEmpty { facts.append(("bounds", row.shape.bounds)) }
    if !row.aliases.isEmpty { facts.append(("also called", row.aliases.joined(separator: ", "))) }
    if !row.variables.isEmpty { facts.append(("environment", row.variables.map { "GATEWAY_" + $0 }.joined(separator: ", "))) }
    if let example = row.example { facts.append(("example", example.compact)) }
    facts.append(("since", row.since))
    return Explanation(name: path, sentence: row.sentence, facts: facts)
  }

  private static func fault(_ row: FaultRow) -> Explanation {
    let side =
      switch row.side {
      case .client: "the client's"
      case .gateway: "the gateway's"
      case .upstream: "the upstream's"
      }
    return Explanation(
      name: "\(row.token)", sentence: "\(row.sentence)",
      facts: [
        ("whose", side), ("status", row.status == 0 ? "none: the connection is closed" : "\(row.status)"), ("level", FaultReference.level(row)),
        ("sent again", FaultReference.retry(row.retry)),
      ])
  }
}
