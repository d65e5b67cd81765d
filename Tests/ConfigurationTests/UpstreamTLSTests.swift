// TLS to upstreams in the configuration: what goes into the plan, and what is said of its files.

import Configuration
import Plan
import TLS
import TLSTestSupport
import Testing

private enum Files {
  static let authority = make(nil, commonName: "Authority", isAuthority: true)
  static let system = make(nil, commonName: "System", isAuthority: true)
  static let own = make(nil, commonName: "gateway", by: authority)
  static let other = make(nil, commonName: "other")
  static let expired = make(nil, commonName: "gateway", from: -7200, until: -3600)

  static let all: [String: [UInt8]] = [
    "/ca.pem": authority.certificate, "/system.pem": system.certificate, "/own.pem": own.certificate, "/own.key": own.key,
    "/other.key": other.key, "/expired.pem": expired.certificate, "/expired.key": expired.key, "/text": Array("text".utf8),
  ]
  static let now = Certificate(chain: own.certificate)!.notBefore + 3600

  static func machine(system: [String] = ["/none.pem", "/system.pem"]) -> Surroundings {
    var machine = Surroundings(
      resolve: { _ in .addresses(["192.0.2.9"]) }, accountComplaint: { _, _ in nil }, absolute: { $0.hasPrefix("/") ? $0 : "/" + $0 }, processors: { 1 },
      read: { path in Files.all[path].map { .bytes($0) } ?? .failed("No such file or directory") }, now: { Files.now })
    machine.systemAuthorities = { system }
    return machine
  }
}

@Suite struct UpstreamTLSTests {
  private func text(_ tls: String, host: String = "backend.test.", more: String = "") -> String {
    #"{"upstreams": [{"name": "a", "host": "\#(host)", "tls": {\#(tls)}\#(more)}]}"#
  }

  private func plan(_ text: String, _ machine: Surroundings = Files.machine()) throws -> Plan { try load(text, machine: machine).get().plan }

  private func errors(_ text: String, _ machine: Surroundings = Files.machine()) -> [String] {
    switch load(text, machine: machine) {
    case .success: []
    case .failure(let errors): errors.errors.map(\.description)
    }
  }

