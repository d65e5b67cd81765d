// NamedLines — finding the lines of a composed head by the names of their fields.
//
// Names that the gateway has no number for must be compared as texts; a set of first letters spares nearly all comparisons.

import CLinux
import Memory

/// Names that are looked for, in sets of 64 at most.
public struct LineNames: ~Copyable {
  /// A set of them.
  public struct Part: BitwiseCopyable, Sendable {
    let start: UInt32
    public let count: UInt32
    /// One bit for the low six bits of each first letter.
    let letters: UInt64

    public static var none: Part { Part(start: 0, count: 0, letters: 0) }
  }

  /// A line that was found.
  public struct Line: Sendable {
    /// With its end.
    public let range: Range<Int>
    /// Which of the names.
    public let index: Int
  }

  private var text: [UInt8] = []
  private var entries: [clx_name] = []

  public init() {}

  /// Adds a set; what is beyond the 64th is left out.
  public mutating func add(_ names: [String]) -> Part {
    let start = entries.count
    var letters: UInt64 = 0
    for name in names.prefix(64) {
      let bytes = Array(name.lowercased().utf8)
      guard let first = bytes.first else { continue }
      letters |= 1 << UInt64(first & 63)
      entries.append(clx_name(start: UInt32(text.count), count: UInt32(bytes.count)))
      text += bytes
    }
    return Part(start: UInt32(start), count: UInt32(entries.count - start), letters: letters)
  }

  /// The first line in `range` of `head`, which holds whole lines, whose field has one of the names.
  public func first(of part: Part, in head: Span<UInt8>, _ range: Range<Int>) -> Line? {
    guard range.lowerBound >= 0, range.upperBound <= head.count, part.count > 0, Int(part.start) + Int(part.count) <= entries.count else { return nil }
    let entries = entries.span.extracting(Int(part.start)..<Int(part.start) + Int(part.count)), text = text.span
    let found = unsafe head.withUnsafeBufferPointer { head in
      unsafe entries.withUnsafeBufferPointer { names in
        unsafe text.withUnsafeBufferPointer { text in
          unsafe clx_find_named_line(
            head.baseAddress, range.lowerBound, range.upperBound, text.baseAddress, names.baseAddress, names.count, part.letters)
        }
      }
    }
    guard found.end > found.start, found.end <= range.upperBound else { return nil }
    return Line(range: found.start..<found.end, index: Int(found.index))
  }
}

extension Span<UInt8> {
  /// Where the line that goes on at `start` has ended, its end included; `count` where it does not end.
  public func lineEnd(from start: Int) -> Int {
    guard start >= 0, start < count else { return count }
    return unsafe withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress, let found = unsafe memchr(base + start, 0x0a, bytes.count - start) else { return bytes.count }
      return unsafe UnsafeRawPointer(found) - UnsafeRawPointer(base) + 1
    }
  }
}
