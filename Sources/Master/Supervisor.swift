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
  static let stopNowGrace: Int64 = 2_000
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

  var generations: [Generation] = []
  var nextWorker = 1
  public internal(set) var isStopping = false
  var isFinished = false
  /// The generation that serves while the one before it still lets go of the sockets, and until when that is waited for.
  var handover: (generation: UInt64, deadline: Int64)?

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
}
