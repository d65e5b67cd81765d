// ConfigurationSource — where a configuration comes from, and how it is loaded.
//
// Defaults, then the file, then the environment, then flags; the rules that concern several settings are applied
// once, to the merged result. All that is wrong is reported together; only what depends on it being right (looking
// names up) is left out when something is.

import Glibc
import Kernel
import Plan

/// A file, an environment and flags that make up a configuration.
public struct ConfigurationSource: Sendable {
  /// The file; nil: the first of `defaultPaths` that exists, or none.
  public var path: String?
  /// Whether a missing file is an error.
  public var explicit: Bool
  public var environment: [String: String]
  public var overrides: Overrides
  public var surroundings = Surroundings.machine

  /// Where a configuration is looked for when none is named.
  public static let defaultPaths = ["/etc/gateway/gateway.json", "./etc/gateway.json"]

  /// - Parameter path: the file named by the user; nil when none was.
  public init(path: String? = nil, environment: [String: String] = [:], overrides: Overrides = Overrides()) {
    self.path = path
    self.environment = environment
    self.overrides = overrides
    explicit = path != nil
  }

  /// The variables of this process that may concern the gateway, as it was started with them.
  public static var processEnvironment: [String: String] {
    guard case .text(let bytes) = FileText.read("/proc/self/environ", limit: TreeReader.maxBytes) else { return [:] }
    var environment: [String: String] = [:]
    for entry in bytes.split(separator: 0) {
      guard let equals = entry.firstIndex(of: 0x3d) else { continue }
      let name = String(decoding: entry[..<equals], as: UTF8.self)
      guard Overlay.prefixes.contains(where: { name.hasPrefix($0) }) else { continue }
      environment[name] = String(decoding: entry[(equals + 1)...], as: UTF8.self)
    }
    return environment
  }

  /// The same source with the file chosen now and its path absolute, so that it means the same after `chdir`.
  public func located() -> ConfigurationSource {
    var copy = self
    let chosen = path ?? Self.defaultPaths.first { FileText.exists($0) } ?? Self.defaultPaths[0]
    copy.path = Files.absolute(chosen)
    return copy
  }

  /// Reads and checks the configuration and makes the plan.
  public func load() -> Result<Loaded, ConfigurationErrors> {
    if let path { return load(path) }
    for path in Self.defaultPaths where FileText.exists(path) { return load(path) }
    return load(text: nil, file: nil)
  }

  private func load(_ path: String) -> Result<Loaded, ConfigurationErrors> {
    switch FileText.read(path, limit: TreeReader.maxBytes) {
    case .text(let bytes): return load(text: bytes, file: path)
    case .missing where !explicit: return load(text: nil, file: nil)
    case .missing: return refuse(path, "cannot be read: No such file or directory")
    case .failed(let reason): return refuse(path, "cannot be read: \(reason)")
    }
  }

  private func refuse(_ path: String, _ message: String) -> Result<Loaded, ConfigurationErrors> {
    .failure(ConfigurationErrors(errors: [ConfigurationError(file: path, origin: .wholeFile, path: "", message: message)]))
  }

  /// The same with the file's contents given: `file` is its name in messages.
  public func load(text: [UInt8]?, file: String?) -> Result<Loaded, ConfigurationErrors> {
    var reading = Reading(file: file)
    guard let settings = read(text, &reading) else { return .failure(ConfigurationErrors(errors: reading.errors)) }
    settings.check(&reading)
    // Routes are compared in any case; the machine is asked only when the text is right.
    let isSound = reading.errors.isEmpty
    let plan = Plan(settings, isSound ? surroundings : .none, &reading)
    guard reading.errors.isEmpty else {
      return .failure(ConfigurationErrors(errors: reading.sortedErrors))
    }
    return .success(Loaded(settings: settings, plan: plan, file: file, warnings: reading.warnings, reading: reading, text: text, source: self))
  }

  /// The settings as they are given, not yet checked against each other; nil when `text` is nothing that has settings.
  fileprivate func read(_ text: [UInt8]?, _ reading: inout Reading) -> Settings? {
    var settings = Settings()
    if let text {
      guard let root = TreeReader.read(text, &reading) else { return nil }
      SettingsTable.root.read(root, "", &settings, &reading)
    }
    Overlay.apply(environment, to: &settings, &reading)
    overrides.apply(to: &settings, &reading)
    settings.fitDefaults(reading)
    return settings
  }
}

