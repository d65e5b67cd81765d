// GatewayControl — the command line's root: its commands, and how they end.

import ArgumentParser
import Control
import TLS

struct GatewayControl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: Product.tool,
    abstract: "Operates the HTTP gateway.",
    discussion: "Exit codes: 0 done, 1 failed or not running, 2 wrong command line.",
    subcommands: [
      StartCommand.self, StopCommand.self, ReloadCommand.self, ReopenCommand.self, UpgradeCommand.self, StatusCommand.self, ValidateCommand.self, ConfigCommand.self,
      BreakersCommand.self, LimitsCommand.self, UpstreamsCommand.self, PlanCommand.self, RoutesCommand.self, CertificatesCommand.self, ConnectionsCommand.self, TopCommand.self, LogsCommand.self, ExplainCommand.self,
      SchemaCommand.self, ReferenceCommand.self, ManualCommand.self, VersionCommand.self,
    ])

  @Flag(name: [.customShort("v"), .customLong("version")], help: "Print the version.")
  var showsVersion = false

  @Flag(name: [.customShort("V"), .customLong("version-verbose")], help: "Print version, compiler, platform and features.")
  var showsDetails = false

  func run() throws {
    if showsDetails {
      Terminal.print(Product.details(of: Product.tool, libraries: [TLSServer.library]))
    } else if showsVersion {
      Terminal.print("\(Product.tool) \(Product.version)")
    } else {
      throw CleanExit.helpRequest()
    }
  }
}

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version; with -V also compiler, platform, libraries and features.")

  /// The tool's own `-V` is taken there, wherever it stands.
  @ParentCommand var tool: GatewayControl

  @OptionGroup var output: JSONOptions

  func run() {
    let showsDetails = tool.showsDetails
    if output.isJSON {
      let facts = showsDetails ? Product.facts(libraries: [TLSServer.library]) : [("version", Product.version)]
      return Terminal.print(JSONValue.object(Dictionary(facts.map { ($0.0, JSONValue.string($0.1)) }) { first, _ in first }).text)
    }
    Terminal.print(showsDetails ? Product.details(of: Product.tool, libraries: [TLSServer.library]) : "\(Product.tool) \(Product.version)")
  }
}

/// How a command ended; thrown when it is not the normal end. What went wrong has been printed.
enum Outcome: Error {
  case failed, usage, notRunning

  var exitCode: CInt {
    switch self {
    case .failed, .notRunning: 1
    case .usage: 2
    }
  }
}
