// ManualCommand — manual pages, made from the tables that the programs themselves use.

import ArgumentParser
import Configuration
import Control

struct ManualCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "manual", abstract: "Print a manual page, for man: gatewayctl(1) or gateway.json(5).", shouldDisplay: false)

  enum Page: String, CaseIterable, ExpressibleByArgument {
    case tool = "gatewayctl"
    case settings = "gateway.json"
  }

  @Argument(help: "gatewayctl or gateway.json.")
  var page: Page

  func run() throws {
    switch page {
    case .settings: Terminal.print(SettingsManual.roff)
    case .tool:
      guard let help = JSONValue(GatewayControl._dumpHelp()) else { throw Outcome.failed }
      Terminal.print(ToolManual.roff(help["command"]))
    }
  }
}

/// The tool's own description of its commands as a manual page. Pure.
enum ToolManual {
  static func roff(_ root: JSONValue) -> String {
    var text = """
      .TH GATEWAYCTL 1 "" "gateway \(Roff.escaped(Product.version))" "User commands"
      .SH NAME
      gatewayctl \\- operate the HTTP gateway
      .SH SYNOPSIS
      .B gatewayctl
      .I command
      [options]
      .SH COMMANDS

      """
    for command in root["subcommands"].list where command["shouldDisplay"].bool != false && command["commandName"].string != "help" {
      text += ".SS \(Roff.escaped(command["commandName"].string ?? ""))\n\(Roff.escaped(command["abstract"].string ?? ""))\n"
      if let more = command["discussion"].string, !more.isEmpty { text += ".PP\n\(Roff.escaped(more))\n" }
      for argument in command["arguments"].list where argument["shouldDisplay"].bool != false {
        let names = argument["names"].list.map { ($0["kind"].string == "long" ? "--" : "-") + ($0["name"].string ?? "") }
        guard names != ["-h", "--help"], names != ["--help", "-h"] else { continue }
        let value = argument["kind"].string == "flag" ? "" : argument["valueName"].string ?? ""
        text += ".TP\n.B \(Roff.escaped(names.joined(separator: ", ")))\(value.isEmpty ? "" : " " + Roff.escaped(value))\n\(Roff.escaped(argument["abstract"].string ?? ""))\n"
      }
    }
    return text + """
      .SH EXIT STATUS
      0: done. 1: failed, or the gateway is not running; the reasons are on standard error. 2: the command line is wrong.
      .SH SEE ALSO
      .BR gatewayd (8),
      .BR gateway.json (5)

      """
  }
}
