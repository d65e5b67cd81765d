// The master's decisions, with a made-up clock and no processes.

import Testing

@testable import Master

/// A supervisor with the bookkeeping that a shell would do.
private struct Bench {
  var supervisor = Supervisor()
  var now: Int64 = 1000
  /// By generation and slot.
  var workers: [UInt64: [Int: WorkerID]] = [:]
  var log: [MasterAction] = []

  mutating func take(_ actions: [MasterAction]) -> [MasterAction] {
    for case .spawn(let id, let generation, let slot, _) in actions { workers[generation, default: [:]][slot] = id }
    log += actions
    return actions
  }

  func id(_ generation: UInt64, _ slot: Int) -> WorkerID { workers[generation]?[slot] ?? WorkerID(number: -1) }

  mutating func begin(_ generation: UInt64, _ terms: GenerationTerms) -> [MasterAction] { take(supervisor.begin(generation, terms: terms, now: now)) }
  mutating func ready(_ generation: UInt64, _ slot: Int) -> [MasterAction] { take(supervisor.ready(id(generation, slot), now: now)) }
  mutating func ceased(_ generation: UInt64, _ slot: Int) -> [MasterAction] { take(supervisor.ceased(id(generation, slot), now: now)) }
  mutating func exit(_ generation: UInt64, _ slot: Int) -> [MasterAction] { take(supervisor.exited(id(generation, slot), reason: "exit code 0", now: now)) }
  mutating func tick(_ later: Int64) -> [MasterAction] {
    now += later
    return take(supervisor.tick(now: now))
  }

  /// Brings a generation up to where it serves, and the one before it, unless told otherwise, to where it accepts no more.
  mutating func serve(_ generation: UInt64, workers: Int, slots: Int? = nil, drain: Int = 5000, maxDraining: Int = 4, ceases: Bool = true) -> [MasterAction] {
    _ = begin(generation, GenerationTerms(workers: workers, slots: slots ?? workers, drain: drain, maxDraining: maxDraining))
    for slot in 0..<workers { _ = ready(generation, slot) }
    let old = supervisor.serving
    let actions = take(supervisor.opened(generation, now: now))
    if let old, ceases { for slot in supervisor.slots(of: old).indices { _ = ceased(old, slot) } }
    return actions
  }
}

@Test func aGenerationOpensWhenAllAreReady() {
  var bench = Bench()
  #expect(bench.begin(1, GenerationTerms(workers: 2, slots: 2)).count == 2)
  #expect(bench.ready(1, 0).isEmpty)
  #expect(bench.ready(1, 1) == [.open(generation: 1)])
  let actions = bench.take(bench.supervisor.opened(1, now: bench.now))
  #expect(actions == [.adopt(bench.id(1, 0), [0]), .adopt(bench.id(1, 1), [1]), .serving(generation: 1)])
  #expect(bench.supervisor.serving == 1)
  #expect(bench.supervisor.nextDeadline == nil)
}

@Test func theOldDrainsAfterTheNewServes() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  let actions = bench.serve(2, workers: 2, drain: 700)
  #expect(
    actions == [
      .adopt(bench.id(2, 0), [0]), .adopt(bench.id(2, 1), [1]), .serving(generation: 2), .drain(bench.id(1, 0), milliseconds: 700, hurry: false),
      .drain(bench.id(1, 1), milliseconds: 700, hurry: false),
    ])
  #expect(bench.exit(1, 0).isEmpty)
  #expect(bench.exit(1, 1) == [.gone(generation: 1)])
}

@Test func aChangeIsSettledWhenNobodyOldAccepts() {
  var bench = Bench()
  #expect(!bench.serve(1, workers: 2).contains(.settled(generation: 1)))
  #expect(!bench.supervisor.isChanging)
  _ = bench.serve(2, workers: 2, ceases: false)
  #expect(bench.supervisor.isChanging && !bench.supervisor.hasLetGo(1))
  #expect(bench.begin(3, GenerationTerms(workers: 1, slots: 1)).isEmpty)
  #expect(bench.ceased(1, 0).isEmpty)
  // Going says the same as saying so.
  #expect(bench.exit(1, 1) == [.settled(generation: 2)])
  #expect(!bench.supervisor.isChanging && bench.supervisor.hasLetGo(1) && !bench.supervisor.hasLetGo(2))
  #expect(bench.ceased(1, 0).isEmpty)
}

@Test func whoDoesNotSayThatItAcceptsNoMoreIsNotWaitedForLong() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.serve(2, workers: 1, ceases: false)
  #expect(bench.supervisor.nextDeadline == bench.now + 2000)
  #expect(bench.tick(1999).isEmpty)
  #expect(bench.tick(1) == [.settled(generation: 2)])
  // Nor a second time.
  _ = bench.serve(3, workers: 1, ceases: false)
  #expect(bench.ceased(2, 0) == [.settled(generation: 3)])
}

