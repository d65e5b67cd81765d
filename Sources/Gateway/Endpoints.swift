// Endpoints — which endpoint of its upstream an exchange goes to, and endpoints that come and go while the worker runs.
//
// With a single endpoint nothing is chosen: `EndpointSet.sole` names its pool. Otherwise the choice is made when a connection is sought, so that an exchange that
// waits, is retried or hedged is decided on anew; where it has been already counts against an endpoint.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream

extension Gateway {
  /// The pool of the endpoint that an exchange goes to; nil: there is none that may be used.
  @inline(never)
  mutating func endpoint(for exchange: Handle) -> Int? {
    let upstream = Int(exchanges[exchange].upstream)
    let sole = backends.sets[upstream].sole
    guard sole < 0 else { return Int(sole) }
    // Of a mirrored request nothing was taken that it could go by.
    let balances = actions.forwards[Int(exchanges[exchange].rule)].balance.isActive && !exchanges[exchange].flags.contains(.mirror)
    let asks = guards.isActive && asksEndpoints(exchange)
    if asks { leaveEndpoint(exchange, .neutral) }
    var question = BalanceQuestion(random: services.random.next(), key: balances ? exchanges[exchange].balanceKey : 0, tried: exchanges[exchange].tried)
    guard var pool = backends.choose(upstream, question, bound: balances ? exchanges[exchange].boundTo : 0, now: services.now) else { return nil }
    if asks {
      var passed = TriedEndpoints()
      while !admit(exchange, at: pool) {
        passed.append(UInt32(truncatingIfNeeded: pool))
        question.tried.append(UInt32(truncatingIfNeeded: pool))
        // Where the request has been already is better than nowhere, but not where it was just refused.
        guard passed.count < TriedEndpoints.limit, let other = backends.choose(upstream, question, now: services.now), !passed.contains(UInt32(truncatingIfNeeded: other)) else { return nil }
        pool = other
      }
    }
    exchanges[exchange].tried.append(UInt32(truncatingIfNeeded: pool))
    if health.judges, plan.upstreams[upstream].health.outliers.enabled { exchanges[exchange].flags.insert(.watched) }
    return pool
  }

  /// There is no endpoint that an exchange could go to.
  @inline(never)
  mutating func failWithoutEndpoint(_ exchange: Handle) {
    if guards.isActive, refuseWithoutEndpoint(exchange) { return }
    fail(exchange, backends.sets[Int(exchanges[exchange].upstream)].faultWhenNone)
  }

  /// An endpoint cannot be connected to. True when the exchange goes on with another, where nothing has been sent yet.
  @inline(never)
  mutating func triesAnother(_ exchange: Handle, _ fault: Fault) -> Bool {
    let upstream = Int(exchanges[exchange].upstream)
    guard backends.sets[upstream].sole < 0, exchanges[exchange].flags.isDisjoint(with: [.hedged, .mirror]), clients[exchanges[exchange].client].flags.isDisjoint(with: .doomed),
      !drain.isOver, backends.hasUntried(upstream, exchanges[exchange].tried)
    else { return false }
    counters.add(.upstreamFailovers)
    log.write(
      .info, key: EventKey("upstream endpoint", upstream << 8 | Int(fault.rawValue)),
      "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: Int(exchanges[exchange].pool))): \(fault.row.token); the request goes to another")
    endAttempt(exchange, fault, 0)
    if guards.isActive { leaveEndpoint(exchange, AttemptOutcome(fault, status: 0, isBackendAwaited: false)) }
    leaveBackend(exchange, isReusable: false)
    exchanges[exchange].addressesTried = 0
    beginAttempt(exchange)
    seekBackend(exchange)
    return true
  }

  /// Makes `list` the endpoints of an upstream; see Membership in Upstream.
  public mutating func updateEndpoints(of upstream: Int, _ list: [Endpoint], whenEmpty fault: Fault = .noHealthyEndpoint) {
    for pool in backends.update(upstream, list, whenEmpty: fault, now: services.now) { retireSessions(pool) }
    if !backends.retired.isEmpty { closeRetired() }
    for _ in 0..<backends.sets[upstream].waiting where backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// Has the HTTP/2 sessions of an endpoint end when their streams have.
  private mutating func retireSessions(_ pool: Int) {
    var next = backends.pools[pool].firstSession
    while let session = next {
      next = backendSessions[session].next
      retireSession(session)
    }
  }

  /// Once a second: has anybody's standing changed?
  @inline(never)
  mutating func watchEndpoints() {
    if backends.refreshIfNeeded(now: services.now) {
      for upstream in 0..<backends.sets.count {
        for _ in 0..<backends.sets[upstream].waiting where backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
      }
    }
    if services.now >= nextEndpointTouch {
      nextEndpointTouch = services.now + 60_000
      backends.touch(now: services.now)
    }
  }
}
