// HeaderNameTests — the names the gateway knows are recognised in every spelling, and no other name is taken for one.

import Testing

@testable import HTTPModel

@Suite struct HeaderNameTests {
  static let known: [(String, HeaderName)] = [
    ("host", .host), ("connection", .connection), ("content-length", .contentLength), ("transfer-encoding", .transferEncoding),
    ("expect", .expect), ("upgrade", .upgrade), ("keep-alive", .keepAlive), ("te", .te), ("trailer", .trailer),
    ("proxy-connection", .proxyConnection), ("proxy-authenticate", .proxyAuthenticate), ("proxy-authorization", .proxyAuthorization),
    ("via", .via), ("x-forwarded-for", .forwardedFor), ("x-forwarded-proto", .forwardedProto), ("x-forwarded-host", .forwardedHost),
    ("x-request-id", .requestID), ("date", .date), ("server", .server), ("authorization", .authorization), ("content-type", .contentType),
    ("content-range", .contentRange), ("content-disposition", .contentDisposition), ("accept", .accept), ("x-accel-buffering", .accelBuffering),
    ("content-encoding", .contentEncoding), ("user-agent", .userAgent), ("referer", .referer),
  ]

  @Test func everySpellingIsRecognised() {
    for (text, name) in Self.known {
      #expect(holds(HeaderName(bytes(text).span) == name))
      #expect(holds(HeaderName(bytes(text.uppercased()).span) == name))
      let mixed = text.split(separator: "-").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined(separator: "-")
      #expect(holds(HeaderName(bytes(mixed).span) == name))
    }
  }

  @Test func noOtherNameIsTakenForOne() {
    let tokens = Array("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    for (text, name) in Self.known {
      let original = bytes(text)
      for index in original.indices {
        for byte in tokens where lowercased(byte) != original[index] {
          var other = original
          other[index] = byte
          #expect(holds(HeaderName(other.span) != name))
        }
      }
      #expect(holds(HeaderName((original + [0x78]).span) != name))
      #expect(holds(HeaderName(original.span.extracting(first: original.count - 1)) != name))
    }
    for text in ["", "x", "cookie", "set-cookie", "range", "origin", "if-none-match"] {
      #expect(holds(HeaderName(bytes(text).span) == .other))
    }
  }

  @Test func hopByHopFields() {
    let hopByHop: Set<HeaderName> = [
      .connection, .keepAlive, .te, .trailer, .transferEncoding, .upgrade, .proxyConnection, .proxyAuthenticate, .proxyAuthorization,
    ]
    for name in HeaderName.allCases { #expect(HeaderNameSet.hopByHop.contains(name) == hopByHop.contains(name)) }
  }

  @Test func singletonFields() {
    let singletons: Set<HeaderName> = [
      .host, .authorization, .contentType, .contentLength, .contentRange, .contentDisposition, .transferEncoding,
    ]
    for name in HeaderName.allCases { #expect(HeaderNameSet.singletons.contains(name) == singletons.contains(name)) }
  }

  @Test func setsOfNames() {
    let set: HeaderNameSet = [HeaderNameSet(.host), HeaderNameSet(.referer)]
    for (_, name) in Self.known { #expect(set.contains(name) == (name == .host || name == .referer)) }
    #expect(Set(Self.known.map { HeaderNameSet($0.1).rawValue }).count == Self.known.count)
  }

  private func lowercased(_ byte: UInt8) -> UInt8 { 0x41...0x5a ~= byte ? byte + 0x20 : byte }
}
