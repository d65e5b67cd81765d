// RedisAddress — where a Redis server is and who asks it, as one address: redis://[user:password@]host[:port][/database], or
// redis+unix://[user:password@]/path[?db=number].
//
// User and password may be percent-encoded (RFC 3986 §2.1). What is shown to people never has them.

import Plan

/// Why a text is no such address; follows the name of the setting.
struct RedisAddressError: Error, Equatable {
  let complaint: String
}

/// The parts of an address of a Redis server.
struct RedisAddress: Equatable {
  /// What stands in place of a password that is not shown.
  static let hiddenPassword = "***"
  static let databaseLimit = 16_383

  private(set) var host = ""
  private(set) var port = 6379
  /// Absolute path; empty: there is none.
  private(set) var unix = ""
  private(set) var user = ""
  private(set) var password = ""
  private(set) var database = 0

  init(parsing text: String) throws(RedisAddressError) {
    let rest: Substring
    let isUnix = text.hasPrefix("redis+unix://")
    if isUnix {
      rest = text.dropFirst("redis+unix://".count)
    } else if text.hasPrefix("redis://") {
      rest = text.dropFirst("redis://".count)
    } else if text.hasPrefix("rediss://") {
      throw RedisAddressError(complaint: "asks for TLS (rediss://), which Redis is not spoken to with: name a Unix socket (redis+unix://), or a TLS tunnel on this machine")
    } else {
      throw RedisAddressError(complaint: "must be redis://[user:password@]host[:port][/database] or redis+unix://[user:password@]/path[?db=number]")
    }
    var place = rest
    // The last one before the path: a password must have its own encoded, but is not quoted in complaints either way.
    let authorityEnd = rest.firstIndex(of: "/") ?? rest.endIndex
    if rest[authorityEnd...].contains("@"), !(isUnix && rest.hasPrefix("/")) {
      throw RedisAddressError(complaint: "has a \"/\" before its \"@\": in a user or password it must be written %2F")
    }
    if let at = rest[..<authorityEnd].lastIndex(of: "@") {
      try takeCredentials(rest[..<at])
      place = rest[rest.index(after: at)...]
    }
    if isUnix { try takePath(place) } else { try takeHost(place) }
  }

  private mutating func takeCredentials(_ text: Substring) throws(RedisAddressError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = RedisAddress.decoded(parts[0]), let secret = RedisAddress.decoded(parts.count > 1 ? parts[1] : "") else {
      throw RedisAddressError(complaint: "has a \"%\" in its user or password that is not followed by two hexadecimal digits, or bytes that are not UTF-8")
    }
    if secret == RedisAddress.hiddenPassword { throw RedisAddressError(complaint: "has *** in place of its password, as it is shown: put the password there") }
    if secret.isEmpty { throw RedisAddressError(complaint: "has an \"@\", but no password before it: user:password@, or :password@ without a user") }
    (user, password) = (name, secret)
  }

  private mutating func takeHost(_ text: Substring) throws(RedisAddressError) {
    var authority = text
    if let slash = text.firstIndex(of: "/") {
      authority = text[..<slash]
      let number = text[text.index(after: slash)...]
      if !number.isEmpty { try takeDatabase(number) }
    }
    var name = authority
    if authority.hasPrefix("["), let bracket = authority.firstIndex(of: "]") {
      name = authority[...bracket]
      let behind = authority[authority.index(after: bracket)...]
      if !behind.isEmpty {
        guard behind.hasPrefix(":") else { throw RedisAddressError(complaint: "has something other than a port behind \(JSON.quoted(String(name)))") }
        try takePort(behind.dropFirst())
      }
    } else if let colon = authority.lastIndex(of: ":") {
      name = authority[..<colon]
      try takePort(authority[authority.index(after: colon)...])
    }
    host = HostSyntax.withoutBrackets(String(name))
    if let complaint = HostSyntax.complaint(host, underscores: true) { throw RedisAddressError(complaint: "has no good host: \(complaint)") }
  }

  private mutating func takePort(_ text: Substring) throws(RedisAddressError) {
    guard let number = RedisAddress.number(text), (1...65535).contains(number) else {
      throw RedisAddressError(complaint: "has a port that is not between 1 and 65535 (found \(JSON.quoted(String(text))))")
    }
    port = number
  }

  private mutating func takeDatabase(_ text: Substring) throws(RedisAddressError) {
    guard let number = RedisAddress.number(text), number <= RedisAddress.databaseLimit else {
      throw RedisAddressError(complaint: "has a database that is not between 0 and \(RedisAddress.databaseLimit) (found \(JSON.quoted(String(text))))")
    }
    database = number
  }

  private mutating func takePath(_ text: Substring) throws(RedisAddressError) {
    var path = String(text)
    if let mark = text.firstIndex(of: "?") {
      path = String(text[..<mark])
      let query = text[text.index(after: mark)...]
      guard query.hasPrefix("db=") else { throw RedisAddressError(complaint: "may have nothing but ?db=number behind its path") }
      try takeDatabase(query.dropFirst(3))
    }
    if let complaint = TextRule.socketPath.complaint(path) { throw RedisAddressError(complaint: "has a path that \(complaint)") }
    unix = path
  }

  /// For people: without user and password.
  var label: String {
    if !unix.isEmpty { return "redis+unix://\(unix)" + (database == 0 ? "" : "?db=\(database)") }
    return "redis://" + (host.contains(":") ? "[\(host)]" : host.lowercased()) + ":\(port)" + (database == 0 ? "" : "/\(database)")
  }

  /// `text` with a password that is not to be seen.
  static func hidingPassword(_ text: String) -> String {
    guard let scheme = text.range(of: "://") else { return text }
    let rest = text[scheme.upperBound...]
    let end = rest.firstIndex(of: "/") ?? rest.endIndex
    guard let at = rest[..<end].lastIndex(of: "@"), let colon = rest[..<at].firstIndex(of: ":") else { return text }
    return text[...colon] + hiddenPassword + text[at...]
  }

  private static func number(_ text: Substring) -> Int? {
    (1...5).contains(text.utf8.count) && text.utf8.allSatisfy(isDigit) ? Int(text) : nil
  }

  private static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
      bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}

extension StringProtocol {
  /// Where `text` stands in it first.
  fileprivate func range(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}

extension TextRule {
  static let redisAddress = TextRule(description: "address of a Redis server", pattern: "^redis(\\+unix)?://") { text in
    do throws(RedisAddressError) { _ = try RedisAddress(parsing: text) } catch { return error.complaint }
    return nil
  }

  static let keyPrefix = TextRule(description: "letters, digits and -_.:", pattern: "^[A-Za-z0-9_.:-]{1,64}$") { text in
    let isGood = (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { isDigit($0) || isLetter($0) || [0x2d, 0x5f, 0x2e, 0x3a].contains($0) }
    return isGood ? nil : "must be 1 to 64 letters, digits and signs of -_.: (found \(JSON.quoted(text)))"
  }
}

extension Settings {
  /// The same with passwords and secrets that are not to be seen. What is shown so cannot be loaded again, unless there are none.
  public var hidingSecrets: Settings {
    var copy = self
    for index in copy.rateLimit.zones.indices { copy.rateLimit.zones[index].backend = RedisAddress.hidingPassword(copy.rateLimit.zones[index].backend) }
    return copy
  }
}
