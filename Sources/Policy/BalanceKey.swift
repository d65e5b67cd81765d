// BalanceKey — what of a request decides about its endpoint where that goes by `hash`, as it stands in the configuration: `header:X-Account`.

import CLinux

/// Why a text is no key.
public struct BalanceKeyError: Error, Equatable {
  /// Follows the name of the setting: `has …`.
  public let complaint: String
}

/// What a request's key is.
public enum BalanceKey: Equatable, Sendable {
  /// The client's address.
  case clientAddress
  /// The normalised path, without the query.
  case path
  /// The value of a header field.
  case header(String)
  /// The value of a cookie.
  case cookie(String)
  /// What a parameter of the route's pattern has matched.
  case parameter(String)

  public init(parsing text: String) throws(BalanceKeyError) {
    switch text {
    case "client_ip": self = .clientAddress
    case "path": self = .path
    default:
      guard let colon = text.firstIndex(of: ":") else { throw BalanceKey.unknown(text) }
      let name = String(text[text.index(after: colon)...])
      let kind = text[..<colon]
      guard ["header", "cookie", "param"].contains(kind) else { throw BalanceKey.unknown(text) }
      guard !name.isEmpty, name.utf8.allSatisfy({ RateKey.isTokenByte($0) }) else {
        throw BalanceKeyError(complaint: "has no name after \"\(kind):\": a token is needed, such as \(kind == "header" ? "header:X-Account" : "\(kind):account")")
      }
      self = kind == "header" ? .header(name.lowercased()) : kind == "cookie" ? .cookie(name) : .parameter(name)
    }
  }

  private static func unknown(_ text: String) -> BalanceKeyError {
    BalanceKeyError(complaint: "is \"\(text)\", which is no key (keys: client_ip, path, header:NAME, cookie:NAME, param:NAME)")
  }

  /// A hash of a key's value, the same in all processes and after restarts; 0: there is no value.
  public static func hash(_ value: Span<UInt8>) -> UInt64 {
    guard !value.isEmpty else { return 0 }
    return max(1, unsafe value.withUnsafeBytes { unsafe clx_siphash(0x6761_7465_7761_7920, 0x656e_6470_6f69_6e74, $0.baseAddress, $0.count) })
  }

  /// What stands for an endpoint in the cookie that binds a client to it; never 0.
  public static func binding(upstream: String, endpoint: String, secret: String) -> UInt64 {
    func hash(_ text: String, _ low: UInt64, _ high: UInt64) -> UInt64 {
      var text = text
      return text.withUTF8 { bytes in unsafe clx_siphash(low, high, bytes.baseAddress, bytes.count) }
    }
    // The key of the hash is made of the secret, of which 128 bits count.
    let low = hash(secret, 0x7374_6963_6b79_0001, 0), high = hash(secret, 0x7374_6963_6b79_0002, 0)
    return max(1, hash("\(upstream)\u{0}\(endpoint)", low, high))
  }
}
