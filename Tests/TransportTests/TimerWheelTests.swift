// TimerWheelTests — owners that store their deadline and look again: they hear of it neither early nor late.

import Testing

@testable import Transport

/// Things with deadlines, the way connections use the wheel: the deadline is stored, and an entry that fires too soon is armed again.
private struct Owners: ~Copyable {
  var wheel: TimerWheel
  var deadlines: [Int64?]
  /// When each deadline was last moved to an earlier time, or set.
  var armedAt: [Int64]
  var now: Int64
  /// Times an entry fired before its deadline.
  var looks = 0

  init(_ count: Int, now: Int64) {
    wheel = TimerWheel(capacity: UInt32(count), now: now)
    deadlines = Array(repeating: nil, count: count)
    armedAt = Array(repeating: now, count: count)
    self.now = now
  }

  mutating func set(_ index: Int, _ deadline: Int64) {
    if deadlines[index].map({ deadline < $0 }) ?? true { armedAt[index] = now }
    deadlines[index] = deadline
    wheel.arm(UInt32(index), deadline: deadline)
  }

  mutating func clear(_ index: Int, disarming: Bool) {
    deadlines[index] = nil
    if disarming { wheel.disarm(UInt32(index)) }
  }

  /// Lets time come to `now` and returns who was due.
  mutating func advance(to now: Int64) -> [Int] {
    self.now = now
    var due: [Int] = []
    while let entry = wheel.popDue(now) {
      let index = Int(entry)
      guard let deadline = deadlines[index] else { continue }
      if deadline > now {
        looks += 1
        wheel.arm(entry, deadline: deadline)
      } else {
        deadlines[index] = nil
        due.append(index)
      }
    }
    return due
  }
}

@Suite struct TimerWheelTests {
  private static let tick = TimerWheel.tick

  @Test func firesAfterTheDeadlineAndSoon() {
    for start in [Int64(0), 7, 12_345_678] {
      for delay in [Int64(1), 9, 10, 11, 99, 1000, 40_000, 40_950, 41_000, 100_000, 3_600_000] {
        var owners = Owners(1, now: start)
        owners.set(0, start + delay)
        var now = start
        while true {
          // In single milliseconds when it matters.
          now += start + delay - now > 300 ? 271 : 1
          let due = owners.advance(to: now)
          guard due.isEmpty else { break }
          guard now < start + delay + 100 else { break }
        }
        #expect(now >= start + delay, "\(delay) ms fired early, after \(now - start)")
        #expect(now <= start + delay + 2 * Self.tick, "\(delay) ms fired after \(now - start)")
      }
    }
  }

  @Test(arguments: 1...12)
  func neverEarlyNeverLate(_ seed: UInt64) {
    var dice = Dice(seed)
    let count = 1 + dice.roll(60)
    var owners = Owners(count, now: Int64(dice.roll(1_000_000)))
    for _ in 0..<800 {
      let now = owners.now
      for _ in 0..<dice.roll(4) {
        let index = dice.roll(count)
        switch dice.roll(8) {
        case 0: owners.clear(index, disarming: true)
        case 1: owners.clear(index, disarming: false)
        case 2: owners.set(index, now + Int64(dice.roll(200_000)))  // beyond one turn of the wheel
        case 3: owners.set(index, now - Int64(dice.roll(100)))  // already over
        default: owners.set(index, now + Int64(dice.roll(1 << (1 + dice.roll(13)))))
        }
      }
      let before = owners.deadlines, armedAt = owners.armedAt
      // Mostly small steps, sometimes none, sometimes a long sleep, sometimes as long as the wheel says.
      let step: Int64 = switch dice.roll(12) {
      case 0: 0
      case 1: Int64(dice.roll(90_000))
      case 2: owners.wheel.delay(from: now) ?? 5
      default: Int64(dice.roll(30))
      }
      let due = Set(owners.advance(to: now + step))
      for index in 0..<count {
        guard let deadline = before[index] else {
          if due.contains(index) { Issue.record("fired without a deadline") }
          continue
        }
        if due.contains(index) {
          if deadline > owners.now { Issue.record("fired early") }
        } else if owners.now >= max(deadline, armedAt[index]) + 2 * Self.tick {
          Issue.record("late: deadline \(deadline), armed at \(armedAt[index]), now \(owners.now)")
        }
      }
    }
  }

