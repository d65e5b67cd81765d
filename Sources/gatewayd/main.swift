// gatewayd — the gateway's daemon: reads its command line and becomes a master, a worker or a single process.
//
// Exit codes: 0 done, 1 it failed and said why, 2 the command line is wrong.

import Configuration
import Control
import Kernel
import Master
import TLS
import Worker

/// Finds the configuration file now, so that it means the same after a change of directory.
func source(_ arguments: Arguments) -> ConfigurationSource {
  ConfigurationSource(path: arguments.configuration, environment: Process.environment, overrides: arguments.overrides).located()
}

/// Loads the configuration, now or at a reload, for a master.
func load(_ source: ConfigurationSource, _ arguments: Arguments) -> Result<LoadedPlan, ConfigurationRefusal> {
  switch source.load() {
  case .success(let loaded):
    // A daemon has no terminal and no directory to fall back to, after a reload no more than before.
    if arguments.daemon, let errors = loaded.daemonErrors(pidFile: arguments.pidFile) {
      return .failure(ConfigurationRefusal(lines: errors.errors.map(\.description)))
    }
    return .success(LoadedPlan(plan: loaded.plan, warnings: loaded.warnings.map(\.warning), settings: loaded.dump))
  case .failure(let errors): return .failure(ConfigurationRefusal(lines: errors.errors.map(\.description)))
  }
}

func options(_ arguments: Arguments, _ source: ConfigurationSource, file: String?) -> MasterOptions {
  let pidFile = Files.absolute(arguments.pidFile ?? RuntimePaths.pidFile)
  let configuration = file ?? arguments.configuration.map(Files.absolute)
  return MasterOptions(
    pidFile: pidFile, configurationFile: file ?? "", version: Product.version, binary: Execution.path ?? "",
    arguments: arguments.words(configuration: configuration, pidFile: pidFile), isDaemon: arguments.daemon
  ) { load(source, arguments) }
}

/// Goes on in the place of the program that was here before.
func resume(_ arguments: Arguments, file: CInt) -> CInt {
  guard let takeover = Takeover(file: file, refusal: arguments.refusal, isReloadWanted: arguments.wantsReload) else {
    Files.complain("gatewayd: --resume is for the master alone")
    return 2
  }
  let source = source(arguments)
  return Master.resume(takeover, load(source, arguments), options: options(arguments, source, file: arguments.configuration))
}

/// Judges the configuration, and, for a master whose place is to be taken, what it would hand over.
func check(_ arguments: Arguments) -> CInt {
  switch load(source(arguments), arguments) {
  case .failure(let refusal):
    for line in refusal.lines { Files.complain(line) }
    return 1
  case .success(let loaded): for warning in loaded.warnings { Files.complain(warning) }
  }
  guard arguments.mode == .preflight else {
    Files.write("Configuration is valid.\n", to: 1)
    return 0
  }
  if let problem = PreflightCheck.problem(file: Process.controlDescriptor) {
    Files.complain(problem)
    return 1
  }
  Files.write(PreflightCheck.words + "\n", to: 1)
  return 0
}

func serve(_ arguments: Arguments) -> CInt {
  if let file = arguments.resumed { return resume(arguments, file: file) }
  let source = source(arguments)
  let loaded: Loaded
  switch source.load() {
  case .failure(let errors):
    Files.write(errors.description, to: 2)
    Files.complain(errors.count)
    ServiceNotice.failed("\(errors.count): \(errors.errors.first?.description ?? "")", Errno.invalidArgument.number)
    return 1
  case .success(let right): loaded = right
  }
  for warning in loaded.warnings { Files.complain(warning.warning) }
  if arguments.daemon, let errors = loaded.daemonErrors(pidFile: arguments.pidFile) {
    Files.write(errors.description, to: 2)
    return 1
  }
  if arguments.mode == .single {
    do throws(SingleProcessFailure) {
      let certificates = SingleCertificates(loaded.plan)
      return runSingle(start: try makeSingleProcess(loaded.plan), certificates: certificates.map { files in { files.news() } })
    } catch {
      Files.complain("gatewayd: " + error.reason)
      return 1
    }
  }
  var options = options(arguments, source, file: loaded.file)
  options.settings = loaded.dump
  return Master.start(loaded.plan, options: options, daemon: arguments.daemon)
}

/// Serves as a worker of the master at the other end of descriptor 3.
func work() -> CInt {
  Process.setName("gatewayd")
  do throws(Errno) {
    return runWorker(control: try Descriptor(adopting: Process.controlDescriptor))
  } catch {
    Files.complain("gatewayd: --worker is for the master alone: \(error.text)")
    return 2
  }
}

func main() -> CInt {
  do throws(UsageError) {
    let arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
    switch arguments.mode {
    case .help:
      Files.write(Arguments.usage, to: 1)
      return 0
    case .version:
      Files.write("\(Product.daemon) \(Product.version)\n", to: 1)
      return 0
    case .versionDetails:
      Files.write(Product.details(of: Product.daemon, libraries: [TLSServer.library]) + "\n", to: 1)
      return 0
    case .worker: return work()
    case .manual:
      Files.write(Manual.roff, to: 1)
      return 0
    case .check, .preflight: return check(arguments)
    case .serve, .single: return serve(arguments)
    }
  } catch {
    Files.complain("gatewayd: \(error.message)\nTry \"gatewayd --help\".")
    return 2
  }
}

Process.leave(main())
