// Hedging — a request whose answer is slow in coming is sent a second time while the first is still under way; the first answer wins.
//
// An exchange has one connection, and everything works on that. With hedging it may have others beside it, its *legs*: when something
// happens on one of these, the two change places first (`focus`), so that no other step has to know. Invariant: when the final
// response's head is acted on, there are no legs any more.

import HTTPModel
import Memory
import Plan
import Policy
import SharedState
import Upstream

/// A connection on which an exchange waits for an answer besides its own.
struct Leg: BitwiseCopyable {
  /// Legs at the same time.
  static var limit: Int { 3 }

  var backend = Handle(index: .max, generation: 0)
  /// As in `Recovery`.
  var attemptStart: Int64 = 0
  var address: Int32 = -1
  var pool: Int32 = -1
  /// It is not the one that was begun with.
  var isHedge = false
  /// What it was let through with; nil: there is no guard, or it has been reported.
  var admission: Admission?
}

extension Gateway {
  /// Something has happened on `backend`, which may be a leg of the exchange: it becomes the exchange's connection.
  @inline(__always)
  mutating func focus(_ exchange: Handle, _ backend: Handle) {
    if hedges { turn(exchange, to: backend) }
  }

  @inline(never)
  private mutating func turn(_ exchange: Handle, to backend: Handle) {
    guard exchanges[exchange].backend != backend, let recovery = exchanges[exchange].recovery else { return }
    for index in 0..<recoveries[recovery].legCount where recoveries[recovery].legs[index].backend == backend {
      let current = exchanges[exchange].backend
      take(recoveries[recovery].legs[index], exchange, recovery, leaving: current, in: index)
      return
    }
  }

  /// Makes `leg` the exchange's connection, and leaves `current` in its place.
  private mutating func take(_ leg: Leg, _ exchange: Handle, _ recovery: Handle, leaving current: Handle?, in index: Int) {
    if let current {
      recoveries[recovery].legs[index] = recoveries[recovery].leg(current, admission(of: exchange))
    } else {
      recoveries[recovery].legCount -= 1
      recoveries[recovery].legs[index] = recoveries[recovery].legs[recoveries[recovery].legCount]
    }
    recoveries[recovery].attemptStart = leg.attemptStart
    recoveries[recovery].address = leg.address
    recoveries[recovery].pool = leg.pool
    recoveries[recovery].isHedge = leg.isHedge
    exchanges[exchange].backend = leg.backend
    exchanges[exchange].pool = Int32(truncatingIfNeeded: backends.connections[leg.backend].pool)
    resume(leg.admission, exchange)
  }

  private mutating func admission(of exchange: Handle) -> Admission? {
    exchanges[exchange].flags.contains(.guarded) ? exchanges[exchange].admission : nil
  }

  /// Makes `admission` that of the attempt under way.
  private mutating func resume(_ admission: Admission?, _ exchange: Handle) {
    guard let admission else { return exchanges[exchange].flags.subtract(.guarded) }
    exchanges[exchange].admission = admission
    exchanges[exchange].flags.insert(.guarded)
  }

  // MARK: Beginning

  /// Whether a request may be under way twice: its method is idempotent, and there is no body to be sent twice.
  mutating func mayHedge(_ exchange: Handle) -> Bool {
    exchanges[exchange].head.body == .none && exchanges[exchange].head.method.isIdempotent
      && exchanges[exchange].flags.isDisjoint(with: .upgrading) && !exchanges[exchange].head.flags.contains(.extendedConnect)
  }

  /// The request has been sent: sets the time at which it is sent once more.
  mutating func scheduleHedge(_ exchange: Handle, _ recovery: Handle) {
    let plan = actions.forwards[Int(exchanges[exchange].rule)].plan
    guard plan.hedgeDelay > 0, Int(recoveries[recovery].hedges) < plan.hedgeLimit, mayHedge(exchange) else { return }
    recoveries[recovery].hedgeAt = services.now + Int64(plan.hedgeDelay)
    armExchangeTimer(exchange)
  }

  /// Sends the request once more, if there is a connection for it at once.
  mutating func hedge(_ exchange: Handle, _ recovery: Handle) {
    recoveries[recovery].hedgeAt = 0
    guard let current = exchanges[exchange].backend, recoveries[recovery].legCount < Leg.limit, !drain.isOver,
      case let pool = Int(backends.connections[current].pool), backends.hasRoom(pool) || seeksStreams(pool)
    else { return }
    let admission = guards.isActive ? admitLeg(exchange) : nil
    if guards.isActive, admission == nil { return }
    counters.add(.upstreamHedges)
    recoveries[recovery].legs[recoveries[recovery].legCount] = recoveries[recovery].leg(current, self.admission(of: exchange))
    recoveries[recovery].legCount += 1
    recoveries[recovery].hedges += 1
    recoveries[recovery].isHedge = true
    recoveries[recovery].attemptStart = max(1, services.nowMicroseconds)
    recoveries[recovery].address = -1
    recoveries[recovery].pool = -1
    exchanges[exchange].flags.insert(.hedged)
    exchanges[exchange].backend = nil
    if guards.isActive { resume(guards.place(Int(exchanges[exchange].upstream)) == nil ? nil : admission, exchange) }
    seekBackend(exchange)
  }

  // MARK: Ending

  /// The exchange's own connection has failed. True when it goes on with another.
  mutating func goesOnWithLeg(_ exchange: Handle, _ fault: Fault) -> Bool {
    guard let recovery = exchanges[exchange].recovery, recoveries[recovery].legCount > 0 else { return false }
    endAttempt(exchange, fault, 0)
    reportAttempt(exchange, fault, 0)
    leaveBackend(exchange, isReusable: false)
    let index = recoveries[recovery].legCount - 1
    take(recoveries[recovery].legs[index], exchange, recovery, leaving: nil, in: index)
    let upstream = Int(exchanges[exchange].upstream)
    if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
    return true
  }

  /// The answer has come, or nobody waits for it: the other connections are closed, so that their backends see it.
  @inline(never)
  mutating func settleHedge(_ exchange: Handle, hasAnswer: Bool) {
    exchanges[exchange].flags.remove(.hedged)
    guard let recovery = exchanges[exchange].recovery else { return }
    if hasAnswer, recoveries[recovery].isHedge { counters.add(.upstreamHedgesWon) }
    if exchanges[exchange].flags.contains(.waiting) { leaveQueue(exchange) }
    let hadLegs = recoveries[recovery].legCount > 0
    closeLegs(recovery)
    let upstream = Int(exchanges[exchange].upstream)
    if hadLegs, backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// Closes the connections that a recovery still has.
  mutating func closeLegs(_ recovery: Handle) {
    while recoveries[recovery].legCount > 0 {
      recoveries[recovery].legCount -= 1
      let leg = recoveries[recovery].legs[recoveries[recovery].legCount]
      recoveries[recovery].note(
        EndedAttempt(address: leg.address, pool: leg.pool, duration: max(0, services.nowMicroseconds - leg.attemptStart)))
      if let admission = leg.admission { end(admission, .neutral) }
      if backends.connections.contains(leg.backend) { closeBackend(leg.backend) }
    }
  }
}
