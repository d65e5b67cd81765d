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
  private var text = ShortText()
  private var counter: UInt64
  /// The number whose digits stand in `text`.
  private var shown: UInt64

  init() {
    var random = SystemRandomNumberGenerator()
    counter = random.next()
    shown = counter
    let prefix: UInt64 = random.next()
    text.set(UInt64(hexDigitsOf: UInt32(truncatingIfNeeded: prefix >> 32)), at: 0)
    text.set(UInt64(hexDigitsOf: UInt32(truncatingIfNeeded: prefix)), at: 1)
    write(counter)
  }

  /// The id of a request: the one it brings when that is a token-like text of at most 128 bytes, else a new one.
  @inline(__always)
  mutating func make(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> RequestID {
    if head.names.contains(.requestID), let value = RequestIDs.find(head.records, bytes) { return .received(value) }
    return make()
  }

  /// A new id.
  @inline(__always)
  mutating func make() -> RequestID {
    counter &+= 1
    return .generated(counter)
  }

  @inline(never)
  private static func find(_ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> Extent? {
    for index in fields.indices where fields[index].isNamed(.requestID) {
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
    guard case .generated(let number) = id, number != shown else { return }
    // Nearly always it is the next one, and only the last digit grows.
    if number == shown &+ 1, text.incrementLastDigit() { shown = number } else { write(number) }
  }

  /// The text of the id last shown.
  var generated: Span<UInt8> {
    @_lifetime(borrow self)
    borrowing get { text.span }
  }

  private mutating func write(_ number: UInt64) {
    shown = number
    text.set(UInt64(hexDigitsOf: UInt32(truncatingIfNeeded: number >> 32)), at: 2)
    text.set(UInt64(hexDigitsOf: UInt32(truncatingIfNeeded: number)), at: 3)
  }
}

extension UInt64 {
  /// The eight hexadecimal digits of `value` as text, the first in the lowest byte.
  @inline(__always)
  fileprivate init(hexDigitsOf value: UInt32) {
    // Spread the eight nibbles over eight bytes, the highest first.
    var nibbles = UInt64(value.byteSwapped)
    nibbles = (nibbles & 0xffff) | (nibbles & 0xffff_0000) << 16
    nibbles = (nibbles & 0x0000_00ff_0000_00ff) | (nibbles & 0x0000_ff00_0000_ff00) << 8
    nibbles = (nibbles & 0x00f0_00f0_00f0_00f0) >> 4 | (nibbles & 0x000f_000f_000f_000f) << 8
    // 0x30 for every digit; 0x27 more for those above nine.
    let letters = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    self = nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
  }
}
