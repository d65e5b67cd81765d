// Breaker — whether a request may go to its upstream, and what its outcome means for those that follow.
//
// Closed: everything passes, and outcomes are counted: failures in a row, and reports and failures in a window of sixteen cells. Enough
// failures open it. Open: nothing passes until its time is over; the first one that comes then makes it half-open. Half-open: so
// many probes pass, each of which has a word of its own; when all of them have succeeded it closes, when one has failed and none
// is under way it opens again, for twice as long.
//
// Every step is one compare-and-exchange, and everything that a step follows from is still there when whoever should have made it
// was killed: the next one that comes makes it. A probe of a worker that has died is given back by the master, because its word
// says whose it was.

import Plan
import SharedState

/// What came of an attempt.
public enum AttemptOutcome: Equatable, Sendable, BitwiseCopyable {
  case success, failure
  /// It says nothing about the upstream.
  case neutral
}

/// What a request was let through with; its outcome is reported with it.
public struct Admission: Equatable, Sendable, BitwiseCopyable {
  /// Of the breaker.
  public var generation: UInt32 = 0
  /// Which probe it is; -1: none.
  public var probe: Int16 = -1
  /// Index of the upstream.
  public var upstream: Int16 = 0
  /// The row of the endpoint whose breaker has let it through; -1: it was the upstream's.
  public var endpoint: Int32 = -1
  /// It counts as a retry.
  public var isRetry = false
  /// The breaker is told of its outcome.
  public var isReported = false

  public init() {}
}

/// What opened a breaker.
public enum BreakerTrigger: UInt8, Sendable, BitwiseCopyable {
  case consecutive, rate, probe

  public var name: StaticString {
    switch self {
    case .consecutive: "consecutive failures"
    case .rate: "failure rate"
    case .probe: "a failed probe"
    }
  }
}

/// A change of state that was made just now.
public struct BreakerTransition: Equatable, Sendable, BitwiseCopyable {
  public var to: BreakerPhase
  public var trigger = BreakerTrigger.consecutive
  /// Failures, and the reports they are among.
  public var failures: UInt64 = 0
  public var total: UInt64 = 0
  /// Milliseconds that it will be open.
  public var duration: Int64 = 0
}

/// Why a request is not let through.
public enum BreakerRefusal: UInt8, Sendable, BitwiseCopyable {
  case open
  /// All probes are under way, or over.
  case halfOpenFull
  /// A probe has failed; the others are waited for.
  case recoveryFailing
}

public struct BreakerAnswer: Equatable, Sendable, BitwiseCopyable {
  /// Nil: it passes.
  public var refusal: BreakerRefusal?
  public var generation: UInt32 = 0
  public var probe: Int16 = -1
  /// Refused: milliseconds after which it makes sense to ask again.
  public var wait: Int64 = 0
  public var transition: BreakerTransition?
}

/// One breaker: its cells and its settings.
public struct Breaker<Memory: BreakerMemory> {
  public let memory: Memory
  private let streakLimit: UInt64
  private let rate: UInt64
  private let volume: UInt64
  private let probes: UInt64
  private let base: Int64
  private let longest: Int64

  public init(_ memory: Memory, _ plan: BreakerPlan) {
    self.memory = memory
    streakLimit = UInt64(clamping: max(1, plan.consecutiveFailures))
    rate = UInt64(clamping: min(max(0, plan.failureRate), 100))
    volume = UInt64(clamping: max(1, plan.minimumVolume))
    probes = UInt64(min(max(1, plan.probes), BreakerCell.probeLimit))
    base = Int64(min(max(1, plan.baseOpenDuration), 1 << 31))
    longest = Int64(min(max(plan.baseOpenDuration, plan.maxOpenDuration), 1 << 31))
  }

  public var state: BreakerState { BreakerState(word: memory.load(BreakerCell.state)) }

  /// Milliseconds that it is open after `trips` times.
  private func duration(_ trips: UInt64) -> Int64 { min(base << Int64(min(trips, BreakerState.tripLimit)), longest) }

  // MARK: Admission

