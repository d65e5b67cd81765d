// ConfigurationError — what is wrong with a configuration, and where it is written.
//
// Errors are collected and reported together, in the order in which they stand in the file; those of the
// environment and of flags come after it.

/// Where a value was given.
public enum Origin: Equatable, Sendable {
  /// A place in the configuration file; lines and columns count from 1, columns in characters.
  case file(line: Int, column: Int)
  /// The file as a whole.
  case wholeFile
  /// An environment variable, by its name.
  case environment(String)
  /// A command-line flag, as it is written.
  case flag(String)
  /// Nowhere: a built-in default.
  case builtIn
}

/// One thing that is wrong, or doubtful, in a configuration.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file's name as it was given; nil when the error is not in a file.
  public var file: String?
  /// From 1; 0 when there is no line.
  public var line: Int
  /// In characters, from 1; 0 when there is no column.
  public var column: Int
  /// The setting, such as `upstreams[2].pool.max_connections`; empty when no single one is meant.
  public var path: String
  /// The complaint without its place, suggestion included.
  public var message: String
  /// What was probably meant.
  public var suggestion: String?
  public var origin: Origin

  init(file: String?, origin: Origin, path: String, message: String, suggestion: String? = nil) {
    self.origin = origin
    self.path = path
    self.suggestion = suggestion
    self.message = message + (suggestion.map { "; did you mean \"\($0)\"?" } ?? "")
    self.file = nil
    line = 0
    column = 0
    switch origin {
    case .file(let line, let column):
      self.file = file
      self.line = line
      self.column = column
    case .wholeFile: self.file = file
    case .environment, .flag, .builtIn: break
    }
  }

  /// `file:line:column`, or the variable or flag; empty for a built-in value.
  public var place: String {
    switch origin {
    case .file(let line, let column): "\(file ?? "configuration"):\(line):\(column)"
    case .wholeFile: file ?? "configuration"
    case .environment(let name): "environment variable \(name)"
    case .flag(let flag): "flag \(flag)"
    case .builtIn: ""
    }
  }

  /// One line as compilers write it: `etc/gateway.json:41:18: error: …`.
  public var description: String { line(as: "error") }

  /// The same as a warning.
  public var warning: String { line(as: "warning") }

  private func line(as severity: String) -> String {
    place.isEmpty ? "\(severity): \(message)" : "\(place): \(severity): \(message)"
  }

  func json(severity: String) -> JSON {
    var members: [JSON.Member] = [.init(key: "severity", value: .string(severity))]
    if let file { members.append(.init(key: "file", value: .string(file))) }
    if line > 0 {
      members.append(.init(key: "line", value: .integer(line)))
      members.append(.init(key: "column", value: .integer(column)))
    }
    switch origin {
    case .environment(let name): members.append(.init(key: "variable", value: .string(name)))
    case .flag(let flag): members.append(.init(key: "flag", value: .string(flag)))
    case .file, .wholeFile, .builtIn: break
    }
    members.append(.init(key: "path", value: .string(path)))
    members.append(.init(key: "message", value: .string(message)))
    if let suggestion { members.append(.init(key: "suggestion", value: .string(suggestion))) }
    return .object(members)
  }

  /// File positions first, in order; then the rest as it came.
  static func precedes(_ a: ConfigurationError, _ b: ConfigurationError) -> Bool {
    func rank(_ error: ConfigurationError) -> (Int, Int, Int) {
      switch error.origin {
      case .wholeFile: (0, 0, 0)
      case .file(let line, let column): (1, line, column)
      case .builtIn: (2, 0, 0)
      case .environment: (3, 0, 0)
      case .flag: (4, 0, 0)
      }
    }
    return rank(a) < rank(b)
  }
}

/// Everything that is wrong with a configuration; never empty.
public struct ConfigurationErrors: Error, Equatable, Sendable, CustomStringConvertible {
  public var errors: [ConfigurationError]

  /// One line per error, each with a newline at its end.
  public var description: String { errors.map { "\($0)\n" }.joined() }

  /// `1 error` or `3 errors`.
  public var count: String { errors.count == 1 ? "1 error" : "\(errors.count) errors" }

  /// An array of objects {severity, file, line, column, variable, flag, path, message, suggestion}; what does not apply is absent.
  public var json: String { JSON.array(errors.map { $0.json(severity: "error") }).pretty }
}

/// What is noted while a configuration is read: complaints, and where each setting was given.
struct Reading {
  let file: String?
  var errors: [ConfigurationError] = []
  var warnings: [ConfigurationError] = []
  /// By path, such as `upstreams[2].pool`; of a path given twice the later origin.
  var origins: [String: Origin] = [:]
  /// Objects that have settings but no `enabled`, which is false by default.
  var dormant: [(path: String, origin: Origin)] = []
  /// Those of all upstreams, once all are read.
  var upstreamNames: Set<String> = []
  /// Patterns already taken apart: a constraint is costly to compile.
  private var patterns: [String: RoutePath?] = [:]

  init(file: String?) { self.file = file }

  /// Where the setting at `path` was given, or else the nearest object around it.
  func origin(of path: String) -> Origin {
    var path = Substring(path)
    while true {
      if let origin = origins[String(path)] { return origin }
      guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return origins[""] ?? .builtIn }
      path = path[..<cut]
    }
  }

  /// The pattern taken apart; nil when it is not one.
  mutating func routePath(_ pattern: String) -> RoutePath? {
    if let known = patterns[pattern] { return known }
    let path = RoutePath(pattern)
    patterns[pattern] = .some(path)
    return path
  }

  /// The line and column of a setting, for a message that names a second place.
  func place(of path: String) -> String {
    switch origin(of: path) {
    case .file(let line, let column): "line \(line), column \(column)"
    case .environment(let name): "environment variable \(name)"
    case .flag(let flag): "flag \(flag)"
    case .wholeFile, .builtIn: path
    }
  }

  mutating func reject(_ origin: Origin, _ path: String, _ message: String, suggestion: String? = nil) {
    errors.append(ConfigurationError(file: file, origin: origin, path: path, message: message, suggestion: suggestion))
  }

  /// Rejects the value at `path`, wherever it was given.
  mutating func reject(_ path: String, _ message: String, suggestion: String? = nil) {
    reject(origin(of: path), path, message, suggestion: suggestion)
  }

  mutating func warn(_ origin: Origin, _ path: String, _ message: String, suggestion: String? = nil) {
    warnings.append(ConfigurationError(file: file, origin: origin, path: path, message: message, suggestion: suggestion))
  }
}
