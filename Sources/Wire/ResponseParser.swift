// ResponseParser — a strict HTTP/1.1 response-head parser (RFC 9112 §4-6).
//
// Every rejection is `responseProtocolError`: a backend that cannot be understood is not guessed at.

import HTTPModel
import Memory

/// Parses the response heads of one backend connection.
public struct ResponseParser {
  private var end = HeadEndFinder()

  public init() {}

  public mutating func parse(_ bytes: Span<UInt8>, into head: inout ResponseHead) -> ParseOutcome {
    guard end.mayBeComplete(bytes) else { return .incomplete }
    head.reset()
    do throws(Stop) {
      let start = try Self.statusLine(Scanner(bytes), &head)
      let length = try Self.fields(bytes, from: start, &head)
      end.reset()
      return .complete(length: length)
    } catch {
      switch error {
      case .incomplete:
        end.note(bytes.count)
        return .incomplete
      case .rejected(.headersTooLarge): return .rejected(.responseHeadersTooLarge)
      case .rejected: return .rejected(.responseProtocolError)
      }
    }
  }

  @inline(__always)
  private static func statusLine(_ start: Scanner, _ head: inout ResponseHead) throws(Stop) -> Int {
    var scanner = start
    guard let version = scanner.takeWord() else { throw scanner.stopAtShortStart }
    switch version {
    case 0x312e_312f_5054_5448: head.flags.insert(.version11)
    case 0x302e_312f_5054_5448: break
    default: throw .malformed
    }
    guard scanner.skip(.space) else { throw scanner.stop }
    guard scanner.remaining >= 4 else { throw .incomplete }
    let digits = scanner.bytes.word(UInt32.self, at: scanner.position)
    guard let code = Self.status(digits) else { throw .malformed }
    scanner.move(to: scanner.position &+ 3)
    head.status = Status(code)
    // The reason may be empty, and some servers leave out the blank before it as well.
    if scanner.skip(.space) {
      let start = scanner.position
      if scanner.skip(word: 0x0a0d_4b4f) {  // "OK\r\n", little-endian
        head.reason = Extent(start..<start &+ 2)
        return scanner.position
      }
      head.reason = Extent(scanner.takeFieldValue())
    }
    guard scanner.skipLineEnd() else { throw scanner.stopAtLineEnd }
    return scanner.position
  }

  /// The number that the three lower bytes of `text` are the digits of, the lowest first; nil unless it is one of a status.
  @inline(__always)
  private static func status(_ text: UInt32) -> UInt16? {
    let digits = text & 0x0f0f0f
    guard text & 0xf0f0f0 == 0x303030, (digits &+ 0x060606) & 0xf0f0f0 == 0 else { return nil }
    let code = (digits & 15) &* 100 &+ (digits >> 8 & 15) &* 10 &+ digits >> 16
    return 100...599 ~= code ? UInt16(truncatingIfNeeded: code) : nil
  }

  @inline(__always)
  private static func fields(_ bytes: Span<UInt8>, from start: Int, _ head: inout ResponseHead) throws(Stop) -> Int {
    let scan = head.scanFields(bytes, from: start)
    try scan.check()
    head.names = scan.names
    var left = scan.names.intersection(.decisive)
    var index = 0
    while left.rawValue != 0, index < head.fieldCount {
      let field = head.field(at: index)
      if left.contains(field) {
        try interpret(field, bytes, &head)
        if !scan.repeated.contains(field) { left.remove(HeaderNameSet(field)) }
      }
      index &+= 1
    }
    let asks = head.flags.contains(.version11) ? head.flags.isDisjoint(with: .saysClose) : head.flags.contains(.saysKeepAlive)
    if asks { head.flags.insert(.persistent) }
    return scan.end
  }

  /// Applies a field that concerns the connection or the body; throws if it contradicts an earlier one.
  private static func interpret(_ field: HeaderField, _ bytes: Span<UInt8>, _ head: inout ResponseHead) throws(Stop) {
    let value = field.value.text(in: bytes)
    if field.isNamed(.contentLength) {
      guard let length = value.decimal else { throw .malformed }
      switch head.body {
      case .untilClose: head.body = .length(length)
      case .length(length): head.flags.insert(.oddLength)  // RFC 9110 §8.6 lets the same value be repeated
      default: throw .malformed
      }
      if value.count > 1, value[0] == 0x30 { head.flags.insert(.oddLength) }
    } else if field.isNamed(.connection) {
      if value.equalsIgnoringCase("keep-alive") {
        head.flags.insert(.saysKeepAlive)
      } else if value.equalsIgnoringCase("close") {
        head.flags.insert(.saysClose)
      } else {
        head.flags.insert(connectionOptions: value)
      }
    } else if field.isNamed(.transferEncoding) {
      guard head.body == .untilClose, head.flags.contains(.version11), value.equalsIgnoringCase("chunked") else { throw .malformed }
      head.body = .chunked
    } else if field.isNamed(.trailer) {
      head.flags.insert(.announcesTrailers)
    }
  }
}

extension Scanner {
  /// Fewer than eight bytes have come: is it the beginning of "HTTP/1."?
  fileprivate var stopAtShortStart: Stop {
    let expected: StaticString = "HTTP/1."
    for index in 0..<min(remaining, 7) {
      let byte = unsafe expected.utf8Start[index]
      if bytes[position + index] != byte { return .malformed }
    }
    return .incomplete
  }
}
