// Retrying — a request whose attempt has failed is sent again, at once or after a pause; or the response it had got is delivered after all.
//
// Whether is decided by `RetryPlan.decide` alone; here it is told what has happened, and done what it says. An exchange that pauses is one like
// any other: it ends with its client, counts when the worker drains, and keeps to its deadline.

import HTTPModel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  // MARK: Beginning

  /// Sets what a route asks of its exchanges besides forwarding: a limit for the whole, retries, addresses rewritten, header rules; and
  /// asks the upstream's guard. False: the exchange has failed.
  @inline(never)
  mutating func guardExchange(_ exchange: Handle) -> Bool {
    if actions.forwards[Int(exchanges[exchange].rule)].isSpecial { mark(exchange) }
    guard guards.isActive else { return true }
    let client = exchanges[exchange].client
    // A body is not collected for one who will not have it.
    if actions.forwards[Int(exchanges[exchange].rule)].collectsRequest, !clients[client].body.isComplete { return !isRefusedEarly(exchange) }
    return admitAttempt(exchange, isRetry: false)
  }

  @inline(never)
  private mutating func mark(_ exchange: Handle) {
    let plan = actions.forwards[Int(exchanges[exchange].rule)].plan
    let balance = actions.forwards[Int(exchanges[exchange].rule)].balance
    if balance.isActive { noteBalance(exchange, balance) }
    if plan.timeout > 0 {
      let before = exchanges[exchange].deadline
      limit(exchange, until: services.now - services.heldFor + Int64(plan.timeout))
      if exchanges[exchange].deadline != before { exchanges[exchange].flags.remove(.deadlineIsCalls) }
    }
    exchanges[exchange].flags.formUnion(actions.forwards[Int(exchanges[exchange].rule)].marks)
    if plan.retry.maxRetries > 0 || plan.hedgeDelay > 0 { prepare(exchange, plan) }
  }

  /// Makes an exchange one that can be sent again.
  private mutating func prepare(_ exchange: Handle, _ plan: ForwardPlan) {
    prepareRecovery(exchange)
    if plan.retry.maxRetries > 0, exchanges[exchange].head.body != .none, plan.retry.bufferSize > 0 { exchanges[exchange].flags.insert(.keepsBody) }
    if plan.retry.coversStatuses, !exchanges[exchange].head.flags.contains(.extendedConnect) { exchanges[exchange].flags.insert(.watchesStatus) }
    if !actions.forwards[Int(exchanges[exchange].rule)].collectsRequest { beginAttempt(exchange) }
  }

  private mutating func prepareRecovery(_ exchange: Handle) {
    // There are as many as exchanges.
    if exchanges[exchange].recovery == nil { exchanges[exchange].recovery = recoveries.insert(Recovery()) }
  }

  /// An attempt begins: the search for a connection is part of it.
  mutating func beginAttempt(_ exchange: Handle) {
    guard let recovery = exchanges[exchange].recovery else { return }
    recoveries[recovery].attemptStart = max(1, services.nowMicroseconds)
    recoveries[recovery].address = -1
    recoveries[recovery].pool = -1
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.retry.attemptTimeout
    guard limit > 0 else { return }
    recoveries[recovery].attemptDeadline = services.now + Int64(limit)
    armExchangeTimer(exchange)
  }

  /// The request is about to be sent to `backend`.
  @inline(never)
  mutating func noteSending(_ exchange: Handle, _ backend: Handle) {
    guard let recovery = exchanges[exchange].recovery else { return }
    recoveries[recovery].address = Int32(truncatingIfNeeded: backends.connections[backend].address)
    recoveries[recovery].pool = Int32(truncatingIfNeeded: backends.connections[backend].pool)
    if hedges { scheduleHedge(exchange, recovery) }
  }

  // MARK: Failing

  /// An attempt has failed. True when that is not the end of the exchange: the request has been sent again, or will be.
  @inline(never)
  mutating func retries(_ exchange: Handle, _ fault: Fault, _ denial: inout RetryDenial?) -> Bool {
    guard fault.row.side == .upstream else { return false }
    if hedges, goesOnWithLeg(exchange, fault) { return true }
    let flags = exchanges[exchange].flags
    let isUnsent = isUnsent(exchange)
    let cause: RetryCause
    if flags.contains(.retrying) {
      // Of the response that would have been held not all has come; it counts by its status all the same.
      cause = .status(exchanges[exchange].status)
    } else {
      guard let known = RetryCause(fault, isUnsent: isUnsent) else { return false }
      cause = known
    }
    var facts = facts(exchange, cause)
    facts.isUnprocessed = isUnsent || fault.row.retry == .always
    if let backend = exchanges[exchange].backend, fault.row.retry == .onReusedConnection, !flags.contains(.hasHead) {
      facts.isStale = backends.connections[backend].isReused
      if facts.isStale, backends.connections[backend].carriage != .stream { observeStale(backend, exchange) }
    }
    facts.isReturned = fault == .http2StreamUnprocessed || fault == .http2HTTP1Required && backends.pools[max(0, Int(exchanges[exchange].pool))].speaks == .either
    let decision = decide(exchange, facts)
    if case .deny(let reason) = decision {
      if exchanges[exchange].head.body != .none { denial = reason }
      return false
    }
    endAttempt(exchange, fault, 0)
    log.write(
      .debug, key: EventKey("upstream retry", Int(exchanges[exchange].upstream)),
      "upstream \(plan.upstreams[Int(exchanges[exchange].upstream)].name): \(fault.row.token); sent again, request \(exchanges[exchange].attempts + 1)")
    let isFresh = facts.isStale
    // What is only resent is the same attempt still: nothing speaks against the upstream.
    if case .retry = decision { reportAttempt(exchange, fault, exchanges[exchange].status) }
    rewind(exchange)
    leaveBackend(exchange, isReusable: false)
    sendAgain(exchange, decision, onNewConnection: isFresh)
    return true
  }

  /// Whether not a byte of the request has been sent in the attempt at hand.
  private mutating func isUnsent(_ exchange: Handle) -> Bool {
    guard let backend = exchanges[exchange].backend else { return true }
    let state = backends.connections[backend].state
    return state == .connecting || state == .securing
  }

  private mutating func facts(_ exchange: Handle, _ cause: RetryCause) -> RetryFacts {
    let client = exchanges[exchange].client
    let flags = exchanges[exchange].flags
    var facts = RetryFacts(cause: cause)
    facts.isIdempotent = exchanges[exchange].head.method.isIdempotent
    facts.isReplayable = !flags.contains(.bodyGone)
    facts.isWhole = clients[client].body.isComplete
    // What asked for an upgrade is gone once there was a response to it.
    facts.isCommitted = flags.contains(.committed) || flags.contains([.hasHead, .upgrading])
    facts.isWanted = clients[client].flags.isDisjoint(with: .doomed)
    if let recovery = exchanges[exchange].recovery {
      facts.retries = Int(recoveries[recovery].retries)
      facts.wasResent = recoveries[recovery].wasResent
    }
    if exchanges[exchange].deadline > 0 { facts.remaining = exchanges[exchange].deadline - services.now }
    if drain.isDraining { facts.remaining = min(facts.remaining, drain.deadline - services.now) }
    facts.random = services.random.next()
    return facts
  }

  private mutating func decide(_ exchange: Handle, _ facts: RetryFacts) -> RetryDecision {
    actions.forwards[Int(exchanges[exchange].rule)].plan.retry.decide(facts)
  }

  mutating func endAttempt(_ exchange: Handle, _ fault: Fault, _ status: UInt16) {
    if exchanges[exchange].flags.contains(.watched) { judge(exchange, fault, status) }
    prepareRecovery(exchange)
    guard let recovery = exchanges[exchange].recovery else { return }
    if recoveries[recovery].attemptStart == 0 {
      recoveries[recovery].attemptStart = max(1, exchanges[exchange].attemptStart)
    }
    if recoveries[recovery].address < 0 {
      if let backend = exchanges[exchange].backend {
        recoveries[recovery].address = Int32(truncatingIfNeeded: backends.connections[backend].address)
        recoveries[recovery].pool = Int32(truncatingIfNeeded: backends.connections[backend].pool)
      } else if exchanges[exchange].addressesTried > 0 {
        recoveries[recovery].address = Int32(exchanges[exchange].addressesTried) - 1
        recoveries[recovery].pool = exchanges[exchange].pool
      }
    }
    recoveries[recovery].endAttempt(fault, status, now: services.nowMicroseconds)
  }

  /// Parts an exchange from its backend, or from the queue for one.
  mutating func leaveBackend(_ exchange: Handle, isReusable: Bool) {
    if let backend = exchanges[exchange].backend { detach(exchange, backend, isReusable: isReusable, servesWaiting: false) }
    if exchanges[exchange].flags.contains(.waiting) { leaveQueue(exchange) }
  }

  /// Takes back what an attempt has left in the exchange, as if there had been none.
  private mutating func rewind(_ exchange: Handle) {
    let client = exchanges[exchange].client
    services.responses.output.removeAll()
    if clients[client].flags.contains(.holding) {
      clients[client].flags.remove(.holding)
      clients[client].backlog.removeAll(&services.large)
    }
    // Before a response has come, this is what asks for an upgrade.
    if !exchanges[exchange].flags.contains(.upgrading) { exchanges[exchange].heldHead = nil }
    if let lines = exchanges[exchange].trailers.take() { services.small.recycle(lines) }
    if let recovery = exchanges[exchange].recovery {
      recoveries[recovery].hedgeAt = 0
      recoveries[recovery].isHedge = false
    }
    if exchanges[exchange].flags.contains(.compressing) { releaseSession(exchange) }
    exchanges[exchange].flags.remove([.varies, .coded, .compressing])
    exchanges[exchange].flags.remove([.requestComplete, .hedged, .hasHead, .holding, .chunked, .untilClose, .eventStream, .trailers, .retrying])
    exchanges[exchange].status = 0
    exchanges[exchange].sent = 0
    exchanges[exchange].bodySent = 0
    exchanges[exchange].connectedAt = -1
    exchanges[exchange].headAt = -1
    exchanges[exchange].responseDeadline = 0
    exchanges[exchange].addressesTried = 0
    // The rest of the body is not waited for before there is a backend for it.
    if clients[client].waiting == .body { clients[client].waiting = .nothing }
  }

  /// Does what has been decided for an exchange that has been rewound.
  private mutating func sendAgain(_ exchange: Handle, _ decision: RetryDecision, onNewConnection: Bool) {
    guard let recovery = exchanges[exchange].recovery else { return }
    let upstream = Int(exchanges[exchange].upstream)
    switch decision {
    case .deny: return
    case .resend:
      counters.add(.upstreamResends)
      recoveries[recovery].wasResent = true
    case .retry(let delay):
      counters.add(.upstreamRetries)
      recoveries[recovery].retries += 1
      if delay > 0 {
        recoveries[recovery].resumesAt = services.now + delay
        armExchangeTimer(exchange)
        if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
        return
      }
    }
    beginAttempt(exchange)
    if guards.isActive, case .retry = decision, !admitAttempt(exchange, isRetry: true) { return }
    // On a new connection where the old one was stale: the others of the pool may be as stale. HTTP/2 sessions are known to live.
    let pool = Int(exchanges[exchange].pool)
    if onNewConnection, pool >= 0, !backends.pools[pool].isRetired, !seeksStreams(pool) { openBackend(exchange) } else { seekBackend(exchange) }
  }

  // MARK: Timing

  /// Has the exchange looked at when the first of its times has come.
  mutating func earliestTime(of exchange: Handle) -> Int64 {
    var earliest = exchanges[exchange].deadline
    func consider(_ time: Int64) {
      if time > 0, earliest == 0 || time < earliest { earliest = time }
    }
    if let recovery = exchanges[exchange].recovery {
      consider(recoveries[recovery].resumesAt)
      if !exchanges[exchange].flags.contains(.hasHead) {
        consider(recoveries[recovery].attemptDeadline)
        consider(recoveries[recovery].hedgeAt)
      }
    }
    return earliest
  }

  mutating func armExchangeTimer(_ exchange: Handle) {
    let time = earliestTime(of: exchange)
    guard time > 0 else { return }
    timesExchanges = true
    exchangeTimers.arm(exchange.index, deadline: time)
  }

  /// The time of a pause or of an attempt may have come.
  mutating func recoveryTimerFired(_ exchange: Handle) {
    guard let recovery = exchanges[exchange].recovery, clients[exchanges[exchange].client].flags.isDisjoint(with: .doomed) else { return }
    if recoveries[recovery].resumesAt > 0 {
      guard recoveries[recovery].resumesAt <= services.now else { return }
      recoveries[recovery].resumesAt = 0
      beginAttempt(exchange)
      if guards.isActive, !admitAttempt(exchange, isRetry: true) { return }
      return seekBackend(exchange)
    }
    guard !exchanges[exchange].flags.contains(.hasHead) else { return }
    let deadline = recoveries[recovery].attemptDeadline
    guard deadline > 0, deadline <= services.now else {
      if recoveries[recovery].hedgeAt > 0, recoveries[recovery].hedgeAt <= services.now { hedge(exchange, recovery) }
      return
    }
    recoveries[recovery].attemptDeadline = 0
    closeLegs(recovery)
    fail(exchange, .attemptTimeout)
  }

  // MARK: Responses

  /// Whether a whole response with the status at hand is passed on at once, though the route retries some statuses: it is not hedged, nor
  /// is its head to be rewritten.
  @inline(never)
  mutating func passes(_ exchange: Pin<Exchange>, _ status: Status) -> Bool {
    exchanges[exchange].flags.isDisjoint(with: [.upgrading, .rewrites, .hedged, .mayCompress])
      && !actions.forwards[Int(exchanges[exchange].rule)].plan.retry.covers(.status(status.code))
  }

  /// Whether the response whose head is at hand, `bytes`, is kept back, because a retry may bring a better one.
  @inline(never)
  mutating func keepsBack(_ exchange: Handle, _ status: Status, _ bytes: Span<UInt8>) -> Bool {
    let client = exchanges[exchange].client
    // What waits before it could not be told from its body.
    guard let recovery = exchanges[exchange].recovery, clients[client].backlog.isEmpty, services.responses.output.isEmpty,
      actions.forwards[Int(exchanges[exchange].rule)].plan.retry.covers(.status(status.code))
    else { return false }
    recoveries[recovery].retryAfter = RetryAfter.milliseconds(services.responseHead, in: bytes, wall: services.wall)
    var facts = facts(exchange, .status(status.code))
    facts.retryAfter = recoveries[recovery].retryAfter
    guard case .retry = decide(exchange, facts) else { return false }
    exchanges[exchange].flags.insert(.retrying)
    return true
  }

  /// A response that was kept back has been read to its end.
  @inline(never)
  mutating func retryInstead(_ exchange: Handle, isReusable: Bool) {
    guard let recovery = exchanges[exchange].recovery else { return fail(exchange, .proxyInternalError) }
    let client = exchanges[exchange].client, upstream = Int(exchanges[exchange].upstream)
    let status = exchanges[exchange].status
    recoveries[recovery].heldHead = exchanges[exchange].heldHead.take()
    recoveries[recovery].heldBody.removeAll(&services.large)
    swap(&recoveries[recovery].heldBody, &clients[client].backlog)
    recoveries[recovery].heldStatus = status
    endAttempt(exchange, .none, status)
    reportAttempt(exchange, .none, status)
    var facts = facts(exchange, .status(status))
    facts.retryAfter = recoveries[recovery].retryAfter
    facts.isCommitted = false
    let decision = decide(exchange, facts)
    rewind(exchange)
    leaveBackend(exchange, isReusable: isReusable)
    if case .retry = decision { return sendAgain(exchange, decision, onNewConnection: false) }
    deliverHeld(exchange)
    serveWaitingIfAny(upstream)
  }

  private mutating func serveWaitingIfAny(_ upstream: Int) {
    if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// The last attempt has failed: where an earlier one has brought a response, that is delivered. True if so.
  @inline(never)
  mutating func fallsBack(_ exchange: Handle, _ fault: Fault) -> Bool {
    guard let recovery = exchanges[exchange].recovery, recoveries[recovery].heldStatus > 0, fault.row.side != .client,
      exchanges[exchange].flags.isDisjoint(with: .committed), clients[exchanges[exchange].client].flags.isDisjoint(with: .doomed)
    else { return false }
    report(exchange, fault)
    let upstream = Int(exchanges[exchange].upstream)
    endAttempt(exchange, fault, 0)
    reportAttempt(exchange, fault, 0)
    recoveries[recovery].resumesAt = 0
    rewind(exchange)
    leaveBackend(exchange, isReusable: false)
    deliverHeld(exchange)
    serveWaitingIfAny(upstream)
    return true
  }

  /// Sends the response that was kept back, and ends the exchange.
  private mutating func deliverHeld(_ exchange: Handle) {
    guard let recovery = exchanges[exchange].recovery, let head = recoveries[recovery].heldHead.take() else {
      return fail(exchange, .proxyInternalError)
    }
    var body = BufferChain()
    swap(&body, &recoveries[recovery].heldBody)
    let client = exchanges[exchange].client
    exchanges[exchange].status = recoveries[recovery].heldStatus
    recoveries[recovery].heldStatus = 0
    var parser = ResponseParser()
    guard case .complete = parser.parse(head.bytes, into: &services.responseHead) else { return fail(exchange, .proxyInternalError) }
    if exchanges[exchange].flags.contains(.heldFromHTTP2) { services.responseHead.flags.insert(.version2) }
    exchanges[exchange].bodySent = body.count
    exchanges[exchange].sent = body.count
    var framing = RelayFraming.length(body.count)
    if case .length = services.responseHead.body { framing = .asReceived }
    if let fault = composeHead(exchange, head.bytes, framing) { return fail(exchange, fault) }
    exchanges[exchange].flags.formUnion([.hasHead, .committed])
    send(client)
    while let piece = body.popFirst() {
      send(client, copying: piece)
      services.large.recycle(piece)
    }
    finish(exchange)
  }

  // MARK: The end

  /// Gives back what a recovery holds.
  @inline(never)
  mutating func releaseRecovery(_ exchange: Handle) {
    guard let recovery = exchanges[exchange].recovery else { return }
    exchanges[exchange].recovery = nil
    closeLegs(recovery)
    var gone = recoveries.remove(recovery)
    gone.heldBody.removeAll(&services.large)
  }

  /// Tells the access log of the attempts, where there was more than one.
  @inline(never)
  mutating func describeAttempts(_ exchange: Handle) {
    guard let recovery = exchanges[exchange].recovery, recoveries[recovery].endedCount > 0 else { return }
    let fault = exchanges[exchange].fault
    if recoveries[recovery].attemptStart > 0 { endAttempt(exchange, fault, fault == .none ? exchanges[exchange].status : 0) }
    for index in 0..<recoveries[recovery].endedCount {
      let attempt = recoveries[recovery].ended[index]
      let endpoint = attempt.address < 0 ? "" : backends.describe(address: Int(attempt.address), of: Int(attempt.pool))
      accessLog?.note(attemptAt: endpoint.utf8Span.span, fault: attempt.fault, status: attempt.status, duration: attempt.duration)
    }
  }
}
