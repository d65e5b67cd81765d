// The client's side: who is believed, what is asked for, what is resumed; and what becomes of it when the server is not one.

import Memory
import TLSTestSupport
import Testing

@testable import TLS

/// A session of each side, back to back.
private struct Ends: ~Copyable {
  var client: TLSSession
  var server: TLSSession
  /// Why the client, and the server, has failed.
  var failure: TLSFailure?
  var serverFailure: TLSFailure?

  init(_ client: TLSClient, _ server: TLSServer) {
    self.client = TLSSession(client)!
    self.server = TLSSession(server)!
  }

  /// Goes on with one side's handshake; what it wants to send is appended to `output`.
  private static func advance(_ session: inout TLSSession, _ input: [UInt8], _ failure: inout TLSFailure?, _ output: inout [UInt8]) {
    var done = 0
    while failure == nil, !session.isEstablished {
      var room = Buffer(capacity: 2_000)
      var used = 0
      let step = session.handshake(input.span.extracting(droppingFirst: done), used: &used, into: &room)
      done += used
      output += Array(room)
      switch step {
      case .wantsRoom: continue
      case .wantsInput, .established: return read(&session, Array(input.dropFirst(done)), &failure, &output)
      case .failed(let reason): failure = reason
      }
    }
    read(&session, Array(input.dropFirst(done)), &failure, &output)
  }

  /// Decrypts what is left: tickets and alerts.
  private static func read(_ session: inout TLSSession, _ input: [UInt8], _ failure: inout TLSFailure?, _ output: inout [UInt8]) {
    guard session.isEstablished, failure == nil, !input.isEmpty else { return }
    var plain = Buffer(capacity: 20_000), replies = Buffer(capacity: 4096)
    var used = 0
    if case .failed(let reason) = session.decrypt(input.span, used: &used, into: &plain, replies: &replies) { failure = reason }
    output += Array(replies)
  }

  /// Hands bytes to and fro until nobody says more. True when both sides have finished.
  mutating func shakeHands() -> Bool {
    var up: [UInt8] = [], down: [UInt8] = []
    Ends.advance(&client, [], &failure, &up)
    while !up.isEmpty || !down.isEmpty {
      let toServer = up, toClient = down
      up = []
      down = []
      Ends.advance(&server, toServer, &serverFailure, &down)
      Ends.advance(&client, toClient, &failure, &up)
    }
    return client.isEstablished && server.isEstablished && failure == nil && serverFailure == nil
  }
}

@Suite struct ClientTests {
  private static let authorities = try! TLSAuthorities(Shared.authority.certificate)

  private func client(_ name: String? = "example.com", _ change: (inout TLSClientSettings) -> Void = { _ in }) throws -> TLSClient {
    var settings = TLSClientSettings()
    if let name {
      settings.authorities = ClientTests.authorities
      settings.name = name
    }
    change(&settings)
    return try TLSClient(settings)
  }

  @Test func whatIsRightIsBelieved() throws {
    for name in ["example.com", "WWW.Example.com"] {
      var ends = Ends(try client(name), try Shared.server([Shared.ec.credential]))
      check(ends.shakeHands())
      var asked = Buffer(capacity: 100)
      ends.server.appendServerName(to: &asked)
      #expect(String(decoding: Array(asked), as: UTF8.self).lowercased() == name.lowercased())
    }
    var wild = Ends(try client("any.example.com"), try Shared.server([Shared.wildcard.credential]))
    check(wild.shakeHands())
  }

  @Test func addressesAreVerifiedAndNotAskedFor() throws {
    let server = try Shared.server([make("IP:127.0.0.1,IP:::1", by: Shared.authority).credential])
    for (address, isGood) in [("127.0.0.1", true), ("::1", true), ("127.0.0.2", false)] {
      var ends = Ends(try client(address) { $0.nameIsAddress = true }, server)
      check(ends.shakeHands() == isGood)
      var asked = Buffer(capacity: 100)
      ends.server.appendServerName(to: &asked)
      check(asked.isEmpty)
      if !isGood { check(ends.client.rejection == .nameMismatch) }
    }
  }