@Test func aReplacementThatWasNotReadyIsNotWaitedFor() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.exit(1, 0)
  #expect(bench.serve(2, workers: 1, ceases: false).contains(.settled(generation: 2)))
}

@Test func aStopSettlesWhatIsUnderWay() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.serve(2, workers: 1, ceases: false)
  #expect(bench.take(bench.supervisor.stop(milliseconds: 500, now: bench.now)).first == .settled(generation: 2))
}

@Test func whoGoesByItselfIsCoveredAtOnce() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  #expect(bench.ceased(1, 0) == [.adopt(bench.id(1, 1), [0])])
  #expect(bench.supervisor.phase(of: bench.id(1, 0)) == .leaving)
  #expect(bench.exit(1, 0).contains(.spawn(bench.id(1, 0), generation: 1, slot: 0, restarts: 1)))
  #expect(bench.ready(1, 0) == [.adopt(bench.id(1, 0), [0]), .release(bench.id(1, 1), [0])])
}

@Test func surplusSocketsAreServed() {
  var bench = Bench()
  _ = bench.serve(1, workers: 5)
  let actions = bench.serve(2, workers: 2, slots: 5)
  #expect(actions.prefix(2) == [.adopt(bench.id(2, 0), [0, 2, 4]), .adopt(bench.id(2, 1), [1, 3])])
}

@Test func aWorkerThatFailsToStartEndsOnlyItsGeneration() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  _ = bench.begin(2, GenerationTerms(workers: 2, slots: 2))
  _ = bench.ready(2, 0)
  let actions = bench.take(bench.supervisor.failed(bench.id(2, 1), reason: "no memory", now: bench.now))
  #expect(actions == [.abandoned(generation: 2, reason: "worker 1: no memory"), .kill(bench.id(2, 0)), .kill(bench.id(2, 1))])
  #expect(bench.supervisor.serving == 1)
  _ = bench.exit(2, 0)
  #expect(bench.exit(2, 1) == [.gone(generation: 2)])
  #expect(!bench.log.contains { if case .drain = $0 { true } else { false } })
}

@Test func whoIsNotSpawnedAnyMoreKeepsNoGeneration() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.begin(2, GenerationTerms(workers: 2, slots: 2))
  let actions = bench.take(bench.supervisor.spawnFailed(bench.id(2, 0), reason: "no more processes", now: bench.now))
  #expect(actions.first == .abandoned(generation: 2, reason: "worker 0 ended before it was ready: no more processes"))
  #expect(bench.supervisor.phase(of: bench.id(2, 1)) == .leaving)
  #expect(bench.take(bench.supervisor.spawnFailed(bench.id(2, 1), reason: "not needed", now: bench.now)) == [.gone(generation: 2)])
}

@Test func aWorkerThatDiesOrIsLateEndsItsGeneration() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.begin(2, GenerationTerms(workers: 1, slots: 1))
  #expect(bench.exit(2, 0) == [.abandoned(generation: 2, reason: "worker 0 ended before it was ready: exit code 0"), .gone(generation: 2)])
  _ = bench.begin(3, GenerationTerms(workers: 1, slots: 1, startTimeout: 400))
  #expect(bench.supervisor.nextDeadline == bench.now + 400)
  #expect(bench.tick(399).isEmpty)
  #expect(bench.tick(1) == [.abandoned(generation: 3, reason: "worker 0: not ready within 400 ms"), .kill(bench.id(3, 0))])
  #expect(bench.exit(3, 0) == [.gone(generation: 3)])
  #expect(bench.supervisor.serving == 1)
}

@Test func socketsThatCannotListenEndTheGeneration() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.begin(2, GenerationTerms(workers: 1, slots: 1))
  #expect(bench.ready(2, 0) == [.open(generation: 2)])
  let actions = bench.take(bench.supervisor.openFailed(2, reason: "in use", now: bench.now))
  #expect(actions == [.abandoned(generation: 2, reason: "in use"), .kill(bench.id(2, 0))])
  #expect(bench.supervisor.serving == 1)
}

@Test func aDeadWorkerIsReplacedAndItsSocketServedMeanwhile() {
  var bench = Bench()
  _ = bench.serve(1, workers: 3)
  let first = bench.id(1, 1)
  let actions = bench.take(bench.supervisor.exited(first, reason: "killed by SIGKILL", now: bench.now))
  #expect(
    actions == [
      .replacing(generation: 1, slot: 1, reason: "killed by SIGKILL", delay: 0), .adopt(bench.id(1, 2), [1]),
      .spawn(bench.id(1, 1), generation: 1, slot: 1, restarts: 1),
    ])
  #expect(bench.id(1, 1) != first)
  #expect(bench.ready(1, 1) == [.adopt(bench.id(1, 1), [1]), .release(bench.id(1, 2), [1])])
}

@Test func aDeadSiblingsCoverMovesOn() {
  var bench = Bench()
  _ = bench.serve(1, workers: 3)
  _ = bench.exit(1, 1)
  let actions = bench.exit(1, 2)
  #expect(actions.contains(.adopt(bench.id(1, 0), [1, 2])))
}

