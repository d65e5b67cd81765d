// Arguments — the command line of gatewayd, read strictly: what is not understood is an error, never a guess.

import Configuration

/// What gatewayd is asked to do.
enum Mode: Equatable {
  case serve, single, worker, check, preflight, manual, version, versionDetails, help
}

/// Why a command line is refused; exit code 2.
struct UsageError: Error, Equatable {
  let message: String
}

struct Arguments: Equatable {
  var mode = Mode.serve
  var configuration: String?
  var pidFile: String?
  var daemon = false
  var overrides = Overrides()
  /// In the place of another program: the descriptor of what it has handed over.
  var resumed: CInt?
  /// Why that has been handed back.
  var refusal: String?
  /// …and a reload was asked for in the meantime.
  var wantsReload = false

  /// The same command line for the program that takes this one's place.
  func words(configuration: String?, pidFile: String) -> [String] {
    var words: [String] = []
    if let configuration { words += ["--config", configuration] }
    if let port = overrides.port { words += ["--port", "\(port)"] }
    if let host = overrides.host { words += ["--host", host] }
    if let level = overrides.logLevel { words += ["--log-level", level] }
    if let workers = overrides.workers { words += ["--workers", "\(workers)"] }
    words += ["--pid-file", pidFile]
    if daemon { words.append("--daemonize") }
    if overrides.noHealthEndpoint { words.append("--no-health-endpoint") }
    if overrides.noStatsEndpoint { words.append("--no-stats-endpoint") }
    return words
  }

  static let usage = """
    Usage: gatewayd [options]

      -c, --config FILE        configuration file (default /etc/gateway/gateway.json, then ./etc/gateway.json)
      -p, --port N             port to listen on, 0 to 65535 (0: any free one)
      -H, --host ADDRESS       address to listen on
      -l, --log-level LEVEL    trace, debug, info, warn, error or critical
      -w, --workers N          worker processes (0: one per processor)
      -P, --pid-file FILE      PID file; the control socket is beside it
      -d, --daemonize          detach and serve in the background; needs log.file
          --no-health-endpoint do not answer /health
          --no-stats-endpoint  do not answer /stats
          --single-process     serve in this process, without a master
      -t, --check              check the configuration and exit
      -v, --version            print the version
      -V, --version-verbose    print the version, compiler, platform and features
      -h, --help               print this

    """

  init(_ words: [String]) throws(UsageError) {
    var rest = words[...]
    var seen: Set<String> = []
    while let word = rest.popFirst() {
      // `--name=value` is `--name value`.
      var name = word
      var attached: String?
      if word.hasPrefix("--"), let sign = word.firstIndex(of: "=") {
        name = String(word[..<sign])
        attached = String(word[word.index(after: sign)...])
      }
      func value() throws(UsageError) -> String {
        if let attached { return attached }
        guard let next = rest.popFirst() else { throw UsageError(message: "option \(name) needs a value") }
        return next
      }
      switch name {
      case "-c", "--config": configuration = try value()
      case "-p", "--port": overrides.port = try Self.number(value(), 65_535, "port")
      case "-H", "--host": overrides.host = try value()
      case "-l", "--log-level": overrides.logLevel = try value()
      case "-w", "--workers": overrides.workers = try Self.number(value(), 1_000_000, "number of workers")
      case "-P", "--pid-file": pidFile = try value()
      // Not for people: how a master hands over to another program.
      case "--resume": resumed = CInt(clamping: try Self.number(value(), 1_000_000, "descriptor"))
      case "--because": refusal = try value()
      default:
        guard attached == nil else { throw UsageError(message: "option \(name) takes no value, or does not exist") }
        switch name {
        case "-d", "--daemonize": daemon = true
        case "--no-health-endpoint": overrides.noHealthEndpoint = true
        case "--no-stats-endpoint": overrides.noStatsEndpoint = true
        case "--single-process": mode = .single
        // Not for people: how the master starts its workers.
        case "--worker": mode = .worker
        // Nor this: how the other program is tried out.
        case "--preflight": mode = .preflight
        case "--then-reload": wantsReload = true
        // For scripts/install.
        case "--manual": mode = .manual
        case "-t", "--check": mode = .check
        case "-v", "--version": mode = .version
        case "-V", "--version-verbose": mode = .versionDetails
        case "-h", "--help": mode = .help
        default:
          throw UsageError(message: name.hasPrefix("-") && name.count > 1 ? "unknown option \(name)" : "unexpected argument \"\(name)\"")
        }
      }
      if mode == .version || mode == .versionDetails || mode == .help { return }
      guard seen.insert(name).inserted else { throw UsageError(message: "option \(name) is given twice") }
    }
    if mode == .worker, seen != ["--worker"] { throw UsageError(message: "--worker stands alone") }
    if mode == .single, daemon { throw UsageError(message: "--single-process and -d exclude each other") }
    if mode == .single, pidFile != nil { throw UsageError(message: "--single-process has no PID file") }
    if let pidFile, pidFile.isEmpty { throw UsageError(message: "the PID file's name is empty") }
    if let configuration, configuration.isEmpty { throw UsageError(message: "the configuration file's name is empty") }
  }

  /// Decimal digits only: no sign, no blank.
  private static func number(_ text: String, _ most: Int, _ what: String) throws(UsageError) -> Int {
    guard !text.isEmpty, text.utf8.count <= 9, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int(text), value <= most else {
      throw UsageError(message: "\"\(text)\" is no \(what) (0 to \(most))")
    }
    return value
  }
}
