// What a handshake agrees on, and how it fails.

import Memory
import TLSTestSupport
import Testing

@testable import TLS

@Suite struct HandshakeTests {
  @Test(arguments: [1, 7, 100, Int.max], [12, 13]) func completesHoweverItsBytesArrive(step: Int, version: Int) throws {
    let server = try Shared.server([Shared.ec.credential])
    var pair = Pair(server, ClientOptions(serverName: "example.com", authority: Shared.authority, maxVersion: Int32(version)))
    check(pair.handshake(step: step))
    check(pair.client.version == version)
    check(pair.client.certificateName == "ec")
    var text = Buffer(capacity: 200)
    pair.session.appendVersion(to: &text)
    check(Array(text) == Array("TLSv1.\(version - 10)".utf8))
    text.removeAll()
    pair.session.appendServerName(to: &text)
    check(Array(text) == Array("example.com".utf8))
    text.removeAll()
    pair.session.appendCipher(to: &text)
    check(Array(text) == Array((version == 13 ? "TLS_AES_128_GCM_SHA256" : "ECDHE-ECDSA-AES128-GCM-SHA256").utf8))
  }

  @Test func completesThroughLittleRoom() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]))
    check(pair.handshake(room: 64))
  }

  @Test(arguments: [
    ("example.com", "ec"), ("EXAMPLE.com", "ec"), ("www.example.com", "ec"), ("a.example.com", "wildcard"), ("a.b.example.com", "ec"), ("other.test", "other"),
    ("unknown.test", "ec"),
  ])
  func certificateFollowsTheName(name: String, certificate: String) throws {
    let server = try Shared.server([Shared.ec.credential, Shared.wildcard.credential, Shared.other.credential])
    var pair = Pair(server, ClientOptions(serverName: name))
    check(pair.handshake())
    check(pair.client.certificateName == certificate)
  }

  @Test func keysOfBothKindsServeOneName() throws {
    let server = try Shared.server([Shared.rsa.credential, Shared.ec.credential])
    var modern = Pair(server, ClientOptions(serverName: "example.com"))
    check(modern.handshake() && modern.client.serverKeyIsEC)
    var old = Pair(server, ClientOptions(serverName: "example.com", signatures: "rsa_pss_rsae_sha256:RSA+SHA256"))
    check(old.handshake() && !old.client.serverKeyIsEC)
    var nameless = Pair(server)
    check(nameless.handshake() && nameless.client.serverKeyIsEC)
  }

  @Test func theWholeChainIsSent() throws {
    let leaf = make("chain.test", by: Shared.intermediate)
    let server = try Shared.server([leaf.credential(above: Shared.intermediate)])
    var pair = Pair(server, ClientOptions(authority: Shared.authority))
    check(pair.handshake())
    check(pair.client.chainLength == 2)
    var broken = Pair(try Shared.server([leaf.credential]), ClientOptions(authority: Shared.authority))
    check(!broken.handshake())
    check(broken.failure == .alert)
  }

  @Test func applicationProtocolIsTheServersChoice() throws {
    let both = try Shared.server([Shared.ec.credential]) { $0.offersHTTP2 = true }
    let one = try Shared.server([Shared.ec.credential])
    for (server, offered, agreed) in [
      (both, ["http/1.1", "h2"], "h2"), (both, ["http/1.1"], "http/1.1"), (both, ["spdy/3"], ""), (one, ["h2", "http/1.1"], "http/1.1"), (one, ["h2"], ""),
      (both, [], ""),
    ] {
      var pair = Pair(server, ClientOptions(protocols: offered))
      check(pair.handshake())
      check(pair.client.applicationProtocol == agreed)
      check(pair.session.isHTTP2 == (agreed == "h2"))
    }
  }

  @Test func minimumVersionHolds() throws {
    let server = try Shared.server([Shared.ec.credential]) { $0.only13 = true }
    var old = Pair(server, ClientOptions(maxVersion: 12))
    check(!old.handshake())
    check(old.failure == .version)
    var ancient = Pair(try Shared.server([Shared.ec.credential]), ClientOptions(maxVersion: 11, minVersion: 11))
    check(!ancient.handshake())
    check(ancient.failure == .version)
  }

  @Test func ciphersAndGroupsAreThoseThatAreSet() throws {
    let server = try Shared.server([Shared.ec.credential]) {
      $0.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"
      $0.groups = "P-384"
    }
    var foreign = Pair(server, ClientOptions(maxVersion: 12, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256"))
    check(!foreign.handshake())
    check(foreign.failure == .cipher)
    var group = Pair(server, ClientOptions(groups: "X25519"))
    check(!group.handshake())
    check(group.failure == .cipher)
    var right = Pair(server, ClientOptions(maxVersion: 12))
    check(right.handshake())
    #expect(throws: TLSError.self) { try Shared.server([Shared.ec.credential]) { $0.groups = "nonsense" } }
    check(TLSServer.complaint(groups: "X25519:nonsense") != nil && TLSServer.complaint(groups: "X25519:P-256") == nil)
    check(TLSServer.complaint(ciphers: "nonsense") != nil && TLSServer.complaint(ciphers: TLSServerSettings.modernCiphers) == nil)
    check(TLSServer.complaint(cipherSuites: "nonsense") != nil && TLSServer.complaint(cipherSuites: TLSServerSettings.modernSuites) == nil)
  }

  @Test func clientCertificates() throws {
    let client = make(nil, commonName: "alice, \u{1}bob", by: Shared.authority)
    let stranger = make(nil, commonName: "mallory")
    for mode in [TLSServerSettings.ClientCertificates.request, .require] {
      let server = try Shared.server([Shared.ec.credential]) {
        $0.clientCertificates = mode
        $0.clientCA = Shared.authority.certificate
      }
      for version: Int32 in [12, 13] {
        var good = Pair(server, ClientOptions(identity: client, maxVersion: version))
        check(good.handshake())
        var text = Buffer(capacity: TLSSession.identityRoom)
        guard let length = good.session.appendClientIdentity(to: &text) else { return check(false) }
        check(String(decoding: Array(text).prefix(length), as: UTF8.self) == "CN=alice\\, \\01bob")
        check(String(decoding: Array(text).dropFirst(length), as: UTF8.self) == Certificate(chain: client.certificate)?.fingerprint)
        var none = Pair(server, ClientOptions(maxVersion: version))
        check(none.handshake() == (mode == .request))
        check(none.failure == (mode == .request ? nil : .noClientCertificate))
        text.removeAll()
        check(none.session.appendClientIdentity(to: &text) == nil)
        var bad = Pair(server, ClientOptions(identity: stranger, maxVersion: version))
        check(!bad.handshake())
        check(bad.failure == .badClientCertificate)
      }
    }
  }

  @Test func staplesWhatIsStillGood() throws {
    var credential = Shared.ec.credential
    credential.ocsp = makeStaple(Shared.ec, by: Shared.authority)
    var pair = Pair(try Shared.server([credential]), ClientOptions(asksForOCSP: true))
    check(pair.handshake())
    check(pair.client.stapleSize == credential.ocsp.count)
    var silent = Pair(try Shared.server([credential]))
    check(silent.handshake() && silent.client.stapleSize == 0)
    credential.ocsp = makeStaple(Shared.ec, by: Shared.authority, until: -60)
    var old = Pair(try Shared.server([credential]), ClientOptions(asksForOCSP: true))
    check(old.handshake() && old.client.stapleSize == 0)
    #expect(throws: StapleFault.foreign) { try Certificate.check(response: credential.ocsp, about: Shared.rsa.certificate, now: 0) }
    #expect(throws: StapleFault.unreadable) { try Certificate.check(response: [1, 2, 3], about: Shared.ec.certificate, now: 0) }
    #expect(throws: StapleFault.self) { try Certificate.check(response: credential.ocsp, about: Shared.ec.certificate, now: .max) }
    #expect(throws: Never.self) { try Certificate.check(response: credential.ocsp, about: Shared.ec.certificate, now: 0) }
  }

  @Test func nonsenseFails() throws {
    let server = try Shared.server([Shared.ec.credential])
    for (text, reason) in [
      ("GET / HTTP/1.1\r\n\r\n", TLSFailure.notTLS), ("\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}", .notTLS),
      ("\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}\u{0}\u{0}\u{1}\u{0}", .protocolError),
    ] {
      var session = TLSSession(server)!
      var used = 0
      var output = Buffer(capacity: 4096)
      let step = session.handshake(Array(text.utf8).span, used: &used, into: &output)
      check(step == .failed(reason))
      check(session.handshake(Array(text.utf8).span, used: &used, into: &output) == .failed(.protocolError))
      check(session.encrypt(Array(text.utf8).span, into: &output, now: 0) == nil)
    }
  }
}
