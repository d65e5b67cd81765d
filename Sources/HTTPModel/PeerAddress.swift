// PeerAddress — a peer's address as a number, read from text strictly, and ranges of addresses.
//
// Invariant: IPv4 mapped into IPv6 is IPv4 here, however it came; so an address has one form, and equal ones compare equal.

/// An IPv4 or IPv6 address, a peer on a Unix socket, or nothing that is known.
public struct PeerAddress: Hashable, Sendable, BitwiseCopyable {
  public enum Kind: UInt8, Sendable, BitwiseCopyable { case none, ipv4, ipv6, unix }

  public let kind: Kind
  /// The first 64 bits of an IPv6 address; 0 otherwise.
  public let high: UInt64
  /// The last 64 bits of an IPv6 address; an IPv4 address in its last 32.
  public let low: UInt64

  public static var none: PeerAddress { PeerAddress(kind: .none, high: 0, low: 0) }
  public static var unix: PeerAddress { PeerAddress(kind: .unix, high: 0, low: 0) }

  private init(kind: Kind, high: UInt64, low: UInt64) {
    self.kind = kind
    self.high = high
    self.low = low
  }

  /// The address that has these numbers; bits that its kind has not are dropped.
  public init(_ kind: Kind, high: UInt64, low: UInt64) {
    switch kind {
    case .ipv4: self.init(ipv4: UInt32(truncatingIfNeeded: low))
    case .ipv6: self.init(ipv6: high, low)
    case .none, .unix: self.init(kind: kind, high: 0, low: 0)
    }
  }

  public init(ipv4: UInt32) { self.init(kind: .ipv4, high: 0, low: UInt64(ipv4)) }

  public init(ipv6 high: UInt64, _ low: UInt64) {
    if high == 0, low >> 32 == 0xffff { self.init(ipv4: UInt32(truncatingIfNeeded: low)) } else { self.init(kind: .ipv6, high: high, low: low) }
  }

  /// How many bits an address of this kind has.
  public var width: Int { kind == .ipv4 ? 32 : kind == .ipv6 ? 128 : 0 }

  /// The address written as RFC 4291 §2.2 or as four decimal numbers, without brackets, port and zone; nil when `text` is neither.
  public init?(_ text: Span<UInt8>) {
    if let number = PeerAddress.ipv4(text) {
      self.init(ipv4: number)
    } else if let (high, low) = PeerAddress.ipv6(text) {
      self.init(ipv6: high, low)
    } else {
      return nil
    }
  }

  /// Four decimal numbers without leading zeros.
  private static func ipv4(_ text: Span<UInt8>) -> UInt32? {
    guard 7...15 ~= text.count else { return nil }
    var number: UInt32 = 0, part: UInt32 = 0, digits = 0, parts = 1
    for index in text.indices {
      let byte = text[index]
      if byte == 0x2e {
        guard digits > 0, parts < 4 else { return nil }
        number = number << 8 | part
        (part, digits, parts) = (0, 0, parts + 1)
      } else {
        guard 0x30...0x39 ~= byte, digits < 3, digits == 0 || part > 0 else { return nil }
        part = part * 10 + UInt32(byte - 0x30)
        guard part <= 255 else { return nil }
        digits += 1
      }
    }
    return parts == 4 && digits > 0 ? number << 8 | part : nil
  }

