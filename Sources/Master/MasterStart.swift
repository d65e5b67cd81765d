// MasterStart — from a checked plan to a running master, and back to an exit code: in the foreground or as a daemon.
//
// The order: detach, log, signals, PID lock, sockets, workers, report. (Signals before the lock, so that one sent to
// the process that the PID file names can never meet it unprepared.) After detaching, an error goes to the log and, through the report, to the shell.

import Control
import Kernel
import Plan

extension Master {
  /// Runs the gateway until it is told to stop.
  /// - Parameter daemon: detach from the terminal; the launching process ends when the gateway serves or has failed.
  ///   All paths must be absolute, and the logs files.
  /// - Returns: the exit code.
  public static func start(_ plan: Plan, options: MasterOptions, daemon: Bool) -> CInt {
    let launch = Launch()
    if options.pidFile == RuntimePaths.pidFile, let problem = RuntimePaths.prepare() { return launch.fail(problem) }
    if daemon {
      do {
        launch.report = try Daemon.detach()
      } catch {
        return launch.fail("cannot detach: \(error.text)")
      }
    }
    launch.isDaemon = daemon

    // The files are the journal's alone: a reload that names others lets them go.
    let journal: Journal
    do throws(ListenerFailure) {
      journal = Journal(try LogFiles(plan.log, plan.accessLog), hasConsole: !daemon)
    } catch {
      if daemon { Daemon.logToSystem(error.reason) }
      return launch.fail(error.reason)
    }
    let signals: SignalDescriptor
    do throws(Errno) {
      signals = try Master.watchSignals()
    } catch {
      return launch.fail("cannot watch signals: \(error.text)")
    }
    let pidFile: PIDFile
    do throws(PIDFileError) {
      pidFile = try PIDFile(acquiring: options.pidFile)
    } catch {
      let reason = error.text(path: options.pidFile)
      if daemon { journal.write(.critical, reason) }
      return launch.fail(reason)
    }
    let raw = pidFile.raw
    let code = serve(plan, options, journal, signals, raw, launch)
    pidFile.remove()
    return code
  }

  /// Goes on in the place of another program of this process, which has handed over, or back, what it had.
  /// - Parameter loaded: the configuration, or why it cannot be used.
  /// - Returns: the exit code.
  public static func resume(_ takeover: Takeover, _ loaded: Result<LoadedPlan, ConfigurationRefusal>, options: MasterOptions) -> CInt {
    var plan: Plan?
    var problem: [String] = []
    switch loaded {
    case .success(let right): plan = right.plan
    case .failure(let refusal): problem = refusal.lines
    }
    // A program that is handed back what was its own goes on, whatever the configuration is like by now.
    if takeover.refusal != nil { plan = takeover.plan ?? plan }
    if let plan {
      do throws(ListenerFailure) {
        let journal = Journal(try LogFiles(plan.log, plan.accessLog), hasConsole: !options.isDaemon)
        return try goOn(takeover, plan, loaded, options, journal)
      } catch {
        problem = [error.reason]
      }
    }
    if takeover.refusal == nil { problem.append("and the way back failed: \(takeover.handBack(problem))") }
    Daemon.logToSystem(problem.joined(separator: "; "))
    Files.complain("gatewayd: " + problem.joined(separator: "\n"))
    return 1
  }

  private static func goOn(
    _ takeover: Takeover, _ plan: Plan, _ loaded: Result<LoadedPlan, ConfigurationRefusal>, _ options: MasterOptions, _ journal: Journal
  ) throws(ListenerFailure) -> CInt {
    let state = takeover.state
    guard let lock = Descriptor.duplicate(of: state.pidFile) else { throw ListenerFailure(reason: "the PID file was not handed over") }
    let pidFile = PIDFile(adopting: lock, path: options.pidFile)
    let master: Master
    do throws(Errno) {
      master = try Master(options: options, journal: journal, signals: try Master.watchSignals(), takeover: takeover)
    } catch {
      throw ListenerFailure(reason: "cannot set up the master: \(error.text)")
    }
    master.pidFile = pidFile.raw
    try master.restore(takeover, plan)
    if case .success(let right) = loaded, takeover.refusal == nil { master.begin(right) }
    let code = master.serve()
    journal.mark("SERVER STOP")
    pidFile.remove()
    return code
  }

  private static func serve(
    _ plan: Plan, _ options: MasterOptions, _ journal: Journal, _ signals: consuming SignalDescriptor, _ pidFile: CInt, _ launch: Launch
  ) -> CInt {
    let master: Master
    do throws(Errno) {
      master = try Master(options: options, journal: journal, signals: signals)
    } catch {
      return launch.fail("cannot set up the master: \(error.text)")
    }
    master.pidFile = pidFile
    journal.mark("SERVER START")
    // A start that fails may write into the log of one that serves: whose lines these are.
    let configuration = options.configurationFile.isEmpty ? "no configuration file (defaults)" : options.configurationFile
    journal.write(.info, "version \(options.version), PID \(Process.id), \(configuration)")
    do throws(ListenerFailure) {
      master.control = try ControlEndpoint(RuntimePaths.controlSockets(pidFile: options.pidFile))
    } catch {
      journal.write(.warn, "no control socket (\(error.reason)); signals still work")
    }
    let code = master.run(plan) { problem in
      // The service manager has heard of it from the master.
      if let problem { _ = launch.fail(problem, nil) } else { launch.succeed() }
    }
    journal.write(.info, "PID \(Process.id) ends")
    journal.mark("SERVER STOP")
    return code
  }
}

/// The way to whoever waits for the start: the launching shell through the report, or standard error.
private final class Launch {
  var report: LaunchReport?
  var isDaemon = false

  func succeed() {
    if let report = report.take() { report.succeed() }
  }

  /// Says why, once, and is the exit code for it.
  /// - Parameter error: for the service manager; nil: it knows already.
  func fail(_ reason: String, _ error: Errno? = .invalidArgument) -> CInt {
    if let error { ServiceNotice.failed(reason, error.number) }
    if let report = report.take() {
      report.fail(reason)
    } else if !isDaemon {
      Files.complain("gatewayd: " + reason)
    }
    return 1
  }
}