  @Test func theFilesTravelInThePlan() throws {
    let plan = try plan(
      text(
        #""enabled": true, "ca_file": "ca.pem", "min_version": "1.3", "cert_file": "/own.pem", "key_file": "own.key", "handshake_timeout_ms": 700, "session_resumption": false"#))
    let tls = try #require(plan.upstreams[0].tls)
    #expect(plan.authorities == [AuthorityPlan(file: "/ca.pem", certificates: Files.authority.certificate)] && tls.authority == 0)
    #expect(tls.serverName == "backend.test" && !tls.serverNameIsAddress && tls.minVersion == .tls13 && tls.handshakeTimeout == 700 && !tls.resumesSessions)
    #expect(tls.certificate?.chain == Files.own.certificate && tls.certificate?.key == Files.own.key && tls.certificate?.keyFile == "/own.key")
    #expect(plan.upstreams[0].port == 443)
  }

  @Test func portsAndNamesAsGiven() throws {
    #expect(try plan(text(#""enabled": true"#, more: #", "port": 80"#)).upstreams[0].port == 80)
    #expect(try plan(text(#""enabled": false"#)).upstreams[0].port == 80)
    #expect(try plan(text(#""enabled": false, "ca_file": "/missing""#)).upstreams[0].tls == nil)
    #expect(try plan(text(#""enabled": true, "sni_hostname": "other.test""#)).upstreams[0].tls?.serverName == "other.test")
    let address = try plan(text(#""enabled": true"#, host: "::1")).upstreams[0].tls
    #expect(address?.serverName == "::1" && address?.serverNameIsAddress == true)
  }

  @Test func authoritiesAreRead() throws {
    let system = try plan(text(#""enabled": true"#))
    #expect(system.authorities == [AuthorityPlan(file: "/system.pem", certificates: Files.system.certificate)])
    let upstreams = ["/ca.pem", "", "/ca.pem", ""].enumerated().map {
      #"{"name": "u\#($0.offset)", "host": "a.test", "tls": {"enabled": true, "ca_file": "\#($0.element)"}}"#
    }
    let shared = try plan(#"{"upstreams": [\#(upstreams.joined(separator: ","))]}"#)
    #expect(shared.authorities.map(\.file) == ["/ca.pem", "/system.pem"] && shared.upstreams.map { $0.tls?.authority } == [0, 1, 0, 1])
    let nobody = try load(text(#""enabled": true, "verify_peer": false"#), machine: Files.machine(system: [])).get()
    #expect(nobody.plan.authorities.isEmpty && nobody.plan.upstreams[0].tls?.verifies == false)
    #expect(nobody.warnings.map(\.warning) == ["t:1:95: warning: upstreams[0].tls.verify_peer is false: anybody can pass for the backend"])
  }

  @Test func whatIsWrongIsToldWithItsPlace() {
    for (tls, message) in [
      (#""enabled": true, "ca_file": "/missing""#, #"t:1:91: error: upstreams[0].tls.ca_file "/missing" cannot be read: No such file or directory"#),
      (#""enabled": true, "ca_file": "/text""#, #"t:1:91: error: upstreams[0].tls.ca_file "/text" has no certificate that can be read (PEM is expected)"#),
      (#""enabled": true, "crl_file": "/missing""#, #"t:1:92: error: upstreams[0].tls.crl_file "/missing" cannot be read: No such file or directory"#),
      (#""enabled": true, "crl_file": "/ca.pem""#, #"t:1:92: error: upstreams[0].tls.crl_file "/ca.pem" has no revocation list that can be read (PEM is expected)"#),
      (#""enabled": true, "verify_peer": false, "crl_file": "/list.pem""#, "upstreams[0].tls.crl_file has no effect without verify_peer"),
      (#""enabled": true, "cert_file": "/own.pem""#, "t:1:93: error: upstreams[0].tls.key_file is required with cert_file"),
      (#""enabled": true, "key_file": "/own.key""#, "t:1:92: error: upstreams[0].tls.cert_file is required with key_file"),
      (#""enabled": true, "cert_file": "/own.pem", "key_file": "/other.key""#, #"upstreams[0].tls.key_file "/other.key" does not fit the certificate in "/own.pem""#),
      (#""enabled": true, "cert_file": "/expired.pem", "key_file": "/expired.key""#, #"upstreams[0].tls.cert_file "/expired.pem" expired on "#),
      (#""enabled": true, "verify_peer": false, "ca_file": "/ca.pem""#, "upstreams[0].tls.ca_file has no effect without verify_peer"),
      (#""enabled": true, "min_version": "1.1""#, "upstreams[0].tls.min_version must be one of"),
      (#""enabled": true, "sni_hostname": "a b""#, "upstreams[0].tls.sni_hostname"),
      (#""enabled": true, "handshake_timeout_ms": 1"#, "upstreams[0].tls.handshake_timeout_ms must be 0 or between 10 and 600000"),
    ] {
      let found = errors(text(tls))
      #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }
    let found = errors(text(#""enabled": true"#), Files.machine(system: ["/none.pem"]))
    #expect(found.count == 1 && found[0].contains("upstreams[0].tls.ca_file is not given, and nothing is found of what the system trusts (looked for /none.pem)"), "\(found)")
  }

  @Test func inTheBackgroundPathsAreAbsolute() throws {
    let loaded = try load(text(#""enabled": true, "ca_file": "ca.pem", "cert_file": "own.pem", "key_file": "own.key""#), machine: Files.machine()).get()
    let found = loaded.daemonErrors()?.errors.map(\.description) ?? []
    for key in ["ca_file", "cert_file", "key_file"] { #expect(found.contains { $0.contains("upstreams[0].tls.\(key) must be an absolute path") }) }
  }
}
