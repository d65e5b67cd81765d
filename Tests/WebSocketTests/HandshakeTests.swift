// HandshakeTests — who asks for a WebSocket and rightly, what proves the answer, and what is agreed about compression.

import HTTPModel
import Memory
import Testing
import Wire

@testable import WebSocket

/// The head of a handshake, with lines replaced (nil: left out) or added.
private func request(_ changes: [String: String?] = [:], line: String = "GET /chat HTTP/1.1", more: [String] = []) -> [UInt8] {
  var fields: [(String, String)] = [
    ("Host", "server.example.com"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
  ]
  for (name, value) in changes {
    fields.removeAll { $0.0 == name }
    if let value { fields.append((name, value)) }
  }
  return bytes(line + "\r\n" + fields.map { "\($0): \($1)\r\n" }.joined() + more.map { $0 + "\r\n" }.joined() + "\r\n")
}

private enum Verdict: Equatable { case valid, notAsked, otherVersion, malformed, notHTTP }

private func examine(_ text: [UInt8]) -> Verdict {
  var head = RequestHead()
  var parser = RequestParser()
  guard case .complete = parser.parse(text.span, into: &head) else { return .notHTTP }
  switch Handshake.examine(head, in: text.span) {
  case .valid(let key): return key.count == 24 ? .valid : .notHTTP
  case .notAsked: return .notAsked
  case .otherVersion: return .otherVersion
  case .malformed: return .malformed
  }
}

@Suite struct HandshakeTests {
  @Test(arguments: [
    ("as in RFC 6455", request(), .valid),
    ("other case", request(["Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"]), .valid),
    ("upgrade list", request(["Upgrade": "h2c, websocket"]), .valid),
    ("empty body announced", request(["Content-Length": "0"]), .valid),
    ("no upgrade", request(["Upgrade": nil]), .notAsked),
    ("other upgrade", request(["Upgrade": "h2c"]), .notAsked),
    ("longer name", request(["Upgrade": "websockets"]), .notAsked),
    ("no connection", request(["Connection": nil]), .notAsked),
    ("connection close", request(["Connection": "close"]), .notAsked),
    ("HTTP/1.0", request(line: "GET /chat HTTP/1.0"), .notAsked),
    ("no version", request(["Sec-WebSocket-Version": nil]), .malformed),
    ("version 8", request(["Sec-WebSocket-Version": "8"]), .otherVersion),
    ("version 130", request(["Sec-WebSocket-Version": "130"]), .otherVersion),
    ("version in words", request(["Sec-WebSocket-Version": "thirteen"]), .malformed),
    ("versions", request(["Sec-WebSocket-Version": "13, 8"]), .malformed),
    ("version twice", request(more: ["Sec-WebSocket-Version: 13"]), .malformed),
    ("no key", request(["Sec-WebSocket-Key": nil]), .malformed),
    ("short key", request(["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j"]), .malformed),
    ("long key", request(["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==="]), .malformed),
    ("key with a wrong letter", request(["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZ!=="]), .malformed),
    ("key of more than 16 bytes", request(["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZR=="]), .malformed),
    ("key without padding", request(["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQAA"]), .malformed),
    ("key twice", request(more: ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]), .malformed),
    ("POST", request(line: "POST /chat HTTP/1.1"), .malformed),
    ("body", request(["Content-Length": "5"]), .malformed),
    ("chunked body", request(["Transfer-Encoding": "chunked"]), .malformed),
  ] as [(String, [UInt8], Verdict)])
  fileprivate func requests(_ name: String, _ text: [UInt8], _ verdict: Verdict) { #expect(examine(text) == verdict) }

  @Test func accepts() {
    var output = Buffer(capacity: 64)
    Handshake.append(acceptFor: bytes("dGhlIHNhbXBsZSBub25jZQ==").span, to: &output)
    #expect(array(output.bytes) == bytes("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    output.removeAll()
    Handshake.append(keyOf: (0x6173_2065_6874_2020, 0x0102_0304), to: &output)
    #expect(output.count == Handshake.keyLength)
    var check = request(["Sec-WebSocket-Key": String(decoding: array(output.bytes), as: UTF8.self)])
    #expect(examine(check) == .valid)
    check = []
  }

  /// FIPS 180-4's examples, and every length around the borders of blocks, by their known digests.
  @Test func digests() {
    func hex(_ text: [UInt8]) -> String {
      let digest = SHA1.digest(text.span)
      return (0..<20).map { (digest[$0] < 16 ? "0" : "") + String(digest[$0], radix: 16) }.joined()
    }
    #expect(hex([]) == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
    #expect(hex(bytes("abc")) == "a9993e364706816aba3e25717850c26c9cd0d89d")
    #expect(hex(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
    #expect(hex(Array(repeating: 0x61, count: 1_000_000)) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f")
    #expect(hex(Array(repeating: 0x61, count: 55)) == "c1c8bbdc22796e28c0e15163d20899b65621d65a")
    #expect(hex(Array(repeating: 0x61, count: 56)) == "c2db330f6083854c99d4b5bfb6e8f29f201be699")
    #expect(hex(Array(repeating: 0x61, count: 63)) == "03f09f5b158a7a8cdad920bddc29b81c18a551f5")
    #expect(hex(Array(repeating: 0x61, count: 64)) == "0098ba824b5c16427bd7a1122a5a442a25ec644d")
  }

  @Test(arguments: [
    ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", true),
    ("upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", true),
    ("Upgrade: websocket\r\nConnection: Upgrade\r\n", false),
    ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false),
    ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false),
    ("Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false),
    ("Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false),
  ])
  func answers(_ fields: String, _ isAgreed: Bool) {
    for status in ["101 Switching Protocols", "200 OK"] {
      let text = bytes("HTTP/1.1 \(status)\r\n\(fields)\r\n")
      var head = ResponseHead()
      var parser = ResponseParser()
      _ = parser.parse(text.span, into: &head)
      let agreed = Handshake.isAgreed(head, in: text.span, key: bytes("dGhlIHNhbXBsZSBub25jZQ==").span)
      #expect(agreed == (isAgreed && status.hasPrefix("101")))
    }
  }

  @Test(arguments: [
    (["chat, superchat"], ["superchat", "chat"], "chat"), (["soap", " , wamp ,"], ["wamp"], "wamp"), (["Chat"], ["chat"], nil), ([], ["chat"], nil),
    (["chatter"], ["chat"], nil), ([",,"], ["chat"], nil),
  ] as [([String], [String], String?)])
  func subprotocols(_ offers: [String], _ supported: [String], _ chosen: String?) {
    let text = request(more: offers.map { "Sec-WebSocket-Protocol: " + $0 })
    var head = RequestHead()
    var parser = RequestParser()
    _ = parser.parse(text.span, into: &head)
    let extent = Handshake.chooseProtocol(head, in: text.span) { offer in supported.contains { $0 == String(decoding: array(offer), as: UTF8.self) } }
    #expect(extent.map { String(decoding: text[$0.lower..<$0.upper], as: UTF8.self) } == chosen)
  }
}

@Suite struct CompressionTermsTests {
  /// What is answered to `offers`; nil: nothing. "400" for what is no list.
  private func answer(_ offers: String, _ wish: CompressionWish = CompressionWish(windowBits: 15, keepsContext: true)) -> String? {
    switch CompressionTerms.choose(among: bytes(offers).span, wish) {
    case .malformed: return "400"
    case .none: return nil
    case .agreed(let terms):
      var output = Buffer(capacity: 160)
      output.append(terms)
      return String(decoding: array(output.bytes), as: UTF8.self)
    }
  }

  @Test(arguments: [
    ("permessage-deflate", "permessage-deflate"),
    ("Permessage-Deflate", "permessage-deflate"),
    ("x-other, permessage-deflate", "permessage-deflate"),
    (", ,permessage-deflate,", "permessage-deflate"),
    ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
    ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
    ("permessage-deflate; client_max_window_bits=\"10\"", "permessage-deflate; client_max_window_bits=10"),
    ("permessage-deflate;server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"),
    ("permessage-deflate; server_no_context_takeover ; client_no_context_takeover", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    ("permessage-deflate; server_max_window_bits=15", "permessage-deflate"),
    // Declined, and the next one taken.
    ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
    ("permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; server_max_window_bits=10"),
    ("permessage-deflate; unknown", nil), ("permessage-deflate; server_max_window_bits", nil), ("permessage-deflate; server_max_window_bits=7", nil),
    ("permessage-deflate; server_max_window_bits=16", nil), ("permessage-deflate; server_max_window_bits=08", nil),
    ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", nil), ("permessage-deflate; client_max_window_bits=0", nil),
    ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", nil), ("permessage-deflate; server_no_context_takeover=1", nil),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", nil), ("permessage-deflate2", nil), ("x-webkit-deflate-frame", nil), ("", nil),
    ("permessage-deflate;", "400"), ("permessage-deflate; =", "400"), ("permessage-deflate; a=", "400"), ("permessage-deflate; a=\"b", "400"), ("permessage-deflate a", "400"),
    ("; a", "400"), ("permessage-deflate; a=\"\"", "400"),
  ] as [(String, String?)])
  func offers(_ offers: String, _ expected: String?) { #expect(answer(offers) == expected) }

  @Test func wishes() {
    let small = CompressionWish(windowBits: 12, keepsContext: true)
    #expect(answer("permessage-deflate", small) == "permessage-deflate; server_max_window_bits=12")
    #expect(answer("permessage-deflate; client_max_window_bits", small) == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12")
    #expect(answer("permessage-deflate; client_max_window_bits=9; server_max_window_bits=14", small) == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=9")
    let forgetful = CompressionWish(windowBits: 15, keepsContext: false)
    #expect(answer("permessage-deflate", forgetful) == "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
  }
}
