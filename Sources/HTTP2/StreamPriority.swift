// StreamPriority — what a `priority` field says of a stream (RFC 9218 §4): how urgent it is, and whether it is of use in pieces.
//
// The field is a dictionary of structured fields (RFC 8941 §3.2) of which two members mean something here; of the others only
// where they end is found. Invariant: `urgency` is 0 to 7.

import Memory

struct StreamPriority: BitwiseCopyable {
  /// 0 comes first.
  var urgency: UInt8 = 3
  var isIncremental = false

  /// Reads one field; false when it cannot be read, and then means nothing.
  mutating func read(_ value: Span<UInt8>) -> Bool {
    var position = 0
    while true {
      while position < value.count, value[position] == 0x20 || value[position] == 0x09 { position += 1 }
      guard position < value.count else { return value.isEmpty }
      let end = Self.memberEnd(value, from: position)
      guard let end, take(value.extracting(position..<end)) else { return false }
      guard end < value.count else { return true }
      position = end + 1
    }
  }

  /// Where the member that begins at `start` ends: at a comma outside of strings and lists, or with the value. Nil when one of
  /// those does not end.
  private static func memberEnd(_ value: Span<UInt8>, from start: Int) -> Int? {
    var position = start, depth = 0
    while position < value.count {
      switch value[position] {
      case 0x22:
        position += 1
        while position < value.count, value[position] != 0x22 { position += value[position] == 0x5c ? 2 : 1 }
        guard position < value.count else { return nil }
      case 0x28: depth += 1
      case 0x29:
        depth -= 1
        guard depth >= 0 else { return nil }
      case 0x2c where depth == 0: return position
      default: break
      }
      position += 1
    }
    return depth == 0 ? position : nil
  }

  /// Takes a member in: `u=3`, `i`, `i=?0`, each with parameters that mean nothing.
  private mutating func take(_ member: Span<UInt8>) -> Bool {
    var end = 0
    while end < member.count, member[end] != 0x3b, member[end] != 0x20, member[end] != 0x09 { end += 1 }
    let text = member.extracting(first: end)
    let first = text.isEmpty ? 0 : text[0]
    guard 0x61...0x7a ~= first || first == 0x2a else { return false }
    guard text.count == 1 || text.count > 1 && text[1] == 0x3d else { return true }
    switch first {
    case 0x75:
      guard text.count == 3, 0x30...0x37 ~= text[2] else { return false }
      urgency = text[2] - 0x30
    case 0x69:
      if text.count == 1 {
        isIncremental = true
      } else {
        guard text.count == 4, text[2] == 0x3f, text[3] == 0x30 || text[3] == 0x31 else { return false }
        isIncremental = text[3] == 0x31
      }
    default: break
    }
    return true
  }
}
