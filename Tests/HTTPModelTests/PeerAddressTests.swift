// PeerAddressTests — addresses and ranges: what is one, what is not, and that each has one form.

import Testing

@testable import HTTPModel

@Suite struct PeerAddressTests {
  private func address(_ text: String) -> PeerAddress? { PeerAddress(Array(text.utf8).span) }

  @Test(arguments: [
    ("0.0.0.0", 0), ("127.0.0.1", 0x7f00_0001), ("255.255.255.255", 0xffff_ffff), ("10.2.3.4", 0x0a02_0304), ("::ffff:10.2.3.4", 0x0a02_0304),
    ("0:0:0:0:0:ffff:a02:304", 0x0a02_0304),
  ] as [(String, UInt32)])
  func ipv4(_ text: String, _ number: UInt32) { #expect(address(text) == PeerAddress(ipv4: number)) }

  @Test(arguments: [
    ("::", 0, 0), ("::1", 0, 1), ("1::", 1 << 48, 0), ("2001:db8::ff00:42:8329", 0x2001_0db8_0000_0000, 0x0000_ff00_0042_8329),
    ("1:2:3:4:5:6:7:8", 0x0001_0002_0003_0004, 0x0005_0006_0007_0008), ("1:2:3:4:5:6:7::", 0x0001_0002_0003_0004, 0x0005_0006_0007_0000),
    ("::2:3:4:5:6:7:8", 0x0000_0002_0003_0004, 0x0005_0006_0007_0008), ("64:ff9b::1.2.3.4", 0x0064_ff9b_0000_0000, 0x0102_0304),
    ("FE80::ABCD", 0xfe80_0000_0000_0000, 0xabcd), ("1:2:3:4:5:6:1.2.3.4", 0x0001_0002_0003_0004, 0x0005_0006_0102_0304),
  ] as [(String, UInt64, UInt64)])
  func ipv6(_ text: String, _ high: UInt64, _ low: UInt64) { #expect(address(text) == PeerAddress(ipv6: high, low)) }

  @Test(arguments: [
    "", ".", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "01.2.3.4", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4", "1.2.3.-4",
    ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::g", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8::", "::1.2.3",
    "1.2.3.4::", "::1.2.3.4:5", "[::1]", "::1%eth0", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:256.1.1.1", "\u{0}", "unix:", "localhost",
  ])
  func noAddress(_ text: String) { #expect(address(text) == nil) }

  /// Every spelling of a random address reads as it.
  @Test func everyGap() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<500 {
      let groups = (0..<8).map { _ in Bool.random(using: &generator) ? 0 : UInt16.random(in: 0...(.max), using: &generator) }
      let full = groups.map { String($0, radix: 16) }
      let expected = address(full.joined(separator: ":"))
      #expect(expected != nil)
      for start in 0..<8 {
        for end in start + 1...8 where groups[start..<end].allSatisfy({ $0 == 0 }) {
          #expect(address(full[..<start].joined(separator: ":") + "::" + full[end...].joined(separator: ":")) == expected)
        }
      }
    }
  }

  private func last(_ text: String) throws -> PeerAddress {
    let range = try AddressRange(parsing: text)
    return PeerAddress(range.first.kind, high: range.last.high, low: range.last.low)
  }

  @Test func ranges() throws {
    #expect(try last("10.0.0.0/8") == address("10.255.255.255"))
    #expect(try last("10.1.2.3") == address("10.1.2.3"))
    #expect(try last("0.0.0.0/0") == address("255.255.255.255"))
    #expect(try last("2001:db8::/33") == address("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"))
    #expect(try last("::/0") == address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
    #expect(try last("fe80::/64") == address("fe80::ffff:ffff:ffff:ffff"))
    #expect(try AddressRange(parsing: "::ffff:10.0.0.0/104") == AddressRange(parsing: "10.0.0.0/8"))
    #expect(try AddressRange(parsing: "unix:").first == .unix)
  }

  @Test(arguments: [
    ("10.0.0.0/33", "has no length between 0 and 32"), ("::/129", "has no length between 0 and 128"), ("10.0.0.0/", "has no length"),
    ("10.0.0.0/08", "has no length"), ("10.0.0.0/-1", "has no length"), ("10.0.0.0/8/8", "has no length"), ("10.0.0.1/8", "has bits set behind the first 8"),
    ("2001:db8::1/64", "has bits set behind the first 64"), ("::ffff:10.0.0.0/8", "has no length between 96 and 128"), ("", "must be an IP address"),
    ("unix:/run", "must be an IP address"), ("example.com", "must be an IP address"),
  ])
  func noRange(_ text: String, _ message: String) {
    do throws(AddressRange.Complaint) {
      let range = try AddressRange(parsing: text)
      Issue.record("\(text) is \(range)")
    } catch {
      #expect(error.text.contains(message))
    }
  }
}
