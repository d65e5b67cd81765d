// Arena — the memory of one session: what nghttp2 allocates for it lies in one range of addresses.
//
// Blocks are taken from the front of the range and kept in lists by size when they are freed; a session's structures are few
// and of few sizes, so that nothing is split or joined. The one large block, in which nghttp2 puts frames together, has a place
// of its own at the end. What does not fit comes from malloc. Because a session lies together it can be put aside while
// nothing happens on it (`ArenaPool`), and given back without being taken apart.
//
// Invariants: before each block stand eight bytes with its class; `top` is the first byte never handed out; every block in a
// list lies below `top` and holds the place of the next one, in units of eight bytes, 0 for none.

import CLinux
import CNghttp2
import Glibc

/// What stands at the front of an arena.
@safe
struct Arena {
  /// Bytes of address space; only those that are used cost memory.
  static let size = 128 << 10
  /// Where the block for frames lies: behind a header, and large enough for a frame of 16 KiB.
  static let framePlace = size - (20 << 10)
  private static let classCount = 40

  var top: Int
  /// Blocks of this session that malloc has given.
  var strays = 0
  /// Whether the place for frames is to be had. Nothing else may lie there: what it holds is lost when the session sleeps.
  var framePlaceIsFree = true
  private var free = InlineArray<40, UInt16>(repeating: 0)

  private init() { top = MemoryLayout<Arena>.stride | 8 }

  /// Makes an arena of the range at `base`.
  static func make(at base: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Arena> {
    let arena = unsafe base.bindMemory(to: Arena.self, capacity: 1)
    unsafe arena.initialize(to: Arena())
    return unsafe arena
  }

  // MARK: Classes

  /// The class of blocks for `total` bytes, and their size: sixteens up to 256, then four steps for each doubling.
  @inline(__always)
  private static func classify(_ total: Int) -> (kind: Int, size: Int) {
    let last = total &- 1
    if total <= 256 { return (last &>> 4, (last | 15) &+ 1) }
    let exponent = 63 &- last.leadingZeroBitCount
    let shift = exponent &- 2
    return (16 &+ (exponent &- 8) &* 4 &+ (last &>> shift) & 3, (last | (1 &<< shift &- 1)) &+ 1)
  }

  /// The largest request that is served from the front.
  private static let most = 12 << 10

  /// The size of the blocks of a class, without what stands before them.
  private static func capacity(_ kind: Int) -> Int {
    if kind < 16 { return (kind &+ 1) &* 16 &- 8 }
    let step = kind &- 16
    return (5 &+ step & 3) &<< (step &>> 2 &+ 6) &- 8
  }

  // MARK: Blocks

  private typealias Reference = UnsafeMutablePointer<Arena>

  @inline(__always)
  private static func allocate(_ arena: Reference, _ count: Int) -> UnsafeMutableRawPointer? {
    let base = UnsafeMutableRawPointer(arena)
    guard count >= 0, count <= most else { return unsafe allocateLarge(arena, count) }
    let (kind, size) = classify(max(count, 8) &+ 8)
    let first = unsafe Int(arena.pointee.free[unchecked: kind])
    if first != 0 {
      let block = unsafe base + first &* 8
      unsafe arena.pointee.free[unchecked: kind] = block.load(as: UInt16.self)
      return unsafe block
    }
    let start = unsafe arena.pointee.top
    guard start &+ size <= framePlace else { return unsafe allocateLarge(arena, count) }
    unsafe arena.pointee.top = start &+ size
    let block = unsafe base + (start &+ 8)
    unsafe (base + start).storeBytes(of: UInt64(truncatingIfNeeded: kind), as: UInt64.self)
    return unsafe block
  }

  @inline(never)
  private static func allocateLarge(_ arena: Reference, _ count: Int) -> UnsafeMutableRawPointer? {
    if count >= 16 << 10, count <= size - framePlace, unsafe arena.pointee.framePlaceIsFree {
      unsafe arena.pointee.framePlaceIsFree = false
      return unsafe UnsafeMutableRawPointer(arena) + framePlace
    }
    guard let block = unsafe malloc(count) else { return nil }
    unsafe arena.pointee.strays += 1
    return unsafe block
  }

  @inline(__always)
  private static func release(_ arena: Reference, _ block: UnsafeMutableRawPointer) {
    let place = UInt(bitPattern: block) &- UInt(bitPattern: arena)
    guard place < UInt(framePlace) else {
      if place == UInt(framePlace) { return }
      unsafe arena.pointee.strays -= 1
      return unsafe Glibc.free(block)
    }
    let kind = unsafe Int((block - 8).load(as: UInt64.self))
    unsafe block.storeBytes(of: arena.pointee.free[unchecked: kind], as: UInt16.self)
    unsafe arena.pointee.free[unchecked: kind] = UInt16(truncatingIfNeeded: place &>> 3)
  }

  @inline(never)
  private static func resize(_ arena: Reference, _ block: UnsafeMutableRawPointer, _ count: Int) -> UnsafeMutableRawPointer? {
    let place = UInt(bitPattern: block) &- UInt(bitPattern: arena)
    guard place <= UInt(framePlace) else { return unsafe realloc(block, count) }
    let capacity = place == UInt(framePlace) ? size - framePlace : capacity(unsafe Int((block - 8).load(as: UInt64.self)))
    if count <= capacity { return unsafe block }
    guard let other = unsafe allocate(arena, count) else { return nil }
    unsafe other.copyMemory(from: block, byteCount: capacity)
    unsafe release(arena, block)
    return unsafe other
  }

  /// Room for something of ours that goes and comes with the session.
  static func room(_ arena: UnsafeMutablePointer<Arena>, _ count: Int) -> UnsafeMutableRawPointer? { unsafe allocate(arena, count) }

  /// Overwrites what is left in freed blocks with zeros.
  static func clearFreed(_ arena: UnsafeMutablePointer<Arena>) {
    let base = UnsafeMutableRawPointer(arena)
    for kind in 0..<classCount {
      let length = capacity(kind)
      var next = unsafe Int(arena.pointee.free[unchecked: kind])
      while next != 0 {
        let block = unsafe base + next &* 8
        unsafe memset(block + 2, 0, length - 2)
        next = unsafe Int(block.load(as: UInt16.self))
      }
    }
  }

  /// The functions that nghttp2 is to use for a session that lies in `arena`.
  static func functions(_ arena: UnsafeMutablePointer<Arena>) -> nghttp2_mem {
    unsafe nghttp2_mem(
      mem_user_data: arena,
      malloc: { count, arena in
        guard let arena = unsafe arena else { return nil }
        return unsafe Arena.allocate(arena.assumingMemoryBound(to: Arena.self), count)
      },
      free: { block, arena in
        if let block = unsafe block, let arena = unsafe arena { unsafe Arena.release(arena.assumingMemoryBound(to: Arena.self), block) }
      },
      calloc: { number, size, arena in
        let (count, overflow) = number.multipliedReportingOverflow(by: size)
        guard !overflow, let arena = unsafe arena, let block = unsafe Arena.allocate(arena.assumingMemoryBound(to: Arena.self), count) else { return nil }
        unsafe memset(block, 0, count)
        return unsafe block
      },
      realloc: { block, count, arena in
        guard let arena = unsafe arena?.assumingMemoryBound(to: Arena.self) else { return nil }
        guard let block = unsafe block else { return unsafe Arena.allocate(arena, count) }
        return unsafe Arena.resize(arena, block, count)
      })
  }
}
