// LineWriter — composing one line in memory that a `LineBuffer` has lent.
//
// Invariant: 0 <= position <= room and 0 <= textEnd <= room, checked by every append. A writer is held in a local variable and its
// small methods are inlined, so that its position lives in a register; what is seldom needed works on a
// writer of its own over the rest of the room.

import CLinux

/// Appends to a line.
@safe
struct LineWriter: ~Copyable, ~Escapable {
  private let start: UnsafeMutableRawPointer
  private let room: Int
  private var position = 0
  /// Where values of unbounded length must end, so that the rest of the line has room.
  private let textEnd: Int

  /// The `room` bytes at `start` are the writer's alone while it lives; values of unbounded length leave `reserve` of them.
  @_lifetime(immortal)
  init(start: UnsafeMutableRawPointer, room: Int, reserve: Int) {
    precondition(reserve >= 0 && reserve <= room)
    unsafe self.start = start
    self.room = room
    textEnd = room - reserve
  }

  /// Bytes written so far.
  @inline(__always)
  var count: Int { position }

  /// The most bytes that the next value of unbounded length may take.
  @inline(__always)
  var textRoom: Int { textEnd &- position }

  /// Lets `body` write `limit` bytes at most behind what has been written, through a writer of its own.
  @inline(__always) @_lifetime(self: copy self)
  mutating func withRest(limit: Int, _ body: (inout LineWriter) -> Void) {
    precondition(limit >= 0 && limit <= room &- position)
    var rest = unsafe LineWriter(start: start + position, room: limit, reserve: 0)
    body(&rest)
    position &+= rest.position
  }

  /// A writer of its own for all that is left, for a function that is not inlined, so that this one can stay in registers. It is to
  /// be given back to `resume` before anything else is appended.
  @inline(__always) @_lifetime(copy self)
  func rest() -> LineWriter {
    unsafe LineWriter(start: start + position, room: room &- position, reserve: min(room &- textEnd, room &- position))
  }

  /// Goes on behind what the writer that came from `rest` has written.
  @inline(__always) @_lifetime(self: copy self)
  mutating func resume(behind rest: borrowing LineWriter) {
    precondition(rest.position <= room &- position)
    position &+= rest.position
  }

  // MARK: Bytes

  @inline(__always) @_lifetime(self: copy self)
  mutating func append(_ byte: UInt8) {
    precondition(position < room)
    unsafe start.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
    position &+= 1
  }

  @inline(__always) @_lifetime(self: copy self)
  mutating func append(_ literal: StaticString) {
    unsafe copy(UnsafeRawPointer(literal.utf8Start), literal.utf8CodeUnitCount)
  }

  @inline(__always) @_lifetime(self: copy self)
  mutating func append(_ text: Span<UInt8>) {
    unsafe text.withUnsafeBytes { text in
      if let start = text.baseAddress { unsafe copy(start, text.count) }
    }
  }

