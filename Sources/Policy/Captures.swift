// Captures — what the parameters of a route matched, as offsets into the path.
//
// Invariant: depth <= choices and count <= capacity, the bound on a pattern's segments. One value serves every
// match of a worker; a match overwrites it. Offsets mean something only with the path that was matched; with
// another path the accessors answer clamped text, they do not trap.

import HTTPModel
import Memory

/// A reusable record of what a match captured, and the scratch space of matching.
public struct Captures: ~Copyable {
  @usableFromInline
  struct Record: BitwiseCopyable {
    @usableFromInline var start: UInt32
    @usableFromInline var end: UInt32
  }

  /// A place to which a failed match returns.
  struct Choice: BitwiseCopyable {
    var node: UInt32
    var start: UInt32
    var end: UInt32
    var stage: UInt16
    var captures: UInt16
  }

  @usableFromInline var records: InlineArray<64, Record>
  @usableFromInline var recorded = 0
  @usableFromInline var rest = 0
  // What a walk in progress keeps.
  var choices: InlineArray<64, Choice>
  var depth = 0
  /// Where the next segment begins.
  var position = 1
  var method = Method.other
  /// The methods of the patterns that match but do not allow `method`.
  var allowed = MethodSet()

  public init() {
    records = InlineArray(repeating: Record(start: 0, end: 0))
    choices = InlineArray(repeating: Choice(node: 0, start: 0, end: 0, stage: 0, captures: 0))
  }

  /// Parameters in the order of the pattern; a catch-all, named or not, is the last of them.
  @inlinable
  public var count: Int { recorded }

  /// Where the text of the catch-all begins; the size of the path when the route has none, or for its bare prefix.
  @inlinable
  public var tail: Int { rest }

  /// What capture `index` matched, as it stands in the path; empty for a capture that took no part.
  @inlinable @inline(__always) @_lifetime(copy path)
  public func value(_ index: Int, in path: Span<UInt8>) -> Span<UInt8> {
    guard index >= 0, index < recorded else { return path.extracting(first: 0) }
    let record = records[index]
    let end = min(Int(record.end), path.count)
    return path.extracting(min(Int(record.start), end)..<end)
  }

  /// The path without the prefix that led to the route: "/" and the text of the catch-all; "/" when there is none.
  ///
  /// A view of the path itself: what stands before the catch-all is a slash already.
  /// A literal, which begins with no slash, is left as it is.
  @_lifetime(copy path)
  public func strippedPath(of path: Span<UInt8>) -> Span<UInt8> {
    guard path.count > 0, path[0] == .slash else { return path }
    var start = min(rest, path.count)
    guard start > 0, path[start - 1] == .slash else { return path.extracting(first: 1) }
    // A tail that begins with a slash itself is not given a second one.
    while start < path.count, path[start] == .slash { start += 1 }
    return path.extracting(start - 1..<path.count)
  }

  /// Forgets the last match.
  @inline(__always)
  mutating func reset(for method: Method) {
    recorded = 0
    depth = 0
    rest = 0
    self.method = method
    allowed = MethodSet()
  }

  /// Nothing was captured, and the catch-all, if there was one, begins at `rest`.
  @inline(__always)
  mutating func note(rest: Int) {
    recorded = 0
    self.rest = rest
  }

  @inline(__always)
  mutating func forget() {
    recorded = 0
    rest = 0
  }

  /// Adds a capture; false when there is no room, which the bound on patterns excludes.
  @inline(__always)
  mutating func append(start: Int, end: Int) -> Bool {
    guard recorded < 64 else { return false }
    records[recorded] = Record(start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: end))
    recorded += 1
    return true
  }

  @inline(__always)
  mutating func push(_ choice: Choice) -> Bool {
    guard depth < 64 else { return false }
    choices[depth] = choice
    depth += 1
    return true
  }

  @inline(__always)
  mutating func pop() -> Choice? {
    guard depth > 0 else { return nil }
    depth -= 1
    return choices[depth]
  }
}
