// Overlay — environment variables and flags, as small trees that are read over the file's by the same table.

/// What the command line sets; nil where it says nothing.
public struct Overrides: Equatable, Sendable {
  /// `-H`
  public var host: String?
  /// `-p`
  public var port: Int?
  /// `-l`
  public var logLevel: String?
  /// `-w`
  public var workers: Int?
  /// `--no-health-endpoint`
  public var noHealthEndpoint = false
  /// `--no-stats-endpoint`
  public var noStatsEndpoint = false

  public init() {}

  func apply(to settings: inout Settings, _ reading: inout Reading) {
    func set(_ path: String, _ text: String, quoted: Bool, _ flag: String) {
      Overlay.read(path, text, quoted: quoted, .flag(flag), &settings, &reading)
    }
    if let host { set("bind_host", host, quoted: true, "-H") }
    if let port { set("bind_port", String(port), quoted: false, "-p") }
    if let logLevel { set("log.level", logLevel, quoted: true, "-l") }
    if let workers { set("workers", String(workers), quoted: false, "-w") }
    if noHealthEndpoint { set("health_endpoint", "false", quoted: false, "--no-health-endpoint") }
    if noStatsEndpoint { set("stats_endpoint", "false", quoted: false, "--no-stats-endpoint") }
  }
}

enum Overlay {
  /// `GATEWAY_` wins over `REACTOR_`.
  static let prefixes = ["GATEWAY_", "REACTOR_"]

  /// Every setting that has a variable: its path, its names, its shape.
  private static let variables: [(path: String, names: [String], shape: Shape)] = {
    var variables: [(String, [String], Shape)] = []
    SettingsTable.visit(SettingsTable.root.rows, "") { row, path in
      if !row.variables.isEmpty { variables.append((path, row.variables, row.shape)) }
    }
    return variables
  }()

  static func apply(_ environment: [String: String], to settings: inout Settings, _ reading: inout Reading) {
    for (path, names, shape) in variables {
      let candidates = prefixes.flatMap { prefix in names.map { prefix + $0 } }
      guard let name = candidates.first(where: { environment[$0] != nil }), let value = environment[name] else { continue }
      let origin = Origin.environment(name)
      switch shape {
      case .boolean:
        guard let flag = boolean(value) else {
          reading.reject(origin, path, "\(path) must be 1, true, yes, 0, false or no (found \(JSON.quoted(value)))")
          continue
        }
        read(path, flag ? "true" : "false", quoted: false, origin, &settings, &reading)
      case .integer, .quantity, .numbers, .decimal:
        // A plain number is given without quotes, a number with a unit with them.
        let isNumber = !value.isEmpty && value.utf8.allSatisfy { isDigit($0) || $0 == 0x2d }
        read(path, value, quoted: !isNumber, origin, &settings, &reading)
      default: read(path, value, quoted: true, origin, &settings, &reading)
      }
    }
    complainAboutOthers(environment, &reading)
  }

  /// Reads one value, wherever in the tree it belongs.
  static func read(_ path: String, _ text: String, quoted: Bool, _ origin: Origin, _ settings: inout Settings, _ reading: inout Reading) {
    var node = Node(content: .scalar(text, quoted: quoted), origin: origin)
    for key in path.split(separator: ".").reversed() {
      node = Node(content: .mapping([Node.Entry(key: String(key), origin: origin, value: node)]), origin: origin)
    }
    // Only the value itself comes from the overlay, not the objects around it.
    var origins = reading.origins
    SettingsTable.root.read(node, "", &settings, &reading)
    origins[path] = origin
    reading.origins = origins
  }

  private static func boolean(_ text: String) -> Bool? {
    switch text.lowercased() {
    case "1", "true", "yes": true
    case "0", "false", "no": false
    default: nil
    }
  }

  /// Variables that look misspelt are doubtful, and no more: an environment
  /// may well hold `GATEWAY_…` variables that are not meant for this program.
  private static func complainAboutOthers(_ environment: [String: String], _ reading: inout Reading) {
    let known = variables.flatMap(\.names)
    for name in environment.keys.sorted() {
      guard let prefix = prefixes.first(where: { name.hasPrefix($0) }) else { continue }
      let rest = String(name.dropFirst(prefix.utf8.count))
      if !known.contains(rest), rest.utf8.count > 3,
        let meant = known.first(where: { Suggestion.distance(Array(rest.utf8), Array($0.utf8)) <= 2 })
      {
        reading.warn(.environment(name), "", "\(name) is not a setting and has no effect", suggestion: prefix + meant)
      }
    }
  }
}
