// AddressTableTests — the longest range decides: compared with looking at every range.

import HTTPModel
import Testing

@testable import Policy

@Suite struct AddressTableTests {
  private func ranges(_ texts: [String]) throws -> [AddressRange] { try texts.map { try AddressRange(parsing: $0) } }
  private func address(_ text: String) throws -> IPAddress { try AddressRange(parsing: text).first }

  @Test func emptyPermitsEverybody() {
    let table = AddressTable(allow: [])
    #expect(table.isEmpty && table.permits(IPAddress(ipv4: 1)) && table.permits(.unix) && table.permits(.none) && !table.contains(IPAddress(ipv4: 1)))
  }

  @Test func theLongestRangeDecides() throws {
    let table = AddressTable(allow: try ranges(["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"]), deny: try ranges(["10.1.0.0/16", "2001:db8:1::/48"]))
    for (text, permitted) in [
      ("10.0.0.1", true), ("10.1.0.0", false), ("10.1.255.255", false), ("10.2.0.0", true), ("10.1.2.3", true), ("10.1.2.4", false), ("11.0.0.0", false),
      ("9.255.255.255", false), ("2001:db8::1", true), ("2001:db8:1::", false), ("2001:db8:2::", true), ("::1", false),
    ] { #expect(table.permits(try address(text)) == permitted, "\(text)") }
    #expect(!table.permits(.unix))
  }

  @Test func denyAloneLetsTheOthersIn() throws {
    let table = AddressTable(allow: [], deny: try ranges(["0.0.0.0/1", "255.255.255.255", "unix:"]))
    #expect(!table.permits(try address("127.255.255.255")) && table.permits(try address("128.0.0.0")) && !table.permits(try address("255.255.255.255")))
    #expect(table.permits(try address("::1")) && !table.permits(.unix))
  }

  /// IPv6 ranges around what is IPv4 say nothing of IPv4.
  @Test func familiesDoNotMeet() throws {
    let table = AddressTable(allow: [], deny: try ranges(["::/0"]))
    #expect(table.permits(IPAddress(ipv4: 0x0a00_0001)) && !table.permits(try address("::fffe:0:0")) && !table.permits(try address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
  }

  @Test func likeLookingAtEveryRange() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      var listed: [(AddressRange, AddressTable.Verdict)] = []
      for _ in 0..<Int.random(in: 1...20) {
        let length = Int.random(in: 0...12)
        let isIPv4 = Bool.random()
        let bits = length == 0 ? 0 : UInt64.random(in: 0..<(1 << UInt64(length)), using: &generator)
        let first = isIPv4 ? IPAddress(ipv4: UInt32(bits << UInt64(32 - length))) : IPAddress(ipv6: length == 0 ? 0 : bits << UInt64(64 - length), 0)
        let range = AddressRange(first: first, length: length)
        if !listed.contains(where: { $0.0 == range }) { listed.append((range, Bool.random() ? .allowed : .denied)) }
      }
      let table = AddressTable(allow: listed.filter { $0.1 == .allowed }.map { $0.0 }, deny: listed.filter { $0.1 == .denied }.map { $0.0 })
      for _ in 0..<200 {
        let probe = Bool.random() ? IPAddress(ipv4: UInt32.random(in: 0...(.max))) : IPAddress(ipv6: UInt64.random(in: 0...(.max)), UInt64.random(in: 0...(.max)))
        let expected = listed.filter { range, _ in
          guard range.first.kind == probe.kind else { return false }
          let word = probe.kind == .ipv4 ? probe.low << 32 : probe.high, first = probe.kind == .ipv4 ? range.first.low << 32 : range.first.high
          return range.length == 0 || word >> UInt64(64 - range.length) == first >> UInt64(64 - range.length)
        }.max { $0.0.length < $1.0.length }
        #expect(table.verdict(probe) == expected?.1 ?? .unlisted)
      }
    }
  }
}
