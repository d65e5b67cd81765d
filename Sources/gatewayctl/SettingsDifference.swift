// SettingsDifference — two effective configurations compared by meaning: lists by the names of what is in them, not by place.
//
// Pure: JSON in, changes out.

/// One setting that differs.
struct SettingChange: Equatable {
  /// `upstreams[app].pool.max_connections`
  let path: String
  /// nil: it is new.
  let old: JSONValue?
  /// nil: it is gone.
  let new: JSONValue?
}

enum SettingsDifference {
  /// Changes in the order of their paths.
  static func between(_ old: JSONValue, _ new: JSONValue) -> [SettingChange] {
    var changes: [SettingChange] = []
    compare(old, new, "", &changes)
    return changes
  }

  private static func compare(_ old: JSONValue, _ new: JSONValue, _ path: String, _ changes: inout [SettingChange]) {
    guard old != new else { return }
    switch (old, new) {
    case (.object(let left), .object(let right)):
      for key in Set(left.keys).union(right.keys).sorted() { member(left[key], right[key], path.isEmpty ? key : path + "." + key, &changes) }
    case (.list(let left), .list(let right)):
      guard let leftNames = names(left), let rightNames = names(right) else { return changes.append(SettingChange(path: path, old: old, new: new)) }
      for name in leftNames + rightNames.filter({ !leftNames.contains($0) }) {
        member(
          leftNames.firstIndex(of: name).map { left[$0] }, rightNames.firstIndex(of: name).map { right[$0] }, "\(path)[\(name)]", &changes)
      }
      let common = leftNames.filter(rightNames.contains)
      let reordered = rightNames.filter(leftNames.contains)
      if common != reordered {
        changes.append(SettingChange(path: path + " (order)", old: .string(common.joined(separator: ", ")), new: .string(reordered.joined(separator: ", "))))
      }
    default: changes.append(SettingChange(path: path, old: old, new: new))
    }
  }

  private static func member(_ old: JSONValue?, _ new: JSONValue?, _ path: String, _ changes: inout [SettingChange]) {
    guard let old, let new else { return changes.append(SettingChange(path: path, old: old, new: new)) }
    compare(old, new, path, &changes)
  }

  /// What tells the elements of a list of objects from each other; nil when nothing does.
  private static func names(_ elements: [JSONValue]) -> [String]? {
    let names = elements.map { element -> String? in
      guard case .object(let members) = element else { return nil }
      if let name = members["name"]?.string, !name.isEmpty { return name }
      if let path = members["path"]?.string {
        let hosts = members["hosts"]?.list.compactMap(\.string).joined(separator: ",") ?? ""
        let methods = members["methods"]?.list.compactMap(\.string).joined(separator: ",") ?? ""
        return [methods, hosts + path].filter { !$0.isEmpty }.joined(separator: " ")
      }
      if let unix = members["unix"]?.string, !unix.isEmpty { return unix }
      if let host = members["host"]?.string { return "\(host):\(members["port"]?.number ?? 0)" }
      return members["cert_file"]?.string
    }
    guard names.allSatisfy({ $0 != nil }), Set(names).count == names.count else { return nil }
    return names.compactMap { $0 }
  }
}

extension SettingChange {
  /// The same, but passwords in addresses (`redis://user:password@host`) cannot be seen; where nothing else differs, both look alike.
  var hidingPasswords: SettingChange { SettingChange(path: path, old: old.map(Self.hide), new: new.map(Self.hide)) }

  private static func hide(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): .string(hide(text))
    case .list(let elements): .list(elements.map(hide))
    case .object(let members): .object(members.mapValues(hide))
    default: value
    }
  }

  private static func hide(_ text: String) -> String {
    guard text.hasPrefix("redis://") || text.hasPrefix("redis+unix://"), let slashes = text.firstIndex(of: "/") else { return text }
    let authority = text[text.index(slashes, offsetBy: 2)...]
    let end = authority.firstIndex(of: "/") ?? authority.endIndex
    guard let at = authority[..<end].lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":") else { return text }
    return text[...colon] + "***" + text[at...]
  }
}
