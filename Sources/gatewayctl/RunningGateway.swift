// RunningGateway — a gateway that runs, as seen from outside: asked through its control socket, or signalled.
//
// Invariant: a signal is sent only to the process that holds the lock of the PID file at that moment.

import Control
import Glibc
import Kernel

struct RunningGateway {
  let pidFile: String
  let process: ProcessID

  /// Asks the master. nil when it cannot be reached, so that a signal must do.
  /// - Parameters:
  ///   - seconds: how long to wait for the answer; 0: for good.
  ///   - isAnswerNeeded: say so when none comes. (Whoever waits for the end looks whether it has come.)
  ///   - hasSignal: whether a signal says the same.
  func ask(_ request: ControlRequest, seconds: Int = 0, isAnswerNeeded: Bool = true, hasSignal: Bool = false) throws(Outcome) -> ControlAnswer? {
    do {
      return try ControlClient.ask(request, pidFile: pidFile, process: process, milliseconds: CInt(clamping: seconds * 1000)) { Terminal.remark($0) }
    } catch {
      switch error {
      case .unreachable(let reason):
        if hasSignal { Terminal.remark("\(Product.tool): \(reason); falling back to signals") } else { Terminal.complain("\(Product.tool): \(reason)") }
        return nil
      case .noAnswer(let reason):
        if isAnswerNeeded { Terminal.complain("\(Product.tool): \(reason)") }
        throw .failed
      }
    }
  }

  /// Prints an answer's lines, on standard error when it is no success, which ends the command.
  func report(_ answer: ControlAnswer) throws(Outcome) {
    for line in answer.lines {
      if answer.status == .ok { Terminal.print(line) } else { Terminal.complain(line) }
    }
    if answer.status != .ok { throw .failed }
  }

  /// The same for what was ordered, of which lines tell what came of it.
  func report(_ answer: ControlAnswer, _ output: JSONOptions) throws(Outcome) {
    if answer.status == .ok, output.isJSON { Terminal.print(OutcomeReport.json("ok", answer.lines)) } else { try report(answer) }
  }

  /// Whether the gateway still runs.
  var isRunning: Bool { PIDFile.state(of: pidFile) == .running(process) }

  func signal(_ number: CInt) throws(Outcome) {
    guard isRunning else {
      Terminal.complain("\(Product.daemon) is not running any more")
      throw .notRunning
    }
    guard Process.send(number, to: process) else {
      Terminal.complain("\(Product.tool): cannot send \(Signal.name(number)) to \(Product.daemon) (PID \(process)): \(Errno.current.text)")
      throw .failed
    }
  }

  /// Waits until the gateway has ended; false after `milliseconds` (0: never).
  func awaitEnd(milliseconds: Int64) -> Bool {
    let deadline = Time.milliseconds + milliseconds
    while isRunning {
      if milliseconds > 0, Time.milliseconds >= deadline { return false }
      usleep(20_000)
    }
    return true
  }
}
