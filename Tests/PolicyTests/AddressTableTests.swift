// AddressTableTests — the longest range decides: compared with looking at every range.

import HTTPModel
import Testing

@testable import Policy

@Suite struct AddressTableTests {
  private func ranges(_ texts: [String]) throws -> [AddressRange] { try texts.map { try AddressRange(parsing: $0) } }
  private func address(_ text: String) -> PeerAddress { text == "unix:" ? .unix : PeerAddress(Array(text.utf8).span) ?? .none }

  /// Those of `texts` that a table of these lists lets pass.
  private func permitted(_ texts: [String], allow: [String] = [], deny: [String] = []) throws -> [String] {
    let table = AddressTable(allow: try ranges(allow), deny: try ranges(deny))
    var result: [String] = []
    for text in texts where table.permits(address(text)) { result.append(text) }
    return result
  }

  @Test func emptyPermitsEverybody() throws {
    #expect(try permitted(["0.0.0.1", "::1", "unix:", ""]) == ["0.0.0.1", "::1", "unix:", ""])
    let table = AddressTable(allow: [])
    let isEmpty = table.isEmpty, contains = table.contains(address("0.0.0.1"))
    #expect(isEmpty && !contains)
  }

  @Test func theLongestRangeDecides() throws {
    let good = ["10.0.0.1", "10.2.0.0", "10.1.2.3", "2001:db8::1", "2001:db8:2::"]
    let bad = ["10.1.0.0", "10.1.255.255", "10.1.2.4", "11.0.0.0", "9.255.255.255", "2001:db8:1::", "::1", "unix:"]
    #expect(
      try permitted(good + bad, allow: ["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"], deny: ["10.1.0.0/16", "2001:db8:1::/48"]) == good)
  }

  @Test func denyAloneLetsTheOthersIn() throws {
    let probes = ["127.255.255.255", "128.0.0.0", "255.255.255.255", "::1", "unix:"]
    #expect(try permitted(probes, deny: ["0.0.0.0/1", "255.255.255.255", "unix:"]) == ["128.0.0.0", "::1"])
  }

  /// IPv6 ranges around what is IPv4 say nothing of IPv4.
  @Test func familiesDoNotMeet() throws {
    #expect(try permitted(["10.0.0.1", "::fffe:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], deny: ["::/0"]) == ["10.0.0.1"])
    #expect(try permitted(["10.0.0.1", "::1"], deny: ["0.0.0.0/0"]) == ["::1"])
  }

  @Test func likeLookingAtEveryRange() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      var listed: [(AddressRange, AddressTable.Verdict)] = []
      for _ in 0..<Int.random(in: 1...20) {
        let length = Int.random(in: 0...12)
        let isIPv4 = Bool.random()
        let bits = length == 0 ? 0 : UInt64.random(in: 0..<(1 << UInt64(length)), using: &generator)
        let first = isIPv4 ? PeerAddress(ipv4: UInt32(bits << UInt64(32 - length))) : PeerAddress(ipv6: length == 0 ? 0 : bits << UInt64(64 - length), 0)
        let range = AddressRange(first: first, length: length)
        if !listed.contains(where: { $0.0 == range }) { listed.append((range, Bool.random() ? .allowed : .denied)) }
      }
      let table = AddressTable(allow: listed.filter { $0.1 == .allowed }.map { $0.0 }, deny: listed.filter { $0.1 == .denied }.map { $0.0 })
      for _ in 0..<200 {
        let probe = Bool.random() ? PeerAddress(ipv4: UInt32.random(in: 0...(.max))) : PeerAddress(ipv6: UInt64.random(in: 0...(.max)), UInt64.random(in: 0...(.max)))
        let expected = listed.filter { range, _ in
          guard range.first.kind == probe.kind else { return false }
          let word = probe.kind == .ipv4 ? probe.low << 32 : probe.high, first = probe.kind == .ipv4 ? range.first.low << 32 : range.first.high
          return range.length == 0 || word >> UInt64(64 - range.length) == first >> UInt64(64 - range.length)
        }.max { $0.0.length < $1.0.length }
        let verdict = table.verdict(probe)
        #expect(verdict == expected?.1 ?? .unlisted)
      }
    }
  }
}
