// ConfigurationReference — the settings table for people: docs/configuration.md, and the commented etc/gateway.json.

public enum ConfigurationReference {
  /// The reference of all settings as Markdown.
  public static var markdown: String {
    var text = introduction
    for (path, sentence, rows) in objects() {
      text += "\n## \(path.isEmpty ? "Top level" : "`\(path)`")\n\n"
      if !sentence.isEmpty { text += sentence + "\n\n" }
      text += "| key | value | default | bounds | since | meaning |\n|---|---|---|---|---|---|\n"
      for row in rows {
        if case .later = row.shape { continue }
        var meaning = row.sentence
        if !row.aliases.isEmpty { meaning += " Also accepted: " + row.aliases.map { "`\($0)`" }.joined(separator: ", ") + "." }
        if !row.variables.isEmpty { meaning += " Environment: " + row.variables.map { "`GATEWAY_\($0)`" }.joined(separator: ", ") + "." }
        let standard = row.required ? "required" : row.shape.defaultValue.map { "`\($0.compact)`" } ?? ""
        text += "| `\(row.key)` | \(cell(row.shape.type)) | \(cell(standard)) | \(cell(row.shape.bounds)) | \(row.since) | \(cell(meaning)) |\n"
      }
    }
    text += later
    return text
  }

  private static func cell(_ text: String) -> String { text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|") }

  /// Every object of the configuration in the order of the table: its path, its sentence, its rows.
  private static func objects() -> [(path: String, sentence: String, rows: [SettingRow])] {
    var objects: [(String, String, [SettingRow])] = [("", "", SettingsTable.root.rows)]
    func append(_ row: SettingRow, _ path: String) {
      if case .objects = row.shape { objects.append((path + "[]", row.sentence, row.shape.children)) } else { objects.append((path, row.sentence, row.shape.children)) }
    }
    SettingsTable.visit(SettingsTable.root.rows, "") { row, path in
      switch row.shape {
      // The proxy of a route has the rows of the proxy of an upstream, and that the rules of a route; they are long enough to be described once.
      case .object where path.hasPrefix("routes[].proxy"): break
      case .object, .objects:
        if let rule = SettingsTable.routeRules.rows.first(where: { path.hasPrefix("upstreams[].proxy.\($0.key)") }), !rule.shape.children.isEmpty { break }
        append(row, path)
      default: break
      }
    }
    return objects
  }

  private static let introduction = """
    <!-- Generated from the settings table (Sources/Configuration/SettingsTable.swift). Do not edit. -->
    # Configuration

    The configuration is one object in JSON or YAML; `#` begins a comment. Without `-c` it is read from
    \(ConfigurationSource.defaultPaths.map { "`\($0)`" }.joined(separator: " or ")), and without a file there the defaults below hold.

    - Later sources win: defaults, the file, the environment, flags. Rules are applied to the merged result.
    - A variable `GATEWAY_X` may also be called `REACTOR_X`; when both are set, `GATEWAY_X` wins. Booleans are 1, true, yes, 0, false, no.
    - A duration or size is a whole number in the unit of its key (`_sec`, `_ms`, bytes), or text with a unit:
      `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`; `"512B"`, `"16KiB"`, `"1MiB"`, `"1GiB"`, `"1KB"`, `"1MB"`, `"1GB"`.
      Below ten milliseconds there is no timer.
    - An unknown key is an error, and all errors are reported at once, as `file:line:column: error: …`. Anchors, aliases and tags of YAML are not supported.
    - Every key can be changed by a reload.
    - `gatewayctl config` prints the effective configuration, which can be loaded again; `gateway.schema.json` is for editors.

    A configuration that forwards `/api` to a backend:

    ```
    {
        "upstreams": [
            {"name": "app", "host": "127.0.0.1", "port": 9001, "proxy": {"route_prefix": "/api"}}
        ]
    }
    ```

    ## Routes

    A route takes the requests whose host, path and method it names. A path is a pattern of segments:

    - `users` matches itself; `:id` one segment; `:id([0-9]+)` one segment that matches the regular expression as a whole;
      `*rest`, at the end, the rest, which may be empty and contain `/`.
    - In each segment a text is preferred to a parameter, and a parameter to a catch-all. Case and a final `/` matter; the query does not.
    - A forwarding route `/api/*rest` also takes `/api`, unless another route does. A `route_prefix` without catch-all, `/api`,
      takes `/api` and everything below it.
    - A host that is named exactly is preferred to `*.example.com`, and that to a route without hosts.
    - Two routes that would take the same requests are an error. A configured route wins over `/health` and `/stats`.
    - `strip_prefix` sends `/` and what the catch-all has matched; the query is kept.

    """

  private static var later: String {
    var text = "\n## Not available yet\n\nThese keys are reserved for features that do not exist yet and are refused:\n\n"
    func list(_ rows: [SettingRow], _ path: String) {
      let keys = rows.compactMap { row -> String? in if case .later = row.shape { "`\(row.key)`" } else { nil } }
      if !keys.isEmpty { text += "- \(path.isEmpty ? "top level" : "`\(path)`"): \(keys.joined(separator: ", "))\n" }
    }
    for (path, _, rows) in objects() { list(rows, path) }
    return text
  }

  /// A configuration file that shows every key with its default and a comment. It is valid; `upstreams` holds an example,
  /// and what would take effect beyond that is commented out.
  public static var sample: String {
    var text = """
      # Reference configuration: every key, with its default unless the comment says otherwise.
      # Generated from the settings table; docs/configuration.md has the details.
      {
      # For editors.
      "$schema": "gateway.schema.json",

      """
    write(SettingsTable.root.rows.filter { if case .annotation = $0.shape { false } else { true } }, indent: 4, prefix: "", &text)
    return text.split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0 == "# For editors." || $0.hasPrefix("\"$schema") ? "    " + $0 : String($0) }.joined(separator: "\n") + "}\n"
  }