  private func rejection(_ server: Credential, _ expected: CertificateRejection, name: String = "example.com") throws -> String {
    var ends = Ends(try client(name), try Shared.server([server]))
    check(!ends.shakeHands())
    let failure = ends.failure, rejection = ends.client.rejection
    let words = ends.client.rejectionText
    #expect(failure == .badClientCertificate && rejection == expected, "\(words)")
    // The server is told.
    check(ends.serverFailure == .alert)
    return ends.client.rejectionText
  }

  @Test func rejectionsAreTold() throws {
    let name = try rejection(Shared.other.credential, .nameMismatch)
    #expect(name == name.filter { $0.isASCII } && name.contains("subject CN=other, issuer CN=Test Authority, valid from 2") && name.hasSuffix("good for other.test"))
    let expired = try rejection(make("example.com", from: -7200, until: -3600, by: Shared.authority).credential, .expired)
    #expect(expired.contains("expired"))
    _ = try rejection(make("example.com", from: 3600, until: 7200, by: Shared.authority).credential, .notYetValid)
    _ = try rejection(make("example.com").credential, .unknownAuthority)
    let stranger = make(nil, commonName: "Test Authority", isAuthority: true)
    #expect(try rejection(make("example.com", by: stranger).credential, .unknownAuthority).contains("CN=Test Authority"))
    // An intermediate authority that does not come along cannot be known.
    _ = try rejection(make("example.com", by: Shared.intermediate).credential, .unknownAuthority)
    _ = try rejection(Shared.wildcard.credential, .nameMismatch, name: "a.b.example.com")
    // Not everybody who has a certificate may issue others.
    _ = try rejection(make("example.com", by: Shared.other).credential(above: Shared.other), .other)
  }

  @Test func whoeverIsNamedIsTrusted() throws {
    let itself = make("example.com"), below = make("example.com", by: Shared.intermediate)
    for (trusted, shown) in [(itself, itself), (below, below), (Shared.intermediate, below)] {
      let authorities = try TLSAuthorities(trusted.certificate)
      var ends = Ends(try client { $0.authorities = authorities }, try Shared.server([shown.credential]))
      check(ends.shakeHands())
    }
    let several = try TLSAuthorities(make(nil, commonName: "A", isAuthority: true).certificate + Shared.authority.certificate)
    var ends = Ends(try client { $0.authorities = several }, try Shared.server([below.credential(above: Shared.intermediate)]))
    check(ends.shakeHands())
    #expect(throws: TLSError.self) { _ = try TLSAuthorities(Array("nothing".utf8)) }
  }

  @Test func nobodyIsVerifiedUnlessAsked() throws {
    var ends = Ends(try client(nil) { $0.name = "example.com" }, try Shared.server([make("other.test", from: -7200, until: -3600).credential]))
    check(ends.shakeHands())
  }

  @Test func certificatesAreShown() throws {
    let server = try Shared.server([Shared.ec.credential]) {
      $0.clientCertificates = .require
      $0.clientCA = Shared.authority.certificate
    }
    let own = make(nil, commonName: "gateway", by: Shared.intermediate)
    var ends = Ends(try client { $0.credential = own.credential(above: Shared.intermediate) }, server)
    check(ends.shakeHands())
    var identity = Buffer(capacity: TLSSession.identityRoom)
    check(ends.server.appendClientIdentity(to: &identity) == "CN=gateway".utf8.count)
    // Without one, what the server says of it comes behind the handshake.
    var without = Ends(try client(), server)
    check(!without.shakeHands())
    check(without.client.isEstablished && without.failure == .alert && without.client.failureText.contains("alert certificate required"))
    #expect(throws: TLSError.self) { _ = try client { $0.credential = Credential(chain: own.certificate, key: Shared.ec.key) } }
  }

