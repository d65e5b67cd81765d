// ProxyHeader — what the PROXY protocol puts before a connection's first byte: whose connection it is (versions 1 and 2).
//
// Reading is strict: a header is exactly one of the two forms, or it is none. Invariant: whatever the bytes say, no more than
// `limit` of them belong to a header, and its length is known only when all of them have come.

import HTTPModel
import Memory

/// A header of the PROXY protocol.
public struct ProxyHeader: Equatable, Sendable, BitwiseCopyable {
  public enum Version: UInt8, Sendable, BitwiseCopyable { case v1 = 1, v2 = 2 }

  /// Who has opened the connection, and to where; `none` where that is not said: the connection's own peer holds.
  public var source = PeerAddress.none
  public var destination = PeerAddress.none
  public var sourcePort: UInt16 = 0
  public var destinationPort: UInt16 = 0

  public init() {}

  /// Bytes of the longest header accepted. Version 1 has 107; version 2 could have 65,551, of which nobody uses more than a few hundred.
  public static var limit: Int { 4096 }

  /// What the first bytes of a connection are.
  public enum Outcome: Equatable, Sendable {
    case incomplete
    case complete(ProxyHeader, length: Int)
    case malformed
  }

  private static let signature: InlineArray<12, UInt8> = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  private static let word: InlineArray<6, UInt8> = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]

  // MARK: Reading

  /// Reads the header that `bytes` begin with.
  public static func parse(_ bytes: Span<UInt8>) -> Outcome {
    guard !bytes.isEmpty else { return .incomplete }
    if bytes[0] == signature[0] { return bytes.begins(signature.span) ? parseBinary(bytes) : .malformed }
    return bytes.begins(word.span) ? parseText(bytes) : .malformed
  }

  private static func parseText(_ bytes: Span<UInt8>) -> Outcome {
    // With its line end at most 107 bytes.
    var end = 0
    while end < min(bytes.count, 105), bytes[end] != .carriageReturn { end += 1 }
    guard end < bytes.count else { return .incomplete }
    guard bytes[end] == .carriageReturn else { return .malformed }
    guard end + 1 < bytes.count else { return .incomplete }
    guard bytes[end + 1] == .lineFeed, end > 6 else { return .malformed }
    var rest = bytes.extracting(6..<end)
    let family = takeWord(&rest)
    if family.equals("UNKNOWN") { return .complete(ProxyHeader(), length: end + 2) }
    let isIPv6 = family.equals("TCP6")
    guard isIPv6 || family.equals("TCP4") else { return .malformed }
    var header = ProxyHeader()
    guard let source = address(takeWord(&rest), isIPv6), let destination = address(takeWord(&rest), isIPv6), let sourcePort = port(takeWord(&rest)),
      let destinationPort = port(rest)
    else { return .malformed }
    (header.source, header.destination, header.sourcePort, header.destinationPort) = (source, destination, sourcePort, destinationPort)
    return .complete(header, length: end + 2)
  }

  /// Takes what stands before the next blank, and the blank.
  @_lifetime(copy rest)
  private static func takeWord(_ rest: inout Span<UInt8>) -> Span<UInt8> {
    var end = 0
    while end < rest.count, rest[end] != .space { end += 1 }
    let word = rest.extracting(first: end)
    rest = rest.extracting(droppingFirst: min(end + 1, rest.count))
    return word
  }

  private static func address(_ text: Span<UInt8>, _ isIPv6: Bool) -> PeerAddress? {
    var hasColon = false
    for index in text.indices where text[index] == .colon { hasColon = true }
    return hasColon == isIPv6 ? PeerAddress(text) : nil
  }

  private static func port(_ text: Span<UInt8>) -> UInt16? {
    guard let number = text.decimal, number <= 65_535, text.count == 1 || text[0] != 0x30 else { return nil }
    return UInt16(number)
  }

  private static func parseBinary(_ bytes: Span<UInt8>) -> Outcome {
    guard bytes.count > 12 else { return .incomplete }
    guard bytes[12] == 0x20 || bytes[12] == 0x21 else { return .malformed }
    guard bytes.count > 13 else { return .incomplete }
    let family = bytes[13] >> 4, transport = bytes[13] & 15
    guard family <= 3, transport <= 1 else { return .malformed }
    guard bytes.count >= 16 else { return .incomplete }
    let length = 16 + (Int(bytes[14]) << 8 | Int(bytes[15]))
    guard length <= limit else { return .malformed }
    // Of a connection of the proxy's own nothing else is looked at, nor of one of which nothing is known.
    let isLocal = bytes[12] == 0x20 || family == 0 || transport == 0
    let addresses = family == 1 ? 12 : family == 2 ? 36 : 216
    guard isLocal || length >= 16 + addresses else { return .malformed }
    guard bytes.count >= length else { return .incomplete }
    if isLocal { return .complete(ProxyHeader(), length: length) }
    let whole = bytes.extracting(first: length)
    guard checkExtensions(whole, from: 16 + addresses) else { return .malformed }
    var header = ProxyHeader()
    switch family {
    case 1:
      header.source = PeerAddress(ipv4: UInt32(truncatingIfNeeded: number(whole, 16, 4)))
      header.destination = PeerAddress(ipv4: UInt32(truncatingIfNeeded: number(whole, 20, 4)))
    case 2:
      header.source = PeerAddress(ipv6: number(whole, 16, 8), number(whole, 24, 8))
      header.destination = PeerAddress(ipv6: number(whole, 32, 8), number(whole, 40, 8))
    default:
      header.source = .unix
      header.destination = .unix
      return .complete(header, length: length)
    }
    header.sourcePort = UInt16(truncatingIfNeeded: number(whole, 12 + addresses, 2))
    header.destinationPort = UInt16(truncatingIfNeeded: number(whole, 14 + addresses, 2))
    return .complete(header, length: length)
  }

  /// The big-endian number of `count` bytes at `position`.
  private static func number(_ bytes: Span<UInt8>, _ position: Int, _ count: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in position..<position + count { value = value << 8 | UInt64(bytes[index]) }
    return value
  }

  /// Whether the extensions (type, length, value) fill the rest exactly; the one that is a checksum must be right.
  private static func checkExtensions(_ header: Span<UInt8>, from start: Int) -> Bool {
    var position = start
    while position < header.count {
      guard header.count - position >= 3 else { return false }
      let count = Int(number(header, position + 1, 2))
      guard count <= header.count - position - 3 else { return false }
      if header[position] == 3 {
        guard count == 4, number(header, position + 3, 4) == UInt64(header.castagnoli(zeroed: position + 3)) else { return false }
      }
      position += 3 + count
    }
    return true
  }

  // MARK: Writing

  /// Appends the header in the form of `version`. Needs 108 bytes.
  public func append(_ version: Version, to output: inout Buffer) {
    let isKnown = source.width > 0 && destination.width > 0
    // Both are of one family: IPv4 is mapped where the other is IPv6.
    let isIPv4 = source.kind == .ipv4 && destination.kind == .ipv4
    guard version == .v2 else {
      guard isKnown else { return output.append("PROXY UNKNOWN\r\n") }
      output.append(isIPv4 ? "PROXY TCP4 " : "PROXY TCP6 ")
      output.append(address: source, mapped: !isIPv4)
      output.append(.space)
      output.append(address: destination, mapped: !isIPv4)
      output.append(.space)
      output.append(decimal: Int(sourcePort))
      output.append(.space)
      output.append(decimal: Int(destinationPort))
      output.append("\r\n")
      return
    }
    output.append(ProxyHeader.signature.span)
    output.append(0x21)
    guard isKnown else {
      for _ in 0..<3 { output.append(0) }
      return
    }
    output.append(isIPv4 ? 0x11 : 0x21)
    output.append(0)
    output.append(isIPv4 ? 12 : 36)
    for address in [source, destination] {
      if !isIPv4 { output.append(bigEndian: address.kind == .ipv4 ? 0 : address.high, count: 8) }
      output.append(bigEndian: address.kind == .ipv4 && !isIPv4 ? 0xffff_0000_0000 | address.low : address.low, count: isIPv4 ? 4 : 8)
    }
    output.append(bigEndian: UInt64(sourcePort), count: 2)
    output.append(bigEndian: UInt64(destinationPort), count: 2)
  }
}

