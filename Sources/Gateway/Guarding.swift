// Guarding — each attempt at an upstream asks its breaker first, and reports to it in the end; retries ask the budget as well.
//
// Invariants: an exchange with the flag `.guarded` has an attempt under way that was let through and is not reported yet, in
// `admission`; every attempt ends in exactly one report. Those of its legs are kept with them (Hedging).

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  // MARK: Asking

  /// Asks whether an attempt may be made. False: it may not, and the exchange has failed.
  @inline(never)
  mutating func admitAttempt(_ exchange: Handle, isRetry: Bool) -> Bool {
    let upstream = Int(exchanges[exchange].upstream)
    guard let place = guards.place(upstream) else { return true }
    let answer = guards.guards[place].breaker.ask(row: guards.row, now: services.now)
    if let transition = answer.transition { tell(transition, upstream) }
    if answer.refusal != nil, refuse(answer, place, upstream) {
      fail(exchange, .circuitOpen)
      return false
    }
    var admission = Admission()
    admission.upstream = Int16(truncatingIfNeeded: upstream)
    admission.generation = answer.generation
    admission.probe = answer.probe
    admission.isRetry = isRetry
    admission.isReported = answer.refusal == nil && !guards.guards[place].guardsEndpoints
    guards.guards[place].breaker.memory.beginAttempt(isRetry: isRetry)
    if isRetry, exceedsBudget(place) {
      end(admission, .neutral)
      fail(exchange, .retryBudgetExhausted)
      return false
    }
    if guards.boundsRequests, isCrowded(place) {
      end(admission, .neutral)
      fail(exchange, .upstreamOverloaded)
      return false
    }
    exchanges[exchange].admission = admission
    exchanges[exchange].flags.insert(.guarded)
    return true
  }

  /// Whether more requests are under way than may be, the one that asks counted.
  private mutating func isCrowded(_ place: Int) -> Bool {
    let limit = guards.guards[place].requestLimit, isAdaptive = guards.guards[place].isAdaptive
    guard limit > 0 || isAdaptive else { return false }
    let count = guards.guards[place].breaker.memory.underWay().attempts
    guard limit > 0 && count > limit || isAdaptive && count > guards.guards[place].concurrency.limit else { return false }
    guards.guards[place].breaker.memory.count(.crowdRefused)
    counters.add(.crowdRefusals)
    return !guards.guards[place].isDryRun
  }

  /// An exchange is about to wait for a connection. False: as many wait as may.
  mutating func admitWaiting(_ upstream: Int) -> Bool {
    guard let place = guards.place(upstream) else { return true }
    guards.guards[place].breaker.memory.beginWaiting()
    let limit = guards.guards[place].pendingLimit
    guard limit > 0, guards.guards[place].breaker.memory.underWay().waiting > limit else { return true }
    guards.guards[place].breaker.memory.count(.queueRefused)
    counters.add(.pendingRefusals)
    if guards.guards[place].isDryRun { return true }
    guards.guards[place].breaker.memory.endWaiting()
    return false
  }

  mutating func endWaiting(_ upstream: Int) {
    if let place = guards.place(upstream) { guards.guards[place].breaker.memory.endWaiting() }
  }

  /// Whether a request would be refused, before its body is collected. If so, the exchange has failed.
  mutating func isRefusedEarly(_ exchange: Handle) -> Bool {
    let upstream = Int(exchanges[exchange].upstream)
    guard let place = guards.place(upstream), !guards.guards[place].isDryRun, let wait = guards.guards[place].breaker.refuses(now: services.now) else { return false }
    guards.guards[place].breaker.memory.count(.refused)
    counters.add(.breakerRefusals)
    services.guardNote = GuardNote(upstream: Int32(upstream), wait: wait)
    fail(exchange, .circuitOpen)
    return true
  }

  /// Asks for one attempt more beside the one under way. Nil: it is not made.
  mutating func admitLeg(_ exchange: Handle) -> Admission? {
    let upstream = Int(exchanges[exchange].upstream)
    guard let place = guards.place(upstream) else { return Admission() }
    // Half-open, one probe for a request is enough.
    guard guards.guards[place].breaker.state.phase == .closed else { return nil }
    let answer = guards.guards[place].breaker.ask(row: guards.row, now: services.now)
    if let transition = answer.transition { tell(transition, upstream) }
    guard answer.refusal == nil else { return nil }
    var admission = Admission()
    admission.upstream = Int16(truncatingIfNeeded: upstream)
    admission.generation = answer.generation
    admission.probe = answer.probe
    admission.isRetry = true
    admission.isReported = !guards.guards[place].guardsEndpoints
    guards.guards[place].breaker.memory.beginAttempt(isRetry: true)
    guard !exceedsBudget(place) else {
      end(admission, .neutral)
      return nil
    }
    return admission
  }

  /// Counts a refusal, and says whether it is one: not in a dry run.
  private mutating func refuse(_ answer: BreakerAnswer, _ place: Int, _ upstream: Int) -> Bool {
    let isDryRun = guards.guards[place].isDryRun
    guards.guards[place].breaker.memory.count(isDryRun ? .spared : .refused)
    counters.add(isDryRun ? .breakerSpared : .breakerRefusals)
    services.guardNote = GuardNote(upstream: Int32(upstream), wait: answer.wait, isHalfOpen: answer.refusal != .open)
    // The first of each time that it is open.
    if guards.guards[place].loggedGeneration != answer.generation {
      guards.guards[place].loggedGeneration = answer.generation
      let name = plan.upstreams[upstream].name
      log.write(.info, isDryRun ? "upstream \(name): circuit breaker: a request would have been refused (dry run)" : "upstream \(name): circuit breaker: requests are refused")
    }
    return !isDryRun
  }

  /// Whether a retry, which is counted already, is one too many.
  private mutating func exceedsBudget(_ place: Int) -> Bool {
    var load = guards.guards[place].breaker.memory.underWay()
    load.attempts -= min(1, load.attempts)
    load.retries -= min(1, load.retries)
    guard !guards.guards[place].budget.admits(load) else { return false }
    let isDryRun = guards.guards[place].isDryRun
    guards.guards[place].breaker.memory.count(isDryRun ? .budgetSpared : .budgetRefused)
    counters.add(isDryRun ? .retryBudgetSpared : .retryBudgetRefusals)
    let upstream = guards.upstreams[place]
    if isDryRun {
      log.write(.info, key: EventKey("retry budget", upstream), "upstream \(plan.upstreams[upstream].name): a retry would have been refused (dry run)")
    }
    return !isDryRun
  }

  // MARK: Reporting

  /// The attempt under way has ended with what the exchange has to show.
  @inline(never)
  mutating func reportAttempt(_ exchange: Handle) { reportAttempt(exchange, exchanges[exchange].fault, exchanges[exchange].status) }

  /// The attempt under way has ended.
  mutating func reportAttempt(_ exchange: Handle, _ fault: Fault, _ status: UInt16) {
    guard exchanges[exchange].flags.contains(.guarded) else { return }
    exchanges[exchange].flags.remove(.guarded)
    let isAwaited = exchanges[exchange].flags.contains(.requestComplete) && !exchanges[exchange].flags.contains(.hasHead)
    var outcome = AttemptOutcome(fault, status: status, isBackendAwaited: isAwaited)
    if guards.isAdaptive, outcome != .neutral { observe(exchange, hasFailed: fault != .none) }
    if outcome == .success, status == 200, exchanges[exchange].flags.contains(.grpc) { outcome = AttemptOutcome(callStatus: exchanges[exchange].callStatus) }
    end(exchanges[exchange].admission, outcome)
  }

  /// Lets the limit of requests under way learn from how long the attempt has taken.
  private mutating func observe(_ exchange: Handle, hasFailed: Bool) {
    guard let place = guards.place(Int(exchanges[exchange].upstream)), guards.guards[place].isAdaptive else { return }
    let latency = exchanges[exchange].headAt
    guards.guards[place].concurrency.observe(
      latency: hasFailed || latency < 0 ? nil : latency, underWay: guards.guards[place].breaker.memory.underWay().attempts, now: services.nowMicroseconds)
  }

  /// The attempt has done what it was made for, though the exchange goes on.
  @inline(never)
  mutating func reportSuccess(_ exchange: Handle) { reportAttempt(exchange, .none, 200) }

  mutating func end(_ admission: Admission, _ outcome: AttemptOutcome) {
    let upstream = Int(admission.upstream)
    guard let place = guards.place(upstream) else { return }
    guards.guards[place].breaker.memory.endAttempt(isRetry: admission.isRetry)
    guard admission.isReported else {
      if admission.endpoint >= 0 { endAtEndpoint(admission, outcome) }
      return
    }
    if let transition = guards.guards[place].breaker.tell(admission, outcome, row: guards.row, microseconds: services.nowMicroseconds) {
      tell(transition, upstream)
    }
  }

  /// Writes down what this worker has brought about, and lets all others know.
  @inline(never)
  private mutating func tell(_ transition: BreakerTransition, _ upstream: Int) {
    guard let place = guards.place(upstream) else { return }
    let name = plan.upstreams[upstream].name, host = "\(plan.upstreams[upstream].host):\(plan.upstreams[upstream].port)"
    let dryRun = guards.guards[place].isDryRun ? " (dry run)" : ""
    switch transition.to {
    case .open:
      guards.guards[place].breaker.memory.count(.opened)
      counters.add(.breakerTrips)
      log.write(
        .warn,
        "upstream \(name) (\(host)): circuit breaker is open for \(transition.duration) ms: \(transition.trigger.name), \(transition.failures) of \(transition.total)\(dryRun)")
    case .halfOpen:
      guards.guards[place].breaker.memory.count(.halfOpened)
      log.write(.info, "upstream \(name) (\(host)): circuit breaker is half-open: \(guards.guards[place].breaker.state.probes) requests are let through\(dryRun)")
    case .closed:
      guards.guards[place].breaker.memory.count(.closed)
      log.write(.info, "upstream \(name) (\(host)): circuit breaker is closed: \(transition.total) requests have succeeded\(dryRun)")
    }
    guards.ring()
  }

  // MARK: The queue

  /// A breaker has changed, here or elsewhere: who waits for a connection to an upstream that is left alone is told so at once.
  public mutating func breakersChanged() {
    for place in 0..<guards.guards.count where backends.sets[guards.upstreams[place]].waiting > 0 { _ = refuseWaiting(guards.upstreams[place]) }
    if !doomed.isEmpty { reap() }
  }

  /// Refuses all who wait for a connection to an upstream, if it is left alone. True if so.
  @inline(never)
  mutating func refuseWaiting(_ upstream: Int) -> Bool {
    guard let place = guards.place(upstream), !guards.guards[place].isDryRun, let wait = guards.guards[place].breaker.refuses(now: services.now) else { return false }
    for _ in 0..<backends.sets[upstream].waiting {
      guard let exchange = backends.sets[upstream].firstWaiting, exchanges.contains(exchange) else { break }
      guards.guards[place].breaker.memory.count(.refused)
      counters.add(.breakerRefusals)
      services.guardNote = GuardNote(upstream: Int32(upstream), wait: wait)
      fail(exchange, .circuitOpen)
    }
    return true
  }

  /// Watches the bell that tells of breakers, as `watch(foreign:token:)` does. False: there is none.
  public borrowing func watchBreakers(token: UInt32) throws(Errno) { try guards.watch(poller, token: Token.foreign(token)) }

  // MARK: Telling

  /// Appends the fields that a refusal has besides those of any error.
  mutating func composeGuardFields(_ fault: Fault) {
    guard fault == .circuitOpen else { return services.responses.output.append(fault == .upstreamOverloaded ? "Retry-After: 1\r\n" : "X-Retry-Budget-Exhausted: 1\r\n") }
    let note = services.guardNote
    let seconds = min(max(1, (note.wait + 999) / 1000), 3600)
    services.responses.output.append("Retry-After: ")
    services.responses.output.append(decimal: Int(seconds))
    services.responses.output.append(note.isHalfOpen ? "\r\nX-Circuit-Breaker: half_open\r\nX-Upstream-Host: " : "\r\nX-Circuit-Breaker: open\r\nX-Upstream-Host: ")
    let upstream = Int(note.upstream)
    if plan.upstreams.indices.contains(upstream) {
      let host = plan.upstreams[upstream].host
      services.responses.output.append(Array((host.contains(":") ? "[\(host)]:" : "\(host):").utf8).span)
      services.responses.output.append(decimal: Int(plan.upstreams[upstream].port))
    }
    services.responses.output.append("\r\n")
  }
}

extension Fault {
  /// Whether the gateway has left the upstream alone.
  var isOfGuard: Bool { self == .circuitOpen || self == .retryBudgetExhausted || self == .upstreamOverloaded }
}
