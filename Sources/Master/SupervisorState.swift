// SupervisorState — the supervisor as bytes, for the program that takes this one's place.
//
// Only between two changes of generations, and not while stopping: nothing is under way that could not wait.

import Control

extension Supervisor {
  var encoded: [UInt8] {
    var archive = Archive()
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  init?(decoding bytes: [UInt8]) {
    self.init()
    var archive = Archive(reading: bytes)
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  private mutating func describe(to archive: inout Archive) {
    archive.number(&nextWorker)
    let blank = Generation(number: 0, terms: GenerationTerms(workers: 1, slots: 1), slots: [], covers: [])
    archive.list(&generations, blank: blank) { $1.describe(to: &$0) }
  }
}

extension Supervisor.Generation {
  fileprivate mutating func describe(to archive: inout Archive) {
    var number = number, terms = terms
    archive.number(&number)
    archive.number(&terms.workers)
    archive.number(&terms.slots)
    archive.number(&terms.startTimeout)
    archive.number(&terms.drain)
    archive.number(&terms.maxDraining)
    var slots = slots, covers = covers.map { $0 ?? -1 }
    archive.list(&slots, blank: Supervisor.Slot()) { $1.describe(to: &$0) }
    archive.list(&covers, blank: -1) { $0.number(&$1) }
    var isServing = phase == .serving
    archive.flag(&isServing)
    var drainDeadline = drainDeadline, isHurried = isHurried
    archive.number(&drainDeadline)
    archive.flag(&isHurried)
    guard archive.isReading else { return }
    guard terms.workers > 0, slots.count == terms.workers, covers.count == terms.slots, covers.allSatisfy({ (-1..<terms.workers).contains($0) }) else {
      return archive.fail()
    }
    self = Supervisor.Generation(number: number, terms: terms, slots: slots, covers: covers.map { $0 < 0 ? nil : $0 })
    phase = isServing ? .serving : .draining
    self.drainDeadline = drainDeadline
    self.isHurried = isHurried
  }
}

extension Supervisor.Slot {
  fileprivate mutating func describe(to archive: inout Archive) {
    var worker = worker?.number ?? -1, kill = killAt ?? -1, respawn = respawnAt ?? -1
    archive.number(&worker)
    archive.number(&kill)
    archive.number(&respawn)
    var kind: UInt8 =
      switch phase {
      case .none: 0
      case .starting: 1
      case .ready: 2
      case .leaving: 3
      }
    archive.number(&kind)
    archive.flag(&isAccepting)
    archive.number(&readyAt)
    archive.number(&startDeadline)
    archive.number(&restarts)
    archive.number(&backoff.failures)
    var words = lastWords ?? ""
    archive.text(&words)
    guard archive.isReading else { return }
    self.worker = worker < 0 ? nil : WorkerID(number: worker)
    killAt = kill < 0 ? nil : kill
    respawnAt = respawn < 0 ? nil : respawn
    lastWords = words.isEmpty ? nil : words
    switch kind {
    case 0: phase = .none
    case 1: phase = .starting
    case 2: phase = .ready
    case 3: phase = .leaving
    default: archive.fail()
    }
    if backoff.failures < 0 || backoff.failures > 32 { archive.fail() }
  }
}
