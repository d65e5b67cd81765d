// Preconditions — whether a request is to be answered at all, and whether its range counts, by what the client knows already
// (RFC 9110 §13).

import HTTPModel
import Memory

/// What a request's conditions make of it.
public enum PreconditionOutcome: Sendable {
  case proceed
  /// 304: the client has it.
  case notModified
  /// 412.
  case failed
}

extension RequestHead {
  /// Evaluates the conditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
  /// - Parameters:
  ///   - tag: the entity tag of what would be sent, quotes and, where it is weak, `W/` included.
  ///   - modified: when it was last modified, in seconds since the epoch.
  public func evaluate(tag: Span<UInt8>, modified: Int64, in bytes: Span<UInt8>) -> PreconditionOutcome {
    var ifMatch: Bool?, ifNoneMatch: Bool?, unmodifiedSince: Int64?, modifiedSince: Int64?
    for index in records.indices where records[index].name == .other {
      let name = records[index].nameText.text(in: bytes)
      guard name.count >= 8, name[0] | 0x20 == 0x69, name[1] | 0x20 == 0x66, name[2] == 0x2d else { continue }
      let value = records[index].value.text(in: bytes)
      if name.equalsIgnoringCase("if-match") {
        ifMatch = ifMatch == true || value.lists(tag: tag, isWeak: false)
      } else if name.equalsIgnoringCase("if-none-match") {
        ifNoneMatch = ifNoneMatch == true || value.lists(tag: tag, isWeak: true)
      } else if name.equalsIgnoringCase("if-unmodified-since") {
        unmodifiedSince = HTTPDate.seconds(of: value)
      } else if name.equalsIgnoringCase("if-modified-since") {
        modifiedSince = HTTPDate.seconds(of: value)
      }
    }
    if let ifMatch {
      if !ifMatch { return .failed }
    } else if let unmodifiedSince, modified > unmodifiedSince {
      return .failed
    }
    if let ifNoneMatch { return ifNoneMatch ? .notModified : .proceed }
    if let modifiedSince, modified <= modifiedSince { return .notModified }
    return .proceed
  }

  /// The value of `Range`, where it counts: there is one such field, and `If-Range` names what would be sent (§13.1.5).
  /// - Parameter now: seconds since the epoch. What has changed within the last second may change again without its date changing.
  @_lifetime(copy bytes)
  public func range(tag: Span<UInt8>, modified: Int64, now: Int64, in bytes: Span<UInt8>) -> Span<UInt8> {
    var range: Extent?, isUseful = true
    for index in records.indices where records[index].name == .other {
      let name = records[index].nameText.text(in: bytes)
      if name.equalsIgnoringCase("range") {
        isUseful = isUseful && range == nil
        range = records[index].value
      } else if name.equalsIgnoringCase("if-range") {
        let value = records[index].value.text(in: bytes)
        let isNamed = value.isSame(as: tag) && tag.count > 0 && tag[0] == 0x22
        isUseful = isUseful && (isNamed || HTTPDate.seconds(of: value) == modified && modified < now - 1)
      }
    }
    guard let range, isUseful else { return bytes.extracting(first: 0) }
    return range.text(in: bytes)
  }
}

extension Span<UInt8> {
  /// Whether the list of entity tags has one that is `tag`, or is `*`. What is not well-formed ends the list.
  /// - Parameter isWeak: compare weakly (RFC 9110 §8.8.3.2).
  func lists(tag: Span<UInt8>, isWeak: Bool) -> Bool {
    if withoutBlanks.equals("*") { return true }
    let own = tag.opaqueTag
    if !isWeak, own.count != tag.count { return false }
    var start = 0
    while start < count {
      let byte = self[start]
      if byte == .space || byte == .tab || byte == .comma {
        start += 1
        continue
      }
      let isWeakTag = count - start > 2 && byte == 0x57 && self[start + 1] == .slash
      let opening = isWeakTag ? start + 2 : start
      guard self[opening] == .quote else { return false }
      var end = opening + 1
      while end < count, self[end] != .quote { end += 1 }
      guard end < count else { return false }
      if isWeak || !isWeakTag, extracting(opening...end).isSame(as: own) { return true }
      start = end + 1
    }
    return false
  }

  /// Without `W/`.
  private var opaqueTag: Span<UInt8> {
    @_lifetime(copy self)
    get { count > 2 && self[0] == 0x57 && self[1] == .slash ? extracting(droppingFirst: 2) : self }
  }
}
