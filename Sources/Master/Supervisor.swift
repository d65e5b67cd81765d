// Supervisor — the decisions of the master, without its system calls: what happened and the time go in,
// what to do comes out.
//
// Invariants:
// - At most one generation is starting and at most one serves. A starting generation accepts nothing: it is
//   proved first, and only then do its workers adopt sockets and those of the old generation drain.
// - Whatever goes wrong with a starting generation ends that generation and touches no other.
// - While a generation serves, each socket slot is served by its own worker or, while that one is missing, by
//   a sibling; `covers` says by whom.
// - Every worker that is told to go has a moment at which it is killed.
// - A change of generations is over when the old workers accept no more, or have had their time to say so: only
//   then is it `settled`, and only then may the next one begin.

/// A worker process, for as long as it lives. Never used twice.
public struct WorkerID: Hashable, Sendable {
  public let number: Int
}

/// What the master is to do.
public enum MasterAction: Hashable, Sendable {
  case spawn(WorkerID, generation: UInt64, slot: Int, restarts: Int)
  /// All workers are ready: listen on the new sockets, then answer `opened` or `openFailed`.
  case open(generation: UInt64)
  case adopt(WorkerID, [Int])
  case release(WorkerID, [Int])
  case drain(WorkerID, milliseconds: Int, hurry: Bool)
  case stopNow(WorkerID)
  case kill(WorkerID)
  /// The generation has taken over.
  case serving(generation: UInt64)
  /// Nobody but the generation accepts any more: whoever connects from now on meets it.
  case settled(generation: UInt64)
  /// The generation never came to serve.
  case abandoned(generation: UInt64, reason: String)
  /// A serving worker died; after `delay` its slot is filled again.
  case replacing(generation: UInt64, slot: Int, reason: String, delay: Int64)
  /// No process of the generation is left.
  case gone(generation: UInt64)
  /// Nothing is left at all, as was asked.
  case finished
}

/// What the supervisor knows of a plan. Milliseconds.
public struct GenerationTerms: Equatable, Sendable {
  public var workers: Int
  /// Socket slots: at least one for each worker, more when an earlier generation had more workers.
  public var slots: Int
  public var startTimeout: Int
  public var drain: Int
  public var maxDraining: Int

  public init(workers: Int, slots: Int, startTimeout: Int = 10_000, drain: Int = 30_000, maxDraining: Int = 4) {
    self.workers = max(1, workers)
    self.slots = max(self.workers, slots)
    self.startTimeout = startTimeout
    self.drain = max(0, drain)
    self.maxDraining = max(1, maxDraining)
  }
}

/// A worker slot as it is now.
public struct SlotView: Equatable, Sendable {
  public let slot: Int
  public let worker: WorkerID?
  public let phase: Supervisor.WorkerPhase
  public let restarts: Int
  /// When a missing worker is replaced; nil when nobody is waited for.
  public let respawnAt: Int64?
}

public struct Supervisor: Sendable {
  /// After its deadline a worker has this long to end by itself before it is killed.
  static let grace: Int64 = 1_000
  /// What remains to a generation that has to make room.
  static let hurryTime: Int64 = 1_000
  static let stopNowGrace: Int64 = 500
  /// How long a reload waits for the old workers to stop accepting.
  static let handoverTime: Int64 = 2_000

  public enum Phase: Equatable, Sendable { case starting, opening, serving, draining, abandoned }

  public enum WorkerPhase: Equatable, Sendable { case none, starting, ready, leaving }

  struct Slot: Equatable, Sendable {
    var worker: WorkerID?
    var phase = WorkerPhase.none
    /// It may have been told to accept and has not said yet that it does so no more.
    var isAccepting = false
    var readyAt: Int64 = 0
    var startDeadline: Int64 = 0
    var killAt: Int64?
    var respawnAt: Int64?
    var restarts = 0
    var lastWords: String?
    var backoff = Backoff()
  }

  struct Generation: Equatable, Sendable {
    let number: UInt64
    let terms: GenerationTerms
    var phase = Phase.starting
    var slots: [Slot]
    /// By socket slot: the worker slot that accepts there.
    var covers: [Int?]
    var drainDeadline: Int64 = .max
    var isHurried = false

    var isEmpty: Bool { slots.allSatisfy { $0.worker == nil } }
    var isAccepting: Bool { slots.contains { $0.isAccepting } }
  }

  private(set) var generations: [Generation] = []
  private var nextWorker = 1
  public private(set) var isStopping = false
  private var isFinished = false
  /// The generation that serves while the one before it still lets go of the sockets, and until when that is waited for.
  private var handover: (generation: UInt64, deadline: Int64)?

  public init() {}

  // MARK: What others may know

