// StatusSet — a set of error statuses, as four words.

/// Some of the statuses 400 to 599.
public struct StatusSet: Equatable, Sendable, BitwiseCopyable {
  /// Statuses that a set can contain.
  public static var range: ClosedRange<Int> { 400...599 }

  /// One bit for each status, from 400 on.
  public var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  @inlinable
  public init() {}

  /// Those of `statuses` that are in the range.
  public init(_ statuses: [Int]) {
    for status in statuses where StatusSet.range.contains(status) { insert(status - StatusSet.range.lowerBound) }
  }

  private mutating func insert(_ bit: Int) {
    let mask = UInt64(1) << UInt64(bit % 64)
    switch bit / 64 {
    case 0: words.0 |= mask
    case 1: words.1 |= mask
    case 2: words.2 |= mask
    default: words.3 |= mask
    }
  }

  public var isEmpty: Bool { words == (0, 0, 0, 0) }

  public func contains(_ status: UInt16) -> Bool {
    guard StatusSet.range.contains(Int(status)) else { return false }
    let bit = Int(status) - StatusSet.range.lowerBound
    let word =
      switch bit / 64 {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    return word >> UInt64(bit % 64) & 1 != 0
  }

  /// Its statuses, ascending.
  public var statuses: [Int] { StatusSet.range.filter { contains(UInt16($0)) } }

  public static func == (a: StatusSet, b: StatusSet) -> Bool { a.words == b.words }
}
