// StatusParts — parts of the status as commands of their own: certificates.

import ArgumentParser
import Control
import Kernel

extension RunningGateway {
  /// The state, as JSON; says so and throws when it cannot be had.
  func status() throws(Outcome) -> JSONValue {
    guard let answer = try ask(.status, seconds: 10), answer.status == .ok, let status = JSONValue(answer.lines.joined(separator: "\n")) else {
      Terminal.complain("\(Product.tool): \(Product.daemon) does not say how it is")
      throw .failed
    }
    return status
  }
}

struct CertificatesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "certs", abstract: "Show the certificates in use, and how long each is good for.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  func run() throws {
    let status = try instance.running().status()
    if output.isJSON {
      return Terminal.print(JSONValue.object(["certificates": status["certificates"], "problems": status["certificate_problems"], "session_tickets": status["session_tickets"]]).text)
    }
    let table = StatusText.certificates(status)
    if table.rows.isEmpty { return Terminal.print("No listener speaks TLS.") }
    Terminal.print(table.text(indent: 0, colours: Terminal.hasColours))
    for line in status["certificate_problems"].list { Terminal.print("not in use: \(Cell(line.string ?? "").text)") }
  }
}