  public var serving: UInt64? { generations.first { $0.phase == .serving }?.number }
  public var isStarting: Bool { generations.contains { $0.phase == .starting || $0.phase == .opening } }
  /// A generation starts, or the one before it has not stopped accepting yet.
  public var isChanging: Bool { isStarting || handover != nil }
  public var drainingCount: Int { generations.count { $0.phase == .draining } }

  public func phase(of generation: UInt64) -> Phase? { generations.first { $0.number == generation }?.phase }
  /// Whether the generation needs its listening sockets no more, because it drains and accepts nothing.
  public func hasLetGo(_ generation: UInt64) -> Bool {
    generations.contains { $0.number == generation && $0.phase == .draining && !$0.isAccepting }
  }

  public func phase(of worker: WorkerID) -> WorkerPhase? { place(of: worker).map { generations[$0.0].slots[$0.1].phase } }

  /// The worker slots of a generation, in order.
  public func slots(of generation: UInt64) -> [SlotView] {
    guard let generation = generations.first(where: { $0.number == generation }) else { return [] }
    return generation.slots.enumerated().map { SlotView(slot: $0, worker: $1.worker, phase: $1.phase, restarts: $1.restarts, respawnAt: $1.respawnAt) }
  }

  /// When `tick` has something to do, if nothing else happens before.
  public var nextDeadline: Int64? {
    var earliest = handover?.deadline ?? .max
    for generation in generations {
      for slot in generation.slots {
        if slot.phase == .starting { earliest = min(earliest, slot.startDeadline) }
        if let time = slot.killAt { earliest = min(earliest, time) }
        if let time = slot.respawnAt { earliest = min(earliest, time) }
      }
    }
    return earliest == .max ? nil : earliest
  }

  // MARK: Generations

  /// Starts a generation. Nothing happens while a change is under way, or after `stop`.
  public mutating func begin(_ number: UInt64, terms: GenerationTerms, now: Int64) -> [MasterAction] {
    guard !isChanging, !isStopping else { return [] }
    generations.append(
      Generation(number: number, terms: terms, slots: Array(repeating: Slot(), count: terms.workers), covers: Array(repeating: nil, count: terms.slots)))
    let index = generations.count - 1
    return (0..<terms.workers).map { spawn(index, $0, now) }
  }

  /// The sockets of the generation listen: it takes over.
  public mutating func opened(_ number: UInt64, now: Int64) -> [MasterAction] {
    guard let index = generations.firstIndex(where: { $0.number == number && $0.phase == .opening }) else { return [] }
    var actions: [MasterAction] = []
    let old = generations.firstIndex { $0.phase == .serving }
    generations[index].phase = .serving
    let terms = generations[index].terms
    for slot in generations[index].slots.indices { generations[index].slots[slot].readyAt = now }
    actions += cover(index)
    actions.append(.serving(generation: number))
    if let old {
      actions += drain(old, milliseconds: Int64(terms.drain), now)
      handover = (number, now + Self.handoverTime)
    }
    while drainingUnhurried > terms.maxDraining, let oldest = generations.firstIndex(where: { $0.phase == .draining && !$0.isHurried }) {
      actions += hurry(oldest, now)
    }
    return actions + settle(now) + sweep()
  }

  public mutating func openFailed(_ number: UInt64, reason: String, now: Int64) -> [MasterAction] {
    guard let index = generations.firstIndex(where: { $0.number == number && $0.phase == .opening }) else { return [] }
    return abandon(index, reason, now) + sweep()
  }

  // MARK: Workers

