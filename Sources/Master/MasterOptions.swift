// MasterOptions — what the command line and the configuration give the master.

import Plan

/// Why a configuration cannot be used: every error found, one per line.
public struct ConfigurationRefusal: Error, Equatable {
  public let lines: [String]

  public init(lines: [String]) { self.lines = lines }
}

/// A configuration that can be used.
public struct LoadedPlan {
  public let plan: Plan
  /// What is doubtful, but not wrong.
  public let warnings: [String]
  /// The effective settings as JSON: made only when somebody asks, for they are many times as long as what was read.
  public let settings: () -> String

  public init(plan: Plan, warnings: [String] = [], settings: @escaping () -> String) {
    self.plan = plan
    self.settings = settings
    self.warnings = warnings
  }
}

public struct MasterOptions {
  /// Absolute.
  public var pidFile: String
  /// For `status`; absolute, or empty when the defaults are used.
  public var configurationFile: String
  public var version: String
  /// The path of the program; absolute, or empty when it cannot be told.
  public var binary: String
  /// The command line without the program's name, with absolute paths.
  public var arguments: [String]
  public var isDaemon: Bool
  /// The effective settings at the start, as JSON.
  public var settings: (() -> String)?
  /// Reads the configuration again: file, environment, flags.
  public var load: () -> Result<LoadedPlan, ConfigurationRefusal>

  public init(
    pidFile: String, configurationFile: String, version: String, binary: String = "", arguments: [String] = [], isDaemon: Bool = false, load: @escaping () -> Result<LoadedPlan, ConfigurationRefusal>
  ) {
    self.binary = binary
    self.arguments = arguments
    self.isDaemon = isDaemon
    self.pidFile = pidFile
    self.configurationFile = configurationFile
    self.version = version
    self.load = load
  }
}