/// A configuration that is right in every way that can be checked before it is used.
public struct Loaded: Sendable {
  public let settings: Settings
  public let plan: Plan
  /// The file that was read; nil for none.
  public let file: String?
  /// What is doubtful but not wrong.
  public let warnings: [ConfigurationError]
  private let reading: Reading
  private let text: [UInt8]?
  private let source: ConfigurationSource

  fileprivate init(settings: Settings, plan: Plan, file: String?, warnings: [ConfigurationError], reading: Reading, text: [UInt8]?, source: ConfigurationSource) {
    self.settings = settings
    self.plan = plan
    self.file = file
    self.warnings = warnings
    self.reading = reading
    self.text = text
    self.source = source
  }

  /// What `settings.dump()` is, to be asked for later: kept is the text of the file, which is a small part of the settings' size.
  public var dump: @Sendable () -> String {
    let text = text, source = source
    return {
      var reading = Reading(file: nil)
      return source.read(text, &reading)?.dump() ?? ""
    }
  }

  /// What stands against running this configuration in the background (`-d`); nil when nothing does.
  /// - Parameter pidFile: the PID file's path, if the user chose one.
  public func daemonErrors(pidFile: String? = nil) -> ConfigurationErrors? {
    var reading = reading
    settings.daemonErrors(pidFile: pidFile, &reading)
    return reading.errors.isEmpty ? nil : ConfigurationErrors(errors: reading.sortedErrors)
  }
}

extension Reading {
  /// In the order of places; a complaint made twice is given once.
  var sortedErrors: [ConfigurationError] {
    var result: [ConfigurationError] = []
    for error in errors.sorted(by: ConfigurationError.precedes) where result.last != error { result.append(error) }
    return result
  }
}

/// Reading a file whole.
enum FileText {
  case text([UInt8])
  case missing
  case failed(String)

  static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  static func read(_ path: String, limit: Int) -> FileText {
    if path.isEmpty || path.utf8.contains(0) { return .failed("the path is empty or contains NUL") }
    let raw = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return errno == ENOENT ? .missing : .failed(message(errno)) }
    defer { close(raw) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= limit {
      let count = unsafe Glibc.read(raw, &chunk, chunk.count)
      if count == 0 { break }
      if count < 0 {
        if errno == EINTR { continue }
        return .failed(message(errno))
      }
      bytes += chunk[..<count]
    }
    return .text(bytes)
  }

  /// Certificates and keys are small, and regular files.
  static func certificate(_ path: String) -> Surroundings.Contents {
    var facts = stat()
    guard unsafe stat(path, &facts) == 0 else { return .failed(message(errno)) }
    guard facts.st_mode & S_IFMT == S_IFREG else { return .failed("it is not a regular file") }
    switch read(path, limit: certificateLimit) {
    case .text(let bytes): return bytes.count > certificateLimit ? .failed("it is larger than 1 MiB") : .bytes(bytes)
    case .missing: return .failed(message(ENOENT))
    case .failed(let reason): return .failed(reason)
    }
  }

  private static let certificateLimit = 1 << 20

  private static func message(_ code: CInt) -> String { unsafe String(cString: strerror(code)) }
}

/// For fuzzing: reads arbitrary bytes as a configuration file, with no file system and no network, and takes the
/// result through everything that can be done with it.
public func fuzzConfiguration(_ bytes: [UInt8]) {
  var source = ConfigurationSource()
  source.surroundings = .none
  switch source.load(text: bytes, file: "fuzz") {
  case .success(let loaded):
    switch source.load(text: Array(loaded.settings.dump().utf8), file: "dump") {
    case .success(let again): precondition(again.settings == loaded.settings, "the dump reads as something else")
    case .failure(let errors): preconditionFailure("the dump is refused: \(errors)")
    }
    _ = loaded.daemonErrors(pidFile: "gatewayd.pid")
  case .failure(let errors):
    precondition(!errors.errors.isEmpty)
    _ = errors.json
    _ = errors.description
  }
}
