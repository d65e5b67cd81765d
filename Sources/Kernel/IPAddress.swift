// IPAddress — an IPv4 or IPv6 address as numbers, without port and zone.

import CLinux

/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
  public let isIPv6: Bool
  /// The 128 bits of an IPv6 address; of an IPv4 address, its 32 bits are the last of `low`.
  public let high: UInt64
  public let low: UInt64

  public init(isIPv6: Bool, high: UInt64, low: UInt64) {
    self.isIPv6 = isIPv6
    self.high = isIPv6 ? high : 0
    self.low = isIPv6 ? low : low & 0xffff_ffff
  }

  public init(v4: UInt32) { self.init(isIPv6: false, high: 0, low: UInt64(v4)) }

  /// Reads a literal without brackets; nil when it is none.
  public init?(_ text: String) {
    guard !text.utf8.contains(0) else { return nil }
    var v4 = in_addr()
    var v6 = in6_addr()
    if unsafe inet_pton(AF_INET, text, &v4) == 1 {
      self.init(v4: UInt32(bigEndian: v4.s_addr))
    } else if unsafe inet_pton(AF_INET6, text, &v6) == 1 {
      let words = unsafe withUnsafeBytes(of: v6) { unsafe ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)) }
      self.init(isIPv6: true, high: UInt64(bigEndian: words.0), low: UInt64(bigEndian: words.1))
    } else {
      return nil
    }
  }

  public var text: String {
    var space = [CChar](repeating: 0, count: 64)
    if isIPv6 {
      var words = (high.bigEndian, low.bigEndian)
      unsafe _ = inet_ntop(AF_INET6, &words, &space, socklen_t(space.count))
    } else {
      var word = UInt32(truncatingIfNeeded: low).bigEndian
      unsafe _ = inet_ntop(AF_INET, &word, &space, socklen_t(space.count))
    }
    return String(decoding: space.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Whether a server can be found at it. What stands for no host, for many, or for one only on a certain link cannot be connected to
  /// (RFC 6890), or would mean this machine.
  public var isHost: Bool {
    if isIPv6 {
      if high == 0, low == 0 { return false }
      let top = high >> 48
      // Multicast, link-local, and IPv4 in IPv6's clothes.
      return top & 0xff00 != 0xff00 && top & 0xffc0 != 0xfe80 && !(high == 0 && low >> 32 == 0xffff)
    }
    // "This network", multicast, and what is reserved or the broadcast address.
    return low >> 24 != 0 && low >> 28 != 0xe && low >> 28 != 0xf
  }
}

extension IPAddress: Comparable {
  /// IPv4 before IPv6, then as numbers.
  public static func < (a: IPAddress, b: IPAddress) -> Bool {
    if a.isIPv6 != b.isIPv6 { return !a.isIPv6 }
    return (a.high, a.low) < (b.high, b.low)
  }
}
