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

func serve(_ arguments: Arguments) -> CInt {
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
  let options = MasterOptions(
    pidFile: Files.absolute(arguments.pidFile ?? RuntimePaths.pidFile), configurationFile: loaded.file ?? "", version: Product.version
  ) {
    switch source.load() {
    case .success(let again):
      // A daemon has no terminal and no directory to fall back to, after a reload no more than before.
      if arguments.daemon, let errors = again.daemonErrors(pidFile: arguments.pidFile) {
        .failure(ConfigurationRefusal(lines: errors.errors.map(\.description)))
      } else {
        .success(LoadedPlan(plan: again.plan, warnings: again.warnings.map(\.warning)))
      }
    case .failure(let errors): .failure(ConfigurationRefusal(lines: errors.errors.map(\.description)))
    }
  }
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
    case .serve, .single: return serve(arguments)
    }
  } catch {
    Files.complain("gatewayd: \(error.message)\nTry \"gatewayd --help\".")
    return 2
  }
}

Process.leave(main())
