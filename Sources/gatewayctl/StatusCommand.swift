// StatusCommand — the state of a running gateway, for people or for machines.

import ArgumentParser
import Control
import Kernel

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "status", abstract: "Show whether the gateway runs, and how.")

  @OptionGroup var instance: InstanceOptions

  @OptionGroup var output: JSONOptions

  func run() throws {
    let gateway: RunningGateway
    do throws(Outcome) {
      gateway = try instance.running()
    } catch {
      if output.isJSON, error == .notRunning { Terminal.print("{\"state\":\"not running\"}") }
      throw error
    }
    guard let answer = try gateway.ask(.status, seconds: 10) else {
      // It lives, that much the lock tells.
      Terminal.print(output.isJSON ? "{\"state\":\"running\",\"master\":{\"pid\":\(gateway.process)}}" : StatusText.brief(gateway))
      return
    }
    let text = answer.lines.joined(separator: "\n")
    if output.isJSON || answer.status != .ok { return try gateway.report(answer) }
    guard let status = JSONValue(text) else {
      Terminal.complain("\(Product.tool): the status that \(Product.daemon) sent cannot be read")
      throw Outcome.failed
    }
    Terminal.print(StatusText.text(status, now: Time.wallSeconds, colours: Terminal.hasColours))
  }
}
