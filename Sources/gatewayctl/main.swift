// gatewayctl — operates a gateway: starts, stops, reloads and shows it, and judges configurations.
//
// Exit codes: those of `Outcome`. Standard output carries the answer and nothing else.

import ArgumentParser
import Kernel

/// Runs the command that the command line names.
func run() -> CInt {
  do {
    var command = try GatewayControl.parseAsRoot()
    try command.run()
    return Outcome.done.rawValue
  } catch let outcome as Outcome {
    return outcome.rawValue
  } catch {
    // Help and completion scripts are no errors; what else the parser throws is a wrong command line.
    let text = GatewayControl.fullMessage(for: error)
    if GatewayControl.exitCode(for: error) == .success {
      Terminal.print(text)
      return Outcome.done.rawValue
    }
    Terminal.complain(text.contains("--help") ? text : text + "\nSee 'gatewayctl help' for more information.")
    return Outcome.usage.rawValue
  }
}

Process.leave(run())
