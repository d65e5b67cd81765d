// CookieValue — one cookie's value in a Cookie field (RFC 6265 §4.2.1).

extension Span<UInt8> {
  /// Where the value of the cookie `name` stands in the bytes, which are a Cookie field's value; the first, where there are several.
  public func cookie(named name: Span<UInt8>) -> Range<Int>? {
    var position = 0
    while position < count {
      while position < count, self[position] == 0x20 || self[position] == 0x3b { position += 1 }
      let start = position
      while position < count, self[position] != 0x3b { position += 1 }
      var end = position
      while end > start, self[end - 1] == 0x20 { end -= 1 }
      if let value = value(of: name, in: start..<end) { return value }
    }
    return nil
  }

  /// The value in `range` if it is `name=value`.
  private func value(of name: Span<UInt8>, in range: Range<Int>) -> Range<Int>? {
    guard range.count > name.count, self[range.lowerBound + name.count] == 0x3d else { return nil }
    for index in name.indices where self[range.lowerBound + index] != name[index] { return nil }
    return range.lowerBound + name.count + 1..<range.upperBound
  }
}
