// SocketAddressTests — literals, paths and what they read as; the text of a peer.

import Testing

@testable import Kernel

@Suite struct SocketAddressTests {
  @Test(arguments: [
    ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::1", "::1"), ("::", "::"), ("2001:DB8::7", "2001:db8::7"),
    ("2001:db8:0:0:0:0:0:7", "2001:db8::7"), ("fe80::1:2:3:4", "fe80::1:2:3:4"), ("::ffff:192.0.2.1", "192.0.2.1"),
    ("1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888"),
  ])
  func literals(_ literal: String, _ text: String) throws {
    let address = try #require(SocketAddress(host: literal, port: 8080))
    #expect(address.host == text && address.port == 8080)
    #expect(address.isIPv6 == literal.contains(":") && !address.isUnix)
    #expect(address.description == (text.contains(":") ? "[\(text)]:8080" : "\(text):8080"))
    #expect(String(decoding: bytes(of: PeerText(address)), as: UTF8.self) == text)
    #expect(SocketAddress(host: literal, port: 8080) == address)
    #expect(SocketAddress(host: literal, port: 8081) != address)
  }

  @Test(arguments: [
    "", "localhost", "127.1", "127.0.0", "0127.0.0.1", "127.0.0.256", "0x7f000001", "2130706433", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1:80", "[::1]", "::1%lo",
    "::g", ":::", "1:2:3:4:5:6:7:8:9", "127.0.0.1\0x", "::1\0",
  ])
  func notLiterals(_ text: String) {
    #expect(SocketAddress(host: text, port: 80) == nil)
  }

  @Test func ports() throws {
    for port in [UInt16(0), 1, 80, 0x1234, .max] {
      #expect(try #require(SocketAddress(host: "127.0.0.1", port: port)).port == port)
      #expect(try #require(SocketAddress(host: "::1", port: port)).port == port)
    }
  }

  @Test func unixPaths() throws {
    let address = try #require(SocketAddress(unixPath: "/run/gateway.sock"))
    #expect(address.isUnix && !address.isIPv6 && address.port == 0)
    #expect(address.host == "/run/gateway.sock" && address.description == "unix:/run/gateway.sock")
    #expect(String(decoding: bytes(of: PeerText(address)), as: UTF8.self) == "unix:")
    let longest = "/" + String(repeating: "a", count: 106)
    #expect(try #require(SocketAddress(unixPath: longest)).host == longest)
    #expect(SocketAddress(unixPath: longest + "a") == nil)
    #expect(SocketAddress(unixPath: "") == nil && SocketAddress(unixPath: "/a\0b") == nil)
    #expect(SocketAddress(unixPath: "/a") != SocketAddress(unixPath: "/b"))
  }

  @Test func boundAddresses() throws {
    for literal in ["127.0.0.1", "::1"] {
      let asked = try #require(SocketAddress(host: literal, port: 0))
      let listener = try Listener(at: asked, backlog: 8, reusePort: true)
      let found = listener.address
      let bound = try #require(found)
      #expect(bound.host == literal && bound.port != 0)
      var isConnected = false
      let socket = try Socket.connect(to: bound, isConnected: &isConnected)
      let outcome = listener.accept()
      switch consume outcome {
      case .accepted(let accepted, let peer):
        #expect(peer.host == literal && peer.port != 0)
        _ = consume accepted
      case .failed(let error): Issue.record("accept: \(error)")
      }
      _ = consume socket
    }
  }

  private func bytes(of peer: PeerText) -> [UInt8] {
    let span = peer.span
    return span.indices.map { span[$0] }
  }

  @Test func numbersOfIPv6Addresses() throws {
    let address = try #require(SocketAddress(host: "2001:db8::7", port: 1))
    let number = try #require(PeerText(address).ipv6)
    #expect(number.high == 0x2001_0db8_0000_0000 && number.low == 7)
    for other in ["127.0.0.1", "::ffff:127.0.0.1"] { #expect(PeerText(try #require(SocketAddress(host: other, port: 1))).ipv6 == nil) }
  }
}
