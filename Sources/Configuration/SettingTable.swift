// SettingTable — the rows of one object of the configuration, and how the object is read and written by them.

/// The rows for an object whose values are kept in `Owner`.
struct SettingTable<Owner: Sendable>: Sendable {
  /// The values without any configuration.
  let fresh: Owner
  let settings: [Setting<Owner>]
  let rows: [SettingRow]
  /// By key and alias.
  private let index: [String: Int]

  init(_ fresh: Owner, _ settings: [Setting<Owner>]) {
    self.fresh = fresh
    self.settings = settings
    rows = settings.map { $0.description(fresh) }
    var index: [String: Int] = [:]
    for (position, row) in rows.enumerated() {
      for name in [row.key] + row.aliases { index[name] = position }
    }
    self.index = index
  }

  /// The rows with the defaults of `owner`.
  func rows(as owner: Owner) -> [SettingRow] { settings.map { $0.description(owner) } }

  /// Reads an object into `owner`: what it gives is checked and replaced, the rest left as it is.
  func read(_ node: Node, _ path: String, _ owner: inout Owner, _ reading: inout Reading) {
    guard case .mapping(let entries) = node.content else {
      return reading.reject(node.origin, path, path.isEmpty ? "the configuration must be an object (\(node.found))" : "\(path) must be an object (\(node.found))")
    }
    reading.origins[path] = node.origin
    var given = [String?](repeating: nil, count: settings.count)
    for entry in entries {
      guard let position = index[entry.key] else {
        rejectUnknown(entry, path, &reading)
        continue
      }
      if let other = given[position] {
        reading.reject(entry.origin, path, "\(JSON.quoted(entry.key)) and \(JSON.quoted(other)) are the same setting")
        continue
      }
      given[position] = entry.key
      let childPath = path.isEmpty ? rows[position].key : "\(path).\(rows[position].key)"
      reading.origins[childPath] = entry.value.origin
      if case .later = rows[position].shape {
        reading.reject(entry.origin, childPath, "\(JSON.quoted(entry.key)) is not available yet\(path.isEmpty ? "" : " in \(path)")")
      } else {
        let unit = rows[position].aliasUnits[entry.key]
        settings[position].read(unit.map { entry.value.quantity(in: $0) } ?? entry.value, childPath, &owner, &reading)
      }
    }
    if let first = entries.first, let position = index["enabled"], given[position] == nil, case .boolean(default: false) = rows[position].shape {
      reading.dormant.append((path, first.origin))
    }
    for (position, row) in rows.enumerated() where row.required && given[position] == nil {
      reading.reject(node.origin, path, "\(path) needs \(JSON.quoted(row.key))")
    }
  }

  func write(_ owner: Owner) -> JSON {
    .object(settings.compactMap { setting in setting.write(owner).map { JSON.Member(key: setting.key, value: $0) } })
  }

  private func rejectUnknown(_ entry: Node.Entry, _ path: String, _ reading: inout Reading) {
    var message = "unknown key \(JSON.quoted(entry.key)) in \(path.isEmpty ? "the top level" : path)"
    var suggestion: String?
    // In a file of errors, the later suggestions are hardly read and cost time.
    if reading.errors.count < 100 {
      let known = rows.filter { if case .later = $0.shape { false } else { true } }.map(\.key)
      // What others call a key of this very place is not one that has strayed from another.
      if let meant = Suggestion.synonym(of: entry.key, among: known) {
        suggestion = meant
      } else if let home = SettingsTable.home(of: entry.key) {
        message += "; it belongs in \(home)"
      } else {
        suggestion = Suggestion.nearest(to: entry.key, among: known)
      }
    }
    reading.reject(entry.origin, path, message, suggestion: suggestion)
  }
}
