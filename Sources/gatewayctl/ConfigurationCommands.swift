// ConfigurationCommands — validate, config, schema, reference: what needs no running gateway.

import ArgumentParser
import Configuration

struct ValidateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "validate", abstract: "Check a configuration and print everything that is wrong with it.")

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var instance: InstanceOptions

  @Flag(name: [.customShort("d"), .customLong("daemonize")], help: "Check it for running in the background, too.")
  var daemonizes = false

  @OptionGroup var output: JSONOptions

  func validate() throws {
    if instance.pidFile != nil, !daemonizes { throw ValidationError("-P makes sense only with -d") }
  }

  func run() throws {
    var errors: [ConfigurationError] = []
    var warnings: [ConfigurationError] = []
    switch options.load() {
    case .failure(let found): errors = found.errors
    case .success(let loaded):
      warnings = loaded.warnings
      loaded.tellWhereNothingIs()
      if daemonizes, let found = loaded.daemonErrors(pidFile: instance.pidFile) { errors = found.errors }
    }
    if output.isJSON {
      Terminal.print(ValidationReport.json(errors: errors, warnings: warnings))
    } else {
      for warning in warnings { Terminal.complain(warning.warning) }
      for error in errors { Terminal.complain(error.description) }
      if errors.isEmpty { Terminal.print("Configuration is valid.") } else { Terminal.complain(errors.count == 1 ? "1 error" : "\(errors.count) errors") }
    }
    if !errors.isEmpty { throw Outcome.failed }
  }
}

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Print the effective configuration.",
    discussion: "Defaults, file, environment and flags taken together, as JSON that loads to the same configuration. Passwords are shown as ***, which does not load.")

  @OptionGroup var options: ConfigurationOptions
  @OptionGroup var endpoints: EndpointOptions
  @Flag(help: "Show passwords as they are.") var showSecrets = false

  func run() throws {
    switch options.load(endpoints) {
    case .failure(let errors):
      Terminal.complain(errors.description)
      throw Outcome.failed
    case .success(let loaded):
      for warning in loaded.warnings { Terminal.complain(warning.warning) }
      Terminal.print((showSecrets ? loaded.settings : loaded.settings.hidingSecrets).dump())
    }
  }
}

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "schema", abstract: "Print the JSON Schema of the configuration, for editors.")

  func run() { Terminal.print(JSONSchema.text) }
}

struct ReferenceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "reference", abstract: "Print a reference as Markdown: of all settings, or of all faults.")

  enum Topic: String, CaseIterable, ExpressibleByArgument { case settings, faults }

  @Argument(help: "settings or faults.")
  var topic = Topic.settings

  @Flag(name: .customLong("sample"), help: "Print a commented configuration file with every default instead.")
  var isSample = false

  func validate() throws {
    if isSample, topic != .settings { throw ValidationError("--sample is for settings") }
  }

  func run() {
    switch topic {
    case .settings: Terminal.print(isSample ? ConfigurationReference.sample : ConfigurationReference.markdown)
    case .faults: Terminal.print(FaultReference.markdown)
    }
  }
}
