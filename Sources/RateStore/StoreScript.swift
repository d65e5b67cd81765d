// StoreScript — the script that decides about a key on the server, and the commands that ask it.
//
// Arithmetic in whole billionths of a token: a rate is configured in thousandths of a token per second, of which each is one billionth per
// microsecond. So what comes back in a time is a product of whole numbers, a debt is one as well, and as long as the capacity is at most
// 9,000,000 all of them are below 2^53, where Lua's numbers are exact: nothing is rounded, no token is made or lost. The clock is the server's.
// A key without debt is a key that is not there; each expires when its debt has been paid.

import Memory

public enum StoreScript {
  /// Keys: the bucket's. Arguments: rate (thousandths of a token per second), capacity, cost, tokens wanted. Answers with four numbers: tokens taken,
  /// whole tokens left, microseconds until there is a token, microseconds until the cost could be paid.
  public static let text: StaticString = """
    local clock = redis.call('TIME')
    local now = clock[1] * 1000000 + clock[2]
    local rate, full = tonumber(ARGV[1]), ARGV[2] * 1000000000
    local price, want = ARGV[3] * 1000000000, tonumber(ARGV[4])
    local debt = 0
    local kept = redis.call('GET', KEYS[1])
    if kept then
      local units, at = string.match(kept, '^(%d+):(%d+)$')
      if not units then return redis.error_reply('ERR the key holds no bucket of a rate limit') end
      debt = tonumber(units)
      local passed = now - tonumber(at)
      if passed > 0 then debt = debt - passed * rate end
      if debt < 0 then debt = 0 elseif debt > full then debt = full end
    end
    local room = full - debt
    if price > room then
      return {0, math.floor(room / 1000000000), math.max(0, math.ceil((1000000000 - room) / rate)), math.ceil((price - room) / rate)}
    end
    local taken = math.min(want, math.floor(room / 1000000000))
    debt = debt + taken * 1000000000
    room = full - debt
    redis.call('SET', KEYS[1], string.format('%.0f:%.0f', debt, now), 'PX', string.format('%.0f', math.ceil(debt / rate / 1000) + 1))
    return {taken, math.floor(room / 1000000000), math.max(0, math.ceil((1000000000 - room) / rate)), 0}
    """

  /// The name that servers have for the script: its SHA-1 digest.
  public static let digest: StaticString = "7c14ef49bbde72d21857760b8544059c48637bf7"
}

/// What the commands about one zone have in common.
public struct StoreZone: Sendable {
  /// `prefix:rate:zone:`; 32 digits follow.
  let keyPrefix: [UInt8]
  /// Rate and capacity as arguments.
  let arguments: [UInt8]
  /// What is hashed before each key, so that a zone that means another thing by its keys has others.
  public let salt: [UInt8]

  /// - Parameters:
  ///   - prefix: letters, digits and signs that a key may have.
  ///   - rate: thousandths of a token per second.
  public init(prefix: String, zone: String, rate: Int, capacity: Int, salt: String) {
    keyPrefix = Array("\(prefix):rate:\(StoreZone.escaped(zone)):".utf8)
    arguments = StoreZone.bulk(String(rate)) + StoreZone.bulk(String(capacity))
    self.salt = Array(salt.utf8) + [0]
  }

  /// A name with all but letters, digits and `-_.` percent-encoded.
  static func escaped(_ name: String) -> String {
    var text = ""
    for byte in name.utf8 {
      let isPlain = byte >= 0x30 && byte <= 0x39 || (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a || byte == 0x2d || byte == 0x5f || byte == 0x2e
      if isPlain {
        text.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        text += digits.utf8.count == 1 ? "%0" + digits : "%" + digits
      }
    }
    return text
  }

  static func bulk(_ text: String) -> [UInt8] { Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8) }
}

/// Commands for a server, as its protocol has them.
public enum StoreCommand {
  /// Bytes that no question takes more of: with the script, and without.
  public static let limit = 2048
  public static var longLimit: Int { limit + StoreScript.text.utf8CodeUnitCount }

  /// Appends the question whether the key that hashes to `digest` has `cost` tokens; `wanted` of them are taken, or as many as there are.
  /// - Parameter withScript: the server does not know the script.
  public static func ask(_ zone: StoreZone, _ digest: KeyDigest, cost: Int64, wanted: Int64, withScript: Bool, to output: inout Buffer) {
    output.append("*8\r\n")
    if withScript {
      output.append("$4\r\nEVAL\r\n$")
      output.append(decimal: StoreScript.text.utf8CodeUnitCount)
      output.append("\r\n")
      output.append(StoreScript.text)
    } else {
      output.append("$7\r\nEVALSHA\r\n$40\r\n")
      output.append(StoreScript.digest)
    }
    output.append("\r\n$1\r\n1\r\n$")
    output.append(decimal: zone.keyPrefix.count + 32)
    output.append("\r\n")
    output.append(zone.keyPrefix.span)
    for word in [digest.high, digest.low] {
      for shift in stride(from: UInt64(60), through: 0, by: -4) {
        let digit = UInt8(truncatingIfNeeded: word >> shift & 15)
        output.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
      }
    }
    output.append("\r\n")
    output.append(zone.arguments.span)
    append(number: cost, to: &output)
    append(number: wanted, to: &output)
  }

  private static func append(number: Int64, to output: inout Buffer) {
    let value = min(max(0, number), 1_000_000_000_000)
    var digits = 1, bound: Int64 = 10
    while value >= bound { digits += 1; bound *= 10 }
    output.append("$")
    output.append(decimal: digits)
    output.append("\r\n")
    output.append(decimal: Int(value))
    output.append("\r\n")
  }

  /// Appends a command of `words`, if there is room.
  public static func append(_ words: [String], to output: inout Buffer) -> Bool {
    var bytes = Array("*\(words.count)\r\n".utf8)
    for word in words { bytes += StoreZone.bulk(word) }
    guard output.freeCapacity >= bytes.count else { return false }
    output.append(bytes.span)
    return true
  }
}
