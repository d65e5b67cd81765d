// BackendSessions — HTTP/2 connections to backends: which one a request goes to, how one begins and how it ends.
//
// A session lives as long as its connection; a stream on it is a backend connection of its own (BackendStreams). Invariants: a
// session that retires takes no further requests and ends with its last stream, or at its deadline; it ends only in
// `receiveSessionFrames`, `flushSession` (BackendSessionFrames) and when a timer fires, never while its events are acted on.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  // MARK: Choosing

  /// Looks for a stream: on a connection that has room, on one that is being opened, or on a new one.
  @inline(never)
  mutating func seekStream(_ exchange: Handle) {
    guard let pool = endpoint(for: exchange) else { return failWithoutEndpoint(exchange) }
    if exchanges[exchange].flags.contains(.upgrading) {
      // WebSockets need a connection of their own.
      return backends.pools[pool].speaks == .http2 ? fail(exchange, .http2UpgradeUnsupported) : seekConnection(exchange, pool)
    }
    guard seeksStreams(pool) else { return seekConnection(exchange, pool) }
    if let session = usableSession(pool) {
      counters.add(.upstreamReuses)
      return beginBackendStream(exchange, session)
    }
    // Those who come while a connection is being opened share it.
    guard backends.pools[pool].opening == 0 else { return wait(exchange) }
    exchanges[exchange].addressesTried = 0
    exchanges[exchange].pool = Int32(truncatingIfNeeded: pool)
    openBackend(exchange)
  }

  /// Whether requests to an endpoint go out on streams, as far as is known.
  mutating func seeksStreams(_ pool: Int) -> Bool {
    switch backends.pools[pool].speaks {
    case .http1: false
    case .http2: true
    case .either: !backends.pools[pool].knowsHTTP1
    }
  }

  /// How many streams a session may carry: what is configured, as far as the backend allows it. Until it has said so, the one
  /// for which the connection was opened.
  mutating func streamLimit(_ session: Handle) -> Int {
    guard backendSessions[session].hasSettings else { return 1 }
    return min(plan.upstreams[backendSessions[session].upstream].http2.maxConcurrentStreams, backendSessions[session].session.peerStreamLimit)
  }

  /// The first session of a pool that may carry another stream. One that is nearly full, or whose window others have used up, is
  /// taken only when there is no other, and another connection is opened then; one that has not shown yet that it lives comes last.
  private mutating func usableSession(_ pool: Int) -> Handle? {
    let saturation = plan.upstreams[Int(backends.pools[pool].upstream)].http2.saturation
    var fuller: Handle?
    var next = backends.pools[pool].firstSession
    while let session = next {
      next = backendSessions[session].next
      guard mayCarry(session, pool) else { continue }
      let count = backendSessions[session].streamCount, limit = streamLimit(session)
      guard count < limit else { continue }
      let isFree = saturation == 0 || count * 100 < limit * saturation
      if isFree, backendSessions[session].hasSettings, backendSessions[session].session.hasRoom { return session }
      if let other = fuller, backendSessions[other].hasSettings { continue }
      fuller = session
    }
    guard let fuller else { return nil }
    // The next ones shall find another; this one need not wait for it.
    if backends.pools[pool].opening == 0, backends.hasRoom(pool) { openAhead(pool) }
    return fuller
  }

  /// Whether a session takes further requests; retires it where it has served long enough.
  private mutating func mayCarry(_ session: Handle, _ pool: Int) -> Bool {
    if backendSessions[session].isRetiring { return false }
    let connection = backendSessions[session].connection
    let isOld = backends.pools[pool].lifetime > 0 && services.now - backends.connections[connection].createdAt >= backends.pools[pool].lifetime
    let isUsedUp = backends.pools[pool].requestLimit > 0 && backendSessions[session].requests >= backends.pools[pool].requestLimit
    if isOld || isUsedUp || !backendSessions[session].session.mayRequest {
      retireSession(session)
      return false
    }
    return true
  }

  /// Gives those who wait for a connection what sessions have room for.
  mutating func serveWaitingStreams(_ pool: Int) {
    if drain.isOver { return }
    let upstream = Int(backends.pools[pool].upstream)
    // Whoever finds nothing goes to the end of the queue: each is asked once.
    for _ in 0..<backends.sets[upstream].waiting {
      guard backends.sets[upstream].waiting > 0, usableSession(pool) != nil || backends.pools[pool].opening == 0 && backends.hasRoom(pool) else { return }
      serveWaiting(upstream)
    }
  }

  // MARK: Beginning

  /// What a new connection speaks is known: it becomes a session, or serves the exchange that has opened it.
  mutating func protocolIsKnown(_ connection: Handle, _ exchange: Handle?, _ agreed: AgreedProtocol) {
    let pool = Int(backends.connections[connection].pool), upstream = Int(backends.connections[connection].upstream)
    let isSecure = backends.connections[connection].carriage == .secure
    if agreed == .h2 || !isSecure {
      backends.pools[pool].knowsHTTP1 = false
      return beginSession(connection, exchange)
    }
    guard let exchange else { return closeBackend(connection) }
    guard backends.pools[pool].speaks == .either else { return fail(exchange, .http2NotNegotiated) }
    if mayMultiplex(exchange, pool) { backends.pools[pool].knowsHTTP1 = true }
    backends.established(connection)
    sendRequest(exchange, connection)
    // Those who waited look for connections of their own.
    for _ in 0..<backends.sets[upstream].waiting where backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// A new connection carries HTTP/2 from here on; the exchange that has opened it gets the first stream.
  private mutating func beginSession(_ connection: Handle, _ exchange: Handle?) {
    let pool = Int(backends.connections[connection].pool), upstream = Int(backends.connections[connection].upstream)
    guard let made = makeBackendSession(upstream),
      let session = backendSessions.insert(BackendSession(made, connection: connection, upstream: upstream, pool: pool, now: services.now))
    else {
      if let exchange { return fail(exchange, .proxyInternalError) }
      return closeBackend(connection)
    }
    if let exchange { exchanges[exchange].backend = nil }
    backends.multiplex(connection, session: session)
    backendSessions[session].next = backends.pools[pool].firstSession
    if let first = backends.pools[pool].firstSession { backendSessions[first].previous = session }
    backends.pools[pool].firstSession = session
    counters.add(.upstreamSessions)
    counters.add(.upstreamSessionsActive)
    openSessions += 1
    armSessionTimer(session)
    if let exchange { beginBackendStream(exchange, session) } else { queueSession(session) }
    if backends.connections.contains(connection), backends.connections[connection].isReadable { pending.append(Token.make(.backend, connection)) }
  }

  private mutating func makeBackendSession(_ upstream: Int) -> ClientSession? {
    switch backendProfile {
    case .some(let profile): ClientSession(profile, ClientSettings(plan.upstreams[upstream].http2))
    case .none: nil
    }
  }

  // MARK: The end

  /// A session takes no further requests. Those under way get until the deadline.
  mutating func retireSession(_ session: Handle) {
    guard !backendSessions[session].isRetiring else { return }
    backendSessions[session].isRetiring = true
    let limit = plan.upstreams[backendSessions[session].upstream].http2.goAwayDrainTimeout
    if limit > 0 { backendSessions[session].drainDeadline = services.now + Int64(limit) }
    armSessionTimer(session)
    queueSession(session)
  }

  /// Closes a session's connection; its streams fail.
  mutating func endSession(_ session: Handle, _ fault: Fault) {
    let pool = backendSessions[session].pool, connection = backendSessions[session].connection
    backendSessions[session].isRetiring = true
    while let backend = backendSessions[session].firstStream {
      backendStreams[backends.connections[backend].carrier].flags.insert(.closed)
      streamBroke(backend, fault)
      // Whatever becomes of the exchange, it has left the stream.
      if backends.connections.contains(backend) { closeBackend(backend) }
    }
    let next = backendSessions[session].next, previous = backendSessions[session].previous
    if let next { backendSessions[next].previous = previous }
    if let previous { backendSessions[previous].next = next } else { backends.pools[pool].firstSession = next }
    _ = backendSessions.remove(session)
    counters.subtract(.upstreamSessionsActive)
    openSessions -= 1
    closeBackend(connection)
    serveWaitingStreams(pool)
  }
}
