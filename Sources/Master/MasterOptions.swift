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

  public init(plan: Plan, warnings: [String] = []) {
    self.plan = plan
    self.warnings = warnings
  }
}

public struct MasterOptions {
  /// Absolute.
  public var pidFile: String
  /// For `status`; absolute, or empty when the defaults are used.
  public var configurationFile: String
  public var version: String
  /// Reads the configuration again: file, environment, flags.
  public var load: () -> Result<LoadedPlan, ConfigurationRefusal>

  public init(pidFile: String, configurationFile: String, version: String, load: @escaping () -> Result<LoadedPlan, ConfigurationRefusal>) {
    self.pidFile = pidFile
    self.configurationFile = configurationFile
    self.version = version
    self.load = load
  }
}
