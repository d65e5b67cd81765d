// Options — the flags that several commands share, read strictly.

import ArgumentParser
import Configuration
import Control
import Kernel

/// A number made of digits only: no sign, no blank.
struct Digits: ExpressibleByArgument {
  let value: Int

  init?(argument: String) {
    guard 1...9 ~= argument.utf8.count, argument.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let value = Int(argument) else { return nil }
    self.value = value
  }
}

/// What a configuration is made of.
struct ConfigurationOptions: ParsableArguments {
  @Option(name: [.customShort("c"), .customLong("config")], help: ArgumentHelp("Configuration file (default /etc/gateway/gateway.json, then ./etc/gateway.json).", valueName: "file"), completion: .file())
  var file: String?

  @Option(name: [.customShort("p"), .customLong("port")], help: ArgumentHelp("Port to listen on, 0 to 65535 (0: any free one).", valueName: "number"))
  var port: Digits?

  @Option(name: [.customShort("H"), .customLong("host")], help: ArgumentHelp("Address to listen on.", valueName: "address"))
  var host: String?

  @Option(name: [.customShort("l"), .customLong("log-level")], help: ArgumentHelp("trace, debug, info, warn, error or critical.", valueName: "level"), completion: .list(LogFilter.levels))
  var logLevel: String?

  @Option(name: [.customShort("w"), .customLong("workers")], help: ArgumentHelp("Worker processes (0: one per processor).", valueName: "number"))
  var workers: Digits?

  func validate() throws {
    if let port, port.value > 65_535 { throw ValidationError("\(port.value) is no port (0 to 65535)") }
    if let file, file.isEmpty { throw ValidationError("the configuration file's name is empty") }
  }

  /// Reads and checks the configuration; prints what is wrong and throws.
  func load(_ endpoints: EndpointOptions? = nil) -> Result<Loaded, ConfigurationErrors> {
    var overrides = Overrides()
    overrides.host = host
    overrides.port = port?.value
    overrides.logLevel = logLevel
    overrides.workers = workers?.value
    overrides.noHealthEndpoint = endpoints?.noHealth ?? false
    overrides.noStatsEndpoint = endpoints?.noStats ?? false
    return ConfigurationSource(path: file, environment: Process.environment, overrides: overrides).load()
  }

  /// The same flags for gatewayd.
  var words: [String] {
    var words: [String] = []
    if let file { words += ["--config", file] }
    if let port { words += ["--port", "\(port.value)"] }
    if let host { words += ["--host", host] }
    if let logLevel { words += ["--log-level", logLevel] }
    if let workers { words += ["--workers", "\(workers.value)"] }
    return words
  }
}

extension Loaded {
  /// Whoever named no file may believe that there is one.
  func tellWhereNothingIs() {
    if file == nil { Terminal.remark("There is no configuration file (\(ConfigurationSource.defaultPaths.joined(separator: ", "))): these are the defaults.") }
  }
}

/// Which local endpoints are left out.
struct EndpointOptions: ParsableArguments {
  @Flag(name: .customLong("no-health-endpoint"), help: "Do not answer /health.")
  var noHealth = false

  @Flag(name: .customLong("no-stats-endpoint"), help: "Do not answer /stats.")
  var noStats = false

  var words: [String] { (noHealth ? ["--no-health-endpoint"] : []) + (noStats ? ["--no-stats-endpoint"] : []) }
}

/// Which gateway is meant.
struct InstanceOptions: ParsableArguments {
  @Option(name: [.customShort("P"), .customLong("pid-file")], help: ArgumentHelp("PID file of the gateway; its control socket is beside it (default \(RuntimePaths.pidFile)).", valueName: "file"), completion: .file())
  var pidFile: String?

  func validate() throws {
    if let pidFile, pidFile.isEmpty { throw ValidationError("the PID file's name is empty") }
  }

  var path: String { Files.absolute(pidFile ?? RuntimePaths.pidFile) }

  /// The running gateway. Prints and throws when there is none.
  func running() throws(Outcome) -> RunningGateway {
    switch PIDFile.state(of: path) {
    case .running(let process): return RunningGateway(pidFile: path, process: process)
    case .notRunning:
      Terminal.complain("\(Product.daemon) is not running (PID file \(path))")
      throw .notRunning
    case .unreadable(let reason):
      Terminal.complain("\(Product.tool): \(reason)")
      throw .failed
    }
  }
}