  private static func ipv6(_ text: Span<UInt8>) -> (UInt64, UInt64)? {
    guard 2...45 ~= text.count else { return nil }
    // The groups before "::", and those behind it.
    var high: UInt64 = 0, low: UInt64 = 0, groups = 0, gap: Int?
    func shift(_ group: UInt64) {
      high = high << 16 | low >> 48
      low = low << 16 | group
      groups += 1
    }
    var index = 0
    if text[0] == 0x3a {
      guard text[1] == 0x3a else { return nil }
      (gap, index) = (0, 2)
    }
    while index < text.count {
      var end = index
      while end < text.count, text[end] != 0x3a { end += 1 }
      let piece = text.extracting(index..<end)
      if end == text.count, groups <= 6, let number = ipv4(piece) {
        shift(UInt64(number >> 16))
        shift(UInt64(number & 0xffff))
        index = end
        break
      }
      guard 1...4 ~= piece.count, groups < 8 else { return nil }
      var group: UInt64 = 0
      for position in piece.indices {
        guard let digit = hexadecimal(piece[position]) else { return nil }
        group = group << 4 | digit
      }
      shift(group)
      index = end
      guard index < text.count else { break }
      index += 1
      guard index < text.count else { return nil }
      if text[index] == 0x3a {
        guard gap == nil else { return nil }
        gap = groups
        index += 1
      }
    }
    guard let gap else { return groups == 8 ? (high, low) : nil }
    // "::" stands for one group at least.
    guard groups < 8 else { return nil }
    return spread(high, low, groups: groups, gap: gap)
  }

  /// Puts zeros between the first `gap` groups and the rest.
  private static func spread(_ high: UInt64, _ low: UInt64, groups: Int, gap: Int) -> (UInt64, UInt64) {
    func group(_ position: Int) -> UInt64 {
      let shift = UInt64(groups - 1 - position) * 16
      return (shift >= 64 ? high >> (shift - 64) : low >> shift) & 0xffff
    }
    var result: (high: UInt64, low: UInt64) = (0, 0)
    for position in 0..<groups {
      let place = position < gap ? position : position + 8 - groups
      if place < 4 { result.high |= group(position) << UInt64((3 - place) * 16) } else { result.low |= group(position) << UInt64((7 - place) * 16) }
    }
    return result
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte - 0x30)
    case 0x41...0x46: UInt64(byte - 0x37)
    case 0x61...0x66: UInt64(byte - 0x57)
    default: nil
    }
  }
}

/// All addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`, one address, or `unix:` for the peers on Unix sockets.
public struct AddressRange: Hashable, Sendable {
  /// The first address of the range.
  public var first: PeerAddress
  /// Bits that all of its addresses have in common.
  public var length: Int

  public init(first: PeerAddress, length: Int) {
    self.first = first
    self.length = length
  }

  /// Why a text is no range.
  public struct Complaint: Error, Equatable {
    /// Follows the name of the setting: `must be …`.
    public let text: String
  }

  public init(parsing text: String) throws(Complaint) {
    if text == "unix:" {
      self.init(first: .unix, length: 0)
      return
    }
    let parts = text.utf8.split(separator: 0x2f, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
    guard let address = AddressRange.address(parts[0]) else {
      throw Complaint(text: "must be an IP address, a range such as 10.0.0.0/8 or 2001:db8::/32, or \"unix:\"")
    }
    guard parts.count == 2 else {
      self.init(first: address, length: address.width)
      return
    }
    // What is written as IPv4 in IPv6 counts the bits before it.
    let mapped = address.kind == .ipv4 && parts[0].contains(0x3a) ? 96 : 0
    let digits = parts[1]
    guard 1...3 ~= digits.count, digits.allSatisfy({ 0x30...0x39 ~= $0 }), digits.count == 1 || digits[0] != 0x30,
      case let length = digits.reduce(0, { $0 * 10 + Int($1 - 0x30) }) - mapped, 0...address.width ~= length
    else { throw Complaint(text: "has no length between \(mapped) and \(address.width + mapped) after the \"/\"") }
    let range = AddressRange(first: address, length: length)
    let (high, low) = range.hostMask
    guard address.high & high == 0, address.low & low == 0 else {
      throw Complaint(text: "has bits set behind the first \(length + mapped): write the range's first address")
    }
    self = range
  }

  private static func address(_ text: [UInt8]) -> PeerAddress? { PeerAddress(text.span) }

  /// The last address of the range, as the numbers of an `PeerAddress`.
  public var last: (high: UInt64, low: UInt64) {
    let (high, low) = hostMask
    return (first.high | high, first.low | low)
  }

  /// The bits that differ within the range.
  private var hostMask: (high: UInt64, low: UInt64) {
    func word(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? ~0 : 1 << UInt64(bits) &- 1 }
    let bits = first.width - length
    return (word(bits - 64), word(bits))
  }
}
