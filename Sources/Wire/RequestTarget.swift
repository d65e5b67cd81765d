// RequestTarget — the forms of a request target (RFC 9112 §3.2): origin, absolute, asterisk.
//
// Authority form belongs to CONNECT alone, which is refused before.

import HTTPModel
import Memory

enum RequestTarget {
  /// Splits the target that begins at `first` into path and query, and takes the authority of an absolute form.
  /// A fragment may not be sent, so `#` is refused.
  @inline(__always)
  static func split(_ target: TargetScan, from first: Int, of bytes: Span<UInt8>, _ head: inout RequestHead) throws(Stop) {
    let end = Int(target.end), mark = Int(target.mark)
    guard first < end else { throw .malformed }
    var start = first
    if target.is_regular != 0 {
      head.flags.insert(.regularPath)
    } else if bytes[start] != .slash {
      start = try unusualForm(start..<end, of: bytes, &head)
    }
    head.path = Extent(start: UInt32(truncatingIfNeeded: start), end: target.mark)
    guard mark < end else { return }
    guard bytes[mark] == 0x3f else { throw .malformed }
    head.hasQuery = true
    head.query = Extent(mark + 1..<end)
    try refuseFragment(bytes, mark + 1..<end)
  }

  private static func refuseFragment(_ bytes: Span<UInt8>, _ query: Range<Int>) throws(Stop) {
    var position = query.lowerBound
    while true {
      position = bytes.firstQueryMark(from: position, before: query.upperBound)
      guard position < query.upperBound else { return }
      guard bytes[position] == 0x3f else { throw .malformed }
      position += 1
    }
  }

  /// Returns where the path of an absolute or asterisk form begins.
  @inline(never)
  private static func unusualForm(_ target: Range<Int>, of bytes: Span<UInt8>, _ head: inout RequestHead) throws(Stop) -> Int {
    let text = bytes.extracting(target)
    if text.equals("*"), head.method == .options { return target.lowerBound }
    var start = 0
    if text.count > 7, text.extracting(0..<7).equalsIgnoringCase("http://") { start = 7 }
    if text.count > 8, text.extracting(0..<8).equalsIgnoringCase("https://") { start = 8 }
    guard start > 0 else { throw .malformed }
    var end = start
    while end < text.count, text[end] != .slash, text[end] != 0x3f, text[end] != 0x23 { end += 1 }
    guard text.extracting(start..<end).isHostAndPort else { throw .malformed }
    head.flags.insert(.absoluteForm)
    head.host = Extent(target.lowerBound + start..<target.lowerBound + end)
    return target.lowerBound + end
  }
}

extension RequestHead {
  /// Takes `target`, the `:path` of an HTTP/2 request, as the request's target: origin form, or "*" with OPTIONS
  /// (RFC 9113 §8.3.1). False when it is anything else. A blank stands behind it in `bytes`, or nothing.
  public mutating func setPath(_ target: Range<Int>, of bytes: Span<UInt8>) -> Bool {
    let text = bytes.extracting(target)
    guard !text.isEmpty, text[0] == .slash || method == .options && text.equals("*") else { return false }
    // With the blank behind it, and all that follows, it is scanned faster.
    let scan = bytes.target(from: target.lowerBound)
    guard Int(scan.end) == target.upperBound else { return false }
    self.target = Extent(target)
    size += target.count
    do throws(Stop) {
      try RequestTarget.split(scan, from: target.lowerBound, of: bytes, &self)
      return true
    } catch {
      return false
    }
  }
}
