// Records: whatever their size and however they arrive; closing; resumption.

import Memory
import TLSTestSupport
import Testing

@testable import TLS

@Suite struct SessionTests {
  @Test(arguments: [12, 13], [1, 1000, 16_384, 70_000]) func bytesPassBothWays(version: Int, room: Int) throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]), ClientOptions(maxVersion: Int32(version)))
    check(pair.handshake())
    let text = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    for start in stride(from: 0, to: text.count, by: 10_000) { pair.client.write(Array(text[start..<start + 10_000])) }
    check(pair.decrypt(pair.client.take(), room: room) == text)
    pair.client.feed(pair.encrypt(text))
    check(pair.client.read() == text)
  }

  @Test func ciphertextIsUsedAsFarAsThereIsRoom() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]))
    check(pair.handshake())
    pair.client.write([UInt8](repeating: 7, count: 1000))
    pair.client.write([UInt8](repeating: 8, count: 1000))
    let cipher = pair.client.take()
    var plain = Buffer(capacity: 1000), replies = Buffer(capacity: 1024)
    var used = 0
    check(pair.session.decrypt(cipher.span, used: &used, into: &plain, replies: &replies) == .full)
    check(used < cipher.count && Array(plain) == [UInt8](repeating: 7, count: 1000))
    plain.removeAll()
    let rest = Array(cipher.dropFirst(used))
    check(pair.session.decrypt(rest.span, used: &used, into: &plain, replies: &replies) == .full)
    check(used == rest.count && Array(plain) == [UInt8](repeating: 8, count: 1000))
    // An unfinished record is kept inside.
    pair.client.write([UInt8](repeating: 9, count: 10))
    let split = pair.client.take()
    plain.removeAll()
    check(pair.session.decrypt(Array(split.prefix(9)).span, used: &used, into: &plain, replies: &replies) == .drained)
    check(used == 9 && plain.isEmpty)
    check(pair.session.decrypt(Array(split.dropFirst(9)).span, used: &used, into: &plain, replies: &replies) == .drained)
    check(Array(plain) == [UInt8](repeating: 9, count: 10))
  }

  @Test func recordsGrowUnderBulkAndShrinkAfterAPause() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]))
    check(pair.handshake())
    let lengths = records(pair.encrypt([UInt8](repeating: 1, count: 200_000)))
    let small = lengths.prefix { $0 < 5_000 }.count
    check(small * 4_000 >= 64 << 10 && small * 4_000 < 72_000)
    check(lengths.dropFirst(small).dropLast().allSatisfy { $0 > 16_384 })
    pair.now += 10
    check(records(pair.encrypt([UInt8](repeating: 1, count: 16_384))).count == 1)
    pair.now += 1_000
    check(records(pair.encrypt([UInt8](repeating: 1, count: 16_384))).count == 5)
  }

  @Test func littleRoomForCiphertextEncryptsLess() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]))
    check(pair.handshake())
    var output = Buffer(capacity: 4_300)
    let text = [UInt8](repeating: 1, count: 10_000)
    check(pair.session.encrypt(text.span, into: &output, now: 0) == 4_000)
    check(pair.session.encrypt(text.span, into: &output, now: 0) == 0)
  }

  @Test(arguments: [12, 13]) func closing(version: Int) throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]), ClientOptions(maxVersion: Int32(version)))
    check(pair.handshake())
    var outcome = TLSSession.Decryption.drained
    pair.client.write([1, 2, 3])
    pair.client.close()
    check(pair.decrypt(pair.client.take(), outcome: &outcome) == [1, 2, 3])
    check(outcome == .closed)
    // In TLS 1.3 each side closes for itself: there may still be an answer.
    if version == 13 {
      pair.client.feed(pair.encrypt([4, 5]))
      check(pair.client.read() == [4, 5])
    }
    var output = Buffer(capacity: 1024)
    pair.session.close(into: &output)
    check(!output.isEmpty)
    pair.client.feed(Array(output))
    check(pair.client.read() == nil)
  }

  @Test func aTamperedRecordEndsTheSession() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]))
    check(pair.handshake())
    pair.client.write([1, 2, 3])
    var cipher = pair.client.take()
    cipher[cipher.count - 1] ^= 1
    var outcome = TLSSession.Decryption.drained
    check(pair.decrypt(cipher, outcome: &outcome).isEmpty)
    check(outcome == .failed(.protocolError))
    check(pair.encrypt([1]).isEmpty)
  }

  @Test func keysMayBeChanged() throws {
    var pair = Pair(try Shared.server([Shared.ec.credential]), ClientOptions(minVersion: 13))
    check(pair.handshake())
    pair.client.updateKeys()
    pair.client.write([1, 2, 3])
    check(pair.decrypt(pair.client.take()) == [1, 2, 3])
    pair.client.feed(pair.encrypt([4, 5, 6]))
    check(pair.client.read() == [4, 5, 6])
  }

  // MARK: Resumption

  private func resumed(_ first: TLSServer, _ second: TLSServer, version: Int32, identity: Made? = nil) -> Bool? {
    var pair = Pair(first, ClientOptions(serverName: "example.com", identity: identity, maxVersion: version))
    guard pair.handshake(), !pair.session.isResumed else { return nil }
    var again = Pair(second, ClientOptions(serverName: "example.com", identity: identity, maxVersion: version, resumes: pair.client))
    guard again.handshake() else { return nil }
    return again.client.wasResumed && again.session.isResumed
  }

  @Test(arguments: [Int32(12), 13]) func anotherProcessWithTheSameKeysResumes(version: Int32) throws {
    let old = try TicketKeys.make(), new = try TicketKeys.make()
    func server(_ keys: [UInt8]?) throws -> TLSServer {
      guard let keys else { return try Shared.server([Shared.rsa.credential, Shared.ec.credential, Shared.other.credential]) }
      let tickets = try TicketKeys()
      tickets.replace(keys)
      return try Shared.server([Shared.rsa.credential, Shared.ec.credential, Shared.other.credential], tickets: tickets)
    }
    check(resumed(try server(old), try server(old), version: version) == true)
    check(resumed(try server(old), try server(new + old), version: version) == true)
    check(resumed(try server(old), try server(new), version: version) == false)
    check(resumed(try server(nil), try server(nil), version: version) == false)
    check(resumed(try server([]), try server([]), version: version) == false)
  }

  @Test func oldKeysGiveNewTickets() throws {
    let old = try TicketKeys.make(), new = try TicketKeys.make()
    let tickets = try TicketKeys()
    tickets.replace(old)
    let server = try Shared.server([Shared.ec.credential], tickets: tickets)
    var first = Pair(server, ClientOptions(maxVersion: 12))
    check(first.handshake())
    tickets.replace(new + old)
    var second = Pair(server, ClientOptions(maxVersion: 12, resumes: first.client))
    check(second.handshake() && second.client.wasResumed)
    tickets.replace(new)
    var third = Pair(server, ClientOptions(maxVersion: 12, resumes: second.client))
    check(third.handshake() && third.client.wasResumed)
  }

  @Test(arguments: [Int32(12), 13]) func aSessionIsNotResumedWhereMoreIsAskedFor(version: Int32) throws {
    let key = try TicketKeys.make()
    let client = make(nil, commonName: "alice", by: Shared.authority)
    func server(_ mode: TLSServerSettings.ClientCertificates) throws -> TLSServer {
      let tickets = try TicketKeys()
      tickets.replace(key)
      return try Shared.server([Shared.ec.credential], tickets: tickets) {
        $0.clientCertificates = mode
        $0.clientCA = Shared.authority.certificate
      }
    }
    // The certificate of the first connection is known in the second.
    check(resumed(try server(.require), try server(.require), version: version, identity: client) == true)
    check(resumed(try server(.off), try server(.require), version: version, identity: client) != true)
    check(resumed(try server(.request), try server(.require), version: version, identity: client) != true)
  }
}