  /// Writes rows as members; with `prefix` `# ` they are commented out, and their comments begin with `##`.
  private static func write(_ rows: [SettingRow], indent: Int, prefix: String, _ text: inout String) {
    let rows = rows.filter { if case .later = $0.shape { false } else { true } }
    let margin = String(repeating: " ", count: indent)
    for (position, row) in rows.enumerated() {
      let comma = position == rows.count - 1 ? "" : ","
      var comment = row.sentence
      if !row.shape.bounds.isEmpty { comment += " (\(row.shape.bounds))" }
      if case .choice(let names, _) = row.shape { comment += " (\(names.joined(separator: ", ")))" }
      if row.example != nil, let value = row.shape.defaultValue, !row.required, value.compact != "[]" { comment += " Default: \(value.compact)." }
      let key = JSON.quoted(row.key)
      // What has no default is shown, but not given.
      let prefix = row.isAbsentByDefault && prefix.isEmpty ? "# " : prefix
      text += "\(margin)\(prefix.isEmpty ? "#" : "##") \(comment)\n"
      switch row.shape {
      case .object(let children, _):
        text += "\(margin)\(prefix)\(key): {\n"
        write(children, indent: indent + 4, prefix: prefix, &text)
        text += "\(margin)\(prefix)}\(comma)\n"
      case .objects(let children):
        // Only the upstreams' example may take effect: it listens nowhere and replaces nothing.
        let isShown = row.key == "upstreams"
        let inner = isShown ? prefix : "# "
        text += "\(margin)\(prefix)\(key): [\n"
        text += "\(margin)    \(inner){\n"
        write(children, indent: indent + 8, prefix: inner, &text)
        text += "\(margin)    \(inner)}\n"
        text += "\(margin)\(prefix)]\(comma)\n"
      default:
        let value = row.example ?? row.shape.defaultValue ?? row.shape.smallest ?? ""
        text += "\(margin)\(prefix)\(key): \(value.compact)\(comma)\n"
      }
    }
  }
}
