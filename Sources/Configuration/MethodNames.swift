// MethodNames — the request methods that a configuration can name.

import HTTPModel

enum MethodNames {
  private static let table: [(name: String, method: Method)] = [
    ("GET", .get), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("PATCH", .patch), ("HEAD", .head), ("OPTIONS", .options), ("TRACE", .trace),
  ]

  static let all = table.map(\.name)

  /// The set of the named methods; names that do not exist add nothing.
  static func set(_ names: [String]) -> MethodSet {
    var set = MethodSet()
    for row in table where names.contains(row.name) { set.formUnion(MethodSet(row.method)) }
    return set
  }

  /// For messages: `GET, POST`.
  static func text(_ set: MethodSet) -> String {
    set == .any ? "all methods" : table.filter { set.contains($0.method) }.map(\.name).joined(separator: ", ")
  }
}