  /// Whether a request may pass.
  /// - Parameters:
  ///   - row: of the worker that asks.
  ///   - now: milliseconds of the monotonic clock.
  @inline(__always)
  public func admit(row: Int, now: Int64) -> BreakerAnswer {
    let word = memory.load(BreakerCell.state)
    if BreakerState.isClosed(word) { return BreakerAnswer(refusal: nil, generation: UInt32(truncatingIfNeeded: BreakerState.generation(in: word))) }
    return admitElse(row, now)
  }

  @inline(never)
  private func admitElse(_ row: Int, _ now: Int64) -> BreakerAnswer {
    var transition: BreakerTransition?
    // Each failed exchange is another process's success; nobody loses a thousand times in a row.
    for _ in 0..<1000 {
      let state = state
      switch state.phase {
      case .closed: return BreakerAnswer(refusal: nil, generation: UInt32(truncatingIfNeeded: state.generation), transition: transition)
      case .open:
        let wait = state.wait(from: now)
        guard wait <= 0, !state.isHeld else {
          return BreakerAnswer(refusal: .open, generation: UInt32(truncatingIfNeeded: state.generation), wait: state.isHeld ? longest : wait, transition: transition)
        }
        if change(state, to: state.next(.halfOpen, trips: state.trips, payload: probes)) { transition = BreakerTransition(to: .halfOpen) }
      case .halfOpen:
        let tally = tally(state)
        if let made = settle(state, tally, now) {
          transition = made
          continue
        }
        guard tally.failed == 0, let free = tally.free else {
          return BreakerAnswer(
            refusal: tally.failed > 0 ? .recoveryFailing : .halfOpenFull, generation: UInt32(truncatingIfNeeded: state.generation), wait: duration(state.trips),
            transition: transition)
        }
        let cell = BreakerCell.probes + free.place
        let mine = ProbeCell(generation: state.generation, outcome: .held, row: row)
        guard memory.exchange(cell, expected: free.word, desired: mine.word) else { continue }
        return BreakerAnswer(
          refusal: nil, generation: UInt32(truncatingIfNeeded: state.generation), probe: Int16(truncatingIfNeeded: free.place), transition: transition)
      }
    }
    return BreakerAnswer(refusal: .open, wait: base, transition: transition)
  }

  /// Whether a request would be refused at once. Nothing is changed, and no probe taken.
  public func refuses(now: Int64) -> Int64? {
    let state = state
    guard state.phase == .open, state.isHeld || state.wait(from: now) > 0 else { return nil }
    return state.isHeld ? longest : state.wait(from: now)
  }

  // MARK: Report

  /// Takes the outcome of what was let through with `admission`. What is of another generation than the one at hand changes nothing.
  /// - Parameter microseconds: of the monotonic clock.
  @inline(__always)
  public func report(_ admission: Admission, _ outcome: AttemptOutcome, row: Int, microseconds: Int64) -> BreakerTransition? {
    isCounted(admission, outcome, microseconds) ? nil : reportElse(admission, outcome, row, microseconds)
  }

  /// Takes a success at a breaker that is closed and has not seen a failure for as long as it looks back: it is counted, and nothing follows.
  /// False: it is something else.
  @inline(__always)
  private func isCounted(_ admission: Admission, _ outcome: AttemptOutcome, _ microseconds: Int64) -> Bool {
    let word = memory.load(BreakerCell.state), generation = BreakerState.generation(in: word)
    guard admission.probe < 0, outcome == .success, BreakerState.isClosed(word), generation == UInt64(admission.generation), rate > 0,
      memory.load(BreakerCell.streak) & 0xffff_ffff == 0
    else { return false }
    let width = min(max(1, Int64(clamping: memory.load(BreakerCell.width))), 1 << 40), span = width &* Int64(BreakerCell.windowCount)
    let last = Int64(bitPattern: memory.load(BreakerCell.reportedAt))
    guard microseconds &- last <= span, microseconds &- Int64(bitPattern: memory.load(BreakerCell.failedAt)) > span else { return false }
    let stretch = UInt64(bitPattern: microseconds / width)
    let place = BreakerCell.window + Int(truncatingIfNeeded: stretch & UInt64(BreakerCell.windowCount - 1))
    let cell = WindowCell(word: memory.load(place))
    guard cell.owner == WindowCell.owner(stretch: stretch, generation: generation) else { return false }
    if microseconds > last { memory.store(BreakerCell.reportedAt, UInt64(bitPattern: microseconds)) }
    return memory.exchange(place, expected: cell.word, desired: cell.adding(isFailure: false).word)
  }

