// KeepAlive — the field of HTTP/1.0's day in which many servers still say how long they keep an idle connection.

import Memory

public enum KeepAlive {
  /// The seconds of `timeout=` in a Keep-Alive field's value, such as `timeout=5, max=100`; nil when there is none that can be read.
  public static func timeout(in value: Span<UInt8>) -> Int64? {
    var start = 0
    while start < value.count {
      var end = start
      while end < value.count, value[end] != 0x2c { end += 1 }
      if let seconds = seconds(of: value.extracting(start..<end)) { return seconds }
      start = end + 1
    }
    return nil
  }

  private static func seconds(of parameter: Span<UInt8>) -> Int64? {
    var position = 0
    while position < parameter.count, parameter[position] == 0x20 || parameter[position] == 0x09 { position += 1 }
    guard parameter.count - position > 8, parameter.extracting(position..<position + 8).equalsIgnoringCase("timeout=") else { return nil }
    position += 8
    var seconds: Int64 = 0, digits = 0
    while position < parameter.count, 0x30...0x39 ~= parameter[position] {
      seconds = seconds * 10 + Int64(parameter[position] - 0x30)
      digits += 1
      guard digits <= 8 else { return nil }
      position += 1
    }
    while position < parameter.count, parameter[position] == 0x20 || parameter[position] == 0x09 { position += 1 }
    return digits > 0 && position == parameter.count ? seconds : nil
  }
}
