// Search — finding the end of a run of bytes, sixteen at a time.
//
// The only unsafe code of this target: each function lends the span's memory to a bounded C scanner
// that is inlined here.

import CLinux

extension Span<UInt8> {
  /// The first byte at or after `start` that cannot be part of a token, or `count`.
  func firstNonToken(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_nontoken($0.baseAddress, start, $0.count) }
  }

  /// The first blank or control character at or after `start`, or `count`.
  func firstBlank(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_space($0.baseAddress, start, $0.count) }
  }

  /// The first control character other than tab at or after `start`, or `count`.
  func firstControl(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_control($0.baseAddress, start, $0.count) }
  }

  /// The first byte at or after `start` that cannot stand in a host and port, or `count`.
  func firstNonHost(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_nonhost($0.baseAddress, start, $0.count) }
  }

  /// The first `?` or `#` at or after `start`, or `count`.
  func firstQueryMark(from start: Int) -> Int {
    unsafe withUnsafeBufferPointer { unsafe clx_find_query($0.baseAddress, start, $0.count) }
  }
}