  @inline(never)
  private func reportElse(_ admission: Admission, _ outcome: AttemptOutcome, _ row: Int, _ microseconds: Int64) -> BreakerTransition? {
    if admission.probe >= 0 { return endProbe(admission, outcome, row, microseconds / 1000) }
    guard outcome != .neutral else { return nil }
    let word = memory.load(BreakerCell.state)
    let generation = BreakerState.generation(in: word)
    guard BreakerState.isClosed(word), generation == UInt64(admission.generation) else { return nil }
    let last = Int64(bitPattern: memory.load(BreakerCell.reportedAt))
    let width = min(max(1, Int64(clamping: memory.load(BreakerCell.width))), 1 << 40)
    let span = width &* Int64(BreakerCell.windowCount)
    // After a pause the cells are of times that could, one day, be mistaken for others.
    if microseconds &- last > span { clearWindow() }
    if microseconds > last { memory.store(BreakerCell.reportedAt, UInt64(bitPattern: microseconds)) }
    let stretch = UInt64(bitPattern: microseconds / width)
    let isFailure = outcome == .failure
    if isFailure { memory.store(BreakerCell.failedAt, UInt64(bitPattern: microseconds)) }
    add(stretch, generation, isFailure: isFailure)
    let streak = memory.load(BreakerCell.streak)
    if isFailure || streak & 0xffff_ffff != 0 {
      let count = extendStreak(generation, isFailure: isFailure)
      if count >= streakLimit { return trip(word, .consecutive, failures: count, total: count, microseconds / 1000) }
    }
    // Without a failure in the window there is no rate of them.
    guard isFailure || rate == 0 || microseconds &- Int64(bitPattern: memory.load(BreakerCell.failedAt)) <= span else { return nil }
    return judge(word, stretch, generation, microseconds / 1000)
  }

  @inline(__always)
  private func add(_ stretch: UInt64, _ generation: UInt64, isFailure: Bool) {
    let place = BreakerCell.window + Int(truncatingIfNeeded: stretch & UInt64(BreakerCell.windowCount - 1))
    let owner = WindowCell.owner(stretch: stretch, generation: generation)
    for _ in 0..<1000 {
      let cell = WindowCell(word: memory.load(place))
      let desired = cell.owner == owner ? cell.adding(isFailure: isFailure) : WindowCell(owner: owner, total: 1, failures: isFailure ? 1 : 0)
      if cell.owner != owner {
        // Whoever was held up since it looked at the state, or at the clock, must not take the place of what came later.
        guard BreakerState.generation(in: memory.load(BreakerCell.state)) == generation else { return }
        let isLater = cell.owner >> 16 == generation & 15 && (cell.owner &- stretch) & 0xffff < 0x8000
        if isLater, cell.word != 0 { return }
      }
      if memory.exchange(place, expected: cell.word, desired: desired.word) { return }
    }
  }

  @inline(never)
  private func clearWindow() {
    for place in BreakerCell.window..<BreakerCell.window + BreakerCell.windowCount {
      let word = memory.load(place)
      if word != 0 { _ = memory.exchange(place, expected: word, desired: 0) }
    }
  }

  /// One failure more in a row, or the end of the row. Returns how many there are.
  @inline(never)
  private func extendStreak(_ generation: UInt64, isFailure: Bool) -> UInt64 {
    for _ in 0..<1000 {
      let word = memory.load(BreakerCell.streak)
      let streak = StreakCell(word: word)
      let count = isFailure ? (streak.generation == generation ? min(streak.count + 1, 0xffff_ffff) : 1) : 0
      if streak.generation != generation {
        // It is of the past, or this process is.
        guard isFailure, BreakerState.generation(in: memory.load(BreakerCell.state)) == generation else { return 0 }
      }
      if memory.exchange(BreakerCell.streak, expected: word, desired: StreakCell(generation: generation, count: count).word) { return count }
    }
    return 0
  }