  @Test func protocolsAreAskedFor() throws {
    for (h2, http1, offered, expected) in [
      (true, true, true, 2), (true, true, false, 1), (false, true, true, 1), (true, false, true, 2), (true, false, false, 0), (false, false, true, 0),
    ] {
      let client = try client {
        $0.offersHTTP2 = h2
        $0.offersHTTP1 = http1
      }
      var ends = Ends(client, try Shared.server([Shared.ec.credential]) { $0.offersHTTP2 = offered })
      check(ends.shakeHands())
      #expect((ends.client.isHTTP2 ? 2 : ends.client.isHTTP1 ? 1 : 0) == expected)
    }
  }

  @Test func sessionsAreResumedOnceEach() throws {
    let tickets = try TicketKeys()
    tickets.replace(try TicketKeys.make())
    let server = try Shared.server([Shared.ec.credential], tickets: tickets)
    let one = try client()
    func isResumed(_ client: TLSClient) -> Bool {
      var ends = Ends(client, server)
      check(ends.shakeHands())
      check(ends.client.isResumed == ends.server.isResumed)
      return ends.client.isResumed
    }
    #expect(!isResumed(one))
    for _ in 0..<5 { #expect(isResumed(one)) }
    // Two at the same time: there is one ticket.
    var first = Ends(one, server), second = Ends(one, server)
    check(first.shakeHands() && second.shakeHands())
    check(first.client.isResumed && !second.client.isResumed)
    #expect(!isResumed(try client()) && isResumed(one))
    let never = try client { $0.resumes = false }
    #expect(!isResumed(never) && !isResumed(never))
    // Tickets that the server has forgotten do no harm.
    tickets.replace(try TicketKeys.make())
    #expect(!isResumed(one) && isResumed(one))
  }

  @Test func versionsMustAgree() throws {
    var only13 = Ends(try client { $0.only13 = true }, try Shared.server([Shared.ec.credential]))
    check(only13.shakeHands())
    var text = Buffer(capacity: 20)
    only13.client.appendVersion(to: &text)
    check(Array(text) == Array("TLSv1.3".utf8))
  }

  /// Whatever comes instead of a server's flight ends the session, and nothing worse.
  @Test func noiseIsRefused() throws {
    let client = try client()
    var generator = SystemRandomNumberGenerator()
    var flight = [UInt8]()
    do {
      var ends = Ends(client, try Shared.server([Shared.ec.credential]))
      var room = Buffer(capacity: 20_000), reply = Buffer(capacity: 20_000)
      var used = 0
      check(ends.client.handshake(Span(), used: &used, into: &room) == .wantsInput)
      check(ends.server.handshake(room.bytes, used: &used, into: &reply) == .wantsInput)
      flight = Array(reply)
    }
    check(flight.count > 500)
    for round in 0..<2_000 {
      var session = TLSSession(client)!
      var room = Buffer(capacity: 20_000)
      var used = 0
      check(session.handshake(Span(), used: &used, into: &room) == .wantsInput)
      var noise = round % 2 == 0 ? flight : (0..<Int.random(in: 1...300, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      if round % 2 == 0 { noise[Int.random(in: 0..<noise.count, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator) }
      if round % 4 == 1 { noise = [22, 3, 3] + noise }
      room.removeAll()
      _ = session.handshake(noise.span, used: &used, into: &room)
      check(!session.isEstablished)
    }
  }

  @Test func bytesPassBothWays() throws {
    var ends = Ends(try client(), try Shared.server([Shared.ec.credential]))
    check(ends.shakeHands())
    let text = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    var cipher = Buffer(capacity: 120_000), plain = Buffer(capacity: 110_000), replies = Buffer(capacity: 4096)
    var used = 0
    check(ends.client.encrypt(text.span, into: &cipher, now: 0) == text.count)
    // To servers there is nobody who waits for a first small record.
    #expect(records(Array(cipher)).count == 7)
    check(ends.server.decrypt(cipher.bytes, used: &used, into: &plain, replies: &replies) == .drained)
    check(Array(plain) == text)
    cipher.removeAll()
    ends.client.close(into: &cipher)
    check(ends.server.decrypt(cipher.bytes, used: &used, into: &plain, replies: &replies) == .closed)
  }
}
