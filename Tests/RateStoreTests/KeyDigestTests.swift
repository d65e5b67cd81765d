// The names of keys: SHA-256 by its published vectors, and what tells keys apart.

import Testing

@testable import RateStore

@Suite struct KeyDigestTests {
  private static func hexadecimal(_ text: String) -> String {
    var hash = SHA256()
    hash.add(Array(text.utf8).span)
    let words = hash.finish()
    return (0..<8).map { index in
      let digits = String(words[index], radix: 16)
      return String(repeating: "0", count: 8 - digits.count) + digits
    }.joined()
  }

  /// FIPS 180-4, and the empty text.
  @Test func vectors() {
    #expect(Self.hexadecimal("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(Self.hexadecimal("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      Self.hexadecimal("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    #expect(Self.hexadecimal(String(repeating: "a", count: 1_000_000)) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func saltAndKeyAreOneText() {
    let whole = KeyDigest(Array("client_ip/64\u{0}10.0.0.1\u{0}".utf8).span, salt: Array("".utf8).span)
    let parts = KeyDigest(Array("10.0.0.1\u{0}".utf8).span, salt: Array("client_ip/64\u{0}".utf8).span)
    #expect(whole == parts)
    #expect(parts != KeyDigest(Array("10.0.0.1\u{0}".utf8).span, salt: Array("client_ip/56\u{0}".utf8).span))
  }
}