  public mutating func ready(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker), generations[index].slots[slot].phase == .starting else { return [] }
    generations[index].slots[slot].phase = .ready
    generations[index].slots[slot].isAccepting = true
    generations[index].slots[slot].readyAt = now
    switch generations[index].phase {
    case .starting:
      guard generations[index].slots.allSatisfy({ $0.phase == .ready }) else { return [] }
      generations[index].phase = .opening
      return [.open(generation: generations[index].number)]
    case .serving: return cover(index)
    case .opening, .draining, .abandoned: return []
    }
  }

  /// The worker says that it cannot serve; it is about to exit.
  public mutating func failed(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    generations[index].slots[slot].lastWords = reason
    if generations[index].phase == .starting || generations[index].phase == .opening {
      return abandon(index, "worker \(slot): \(reason)", now) + sweep()
    }
    setKill(index, slot, now + Self.grace)
    return []
  }

  /// The worker accepts nothing any more: it was told to drain, or wants to go by itself.
  public mutating func ceased(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    generations[index].slots[slot].isAccepting = false
    var actions: [MasterAction] = []
    if generations[index].phase == .serving, generations[index].slots[slot].phase == .ready {
      generations[index].slots[slot].phase = .leaving
      setKill(index, slot, now + Int64(generations[index].terms.drain) + Self.grace)
      uncover(index, slot)
      actions += cover(index)
    }
    return actions + settle(now)
  }

  /// The worker has nothing in flight any more; it is about to exit.
  public mutating func drained(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    setKill(index, slot, now + Self.grace)
    return []
  }

  /// No process came to be for this worker.
  public mutating func spawnFailed(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    exited(worker, reason: reason, now: now)
  }

  /// The process has ended.
  public mutating func exited(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    let old = generations[index].slots[slot]
    let reason = old.lastWords.map { "\($0) (\(reason))" } ?? reason
    generations[index].slots[slot].worker = nil
    generations[index].slots[slot].phase = .none
    generations[index].slots[slot].isAccepting = false
    generations[index].slots[slot].killAt = nil
    generations[index].slots[slot].lastWords = nil
    switch generations[index].phase {
    case .starting, .opening:
      return abandon(index, "worker \(slot) ended before it was ready: \(reason)", now) + sweep()
    case .serving:
      uncover(index, slot)
      let wasReady = old.readyAt > 0
      let delay = generations[index].slots[slot].backoff.next(readyFor: wasReady ? now - old.readyAt : 0)
      generations[index].slots[slot].readyAt = 0
      generations[index].slots[slot].restarts += 1
      var actions = [MasterAction.replacing(generation: generations[index].number, slot: slot, reason: reason, delay: delay)]
      actions += cover(index)
      if delay == 0 {
        actions.append(spawn(index, slot, now))
      } else {
        generations[index].slots[slot].respawnAt = now + delay
      }
      return actions
    case .draining, .abandoned:
      return settle(now) + sweep()
    }
  }

  // MARK: Time

  /// Does what is due at `now`.
  public mutating func tick(now: Int64) -> [MasterAction] {
    var actions: [MasterAction] = []
    for index in generations.indices {
      for slot in generations[index].slots.indices {
        let state = generations[index].slots[slot]
        if let time = state.killAt, time <= now, let worker = state.worker {
          generations[index].slots[slot].killAt = nil
          actions.append(.kill(worker))
        }
        if let time = state.respawnAt, time <= now { actions.append(spawn(index, slot, now)) }
        if state.phase == .starting, state.startDeadline <= now { actions += late(index, slot, now) }
      }
    }
    return actions + settle(now) + sweep()
  }

  private mutating func late(_ index: Int, _ slot: Int, _ now: Int64) -> [MasterAction] {
    let words = "not ready within \(generations[index].terms.startTimeout) ms"
    switch generations[index].phase {
    case .starting: return abandon(index, "worker \(slot): \(words)", now)
    case .serving:
      guard let worker = generations[index].slots[slot].worker else { return [] }
      generations[index].slots[slot].phase = .leaving
      generations[index].slots[slot].lastWords = words
      return [.kill(worker)]
    case .opening, .draining, .abandoned: return []
    }
  }

  // MARK: The end

  /// Drains everything within `milliseconds`, all generations by the same deadline.
  public mutating func stop(milliseconds: Int, now: Int64) -> [MasterAction] {
    guard !isStopping else { return [] }
    isStopping = true
    // It does serve; for the others there is nothing left to wait for.
    var actions = handover.map { [MasterAction.settled(generation: $0.generation)] } ?? []
    handover = nil
    for index in generations.indices {
      switch generations[index].phase {
      case .starting, .opening: actions += abandon(index, "the gateway is stopping", now)
      case .serving: actions += drain(index, milliseconds: Int64(max(0, milliseconds)), now)
      case .draining where generations[index].drainDeadline > now + Int64(milliseconds):
        actions += drain(index, milliseconds: Int64(max(0, milliseconds)), now)
      case .draining, .abandoned: break
      }
    }
    return actions + sweep()
  }

  /// Ends everything at once.
  public mutating func stopNow(now: Int64) -> [MasterAction] {
    var actions = stop(milliseconds: 0, now: now).filter { if case .drain = $0 { false } else { true } }
    for index in generations.indices {
      for slot in generations[index].slots.indices where generations[index].slots[slot].phase != .starting {
        guard let worker = generations[index].slots[slot].worker else { continue }
        setKill(index, slot, now + Self.stopNowGrace)
        actions.append(.stopNow(worker))
      }
    }
    return actions
  }

  // MARK: Parts

  private func place(of worker: WorkerID) -> (Int, Int)? {
    for index in generations.indices {
      if let slot = generations[index].slots.firstIndex(where: { $0.worker == worker }) { return (index, slot) }
    }
    return nil
  }

  private var drainingUnhurried: Int { generations.count { $0.phase == .draining && !$0.isHurried } }

  private mutating func spawn(_ index: Int, _ slot: Int, _ now: Int64) -> MasterAction {
    let worker = WorkerID(number: nextWorker)
    nextWorker += 1
    generations[index].slots[slot].worker = worker
    generations[index].slots[slot].phase = .starting
    generations[index].slots[slot].startDeadline = now + Int64(generations[index].terms.startTimeout)
    generations[index].slots[slot].respawnAt = nil
    return .spawn(worker, generation: generations[index].number, slot: slot, restarts: generations[index].slots[slot].restarts)
  }

  private mutating func setKill(_ index: Int, _ slot: Int, _ time: Int64) {
    generations[index].slots[slot].killAt = min(generations[index].slots[slot].killAt ?? .max, time)
  }

  private mutating func uncover(_ index: Int, _ slot: Int) {
    for position in generations[index].covers.indices where generations[index].covers[position] == slot {
      generations[index].covers[position] = nil
    }
  }

  /// Sees to it that each socket slot is served: by its own worker if that is ready, else by the next one that is.
  private mutating func cover(_ index: Int) -> [MasterAction] {
    let workers = generations[index].terms.workers
    var adopted: [Int: [Int]] = [:]
    var released: [Int: [Int]] = [:]
    for position in generations[index].covers.indices {
      let candidates = (0..<workers).map { (position + $0) % workers }
      guard let wanted = candidates.first(where: { generations[index].slots[$0].phase == .ready }) else { continue }
      let current = generations[index].covers[position]
      if current == wanted { continue }
      generations[index].covers[position] = wanted
      adopted[wanted, default: []].append(position)
      if let current { released[current, default: []].append(position) }
    }
    // Adopt before release: for a moment two may accept on a socket, but never nobody.
    var actions: [MasterAction] = []
    for slot in 0..<workers {
      if let positions = adopted[slot], let worker = generations[index].slots[slot].worker { actions.append(.adopt(worker, positions)) }
    }
    for slot in 0..<workers {
      if let positions = released[slot], let worker = generations[index].slots[slot].worker { actions.append(.release(worker, positions)) }
    }
    return actions
  }

  private mutating func drain(_ index: Int, milliseconds: Int64, _ now: Int64) -> [MasterAction] {
    generations[index].phase = .draining
    generations[index].drainDeadline = now + milliseconds
    return order(index, milliseconds: milliseconds, hurry: false, now)
  }

  private mutating func hurry(_ index: Int, _ now: Int64) -> [MasterAction] {
    generations[index].isHurried = true
    let remaining = max(0, min(Self.hurryTime, generations[index].drainDeadline - now))
    generations[index].drainDeadline = now + remaining
    return order(index, milliseconds: remaining, hurry: true, now)
  }

  private mutating func order(_ index: Int, milliseconds: Int64, hurry: Bool, _ now: Int64) -> [MasterAction] {
    var actions: [MasterAction] = []
    for slot in generations[index].slots.indices {
      generations[index].slots[slot].respawnAt = nil
      guard let worker = generations[index].slots[slot].worker else { continue }
      if generations[index].slots[slot].phase == .starting {
        // It has accepted nothing yet.
        actions.append(.kill(worker))
      } else {
        setKill(index, slot, now + milliseconds + Self.grace)
        actions.append(.drain(worker, milliseconds: Int(milliseconds), hurry: hurry))
      }
      generations[index].slots[slot].phase = .leaving
    }
    return actions
  }

  private mutating func abandon(_ index: Int, _ reason: String, _ now: Int64) -> [MasterAction] {
    generations[index].phase = .abandoned
    var actions = [MasterAction.abandoned(generation: generations[index].number, reason: reason)]
    for slot in generations[index].slots.indices {
      guard let worker = generations[index].slots[slot].worker else { continue }
      generations[index].slots[slot].phase = .leaving
      actions.append(.kill(worker))
    }
    return actions
  }

  /// Ends the change of generations when nobody old accepts any more, or has not said so in time.
  private mutating func settle(_ now: Int64) -> [MasterAction] {
    guard let (generation, deadline) = handover else { return [] }
    let isLate = deadline <= now
    guard isLate || !generations.contains(where: { $0.phase == .draining && $0.isAccepting }) else { return [] }
    handover = nil
    if isLate {
      // Who does not answer now is not waited for again.
      for index in generations.indices where generations[index].phase == .draining {
        for slot in generations[index].slots.indices { generations[index].slots[slot].isAccepting = false }
      }
    }
    return [.settled(generation: generation)]
  }

  /// Forgets generations without processes.
  private mutating func sweep() -> [MasterAction] {
    var actions: [MasterAction] = []
    for generation in generations where generation.isEmpty && (generation.phase == .draining || generation.phase == .abandoned) {
      actions.append(.gone(generation: generation.number))
    }
    generations.removeAll { $0.isEmpty && ($0.phase == .draining || $0.phase == .abandoned) }
    if isStopping, generations.isEmpty, !isFinished {
      isFinished = true
      actions.append(.finished)
    }
    return actions
  }
}
