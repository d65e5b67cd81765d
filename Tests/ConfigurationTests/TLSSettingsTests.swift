// TLS in the configuration: which settings go together, and what is said of certificates and keys.

import Configuration
import Plan
import TLS
import TLSTestSupport
import Testing

private enum Files {
  static let authority = make(nil, commonName: "Authority", isAuthority: true)
  static let good = make("example.com", by: authority)
  static let other = make("other.test")
  static let expired = make("example.com", from: -7200, until: -3600)
  static let future = make("example.com", from: 7200, until: 90_000)
  static let soon = make("example.com", until: 3 * 86_400 + 600)
  static let locked = make("example.com", password: "secret")
  static let weak = make("example.com", curve: nil, bits: 1024)
  static let nameless = make(nil, commonName: "no name\u{7f}")

  static let all: [String: [UInt8]] = [
    "/good.pem": good.certificate + authority.certificate, "/good.key": good.key, "/other.pem": other.certificate, "/other.key": other.key,
    "/expired.pem": expired.certificate, "/expired.key": expired.key, "/future.pem": future.certificate, "/future.key": future.key,
    "/soon.pem": soon.certificate, "/soon.key": soon.key, "/locked.pem": locked.certificate, "/locked.key": locked.key,
    "/weak.pem": weak.certificate, "/weak.key": weak.key, "/text": Array("text".utf8), "/ca.pem": authority.certificate,
    "/misordered.pem": good.certificate + other.certificate, "/nameless.pem": nameless.certificate, "/nameless.key": nameless.key,
    "/good.ocsp": makeStaple(good, by: authority), "/old.ocsp": makeStaple(good, by: authority, until: -60),
    "/other.ocsp": makeStaple(authority, by: authority),
  ]

  /// The time of the tests: these certificates are made as of now.
  static let now = Certificate(chain: good.certificate)!.notBefore + 3600
  static let machine = Surroundings(
    resolve: { _ in .addresses(["192.0.2.9"]) }, accountComplaint: { _, _ in nil }, absolute: { $0.hasPrefix("/") ? $0 : "/" + $0 }, processors: { 1 },
    read: { path in Files.all[path].map { .bytes($0) } ?? .failed("No such file or directory") }, now: { Files.now })
}

