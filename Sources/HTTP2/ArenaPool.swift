// ArenaPool — where the arenas of a worker's sessions come from, and how one is put aside while its session sleeps.
//
// A session on which nothing happens is some ten kilobytes of which little differs from any other. Put aside, its arena becomes
// an image: for each word that is not what stands at the same place in the pattern (the first session that ever slept) the word
// itself, and a bit to say so. The pages are given back to the kernel, the addresses stay its own; woken, everything stands
// where it stood, and no pointer, in nghttp2 or here, has to be changed.
//
// Pointers into the arena itself differ from one to the next, so they are kept as if each arena lay at the same address.
// Invariants: a pool lives as long as its owner or any of its arenas; an arena that is asleep is not looked at.

import CLinux
import Glibc

@safe
struct ArenaPool: ~Copyable {
  typealias Reference = UnsafeMutablePointer<ArenaPool>

  /// Arenas made at a time.
  private static let chunk = 64
  /// Free ones that keep their pages.
  private static let warmLimit = 64
  /// An address at which nothing lies, in whose place the arena's own stands in an image.
  private static let nowhere: UInt = 0xffff_8000_0000_0000

  private var chunks: [UnsafeMutableRawPointer] = unsafe []
  private var warm: [UnsafeMutableRawPointer] = unsafe []
  private var cold: [UnsafeMutableRawPointer] = unsafe []
  private var used = 0
  private var hasOwner = true
  private var pattern: [UInt] = []
  private var scratch: [UInt] = []

  private init() {}

  deinit {
    for index in unsafe chunks.indices { unsafe clx_release(chunks[index], Arena.size * Self.chunk) }
  }

  /// A new pool, for one owner, who calls `disown` when it needs no more arenas.
  static func make() -> Reference {
    let pool = Reference.allocate(capacity: 1)
    unsafe pool.initialize(to: ArenaPool())
    return unsafe pool
  }

  static func disown(_ pool: Reference) {
    unsafe pool.pointee.hasOwner = false
    unsafe destroyIfUnused(pool)
  }

  private static func destroyIfUnused(_ pool: Reference) {
    guard unsafe !pool.pointee.hasOwner, unsafe pool.pointee.used == 0 else { return }
    unsafe pool.deinitialize(count: 1)
    unsafe pool.deallocate()
  }

  // MARK: Arenas

  /// An empty arena; nil when there is no memory.
  mutating func take() -> UnsafeMutablePointer<Arena>? {
    if let base = unsafe warm.popLast() ?? cold.popLast() {
      used += 1
      return unsafe Arena.make(at: base)
    }
    guard let base = unsafe clx_reserve(Arena.size * Self.chunk) else { return nil }
    unsafe chunks.append(base)
    for index in stride(from: Self.chunk - 1, through: 0, by: -1) { unsafe cold.append(base + index * Arena.size) }
    return unsafe take()
  }

  /// Takes an arena back in which nothing is used any more.
  static func put(_ pool: Reference, _ arena: UnsafeMutablePointer<Arena>, isAsleep: Bool) {
    let base = UnsafeMutableRawPointer(arena)
    if !isAsleep, unsafe pool.pointee.warm.count < warmLimit {
      // What is left of the one would make the image of the next larger.
      unsafe memset(base, 0, arena.pointee.top)
      unsafe pool.pointee.warm.append(base)
    } else {
      if !isAsleep { unsafe clx_discard(base, Arena.size) }
      unsafe pool.pointee.cold.append(base)
    }
    unsafe pool.pointee.used -= 1
    unsafe destroyIfUnused(pool)
  }

  // MARK: Sleep

  /// Exchanges the arena's own addresses for those of `nowhere`, and the other way round.
  @inline(__always)
  private static func moved(_ word: UInt, _ base: UInt) -> UInt {
    if word &- base < UInt(Arena.size) { return word &- base &+ nowhere }
    if word &- nowhere < UInt(Arena.size) { return word &- nowhere &+ base }
    return word
  }

  /// Puts an arena aside; what is in the block for frames is lost. Returns its image, to be freed by `wake` or `free`; nil when
  /// part of the session lies elsewhere, or there is no memory.
  mutating func sleep(_ arena: UnsafeMutablePointer<Arena>) -> UnsafeMutablePointer<UInt>? {
    guard unsafe arena.pointee.strays == 0 else { return nil }
    unsafe Arena.clearFreed(arena)
    let base = UInt(bitPattern: arena)
    let words = unsafe UnsafeMutableRawPointer(arena).assumingMemoryBound(to: UInt.self)
    let count = unsafe (arena.pointee.top + 7) / 8
    if pattern.isEmpty {
      pattern.reserveCapacity(count)
      for index in 0..<count { pattern.append(Self.moved(unsafe words[index], base)) }
    }
    scratch.removeAll(keepingCapacity: true)
    scratch.append(UInt(count))
    var index = 0
    while index < count {
      let place = scratch.count, end = min(index + UInt.bitWidth, count)
      var mask: UInt = 0, bit: UInt = 1
      scratch.append(0)
      while index < end {
        let word = Self.moved(unsafe words[index], base)
        if word != (index < pattern.count ? pattern[index] : 0) {
          mask |= bit
          scratch.append(word)
        }
        bit &<<= 1
        index += 1
      }
      scratch[place] = mask
    }
    guard let block = unsafe malloc(scratch.count * 8) else { return nil }
    let image = unsafe block.bindMemory(to: UInt.self, capacity: scratch.count)
    for index in scratch.indices { unsafe image[index] = scratch[index] }
    unsafe clx_discard(arena, Arena.size)
    return unsafe image
  }

  /// Puts everything back where it stood.
  func wake(_ arena: UnsafeMutablePointer<Arena>, _ image: UnsafeMutablePointer<UInt>) {
    let base = UInt(bitPattern: arena)
    let words = unsafe UnsafeMutableRawPointer(arena).assumingMemoryBound(to: UInt.self)
    let count = unsafe Int(image[0])
    var place = 1, index = 0
    while index < count {
      var mask = unsafe image[place]
      place += 1
      let end = min(index + UInt.bitWidth, count)
      while index < end {
        var word = index < pattern.count ? pattern[index] : 0
        if mask & 1 != 0 {
          word = unsafe image[place]
          place += 1
        }
        unsafe words[index] = Self.moved(word, base)
        mask &>>= 1
        index += 1
      }
    }
    unsafe free(image)
  }
}