  /// Opens the breaker if too many of the reports in the window are failures.
  @inline(never)
  private func judge(_ word: UInt64, _ stretch: UInt64, _ generation: UInt64, _ now: Int64) -> BreakerTransition? {
    let (total, failures) = count(stretch, generation)
    guard total >= volume, failures * 100 >= rate * total else { return nil }
    return trip(word, .rate, failures: failures, total: total, now)
  }

  private func count(_ stretch: UInt64, _ generation: UInt64) -> (total: UInt64, failures: UInt64) {
    var total: UInt64 = 0, failures: UInt64 = 0
    for place in BreakerCell.window..<BreakerCell.window + BreakerCell.windowCount {
      let cell = WindowCell(word: memory.load(place))
      guard cell.owner >> 16 == generation & 15, (stretch &- cell.owner) & 0xffff < UInt64(BreakerCell.windowCount) else { continue }
      total += cell.total
      failures += cell.failures
    }
    return (total, failures)
  }

  private func trip(_ word: UInt64, _ trigger: BreakerTrigger, failures: UInt64, total: UInt64, _ now: Int64) -> BreakerTransition? {
    open(BreakerState(word: word), trigger, failures: failures, total: total, now)
  }

  private func open(_ state: BreakerState, _ trigger: BreakerTrigger, failures: UInt64, total: UInt64, _ now: Int64) -> BreakerTransition? {
    let time = duration(state.trips)
    let next = state.next(.open, trips: state.trips + 1, payload: UInt64(bitPattern: now &+ time))
    guard change(state, to: next) else { return nil }
    return BreakerTransition(to: .open, trigger: trigger, failures: failures, total: total, duration: time)
  }

  // MARK: Probes

  private struct Tally {
    var held = 0, succeeded = 0, failed = 0
    /// The first place nobody has.
    var free: (place: Int, word: UInt64)?
  }

  private func tally(_ state: BreakerState) -> Tally {
    var tally = Tally()
    for place in 0..<state.probes {
      let word = memory.load(BreakerCell.probes + place)
      let cell = ProbeCell(word: word)
      switch cell.generation == state.generation ? cell.outcome : .free {
      case .free: if tally.free == nil { tally.free = (place, word) }
      case .held: tally.held += 1
      case .succeeded: tally.succeeded += 1
      case .failed: tally.failed += 1
      }
    }
    return tally
  }

  /// Makes the step that follows from the probes, if one does.
  private func settle(_ state: BreakerState, _ tally: Tally, _ now: Int64) -> BreakerTransition? {
    if tally.failed > 0, tally.held == 0 {
      return open(state, .probe, failures: UInt64(tally.failed), total: UInt64(tally.failed + tally.succeeded), now)
    }
    guard tally.succeeded == state.probes, change(state, to: state.next(.closed, trips: 0, payload: 0)) else { return nil }
    return BreakerTransition(to: .closed, total: UInt64(tally.succeeded))
  }

  @inline(never)
  private func endProbe(_ admission: Admission, _ outcome: AttemptOutcome, _ row: Int, _ now: Int64) -> BreakerTransition? {
    let place = Int(admission.probe)
    guard place < BreakerCell.probeLimit else { return nil }
    let generation = UInt64(admission.generation)
    let mine = ProbeCell(generation: generation, outcome: .held, row: row)
    let over: UInt64
    switch outcome {
    case .neutral: over = 0
    case .success: over = ProbeCell(generation: generation, outcome: .succeeded, row: row).word
    case .failure: over = ProbeCell(generation: generation, outcome: .failed, row: row).word
    }
    guard memory.exchange(BreakerCell.probes + place, expected: mine.word, desired: over) else { return nil }
    return settleProbes(now: now)
  }

  /// Makes the step that the probes call for; after one of them has ended.
  private func settleProbes(now: Int64) -> BreakerTransition? {
    let state = state
    guard state.phase == .halfOpen else { return nil }
    return settle(state, tally(state), now)
  }

