// OrderCommands — stop, reload, reopen: what a running gateway is told to do.

import ArgumentParser
import Control
import Kernel

struct StopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "Stop the gateway and wait until it has ended.",
    discussion: "Requests in flight are finished within shutdown_drain_timeout_sec.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  @Flag(name: .customLong("now"), help: "Do not finish what is in flight.")
  var isImmediate = false

  @Flag(name: .customLong("no-wait"), help: "Return at once.")
  var doesNotWait = false

  @Option(name: .customLong("timeout"), help: ArgumentHelp("How long to wait for the end; 0: for good (default).", valueName: "seconds"))
  var timeout: Digits?

  func run() throws {
    let gateway = try instance.running()
    if doesNotWait {
      // (A second signal would not stop gently any more.)
      let isTold: Void? = try? ControlClient.tell(isImmediate ? .stopNow : .stop, pidFile: gateway.pidFile, process: gateway.process)
      if isTold != nil { return output.tell("\(Product.daemon) (PID \(gateway.process)) has been told to stop.", "signalled") }
      try signal(gateway)
      output.tell("Sent \(Signal.name(Signal.terminate)) to \(Product.daemon) (PID \(gateway.process)).", "signalled")
      return
    }
    let seconds = timeout?.value ?? 0
    let deadline = Time.milliseconds + Int64(seconds) * 1000
    var refusal: ControlAnswer?
    do throws(Outcome) {
      let answer = try gateway.ask(isImmediate ? .stopNow : .stop, seconds: seconds, isAnswerNeeded: false, hasSignal: true)
      if answer == nil { try signal(gateway) }
      refusal = answer?.status == .refused ? answer : nil
    } catch {
      // The master may have ended without an answer, which is what was asked for; what counts is that it has.
      if error != .failed { throw error }
    }
    if let refusal { return try gateway.report(refusal, output) }
    guard gateway.awaitEnd(milliseconds: seconds == 0 ? 0 : max(1, deadline - Time.milliseconds)) else {
      Terminal.complain("\(Product.daemon) (PID \(gateway.process)) still runs after \(seconds) s")
      throw Outcome.failed
    }
    output.tell("\(Product.daemon) (PID \(gateway.process)) has stopped.")
  }

  /// One signal stops gently, a second one at once.
  private func signal(_ gateway: RunningGateway) throws(Outcome) {
    try gateway.signal(Signal.terminate)
    if isImmediate, !gateway.awaitEnd(milliseconds: 200) { try gateway.signal(Signal.terminate) }
  }
}

struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload", abstract: "Serve with the present configuration file.",
    discussion: "All or nothing: when the new configuration cannot serve, the reasons are printed and the old one goes on.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  @Flag(name: .customLong("no-wait"), help: "Send a signal and return at once: the log has the outcome.")
  var doesNotWait = false

  @Option(name: .customLong("timeout"), help: ArgumentHelp("How long to wait for the outcome; 0: for good (default).", valueName: "seconds"))
  var timeout: Digits?

  func run() throws {
    let gateway = try instance.running()
    if !doesNotWait, let answer = try gateway.ask(.reload, seconds: timeout?.value ?? 0, hasSignal: true) { return try gateway.report(answer, output) }
    try gateway.signal(Signal.hangUp)
    output.tell("Sent \(Signal.name(Signal.hangUp)) to \(Product.daemon) (PID \(gateway.process)); its log has the outcome.", "signalled")
  }
}

struct ReopenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "reopen", abstract: "Open the log files anew, after they have been moved.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  func run() throws {
    let gateway = try instance.running()
    if let answer = try gateway.ask(.reopen, seconds: 30, hasSignal: true) { return try gateway.report(answer, output) }
    try gateway.signal(Signal.user1)
    output.tell("Sent \(Signal.name(Signal.user1)) to \(Product.daemon) (PID \(gateway.process)).", "signalled")
  }
}

struct UpgradeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade", abstract: "Have another \(Product.daemon) take the place of the running one, in the same process.",
    discussion: "It is tried out first. Whatever fails, the reasons are printed and the running version goes on.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  @Option(name: .customLong("binary"), help: ArgumentHelp("The new program (default: the file that the running one was started from).", valueName: "file"), completion: .file())
  var binary: String?

  @Option(
    name: .customLong("timeout"),
    help: ArgumentHelp("How long the check of the new program may take, \(UpgradeLimits.bounds.lowerBound) to \(UpgradeLimits.bounds.upperBound) (default \(UpgradeLimits.checkSeconds)).", valueName: "seconds"))
  var timeout: Digits?

  @Flag(name: .customLong("no-wait"), help: "Send a signal and return at once: the log has the outcome.")
  var doesNotWait = false

  func validate() throws {
    if doesNotWait, binary != nil { throw ValidationError("--binary needs the answer of the gateway: not with --no-wait") }
    if doesNotWait, timeout != nil { throw ValidationError("--timeout needs the answer of the gateway: not with --no-wait") }
    if let timeout, !UpgradeLimits.bounds.contains(timeout.value) {
      throw ValidationError("--timeout must be \(UpgradeLimits.bounds.lowerBound) to \(UpgradeLimits.bounds.upperBound) seconds")
    }
  }

  func run() throws {
    let gateway = try instance.running()
    let path = binary.map(Files.absolute) ?? ""
    let hasSignal = path.isEmpty && timeout == nil
    if !doesNotWait, let answer = try gateway.ask(.upgrade(path, seconds: timeout?.value ?? UpgradeLimits.checkSeconds), hasSignal: hasSignal) {
      return try gateway.report(answer, output)
    }
    guard hasSignal else { throw Outcome.failed }
    try gateway.signal(Signal.user2)
    output.tell("Sent \(Signal.name(Signal.user2)) to \(Product.daemon) (PID \(gateway.process)); its log has the outcome.", "signalled")
  }
}
