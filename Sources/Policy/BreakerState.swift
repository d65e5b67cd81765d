// BreakerState — what the words of a BreakerTable's entry mean.
//
// The state is one word: who holds it (the operator or nobody), closed, open or half-open, a generation that every change of state moves
// on, how often it was opened without having been closed, and until when it is open (or, half-open, how many probes are let
// through). Everything else bears the generation it is of, so that nothing has to be cleared when the state changes, and a
// word that somebody writes late is not of the generation at hand.

import SharedState

/// What a breaker lets through.
public enum BreakerPhase: UInt8, Sendable, BitwiseCopyable {
  /// Everything.
  case closed
  /// Nothing.
  case open
  /// A few requests that show whether the upstream has recovered.
  case halfOpen

  public var name: StaticString {
    switch self {
    case .closed: "closed"
    case .open: "open"
    case .halfOpen: "half_open"
    }
  }
}

/// The state word, taken apart.
public struct BreakerState: Equatable, Sendable, BitwiseCopyable {
  public static var generationMask: UInt64 { 1 << 20 - 1 }
  /// Milliseconds of a clock that has run for more than a year are not mistaken.
  static var timeMask: UInt64 { 1 << 36 - 1 }
  static var tripLimit: UInt64 { 30 }

  public var isHeld: Bool
  public var phase: BreakerPhase
  public var generation: UInt64
  /// How often it was opened without having been closed, at most 30.
  public var trips: UInt64
  /// Open: milliseconds of the monotonic clock until which it is. Half-open: the probes.
  public var payload: UInt64

  public init(isHeld: Bool = false, phase: BreakerPhase = .closed, generation: UInt64 = 0, trips: UInt64 = 0, payload: UInt64 = 0) {
    self.isHeld = isHeld
    self.phase = phase
    self.generation = generation & Self.generationMask
    self.trips = min(trips, Self.tripLimit)
    self.payload = payload & Self.timeMask
  }

  @inline(__always)
  public init(word: UInt64) {
    isHeld = word >> 63 != 0
    phase = BreakerPhase(rawValue: UInt8(truncatingIfNeeded: word >> 61 & 3)) ?? .closed
    generation = Self.generation(in: word)
    trips = min(word >> 36 & 31, Self.tripLimit)
    payload = word & Self.timeMask
  }

  public var word: UInt64 { (isHeld ? 1 << 63 : 0) | UInt64(phase.rawValue) << 61 | generation << 41 | trips << 36 | payload }

  @inline(__always)
  static func generation(in word: UInt64) -> UInt64 { word >> 41 & generationMask }

  /// Whether the word is that of a breaker that is closed, and held by nobody.
  @inline(__always)
  static func isClosed(_ word: UInt64) -> Bool { word >> 61 == 0 }

  /// Milliseconds from `now` until it may be asked again; not positive: that time has come.
  public func wait(from now: Int64) -> Int64 {
    let difference = (payload &- UInt64(bitPattern: now)) & Self.timeMask
    return Int64(bitPattern: difference << 28) >> 28
  }

  /// The probes that are let through.
  public var probes: Int { min(max(1, Int(payload)), BreakerCell.probeLimit) }

  /// The state that follows, of the next generation.
  func next(_ phase: BreakerPhase, trips: UInt64, payload: UInt64, isHeld: Bool = false) -> BreakerState {
    BreakerState(isHeld: isHeld, phase: phase, generation: generation &+ 1, trips: trips, payload: payload)
  }
}

/// A cell of the window: how many reports of one generation there were in one stretch of time, and how many of them were failures.
struct WindowCell: BitwiseCopyable {
  private static var countMask: UInt64 { 1 << 22 - 1 }

  var word: UInt64

  @inline(__always)
  init(word: UInt64) { self.word = word }

  /// Whose it is: the stretch and the generation, as far as the word holds them.
  @inline(__always)
  static func owner(stretch: UInt64, generation: UInt64) -> UInt64 { (generation & 15) << 16 | stretch & 0xffff }

  @inline(__always)
  init(owner: UInt64, total: UInt64, failures: UInt64) { word = owner << 44 | total << 22 | failures }

  @inline(__always) var owner: UInt64 { word >> 44 }
  @inline(__always) var total: UInt64 { word >> 22 & Self.countMask }
  @inline(__always) var failures: UInt64 { word & Self.countMask }

  /// One report more. A cell that is full keeps the proportion.
  @inline(__always)
  func adding(isFailure: Bool) -> WindowCell {
    let failure: UInt64 = isFailure ? 1 : 0
    guard total < Self.countMask else { return WindowCell(owner: owner, total: total / 2 + 1, failures: failures / 2 + failure) }
    return WindowCell(word: word &+ (1 << 22) &+ failure)
  }
}

/// Failures in a row, of one generation.
struct StreakCell: BitwiseCopyable {
  var generation: UInt64
  var count: UInt64

  init(generation: UInt64, count: UInt64) {
    self.generation = generation
    self.count = count
  }

  @inline(__always)
  init(word: UInt64) {
    generation = word >> 32 & BreakerState.generationMask
    count = word & 0xffff_ffff
  }

  var word: UInt64 { generation << 32 | count }
}

/// The place of a probe: whose it is, and what came of it. Of another generation than the one at hand it is free.
struct ProbeCell: BitwiseCopyable {
  enum Outcome: UInt64 { case free, held, succeeded, failed }

  var generation: UInt64
  var outcome: Outcome
  /// The row of the worker that has it.
  var row: UInt64

  init(generation: UInt64, outcome: Outcome, row: Int) {
    self.generation = generation
    self.outcome = outcome
    self.row = UInt64(truncatingIfNeeded: row) & 0xffff
  }

  init(word: UInt64) {
    generation = word >> 32 & BreakerState.generationMask
    outcome = Outcome(rawValue: word >> 16 & 3) ?? .free
    row = word & 0xffff
  }

  var word: UInt64 { generation << 32 | outcome.rawValue << 16 | row }
}
