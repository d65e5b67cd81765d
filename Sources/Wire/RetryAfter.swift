// RetryAfter — how long a response asks its receiver to wait (RFC 9110 §10.2.3).

import HTTPModel
import Memory

public enum RetryAfter {
  /// Milliseconds; 0: the response does not say, or says now. `Int64.max`: it says something that is not understood, or very long.
  /// - Parameters:
  ///   - head: as parsed from `bytes`.
  ///   - wall: microseconds since the epoch.
  public static func milliseconds(_ head: borrowing ResponseHead, in bytes: Span<UInt8>, wall: Int64) -> Int64 {
    for index in 0..<head.fieldCount {
      let field = head.field(at: index)
      if field.nameText.text(in: bytes).equalsIgnoringCase("retry-after") { return milliseconds(of: field.value.text(in: bytes), wall: wall) }
    }
    return 0
  }

  /// The same of the field's value: seconds, or a date.
  public static func milliseconds(of value: Span<UInt8>, wall: Int64) -> Int64 {
    guard !value.isEmpty else { return .max }
    guard value[0] >= 0x30, value[0] <= 0x39 else {
      guard let seconds = HTTPDate.seconds(of: value) else { return .max }
      return max(0, seconds * 1000 - wall / 1000)
    }
    var seconds: Int64 = 0
    for index in value.indices {
      guard value[index] >= 0x30, value[index] <= 0x39, seconds < 1_000_000_000 else { return .max }
      seconds = seconds * 10 + Int64(value[index] - 0x30)
    }
    return seconds * 1000
  }
}
