// Search — finding the end of a run of bytes, sixteen at a time.
//
// The only unsafe code of this target: each function lends the span's memory to a bounded C scanner
// that is inlined here.

import CLinux

/// A request target: where it ends (at a blank or a control character), where its path ends (at a `?` or `#`, or with it), and
/// whether that path begins with a slash and is in the normal form of Policy's PathNormalisation.
typealias TargetScan = clx_target_t

extension Span<UInt8> {
  /// The first byte at or after `start` that cannot be part of a token, or `count`.
  func firstNonToken(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_nontoken($0.baseAddress, start, $0.count) }
  }

  /// Whether the bytes are a token (RFC 9110 §5.6.2).
  public var isToken: Bool { !isEmpty && firstNonToken(from: 0) == count }

  /// Whether the bytes may be a field value in HTTP/2 (RFC 9113 §8.2.1): no control character but tab, and no blank at either end.
  @inline(__always)
  public var isFieldValue: Bool { unsafe withUnsafeBufferPointer { unsafe clx_is_field_value($0.baseAddress, $0.count) != 0 } }

  /// The request target that begins at `start`.
  @inline(__always)
  func target(from start: Int) -> TargetScan {
    precondition(start >= 0 && start <= count)
    return unsafe withUnsafeBufferPointer { unsafe clx_scan_target($0.baseAddress, start, $0.count) }
  }

  /// The first control character other than tab at or after `start`, or `count`.
  func firstControl(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_control($0.baseAddress, start, $0.count) }
  }

  /// Whether the bytes of `range` are a name or IPv4 address with an optional port.
  @inline(__always)
  func isPlainHostAndPort(in range: Range<Int>) -> Bool {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    guard !range.isEmpty else { return false }
    return unsafe withUnsafeBufferPointer { unsafe clx_is_host($0.baseAddress! + range.lowerBound, range.count, $0.count - range.lowerBound) != 0 }
  }

  /// The first `?` or `#` at or after `start` and before `end`, or `end`.
  @inline(__always)
  func firstQueryMark(from start: Int, before end: Int) -> Int {
    precondition(start >= 0 && start <= end && end <= count)
    return unsafe withUnsafeBufferPointer { unsafe clx_find_query($0.baseAddress, start, end, $0.count) }
  }
}
