// TimerWheel — deadlines of many things, at one entry each, in ticks of ten milliseconds.
//
// An entry is a promise to look again, not the deadline itself: the owner stores the deadline and asks for
// the entry to stand no later than it. Moving a deadline into the future is then a plain store, and the
// entry is put right when it fires. Only an earlier deadline moves the entry.
//
// Invariants: entry n is linked into at most one slot; an entry fires no earlier than the tick after it
// was armed; `nearest` is no later than any armed entry.

/// A wheel of `capacity` entries, named by their index.
@safe
public struct TimerWheel: ~Copyable {
  /// Milliseconds of one tick.
  @inlinable public static var tick: Int64 { 10 }
  private static let slotCount = 4096

  @usableFromInline
  struct Entry: BitwiseCopyable {
    var next: UInt32
    var previous: UInt32
    /// The tick in whose slot the entry is linked; 0: not armed.
    @usableFromInline var tick: Int64
  }

  @usableFromInline let entries: UnsafeMutablePointer<Entry>
  private let slots: UnsafeMutablePointer<UInt32>
  private let capacity: UInt32
  /// Entries from here on were never used, and their memory is untouched.
  @usableFromInline var used: UInt32 = 0
  /// The last tick whose slot has been emptied.
  private var cursor: Int64
  private var nearest = Int64.max

  /// - Parameter now: milliseconds of the monotonic clock.
  public init(capacity: UInt32, now: Int64) {
    self.capacity = capacity
    unsafe entries = .allocate(capacity: Int(capacity))
    unsafe slots = .allocate(capacity: TimerWheel.slotCount)
    unsafe slots.initialize(repeating: .max, count: TimerWheel.slotCount)
    cursor = now / TimerWheel.tick
  }

  deinit {
    unsafe entries.deallocate()
    unsafe slots.deallocate()
  }

  /// Makes entry `index` fire at `deadline` (milliseconds) or earlier; does nothing when it already will.
  @inlinable @inline(__always)
  public mutating func arm(_ index: UInt32, deadline: Int64) {
    if index < used, unsafe entries[Int(index)].tick != 0, unsafe entries[Int(index)].tick &* TimerWheel.tick <= deadline { return }
    link(index, deadline)
  }

  /// Entry `index` will not fire.
  public mutating func disarm(_ index: UInt32) {
    guard index < used, unsafe entries[Int(index)].tick != 0 else { return }
    unlink(index)
  }

  /// The next entry that is due at `now` (milliseconds), disarmed; nil when none is left.
  public mutating func popDue(_ now: Int64) -> UInt32? {
    let today = now / TimerWheel.tick
    guard nearest <= today else {
      // No slot up to today holds anything. A cursor left behind would count as the present when an entry is armed.
      cursor = max(cursor, today)
      return nil
    }
    return findDue(today)
  }

  /// Milliseconds from `now` until `popDue` may return something; nil when no entry is armed.
  public func delay(from now: Int64) -> Int64? {
    nearest == .max ? nil : max(0, nearest * TimerWheel.tick - now)
  }

  // MARK: Links

  @usableFromInline @inline(never)
  mutating func link(_ index: UInt32, _ deadline: Int64) {
    precondition(index < capacity)
    while used <= index {
      unsafe (entries + Int(used)).initialize(to: Entry(next: .max, previous: .max, tick: 0))
      used += 1
    }
    // Rounded up, so as not to fire too early; never the slot being emptied; never beyond one turn of the wheel.
    let wanted = (deadline + TimerWheel.tick - 1) / TimerWheel.tick
    let tick = min(max(wanted, cursor + 2), cursor + Int64(TimerWheel.slotCount) - 1)
    let armed = unsafe entries[Int(index)].tick
    if armed != 0 {
      // It stands as near as it can already: whoever asks again and again must not put it off.
      guard tick < armed else { return }
      unlink(index)
    }
    let slot = Int(tick % Int64(TimerWheel.slotCount))
    let head = unsafe slots[slot]
    unsafe entries[Int(index)] = Entry(next: head, previous: .max, tick: tick)
    if head != .max { unsafe entries[Int(head)].previous = index }
    unsafe slots[slot] = index
    nearest = min(nearest, tick)
  }

  private mutating func unlink(_ index: UInt32) {
    let entry = unsafe entries[Int(index)]
    if entry.next != .max { unsafe entries[Int(entry.next)].previous = entry.previous }
    if entry.previous != .max {
      unsafe entries[Int(entry.previous)].next = entry.next
    } else {
      unsafe slots[Int(entry.tick % Int64(TimerWheel.slotCount))] = entry.next
    }
    unsafe entries[Int(index)].tick = 0
  }

  @inline(never)
  private mutating func findDue(_ today: Int64) -> UInt32? {
    // After a long sleep every slot is visited at most once.
    if today - cursor > Int64(TimerWheel.slotCount) { cursor = today - Int64(TimerWheel.slotCount) }
    while cursor < today {
      let index = unsafe slots[Int((cursor + 1) % Int64(TimerWheel.slotCount))]
      if index != .max {
        unlink(index)
        return index
      }
      cursor += 1
    }
    recomputeNearest()
    return nil
  }

  private mutating func recomputeNearest() {
    nearest = .max
    for distance in 1..<Int64(TimerWheel.slotCount) where unsafe slots[Int((cursor + distance) % Int64(TimerWheel.slotCount))] != .max {
      nearest = cursor + distance
      return
    }
  }
}