  /// Appends the first `count` of the sixteen bytes of `literal`, the lowest byte of its first word first. All are stored.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(_ literal: SIMD2<UInt64>, count: Int) {
    precondition(position &+ 16 <= room && count <= 16)
    unsafe start.storeBytes(of: literal, toByteOffset: position, as: SIMD2<UInt64>.self)
    position &+= count
  }

  /// Appends `text` if it is at most `limit` bytes long and none of them needs an escape; otherwise appends nothing.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(plain text: Span<UInt8>, limit: Int) -> Bool {
    guard text.count <= min(textRoom, limit) else { return false }
    let isPlain = unsafe text.withUnsafeBytes { text in
      guard let source = text.baseAddress else { return true }
      let target = unsafe (start + position).assumingMemoryBound(to: UInt8.self)
      return unsafe clx_copy_has_special(target, source.assumingMemoryBound(to: UInt8.self), text.count) == 0
    }
    if isPlain { position &+= text.count }
    return isPlain
  }

  /// Copies `count` bytes. Log texts are short: whole words, the last overlapping the one before, are several times
  /// cheaper than a call of memcpy.
  @inline(__always) @_lifetime(self: copy self)
  private mutating func copy(_ source: UnsafeRawPointer, _ count: Int) {
    precondition(count <= room &- position)
    let target = unsafe start + position
    position &+= count
    if count >= 16 {
      var offset = 0
      while offset < count &- 16 {
        unsafe LineWriter.move(SIMD2<UInt64>.self, source + offset, target + offset)
        offset &+= 16
      }
      unsafe LineWriter.move(SIMD2<UInt64>.self, source + (count &- 16), target + (count &- 16))
    } else if count >= 8 {
      unsafe LineWriter.move(UInt64.self, source, target)
      unsafe LineWriter.move(UInt64.self, source + (count &- 8), target + (count &- 8))
    } else if count >= 4 {
      unsafe LineWriter.move(UInt32.self, source, target)
      unsafe LineWriter.move(UInt32.self, source + (count &- 4), target + (count &- 4))
    } else if count > 0 {
      unsafe LineWriter.move(UInt8.self, source, target)
      unsafe LineWriter.move(UInt8.self, source + (count &>> 1), target + (count &>> 1))
      unsafe LineWriter.move(UInt8.self, source + (count &- 1), target + (count &- 1))
    }
  }

  @inline(__always)
  private static func move<Word: BitwiseCopyable>(_: Word.Type, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer) {
    unsafe target.storeBytes(of: source.loadUnaligned(as: Word.self), as: Word.self)
  }

  // MARK: Numbers

  /// Appends `value` in decimal, at most 20 digits.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(decimal value: UInt64) {
    if value < 10 {
      append(UInt8(truncatingIfNeeded: 0x30 &+ value))
    } else if value < 100_000_000 {
      let digits = LineWriter.digits(value)
      let zeros = digits.trailingZeroBitCount &>> 3  // the first digit is in the lowest byte
      store((digits | 0x3030_3030_3030_3030) &>> UInt64(truncatingIfNeeded: zeros &* 8), count: 8 &- zeros)
    } else {
      withRest(limit: 20) { $0.appendLong(value) }
    }
  }

  /// Appends the low six decimal digits of `value`, which is below 1,000,000.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(micro value: UInt64) {
    store((LineWriter.digits(value) | 0x3030_3030_3030_3030) &>> 16, count: 6)
  }

  /// Appends the low three decimal digits of `value`, which is below 1,000.
  @inline(__always) @_lifetime(self: copy self)
  mutating func append(milli value: UInt64) {
    store((LineWriter.digits(value) | 0x3030_3030_3030_3030) &>> 40, count: 3)
  }

  /// Stores eight bytes, of which `count` count.
  @inline(__always) @_lifetime(self: copy self)
  private mutating func store(_ word: UInt64, count: Int) {
    precondition(position &+ 8 <= room)
    unsafe start.storeBytes(of: word.littleEndian, toByteOffset: position, as: UInt64.self)
    position &+= count
  }

  /// The eight decimal digits of `value`, below 100,000,000: one in each byte, the first in the lowest. The number is
  /// halved into groups of four, two and one digits, all groups divided at once by multiplying with the reciprocal.
  @inline(__always)
  private static func digits(_ value: UInt64) -> UInt64 {
    let high = value / 10_000
    let fours = high | (value &- high &* 10_000) &<< 32
    let hundreds = (fours &* 10_486) &>> 20 & 0x0000_007f_0000_007f
    let twos = hundreds | (fours &- hundreds &* 100) &<< 16
    let tens = (twos &* 103) &>> 10 & 0x000f_000f_000f_000f
    return tens | (twos &- tens &* 10) &<< 8
  }

  @inline(never) @_lifetime(self: copy self)
  private mutating func appendLong(_ value: UInt64) {
    if value >= 10 { appendLong(value / 10) }
    append(UInt8(truncatingIfNeeded: 0x30 &+ value % 10))
  }
}
