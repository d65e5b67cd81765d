// gatewayctl — operates a gateway: starts, stops, reloads and shows it, and judges configurations.
//
// Exit codes: those of `Outcome`. Standard output carries the answer and nothing else.

import ArgumentParser
import Kernel

/// Runs the command that the command line names.
func run() -> CInt {
  // A master that hangs up is told of by the answer that is missing.
  Signal.ignore(Signal.pipe)
  do {
    var command = try GatewayControl.parseAsRoot()
    try command.run()
    return 0
  } catch let outcome as Outcome {
    Terminal.conclude(outcome)
    return outcome.exitCode
  } catch {
    // Help and completion scripts are no errors; what else the parser throws is a wrong command line.
    let text = GatewayControl.fullMessage(for: error)
    if GatewayControl.exitCode(for: error) == .success {
      Terminal.print(text)
      return 0
    }
    Terminal.complain(text.contains("--help") ? text : text + "\nSee 'gatewayctl help' for more information.")
    return Outcome.usage.exitCode
  }
}

Process.leave(run())