  /// Whoever sleeps as long as `delay` says misses nothing, and is not woken all the time either.
  @Test(arguments: 1...3)
  func sleepingUntilTheNextDeadline(_ seed: UInt64) {
    var dice = Dice(seed)
    var owners = Owners(20, now: 1000)
    var wakeUps = 0
    var fired = 0
    var set = 0
    for _ in 0..<300 {
      let index = dice.roll(20)
      if owners.deadlines[index] == nil { set += 1 }
      let deadline = owners.now + Int64(1 + dice.roll(5000))
      owners.set(index, deadline)
      guard let delay = owners.wheel.delay(from: owners.now) else {
        Issue.record("no entry is armed")
        return
      }
      #expect(delay >= 0)
      let waiting = owners.deadlines.compactMap { $0 }
      #expect(waiting.min().map { owners.now + delay <= $0 + 2 * Self.tick } ?? true)
      fired += owners.advance(to: owners.now + delay).count
      wakeUps += 1
    }
    while let delay = owners.wheel.delay(from: owners.now), wakeUps < 10_000 {
      fired += owners.advance(to: owners.now + delay).count
      wakeUps += 1
    }
    #expect(fired == set)
    #expect(owners.wheel.delay(from: owners.now) == nil)
    #expect(wakeUps < 300 + set * 4)
  }

  /// Moving a deadline into the future costs nothing but one look when the old one is over.
  @Test func laterDeadlinesAreLazy() {
    var owners = Owners(1, now: 0)
    owners.set(0, 1000)
    for now in stride(from: Int64(0), to: 900, by: 10) {
      owners.set(0, now + 1000)
      #expect(owners.advance(to: now).isEmpty)
    }
    #expect(owners.looks == 0)
    #expect(owners.advance(to: 1020).isEmpty && owners.looks == 1)
    #expect(owners.advance(to: 1889).isEmpty && owners.looks == 1)
    #expect(owners.advance(to: 1910) == [0])
  }

  @Test func anEarlierDeadlineMovesTheEntry() {
    var owners = Owners(1, now: 0)
    owners.set(0, 30_000)
    owners.set(0, 500)
    #expect(owners.advance(to: 499).isEmpty)
    #expect(owners.advance(to: 520) == [0] && owners.looks == 0)
    #expect(owners.advance(to: 60_000).isEmpty && owners.wheel.delay(from: 60_000) == nil)
  }

  @Test func disarmedEntriesDoNotFire() {
    var wheel = TimerWheel(capacity: 4, now: 0)
    for index in UInt32(0)..<4 { wheel.arm(index, deadline: 100) }
    wheel.disarm(1)
    wheel.disarm(1)
    wheel.disarm(3)
    var fired: [UInt32] = []
    while let index = wheel.popDue(200) { fired.append(index) }
    #expect(fired.sorted() == [0, 2])
    #expect(wheel.delay(from: 200) == nil)
  }

  @Test func nothingArmed() {
    var wheel = TimerWheel(capacity: 2, now: 5)
    wheel.disarm(0)
    let due = wheel.popDue(1 << 40), delay = wheel.delay(from: 5)
    #expect(due == nil && delay == nil)
  }

  /// After hours without a timer, a new one waits for its deadline: no look before it.
  @Test func aLongSilence() {
    var owners = Owners(2, now: 0)
    for hours in Int64(1)...5 {
      let now = hours * 3_600_000
      #expect(owners.advance(to: now).isEmpty)
      owners.set(0, now + 30_000)
      owners.set(1, now + 15)
      #expect(owners.advance(to: now).isEmpty)
      #expect(owners.advance(to: now + 14).isEmpty)
      #expect(owners.advance(to: now + 15 + 2 * Self.tick) == [1])
      #expect(owners.advance(to: now + 29_999).isEmpty)
      #expect(owners.advance(to: now + 30_000 + 2 * Self.tick) == [0])
    }
    #expect(owners.looks == 0)
  }

  /// A sleep longer than one turn of the wheel leaves nobody out.
  @Test func aLongSleep() {
    var owners = Owners(5000, now: 0)
    for index in 0..<5000 { owners.set(index, Int64(index) * 8) }
    let due = owners.advance(to: 100_000)
    #expect(due.sorted() == Array(0..<5000))
  }

  @Test func manyEntriesInOneTick() {
    var owners = Owners(1000, now: 0)
    for index in 0..<1000 { owners.set(index, 500) }
    for index in stride(from: 0, to: 1000, by: 3) { owners.clear(index, disarming: true) }
    let due = owners.advance(to: 520)
    #expect(due.sorted() == (0..<1000).filter { $0 % 3 != 0 })
  }
}
