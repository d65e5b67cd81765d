// PathScan — looking through path and host bytes, eight or sixteen at a time.
//
// The only unsafe code of this target: each function lends the span's memory to a bounded C scanner that is
// inlined here. Bounds are checked before the call wherever an offset comes from the caller.

import CLinux
import Memory

/// One segment of a path: where it ends, a hash of all of it in the upper half of a word, and in `word` its text with the slash
/// behind it if it is shorter than eight bytes, else 0.
typealias PathSegment = clx_path_segment_t

/// The first and the last eight bytes of a path, which with its length tell paths of up to sixteen bytes apart, and a hash of all of it.
typealias PathKey = clx_path_key_t

extension Span<UInt8> {
  /// The first byte that keeps the path from being its own normal form, or `count`.
  @inline(__always)
  var firstIrregular: Int {
    unsafe withUnsafeBufferPointer { unsafe $0.count == 0 ? 0 : clx_path_find_irregular($0.baseAddress, $0.count) }
  }

  /// The segment that begins at `start` and ends before the next slash or at the end.
  @inline(__always)
  func segment(from start: Int) -> PathSegment {
    precondition(UInt(bitPattern: start) <= UInt(bitPattern: count))
    return unsafe withUnsafeBufferPointer { unsafe clx_path_segment($0.baseAddress, start, $0.count) }
  }

  /// Whether the `length` bytes at `start` are those of `texts` at `offset`.
  @inline(__always)
  func matches(_ length: Int, at start: Int, _ texts: borrowing BoundedArray<UInt8>, at offset: Int) -> Bool {
    matches(length, at: start, texts.span, at: offset)
  }

  /// Whether the `length` bytes at `start` are those of `other` at `offset`.
  @inline(__always)
  func matches(_ length: Int, at start: Int, _ other: Span<UInt8>, at offset: Int) -> Bool {
    guard length > 0 else { return true }
    precondition(start >= 0 && offset >= 0 && length <= count - start && length <= other.count - offset)
    return unsafe withUnsafeBufferPointer { bytes in
      unsafe other.withUnsafeBufferPointer { unsafe clx_path_equal(bytes.baseAddress! + start, $0.baseAddress! + offset, length) != 0 }
    }
  }

  /// The bytes, of which there is one at least, as a key to find them by.
  @inline(__always)
  var pathKey: PathKey {
    precondition(!isEmpty)
    return unsafe withUnsafeBufferPointer { unsafe clx_path_key($0.baseAddress, $0.count) }
  }

  /// A hash in which upper and lower case count as equal.
  @inline(__always)
  var hostHash: UInt64 {
    unsafe withUnsafeBufferPointer { unsafe $0.count == 0 ? 0 : clx_host_hash($0.baseAddress, $0.count) }
  }
}

extension OutputRawSpan {
  /// The last byte written, or nil when there is none.
  var last: UInt8? {
    isEmpty ? nil : unsafe bytes.unsafeLoad(fromByteOffset: byteCount - 1, as: UInt8.self)
  }
}

extension UInt8 {
  static var slash: UInt8 { 0x2f }
  static var dot: UInt8 { 0x2e }
  static var percent: UInt8 { 0x25 }
  static var semicolon: UInt8 { 0x3b }
  static var colon: UInt8 { 0x3a }
  static var asterisk: UInt8 { 0x2a }

  /// The value of a hexadecimal digit.
  var hexadecimalValue: UInt8? {
    switch self {
    case 0x30...0x39: self - 0x30
    case 0x41...0x46: self - 0x41 + 10
    case 0x61...0x66: self - 0x61 + 10
    default: nil
    }
  }

  /// The upper-case hexadecimal digit for a value below 16.
  static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
    let value = value & 15
    return value < 10 ? 0x30 + value : 0x37 + value
  }

  var isLetter: Bool { (0x61...0x7a).contains(self | 0x20) }
  var isDigit: Bool { (0x30...0x39).contains(self) }
}
