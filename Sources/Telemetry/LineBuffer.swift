// LineBuffer — the memory that access-log lines are written into: one block, allocated once.
//
// Layout: a line feed | written and dropped | pending lines | free.
// Invariants: 0 <= start <= end <= capacity; a writer is lent free space only; a line feed stands at
// `start - 1` or at `start`, so after a write that was cut short the cut line is found and sent again whole,
// on a line of its own. The unsafe code of the access log is here and in LineWriter.swift.

import Memory

/// Whole lines that wait to be written, and the line being composed behind them.
@safe
struct LineBuffer: ~Copyable {
  private let base: UnsafeMutableRawPointer
  private let capacity: Int
  private var start = 1
  private var end = 1

  init(capacity: Int) {
    self.capacity = capacity + 1
    unsafe base = .allocate(byteCount: capacity + 1, alignment: 16)
    unsafe base.storeBytes(of: UInt8(ascii: "\n"), as: UInt8.self)
  }

  deinit { unsafe base.deallocate() }

  var count: Int { end - start }
  var isEmpty: Bool { start == end }
  var freeCapacity: Int { capacity - end }

  /// The pending lines, as many as fit into `limit` bytes, but at least one.
  @_lifetime(borrow self)
  func lines(upTo limit: Int) -> Span<UInt8> {
    var stop = end
    if stop - start > limit {
      stop = start + limit
      while stop > start, byte(at: stop - 1) != UInt8(ascii: "\n") { stop -= 1 }
      if stop == start { stop = end }
    }
    let span = unsafe Span<UInt8>(_unsafeStart: (base + start).assumingMemoryBound(to: UInt8.self), count: stop - start)
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// The first pending line, line feed included; empty when there is none.
  @_lifetime(borrow self)
  func firstLine() -> Span<UInt8> {
    var stop = start
    while stop < end, byte(at: stop) != UInt8(ascii: "\n") { stop += 1 }
    if stop < end { stop += 1 }
    let span = unsafe Span<UInt8>(_unsafeStart: (base + start).assumingMemoryBound(to: UInt8.self), count: stop - start)
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Drops the `count` bytes at the front, which have been written; of a line that was cut, nothing.
  mutating func wrote(_ count: Int) {
    precondition(count > 0 && count <= self.count)
    start += count
    if start == end {
      start = 1
      end = 1
    } else if byte(at: start - 1) != UInt8(ascii: "\n") {
      while byte(at: start) != UInt8(ascii: "\n") { start -= 1 }
    }
  }

  /// Moves the pending lines to the front.
  mutating func compact() {
    guard start > 1 else { return }
    unsafe (base + 1).copyMemory(from: base + start, byteCount: count)
    end -= start - 1
    start = 1
  }

  private func byte(at offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < end)
    return unsafe base.load(fromByteOffset: offset, as: UInt8.self)
  }

  // MARK: Composing a line

  /// Lends `size` bytes of the free space, of which values of unbounded length leave `reserve`; what is written there
  /// becomes pending by `commit`.
  @inline(__always) @_lifetime(&self)
  mutating func newLine(upTo size: Int, reserve: Int) -> LineWriter {
    precondition(size >= 0 && size <= capacity &- end)
    let writer = unsafe LineWriter(start: base + end, room: size, reserve: reserve)
    return unsafe _overrideLifetime(writer, mutating: &self)
  }

  /// Takes over the `count` bytes that a writer has written.
  @inline(__always)
  mutating func commit(_ count: Int) {
    precondition(count >= 0 && count <= capacity &- end)
    end &+= count
  }
}
