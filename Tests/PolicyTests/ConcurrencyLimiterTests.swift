// Counts of what is under way: many workers at once, interleaved at every access to the shared words and killed there, against what they
// really have; and exactness where nobody interferes.

import Kernel
import Testing

@testable import Policy
@testable import SharedState

/// Columns in ordinary memory. Between any two accesses other workers may act, and a worker may be killed after any of its own.
private final class ContendedColumns: ConcurrencyMemory {
  let setCount: Int
  let columnsUsed: Int
  private var words: [[UInt64]]
  private var spread: [Bool]
  /// Workers that are in the midst of something, the innermost last.
  private(set) var acting: [Int] = []
  private(set) var dead: Set<Int> = []
  var meanwhile: () -> Void = {}
  private var random: Generator
  private(set) var kills = 0
  private(set) var interruptions = 0
  var isKilling = false

  init(sets: Int, columns: Int, seed: UInt64) {
    setCount = sets
    columnsUsed = columns
    words = Array(repeating: Array(repeating: 0, count: sets * ConcurrencyTable.ways), count: columns)
    spread = Array(repeating: false, count: columns)
    random = Generator(state: seed)
  }

  private func pause() {
    guard let me = acting.last else { return }
    if isKilling, !dead.contains(me), random.next() % 200 == 0 {
      dead.insert(me)
      kills += 1
    }
    guard acting.count < 4, random.next() % 4 == 0 else { return }
    interruptions += 1
    meanwhile()
  }

  func load(column: Int, place: Int) -> UInt64 {
    pause()
    return words[column][place]
  }

  func store(_ word: UInt64, column: Int, place: Int) {
    pause()
    precondition(column == acting.last, "somebody else's column")
    if !dead.contains(column) { words[column][place] = word }
    pause()
  }

  func hasSpread(column: Int) -> Bool { spread[column] }
  func noteSpread(column: Int) { if !dead.contains(column) { spread[column] = true } }
  func fence() { pause() }

  /// Lets the worker of `column` act.
  func run(_ column: Int, _ body: () -> Void) {
    acting.append(column)
    body()
    acting.removeLast()
  }

  /// What the master does for a worker that was killed.
  func bury(_ column: Int) {
    dead.remove(column)
    for place in words[column].indices { words[column][place] = 0 }
    spread[column] = false
  }

  var isEmpty: Bool { words.allSatisfy { $0.allSatisfy { $0 == 0 } } }
}

private struct Generator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

@Suite struct ConcurrencyLimiterTests {
  private static let workers = 5

  @Test(arguments: [(true, 1), (true, 2), (true, 3), (false, 4), (false, 5)] as [(Bool, UInt64)])
  func interleavedAndKilledNeverExceedTheLimit(isKilling: Bool, seed: UInt64) {
    let limit = 7
    let memory = ContendedColumns(sets: 2, columns: Self.workers, seed: seed)
    memory.isKilling = isKilling
    let limiters = (0..<Self.workers).map { ConcurrencyLimiter(memory, limit: limit, column: $0) }
    // More keys than a set has words, in the same sets.
    let keys = (1...24 as ClosedRange<UInt64>).map { $0 << 3 | ($0 % 2) << 63 }
    var random = Generator(state: seed &* 1001)
    /// By worker and key: the places it has.
    var held = Array(repeating: Array(repeating: [Int32](), count: keys.count), count: Self.workers)
    var acts = 0, admitted = 0, refused = 0, mostOfKey = 0
    func act() {
      let idle = (0..<Self.workers).filter { !memory.acting.contains($0) && !memory.dead.contains($0) }
      guard let worker = idle.randomElement(using: &random) else { return }
      acts += 1
      let key = Int(random.next() % 3 == 0 ? random.next() % UInt64(keys.count) : 0)
      memory.run(worker) {
        if random.next() % 5 < 2, let place = held[worker][key].popLast() {
          limiters[worker].leave(place)
        } else if case .entered(let place) = limiters[worker].enter(keys[key]) {
          admitted += 1
          if !memory.dead.contains(worker) { held[worker][key].append(place) }
        } else {
          refused += 1
        }
      }
      if memory.dead.contains(worker), !memory.acting.contains(worker) {
        held[worker] = Array(repeating: [], count: keys.count)
        memory.bury(worker)
      }
      mostOfKey = max(mostOfKey, held.reduce(0) { $0 + $1[key].count })
    }
    memory.meanwhile = act
    while acts < 60_000 { act() }
    #expect(admitted > 1000 && refused > 1000 && mostOfKey == limit && memory.interruptions > 1000)
    #expect(isKilling ? memory.kills > 20 : memory.kills == 0)
    // Everything that was counted is given back, to the last word.
    memory.meanwhile = {}
    memory.isKilling = false
    for worker in held.indices {
      for key in keys.indices {
        for place in held[worker][key] { memory.run(worker) { limiters[worker].leave(place) } }
      }
    }
    #expect(memory.isEmpty)
  }

  @Test func aloneItIsExact() throws {
    let table = try ConcurrencyTable(try ConcurrencyTable.create(entries: 16, columns: 64, seed: (1, 2)))
    #expect(table.use(column: 0) && table.use(column: 63) && !table.use(column: 64))
    let one = ConcurrencyLimiter(table, limit: 3, column: 0), other = ConcurrencyLimiter(table, limit: 3, column: 63)
    var places: [Int32] = []
    for turn in 0..<4 {
      let outcome = (turn % 2 == 0 ? one : other).enter(77)
      if case .entered(let place) = outcome { places.append(place) } else { #expect(turn == 3 && outcome == .full) }
    }
    #expect(places.count == 3 && one.underWay(77) == 3 && one.population == (1, 3, 3))
    one.leave(places[0])
    #expect(other.underWay(77) == 2)
    // The worker of column 0 is killed with one under way.
    table.drop(column: 0)
    #expect(other.underWay(77) == 1)
    other.leave(places[1])
    #expect(one.underWay(77) == 0 && one.population == (0, 0, 0))
  }

  @Test func keysAreFoundInTheirSecondSetAndThereIsAnEnd() throws {
    let table = try ConcurrencyTable(try ConcurrencyTable.create(entries: 8, columns: 64, seed: (1, 2)))
    #expect(table.setCount == 2 && table.use(column: 1))
    let limiter = ConcurrencyLimiter(table, limit: 1000, column: 1)
    // All of them belong to the first set, and to the second as their second.
    let keys = (1...17 as ClosedRange<UInt64>).map { $0 | 1 << 31 }
    var places: [Int32] = []
    for key in keys.prefix(16) {
      guard case .entered(let place) = limiter.enter(key) else {
        Issue.record("no place for \(key)")
        return
      }
      places.append(place)
    }
    #expect(Set(places).count == 16)
    #expect(limiter.enter(keys[16]) == .noRoom)
    for key in keys.prefix(16) { #expect(limiter.underWay(key) == 1) }
    // One that has gone makes room; those in the second set are still found.
    limiter.leave(places[0])
    guard case .entered = limiter.enter(keys[16]) else {
      Issue.record("no room was made")
      return
    }
    for key in keys.dropFirst() { #expect(limiter.underWay(key) == 1) }
    #expect(limiter.underWay(keys[0]) == 0)
  }
}