@Test func aWorkerThatKeepsDyingWaits() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.exit(1, 0)
  let actions = bench.exit(1, 0)
  #expect(actions == [.replacing(generation: 1, slot: 0, reason: "exit code 0", delay: 100)])
  #expect(bench.supervisor.slots(of: 1).first?.respawnAt == bench.now + 100)
  #expect(bench.tick(99).isEmpty)
  #expect(bench.tick(1) == [.spawn(bench.id(1, 0), generation: 1, slot: 0, restarts: 2)])
  #expect(bench.ready(1, 0) == [.adopt(bench.id(1, 0), [0])])
}

@Test func aReplacementThatIsLateIsKilled() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  _ = bench.exit(1, 0)
  #expect(bench.tick(10_000) == [.kill(bench.id(1, 0))])
  #expect(bench.exit(1, 0).first == .replacing(generation: 1, slot: 0, reason: "not ready within 10000 ms (exit code 0)", delay: 100))
}

@Test func aGenerationThatMakesNoRoomIsHurried() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1, maxDraining: 1)
  _ = bench.serve(2, workers: 1, maxDraining: 1)
  let actions = bench.serve(3, workers: 1, maxDraining: 1)
  #expect(actions.last == .drain(bench.id(1, 0), milliseconds: 1000, hurry: true))
  #expect(bench.supervisor.drainingCount == 2)
  #expect(bench.tick(2000) == [.kill(bench.id(1, 0))])
}

@Test func aDrainEndsAtItsDeadline() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.serve(2, workers: 1, drain: 300)
  #expect(bench.tick(1299).isEmpty)
  #expect(bench.tick(1) == [.kill(bench.id(1, 0))])
  #expect(bench.tick(5000).isEmpty)
}

@Test func aReplacementUnderWayIsNotKeptWhenItsGenerationEnds() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  _ = bench.exit(1, 0)
  _ = bench.exit(1, 1)
  _ = bench.exit(1, 1)
  let actions = bench.serve(2, workers: 2)
  #expect(actions.contains(.kill(bench.id(1, 0))))
  #expect(bench.exit(1, 0) == [.gone(generation: 1)])
  #expect(bench.tick(1000).isEmpty)
}

@Test func aStopHasOneDeadlineForAll() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.serve(2, workers: 1, drain: 60_000)
  _ = bench.begin(3, GenerationTerms(workers: 1, slots: 1))
  let actions = bench.take(bench.supervisor.stop(milliseconds: 500, now: bench.now))
  #expect(
    actions == [
      .drain(bench.id(1, 0), milliseconds: 500, hurry: false), .drain(bench.id(2, 0), milliseconds: 500, hurry: false),
      .abandoned(generation: 3, reason: "the gateway is stopping"), .kill(bench.id(3, 0)),
    ])
  #expect(bench.begin(4, GenerationTerms(workers: 1, slots: 1)).isEmpty)
  #expect(Set(bench.tick(1500)) == [.kill(bench.id(1, 0)), .kill(bench.id(2, 0))])
  _ = bench.exit(1, 0)
  _ = bench.exit(3, 0)
  #expect(bench.exit(2, 0) == [.gone(generation: 2), .finished])
}

@Test func aSecondStopEndsAtOnce() {
  var bench = Bench()
  _ = bench.serve(1, workers: 1)
  _ = bench.supervisor.stop(milliseconds: 30_000, now: bench.now)
  #expect(bench.take(bench.supervisor.stopNow(now: bench.now)) == [.stopNow(bench.id(1, 0))])
  #expect(bench.tick(Supervisor.stopNowGrace) == [.kill(bench.id(1, 0))])
  #expect(bench.exit(1, 0) == [.gone(generation: 1), .finished])
}

@Test func nothingRunningIsFinishedAtOnce() {
  var supervisor = Supervisor()
  #expect(supervisor.stop(milliseconds: 1000, now: 0) == [.finished])
  #expect(supervisor.stopNow(now: 0).isEmpty)
}

@Test func aStuckWorkerIsKilledAndReplacedWhileASiblingServes() {
  var bench = Bench()
  _ = bench.serve(1, workers: 2)
  let stuck = bench.id(1, 0), sibling = bench.id(1, 1)
  #expect(bench.take(bench.supervisor.stuck(stuck, reason: "silent", now: bench.now)) == [.kill(stuck), .adopt(sibling, [0])])
  // Told twice, it is killed twice, and nothing else changes.
  #expect(bench.take(bench.supervisor.stuck(stuck, reason: "silent", now: bench.now)) == [.kill(stuck)])
  let actions = bench.take(bench.supervisor.exited(stuck, reason: "killed by SIGKILL", now: bench.now))
  #expect(actions.first == .replacing(generation: 1, slot: 0, reason: "silent (killed by SIGKILL)", delay: 0))
  #expect(bench.ready(1, 0) == [.adopt(bench.id(1, 0), [0]), .release(sibling, [0])])
}
