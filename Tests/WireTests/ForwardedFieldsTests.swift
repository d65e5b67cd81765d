// ForwardedFieldsTests — elements of X-Forwarded-For and Forwarded, from the right: addresses in every spelling, and what is none.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct ForwardedFieldsTests {
  private func address(_ text: String) -> PeerAddress { text.isEmpty ? .none : PeerAddress(Array(text.utf8).span) ?? .none }

  private func hops(_ text: String, forwarded: Bool) -> [ForwardedHop] {
    let bytes = Array(text.utf8)
    var end = bytes.count, hops: [ForwardedHop] = []
    while let hop = forwarded ? bytes.span.forwarded(before: &end) : bytes.span.forwardedFor(before: &end) { hops.append(hop) }
    return hops
  }

  @Test(arguments: [
    ("1.2.3.4", ["1.2.3.4"]), ("1.2.3.4, 5.6.7.8", ["5.6.7.8", "1.2.3.4"]), ("1.2.3.4,5.6.7.8", ["5.6.7.8", "1.2.3.4"]), ("1.2.3.4:80", ["1.2.3.4"]),
    ("::1", ["::1"]), ("[::1]", ["::1"]), ("[2001:db8::1]:443", ["2001:db8::1"]), ("\t 1.2.3.4 \t", ["1.2.3.4"]), ("::ffff:1.2.3.4", ["1.2.3.4"]),
    (", ,1.2.3.4,,", ["1.2.3.4"]), ("", []), ("unknown", [""]), ("a, 1.2.3.4", ["1.2.3.4", ""]), ("1.2.3.4, garbage", ["", "1.2.3.4"]), ("1.2.3.4:", [""]),
    ("1.2.3.4:123456", [""]), ("1.2.3.4:x", [""]), ("[1.2.3.4]", [""]), ("[::1", [""]), ("[::1]x", [""]), ("::1%eth0", [""]), ("\"1.2.3.4\"", [""]),
    ("1.2.3.4 5.6.7.8", [""]), ("010.1.1.1", [""]), ("1.2.3.4;x", [""]),
  ] as [(String, [String])])
  func xForwardedFor(_ text: String, _ expected: [String]) {
    #expect(hops(text, forwarded: false).map(\.address) == expected.map(address))
  }

  @Test(arguments: [
    ("for=1.2.3.4", ["1.2.3.4"]), ("For=\"1.2.3.4:80\";Proto=https", ["1.2.3.4"]), ("for=\"[2001:db8:cafe::17]:4711\"", ["2001:db8:cafe::17"]),
    ("for=192.0.2.43, for=198.51.100.17", ["198.51.100.17", "192.0.2.43"]), ("for=192.0.2.60; proto=http; by=203.0.113.43", ["192.0.2.60"]),
    ("for=_hidden, for=_SEVKISEK", ["", ""]), ("for=unknown", [""]), ("by=1.2.3.4", [""]), ("for=\"1.2.3.4:_port\"", ["1.2.3.4"]), ("proto=https", [""]),
    ("for=1.2.3.4;for=5.6.7.8", [""]), ("for=", [""]), ("for", [""]), ("=1.2.3.4", [""]), ("for=1.2.3.4;", [""]), (";for=1.2.3.4", [""]), ("for =1.2.3.4", [""]),
    // An element that a client has left open does not take along what proxies have appended.
    ("for=\"1.2.3.4, for=9.9.9.9", ["9.9.9.9", ""]), ("for=\"a,b\", for=9.9.9.9", ["9.9.9.9", ""]), ("for=\"a\\\", for=9.9.9.9", ["9.9.9.9", ""]),
    ("for=\"x\\\"y,z\", for=9.9.9.9", ["9.9.9.9", ""]), ("for=1.2.3.4:80", ["1.2.3.4"]), ("for=1.2.3.4;ext=\"a,b;c\"", ["1.2.3.4"]),
  ] as [(String, [String])])
  func forwarded(_ text: String, _ expected: [String]) {
    #expect(hops(text, forwarded: true).map(\.address) == expected.map(address), "\(text)")
  }

  @Test func schemes() {
    #expect(hops("for=1.2.3.4;proto=HTTPS, for=5.6.7.8;proto=http, for=1.1.1.1, for=2.2.2.2;proto=gopher", forwarded: true).map(\.isSecure) == [nil, nil, false, true])
    #expect(hops("for=1.2.3.4;proto=http;proto=https", forwarded: true).map(\.isSecure) == [nil])
  }

  @Test func written() {
    func text(_ address: String, _ kind: PeerAddress.Kind, _ host: String, _ isSecure: Bool) -> String {
      var buffer = Buffer(capacity: 256)
      buffer.append(forwardedFor: Array(address.utf8).span, of: kind, host: Array(host.utf8).span, isSecure: isSecure)
      let bytes = buffer.bytes
      return String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }
    #expect(text("1.2.3.4", .ipv4, "a.example", true) == "for=1.2.3.4;host=\"a.example\";proto=https")
    #expect(text("::1", .ipv6, "[::1]:80", false) == "for=\"[::1]\";host=\"[::1]:80\";proto=http")
    #expect(text("unix:", .unix, "", false) == "for=unknown;proto=http")
  }
}