extension Buffer {
  fileprivate mutating func append(bigEndian value: UInt64, count: Int) {
    for index in (0..<count).reversed() { append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
  }

  /// Appends an address in a form that every reader knows, be it not the shortest.
  fileprivate mutating func append(address: PeerAddress, mapped: Bool) {
    if address.kind == .ipv4 {
      if mapped { append("::ffff:") }
      for shift in [24, 16, 8, 0] as [UInt64] {
        append(decimal: Int(address.low >> shift & 0xff))
        if shift > 0 { append(0x2e) }
      }
      return
    }
    for index in 0..<8 {
      let group = index < 4 ? address.high >> UInt64(48 - 16 * index) : address.low >> UInt64(112 - 16 * index)
      append(hexadecimal: group & 0xffff)
      if index < 7 { append(.colon) }
    }
  }
}

extension Span<UInt8> {
  /// Whether one begins with the other.
  fileprivate func begins(_ other: Span<UInt8>) -> Bool {
    for index in 0..<Swift.min(count, other.count) where self[index] != other[index] { return false }
    return true
  }

  /// The CRC-32C of the bytes, the four at `zeroed` taken as zero.
  func castagnoli(zeroed: Int) -> UInt32 {
    var sum: UInt32 = ~0
    for index in indices {
      sum ^= index >= zeroed && index < zeroed + 4 ? 0 : UInt32(self[index])
      for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
    return ~sum
  }
}
