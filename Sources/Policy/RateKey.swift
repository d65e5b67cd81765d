// RateKey — what of a request a rate limit's bucket is for, as it stands in the configuration: `client_ip+header:X-Api-Key`.

import Kernel

/// One part of a key.
public enum RateKeyPart: Equatable, Sendable {
  /// The client's address; of an IPv6 address the first bits.
  case clientAddress
  /// The normalised path, without the query.
  case path
  /// The value of a header field, by its name in lower case.
  case header(String)
  /// The value of a cookie.
  case cookie(String)
  /// The subject of the client's verified certificate.
  case tlsSubject
  /// What a parameter of the route's pattern has matched.
  case routeParameter(String)
}

/// Why a text is no key.
public struct RateKeyError: Error, Equatable {
  /// Follows the name of the setting: `has …`.
  public let complaint: String
}

/// The parts of a key, all of which a request must have for its zone to apply.
public struct RateKey: Equatable, Sendable {
  /// Parts at most.
  public static let partLimit = 4

  public let parts: [RateKeyPart]

  public init(parsing text: String) throws(RateKeyError) {
    var parts: [RateKeyPart] = []
    for piece in text.split(separator: "+", omittingEmptySubsequences: false) {
      let part = try RateKey.part(String(piece))
      guard !parts.contains(part) else { throw RateKeyError(complaint: "names \"\(piece)\" twice") }
      parts.append(part)
    }
    guard parts.count <= RateKey.partLimit else { throw RateKeyError(complaint: "has more than \(RateKey.partLimit) parts") }
    self.parts = parts
  }

  private static func part(_ text: String) throws(RateKeyError) -> RateKeyPart {
    switch text {
    case "client_ip": return .clientAddress
    case "path": return .path
    case "tls_subject": return .tlsSubject
    default: break
    }
    let named: [(String, (String) -> RateKeyPart)] = [
      ("header:", { .header($0.lowercased()) }), ("cookie:", { .cookie($0) }), ("param:", { .routeParameter($0) }),
    ]
    for (prefix, make) in named where text.hasPrefix(prefix) {
      let name = String(text.dropFirst(prefix.utf8.count))
      let isToken = !name.isEmpty && name.utf8.allSatisfy { isTokenByte($0) }
      guard isToken else { throw RateKeyError(complaint: "has no name after \"\(prefix)\": a token is needed, such as \(prefix)X-Api-Key") }
      return make(name)
    }
    throw RateKeyError(complaint: "has no part \"\(text)\" (parts: client_ip, path, header:NAME, cookie:NAME, param:NAME, tls_subject, joined by +)")
  }

  /// A key of a request, as people can read it: its parts, joined by blanks.
  /// - Parameters:
  ///   - bytes: the parts, each ended by NUL; an IPv6 address is 16 bytes.
  ///   - prefix: bits of an IPv6 address that count.
  public func text(of bytes: [UInt8], ipv6Prefix prefix: Int) -> String {
    var rest = bytes[...], texts: [String] = []
    for part in parts where !rest.isEmpty {
      let end = rest.firstIndex(of: 0) ?? rest.endIndex
      let text = rest[..<end]
      let isIPv4 = text.count <= 15 && text.count { $0 == 0x2e } == 3 && text.allSatisfy { $0 == 0x2e || ($0 >= 0x30 && $0 <= 0x39) }
      if part == .clientAddress, !isIPv4, rest.count >= 16, text.elementsEqual("unix:".utf8) == false {
        let halves = stride(from: 0, to: 16, by: 8).map { half in rest.dropFirst(half).prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
        texts.append(IPAddress(isIPv6: true, high: halves[0], low: halves[1]).text + (prefix < 128 ? "/\(prefix)" : ""))
        rest = rest.dropFirst(17)
      } else {
        texts.append(String(String(decoding: text, as: UTF8.self).map { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f && !(0x80...0x9f).contains($0.value) } ? $0 : "\u{fffd}" }))
        rest = end < rest.endIndex ? rest[(end + 1)...] : rest[rest.endIndex...]
      }
    }
    return texts.joined(separator: " ")
  }

  /// RFC 9110 §5.6.2.
  static func isTokenByte(_ byte: UInt8) -> Bool {
    byte >= 0x30 && byte <= 0x39 || (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a || "!#$%&'*-.^_`|~".utf8.contains(byte)
  }
}
