// RequestID — the name of a request in logs, headers and error bodies.
//
// A client may bring its own; otherwise one is made: 32 hexadecimal digits, of which the first half is random per worker
// and the second half counts. Ids are for finding things again, not secrets.

import HTTPModel
import Kernel
import Memory

/// Which id a request has.
enum RequestID: BitwiseCopyable {
  case generated(UInt64)
  /// The value of the request's `X-Request-Id` field.
  case received(Extent)
}

/// Makes request ids and writes them out.
struct RequestIDs: ~Copyable {
  private var text = InlineArray<32, UInt8>(repeating: 0x30)
  private var counter: UInt64
  /// The number whose digits stand in `text`.
  private var shown: UInt64

  init() {
    var random = SystemRandomNumberGenerator()
    counter = random.next()
    shown = counter
    let prefix: UInt64 = random.next()
    for position in 0..<16 { text[position] = UInt8.hexDigit(prefix >> UInt64(60 - 4 * position)) }
    write(counter)
  }

  /// The id of a request: the one it brings when that is a token-like text of at most 128 bytes, else a new one.
  mutating func make(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> RequestID {
    if head.names.contains(.requestID), let value = RequestIDs.find(head.records, bytes) { return .received(value) }
    counter &+= 1
    return .generated(counter)
  }

  /// A new id, for a request that could not be read.
  mutating func make() -> RequestID {
    counter &+= 1
    return .generated(counter)
  }

  @inline(never)
  private static func find(_ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> Extent? {
    for index in fields.indices where fields[index].name == .requestID {
      let text = fields[index].value.text(in: bytes)
      guard 1...128 ~= text.count else { return nil }
      for position in text.indices {
        switch text[position] {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x3a, 0x3d, 0x2b, 0x2f, 0x40: break
        default: return nil
        }
      }
      return fields[index].value
    }
    return nil
  }

  /// Makes `generated` the text of an id that was generated here.
  mutating func show(_ id: RequestID) {
    if case .generated(let number) = id, number != shown { write(number) }
  }

  /// The text of the id last shown.
  var generated: Span<UInt8> {
    @_lifetime(borrow self)
    borrowing get { text.span }
  }

  private mutating func write(_ number: UInt64) {
    shown = number
    for position in 0..<16 { text[16 + position] = UInt8.hexDigit(number >> UInt64(60 - 4 * position)) }
  }
}

extension UInt8 {
  @inline(__always)
  fileprivate static func hexDigit(_ value: UInt64) -> UInt8 {
    let digit = UInt8(truncatingIfNeeded: value & 15)
    return digit < 10 ? 0x30 + digit : 0x57 + digit
  }
}