  /// The worker of `row` has died: gives back its probes.
  public func release(row: Int, now: Int64) -> BreakerTransition? {
    let state = state
    guard state.phase == .halfOpen else { return nil }
    for place in 0..<state.probes {
      let word = memory.load(BreakerCell.probes + place)
      let cell = ProbeCell(word: word)
      guard cell.generation == state.generation, cell.outcome == .held, cell.row == UInt64(truncatingIfNeeded: row) & 0xffff else { continue }
      _ = memory.exchange(BreakerCell.probes + place, expected: word, desired: 0)
    }
    return settleProbes(now: now)
  }

  // MARK: Operators

  /// Holds it open, or closed, until it is reset; or lets it go, closed and with nothing counted. True when that changed something.
  public func order(_ order: BreakerOrder) -> Bool {
    for _ in 0..<1000 {
      let state = state
      let next: BreakerState
      switch order {
      case .open: next = state.next(.open, trips: state.trips, payload: 0, isHeld: true)
      case .close: next = state.next(.closed, trips: 0, payload: 0, isHeld: true)
      case .reset: next = state.next(.closed, trips: 0, payload: 0)
      }
      if order != .reset, state.isHeld, state.phase == next.phase { return false }
      if change(state, to: next) { return true }
    }
    return false
  }

  /// Changes the length of the window; what was counted is dropped.
  public func setWindow(milliseconds: Int) {
    let width = UInt64(max(1, milliseconds) * 1000 / BreakerCell.windowCount)
    guard memory.load(BreakerCell.width) != width else { return }
    memory.store(BreakerCell.width, width)
    clearWindow()
    // Those who have read the old width are of the generation before.
    for _ in 0..<1000 {
      let state = state
      var next = state
      next.generation = (state.generation &+ 1) & BreakerState.generationMask
      if change(state, to: next) { return }
    }
  }

  // MARK: Looking

  /// What is in the window now, and how many failures there were in a row.
  public func counts(microseconds: Int64) -> (total: UInt64, failures: UInt64, streak: UInt64) {
    let generation = state.generation
    let width = min(max(1, Int64(clamping: memory.load(BreakerCell.width))), 1 << 40)
    let isRecent = microseconds &- Int64(bitPattern: memory.load(BreakerCell.reportedAt)) <= width * Int64(BreakerCell.windowCount)
    let counted = isRecent ? count(UInt64(bitPattern: microseconds / width), generation) : (0, 0)
    let streak = StreakCell(word: memory.load(BreakerCell.streak))
    return (counted.0, counted.1, streak.generation == generation ? streak.count : 0)
  }

  /// What has become of the probes of a breaker that is half-open.
  public var probesNow: (held: Int, succeeded: Int, failed: Int) {
    let state = state
    guard state.phase == .halfOpen else { return (0, 0, 0) }
    let tally = tally(state)
    return (tally.held, tally.succeeded, tally.failed)
  }

  private func change(_ state: BreakerState, to next: BreakerState) -> Bool {
    memory.exchange(BreakerCell.state, expected: state.word, desired: next.word)
  }
}

extension Breaker where Memory == BreakerCells {
  /// `admit`, made for the shared cells: one call for those who are in other modules.
  public func ask(row: Int, now: Int64) -> BreakerAnswer { admit(row: row, now: now) }

  /// `report`, likewise.
  public func tell(_ admission: Admission, _ outcome: AttemptOutcome, row: Int, microseconds: Int64) -> BreakerTransition? {
    report(admission, outcome, row: row, microseconds: microseconds)
  }
}

extension Breaker where Memory == EndpointBreakerCells {
  public func ask(row: Int, now: Int64) -> BreakerAnswer { admit(row: row, now: now) }

  public func tell(_ admission: Admission, _ outcome: AttemptOutcome, row: Int, microseconds: Int64) -> BreakerTransition? {
    report(admission, outcome, row: row, microseconds: microseconds)
  }
}

extension Breaker: BitwiseCopyable where Memory: BitwiseCopyable {}
extension Breaker: Sendable where Memory: Sendable {}

/// What an operator may want of a breaker.
public enum BreakerOrder: String, Sendable, CaseIterable { case open, close, reset }
