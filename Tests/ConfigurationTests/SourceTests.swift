// SourceTests — defaults, file, environment, flags: which wins, and how errors in them are named.

import Configuration
import Testing

@Suite struct SourceTests {
  @Test func precedence() throws {
    let text = #"{"bind_port": 1, "workers": 1, "log": {"level": "error", "max_files": 7}}"#
    var overrides = Overrides()
    overrides.port = 3
    let loaded = try loaded(text, environment: ["GATEWAY_BIND_PORT": "2", "REACTOR_WORKER_THREADS": "2", "GATEWAY_LOG_LEVEL": "debug"], overrides: overrides)
    #expect(loaded.settings.bindPort == 3)
    #expect(loaded.settings.workers == 2)
    #expect(loaded.settings.log.level == .debug)
    #expect(loaded.settings.log.maxFiles == 7)
  }

  @Test func names() throws {
    let environment = [
      "GATEWAY_BIND_HOST": "::1", "REACTOR_BIND_HOST": "127.0.0.2", "GATEWAY_IDLE_TIMEOUT": "250ms", "REACTOR_REQUEST_TIMEOUT": "7",
      "GATEWAY_ACCESS_LOG": "YES", "GATEWAY_LOG_FILE": "", "GATEWAY_USER": "u", "GATEWAY_GROUP": "g", "GATEWAY_WORKERS": "4", "GATEWAY_WORKER_THREADS": "5",
      "GATEWAY_SHUTDOWN_DRAIN_TIMEOUT": "5", "GATEWAY_MAX_CONNECTIONS": "9", "GATEWAY_SERVICE_HOST": "10.0.0.1",
    ]
    let loaded = try loaded(#"{"log": {"file": "x.log"}}"#, environment: environment)
    let settings = loaded.settings
    #expect(settings.bindHost == "::1" && settings.workers == 4 && settings.limits.maxConnections == 9)
    #expect(settings.timeouts.idle == 250 && settings.timeouts.request == 7000 && settings.timeouts.shutdownDrain == 5000)
    #expect(settings.accessLog.enabled && settings.log.file == "" && settings.identity.user == "u" && settings.identity.group == "g")
    #expect(loaded.warnings.isEmpty)
  }

  @Test(arguments: [
    (["GATEWAY_BIND_PORT": "x"], "environment variable GATEWAY_BIND_PORT: error: bind_port must be a whole number (found the text \"x\")"),
    (["GATEWAY_BIND_PORT": ""], "environment variable GATEWAY_BIND_PORT: error: bind_port must be a whole number"),
    (["GATEWAY_BIND_PORT": " 1"], "must be a whole number"),
    (["REACTOR_BIND_HOST": ""], "environment variable REACTOR_BIND_HOST: error: bind_host is not a host name"),
    (["GATEWAY_ACCESS_LOG": "on"], "access_log.enabled must be 1, true, yes, 0, false or no (found \"on\")"),
    (["REACTOR_DNS_STALE_ON_ERROR": "perhaps"], "environment variable REACTOR_DNS_STALE_ON_ERROR: error: dns.stale_on_error must be 1, true"),
    (["GATEWAY_DNS_LOOKUP_FAMILY": "v4"], "environment variable GATEWAY_DNS_LOOKUP_FAMILY: error: dns.lookup_family must be one of"),
    (["GATEWAY_RATE_LIMIT_ENABLED": "1"], "rate_limit.zones needs at least one zone with rate_limit.enabled"),
  ])
  func badVariable(_ environment: [String: String], _ message: String) {
    let found = errors("{}", environment: environment)
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains(message) == true, "\(found)")
  }

  @Test func misspeltVariableIsDoubtful() throws {
    #expect(
      try loaded("{}", environment: ["GATEWAY_BIND_PROT": "1"]).warnings.map(\.warning) == [
        "environment variable GATEWAY_BIND_PROT: warning: GATEWAY_BIND_PROT is not a setting and has no effect; did you mean \"GATEWAY_BIND_PORT\"?"
      ])
  }

  @Test func badFlags() {
    var overrides = Overrides()
    overrides.port = 70000
    overrides.host = "a b"
    overrides.logLevel = "loud"
    overrides.workers = -1
    let found = errors("{}", overrides: overrides)
    #expect(found.count == 4)
    #expect(found.contains("flag -p: error: bind_port must be between 0 and 65535 (found 70000)"))
  }

  @Test func endpointsOff() throws {
    var overrides = Overrides()
    overrides.noHealthEndpoint = true
    overrides.noStatsEndpoint = true
    #expect(try loaded("{}", overrides: overrides).plan.routes.isEmpty)
  }

  @Test func flagWithListenersIsRefused() {
    var overrides = Overrides()
    overrides.port = 1
    #expect(errors(#"{"listeners": [{"host": "::", "port": 2}]}"#, overrides: overrides) == ["flag -p: error: bind_port has no effect, because listeners is given"])
  }

  /// A rule between settings is applied to the merged result, and names the one given last by hand.
  @Test func aLaterSourceCanMend() throws {
    #expect(try loaded(#"{"bind_host": "a b"}"#.replacing("a b", with: "gone.test"), environment: ["GATEWAY_BIND_HOST": "::1"]).settings.bindHost == "::1")
  }

  @Test func missingFiles() {
    guard case .failure(let errors) = ConfigurationSource(path: "/nowhere/x.json").load() else {
      Issue.record("accepted")
      return
    }
    #expect(errors.errors.map(\.description) == ["/nowhere/x.json: error: cannot be read: No such file or directory"])
    guard case .failure(let directory) = ConfigurationSource(path: "/").load() else {
      Issue.record("accepted")
      return
    }
    #expect(directory.errors[0].description.contains("cannot be read: Is a directory"))
    #expect(ConfigurationSource(path: "a").located().path?.hasPrefix("/") == true)
  }

  @Test func machineResolvesLocalhost() throws {
    guard case .addresses(let addresses) = Surroundings.machine.resolve("localhost") else { return }
    #expect(addresses.contains("127.0.0.1") || addresses.contains("::1"))
    #expect(Surroundings.machine.processors() >= 1)
  }
}