@Suite struct TLSSettingsTests {
  private func listener(_ tls: String) -> String { #"{"listeners": [{"host": "127.0.0.1", "port": 1, "tls": {\#(tls)}}]}"# }
  private func certificate(_ name: String, key: String? = nil, more: String = "") -> String {
    listener(#""certificates": [{"cert_file": "/\#(name).pem", "key_file": "/\#(key ?? name).key"\#(more)}]"#)
  }

  private func errors(_ text: String) -> [String] {
    switch load(text, machine: Files.machine) {
    case .success: []
    case .failure(let errors): errors.errors.map(\.description)
    }
  }

  private func plan(_ text: String) throws -> TLSPlan? { try load(text, machine: Files.machine).get().plan.listeners[0].tls }

  @Test func theFilesTravelInThePlan() throws {
    let text = listener(
      #""certificates": [{"cert_file": "/good.pem", "key_file": "good.key", "ocsp_file": "/good.ocsp"}, {"cert_file": "/other.pem", "key_file": "/other.key"}], "min_version": "1.3", "client_certificates": "request", "client_ca_file": "/ca.pem", "session_tickets": false"#)
    let tls = try #require(try plan(text))
    #expect(tls.certificates.map(\.certificateFile) == ["/good.pem", "/other.pem"])
    #expect(tls.certificates[0].keyFile == "/good.key")
    #expect(tls.certificates[0].chain == Files.all["/good.pem"] && tls.certificates[0].key == Files.good.key && tls.certificates[0].ocsp == Files.all["/good.ocsp"])
    #expect(tls.minVersion == .tls13 && tls.clientCertificates == .request && tls.clientCA == Files.authority.certificate && !tls.sessionTickets)
    #expect(tls.ciphers == TLSServerSettings.modernCiphers)
    let short = #"{"tls": {"enabled": true, "cert_file": "/good.pem", "key_file": "/good.key", "session_tickets": {"rotation_sec": "1h", "keys": 5}}}"#
    #expect(try plan(short)?.certificates[0].key == Files.good.key)
    let tickets = try load(short, machine: Files.machine).get().plan.tickets
    #expect(tickets.rotation == 3_600_000 && tickets.keys == 5 && tickets.lifetime == 4 * 3600)
    #expect(try plan(#"{"tls": {"cert_file": "/missing", "key_file": "/missing"}}"#) == nil)
  }

  @Test(arguments: [
    ("good", "other", #"t:1:113: error: listeners[0].tls.certificates[0].key_file "/other.key" does not fit the certificate in "/good.pem""#),
    ("expired", "expired", #"t:1:88: error: listeners[0].tls.certificates[0].cert_file "/expired.pem" expired on "#),
    ("future", "future", #"t:1:88: error: listeners[0].tls.certificates[0].cert_file "/future.pem" is not valid before "#),
    ("locked", "locked", #"key_file "/locked.key" is protected by a password"#),
    ("weak", "weak", #"key_file "/weak.key" is too weak (RSA 1024)"#),
    ("missing", "good", #"t:1:88: error: listeners[0].tls.certificates[0].cert_file "/missing.pem" cannot be read: No such file or directory"#),
    ("good", "missing", #"key_file "/missing.key" cannot be read: No such file or directory"#),
  ])
  func faultsAreErrorsAtTheirSetting(certificate: String, key: String, message: String) {
    let found = errors(self.certificate(certificate, key: key))
    #expect(found.count == 1 && found[0].contains(message), "\(found)")
  }

  @Test func otherFilesAreJudged() {
    for (text, message) in [
      (#""certificates": [{"cert_file": "/text", "key_file": "/good.key"}]"#, #"cert_file "/text" has no certificate that can be read"#),
      (#""certificates": [{"cert_file": "/good.pem", "key_file": "/text"}]"#, #"key_file "/text" has no private key that can be read"#),
      (#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key", "ocsp_file": "/text"}]"#, #"ocsp_file "/text" is not a successful OCSP response"#),
      (#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key", "ocsp_file": "/other.ocsp"}]"#, "is about another certificate"),
      (
        #""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "client_certificates": "require", "client_ca_file": "/text""#,
        #"client_ca_file "/text" has no certificate"#
      ),
    ] {
      let found = errors(listener(text))
      #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }
  }

  @Test func settingsThatDoNotGoTogether() {
    for (text, message) in [
      (listener(""), #"listeners[0].tls needs at least one element of "certificates""#),
      (listener(#""certificates": []"#), #"listeners[0].tls needs at least one element of "certificates""#),
      (listener(#""certificates": [{"cert_file": "/good.pem"}]"#), #"needs "key_file""#),
      (listener(#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "client_certificates": "require""#), "client_ca_file is required"),
      (listener(#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "client_ca_file": "/ca.pem""#), "client_ca_file has no effect"),
      (listener(#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "ciphers": "nonsense""#), "ciphers has no cipher"),
      (listener(#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "groups": "X25519:nonsense""#), "groups has a group that is not known"),
      (listener(#""certificates": [{"cert_file": "/good.pem", "key_file": "/good.key"}], "min_version": "1.1""#), "min_version must be one of"),
      (#"{"tls": {"enabled": true, "key_file": "/good.key"}}"#, "tls.cert_file is required with tls.enabled"),
      (
        #"{"tls": {"enabled": true, "cert_file": "/good.pem", "key_file": "/good.key"}, "listeners": [{"host": "::", "port": 1}]}"#,
        "tls.enabled has no effect, because listeners is given"
      ),
      (#"{"tls": {"session_tickets": {"keys": 0}}}"#, "tls.session_tickets.keys must be between 1 and 16"),
    ] {
      let found = errors(text)
      #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }
  }

  @Test func theShortFormSaysWhereItsFileIsNamed() {
    let found = errors(#"{"tls": {"enabled": true, "cert_file": "/good.pem", "key_file": "/other.key"}}"#)
    #expect(found == [##"t:1:65: error: tls.key_file "/other.key" does not fit the certificate in "/good.pem""##])
  }

  @Test func doubtsAreWarnings() throws {
    for (text, message) in [
      (certificate("soon"), #"t:1:88: warning: listeners[0].tls.certificates[0].cert_file "/soon.pem" expires in 3 days, on "#),
      (certificate("misordered", key: "good"), "did not issue the one before it"),
      (certificate("nameless"), "names no host"),
      (certificate("good", more: #", "ocsp_file": "/old.ocsp""#), "nothing is stapled"),
    ] {
      let warnings = try load(text, machine: Files.machine).get().warnings.map(\.warning)
      #expect(warnings.count == 1 && warnings[0].contains(message), "\(warnings)")
    }
    #expect(try load(certificate("good"), machine: Files.machine).get().warnings.isEmpty)
  }

  @Test func inTheBackgroundPathsAreAbsolute() throws {
    let relative = listener(#""certificates": [{"cert_file": "good.pem", "key_file": "/good.key"}]"#)
    let found = try load(relative, machine: Files.machine).get().daemonErrors()?.errors.map(\.description) ?? []
    #expect(found.contains { $0.contains("certificates[0].cert_file must be an absolute path") })
  }

  @Test(arguments: [
    (Int64(0), "1970-01-01 00:00:00 UTC"), (951_782_399, "2000-02-28 23:59:59 UTC"), (951_782_400, "2000-02-29 00:00:00 UTC"), (4_107_542_400, "2100-03-01 00:00:00 UTC"),
    (-1, "1969-12-31 23:59:59 UTC"), (1_800_000_000, "2027-01-15 08:00:00 UTC"), (.max, "9999-12-31 23:59:59 UTC"),
  ])
  func timesAreWrittenForPeople(seconds: Int64, text: String) { #expect(UTC.text(seconds) == text) }
}
