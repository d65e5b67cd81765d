// ByteRanges — which bytes of something a request asks for (RFC 9110 §14).

import HTTPModel
import Memory

/// A run of bytes.
public struct ByteRange: Equatable, Sendable, BitwiseCopyable {
  public let start: Int
  public let count: Int

  public init(start: Int, count: Int) {
    self.start = start
    self.count = count
  }
}

public enum RangeOutcome: Equatable, Sendable {
  /// There is no range that counts: everything is sent.
  case none
  /// The ranges that there are bytes for; at least one.
  case satisfiable
  /// 416: there are bytes for none.
  case unsatisfiable
}

extension Span<UInt8> {
  /// Reads a value of `Range`. Other units than bytes, malformed values, more ranges than there is room for and ranges that together are more
  /// than everything count as none: a server may ignore the field (§14.2), and need not serve what is asked for to be costly.
  /// - Parameters:
  ///   - size: bytes there are.
  ///   - ranges: replaced by the ranges that there are bytes for, in the order in which they were asked for.
  public func byteRanges(of size: Int, into ranges: inout BoundedArray<ByteRange>) -> RangeOutcome {
    ranges.removeAll()
    let outcome = readRanges(of: size, into: &ranges)
    if outcome != .satisfiable { ranges.removeAll() }
    return outcome
  }

  private func readRanges(of size: Int, into ranges: inout BoundedArray<ByteRange>) -> RangeOutcome {
    guard count > 6, extracting(first: 5).equalsIgnoringCase("bytes"), self[5] == .equals else { return .none }
    var start = 6, asked = 0, total = 0
    while start <= count {
      var end = start
      while end < count, self[end] != .comma { end += 1 }
      let element = extracting(start..<end).withoutBlanks
      start = end + 1
      if element.isEmpty { continue }
      asked += 1
      guard asked <= ranges.capacity, let range = element.byteRange(of: size) else { return .none }
      guard range.count > 0 else { continue }
      let (sum, overflow) = total.addingReportingOverflow(range.count)
      guard !overflow, ranges.append(range) else { return .none }
      total = sum
    }
    guard asked > 0 else { return .none }
    guard ranges.count > 0 else { return .unsatisfiable }
    return ranges.count > 1 && total > size ? .none : .satisfiable
  }

  /// One element: `0-499`, `500-`, or `-500`. Nil: malformed. Empty: there are no such bytes.
  private func byteRange(of size: Int) -> ByteRange? {
    var dash = 0
    while dash < count, self[dash] != 0x2d { dash += 1 }
    guard dash < count else { return nil }
    let first = extracting(first: dash), last = extracting(droppingFirst: dash + 1)
    if first.isEmpty {
      guard let length = last.position else { return nil }
      return ByteRange(start: size - Swift.min(length, size), count: Swift.min(length, size))
    }
    guard let from = first.position else { return nil }
    guard !last.isEmpty else { return ByteRange(start: Swift.min(from, size), count: from < size ? size - from : 0) }
    guard let to = last.position, to >= from else { return nil }
    return ByteRange(start: Swift.min(from, size), count: from < size ? Swift.min(to, size - 1) - from + 1 : 0)
  }

  /// Digits as a number; those beyond what any file has, as a very large one.
  private var position: Int? {
    guard !isEmpty else { return nil }
    var value = 0
    for index in indices {
      guard 0x30...0x39 ~= self[index] else { return nil }
      if value < 1 << 58 { value = value * 10 + Int(self[index] - 0x30) }
    }
    return value
  }
}
