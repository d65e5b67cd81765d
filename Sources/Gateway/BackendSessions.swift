// BackendSessions — HTTP/2 connections to backends: which one a request goes to, how one begins and ends, frames in and out.
//
// The session says what has come (`ClientEvent`); BackendStreams and BackendStreamRelaying act on what concerns one stream.
// Frames are put together when the turn's work is done, for all streams of a connection at once, in one buffer and with one
// write. Invariants: no frames are put together while the connection still has some to write; `backendWorkspace` holds no events
// between two steps; a session ends only in `receiveSessionFrames`, `flushSession` and when a timer fires, never while its
// events are acted on.

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
  /// Reads from, and writes to, one connection in one turn, at most.
  private static var sessionBudget: Int { 4 }

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
  func seeksStreams(_ pool: Int) -> Bool {
    switch backends.pools[pool].speaks {
    case .http1: false
    case .http2: true
    case .either: !backends.pools[pool].knowsHTTP1
    }
  }

  /// How many streams a session may carry: what is configured, as far as the backend allows it. Until it has said so, the one
  /// for which the connection was opened.
  func streamLimit(_ session: Handle) -> Int {
    guard backendSessions[session].hasSettings else { return 1 }
    return min(plan.upstreams[backendSessions[session].upstream].http2.maxConcurrentStreams, backendSessions[session].session.peerStreamLimit)
  }

  /// The first session of a pool that may carry another stream. One that is nearly full, or whose window others have used up, is
  /// taken only when there is no other, and another connection is opened then.
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
      if isFree, backendSessions[session].session.hasRoom { return session }
      if fuller == nil { fuller = session }
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

  private func makeBackendSession(_ upstream: Int) -> ClientSession? {
    switch backendProfile {
    case .some(let profile): ClientSession(profile, ClientSettings(plan.upstreams[upstream].http2))
    case .none: nil
    }
  }

  // MARK: Frames in

  /// The socket of a connection that no exchange has leased has become ready.
  @inline(never)
  mutating func unleasedIsReady(_ backend: Handle, _ readiness: Readiness) {
    switch backends.connections[backend].state {
    case .multiplexed: break
    case .connecting: return connectAheadEnded(backend, readiness)
    case .securing: return securingIsReady(backend, nil, readiness)
    default:
      // Idle: bytes that nobody asked for, or the backend's end. Writable is what every new connection is.
      if !readiness.isDisjoint(with: .readable) { idleIsReadable(backend, readiness) }
      return
    }
    if readiness.contains(.writable) { flushSession(backend) }
    guard !readiness.isDisjoint(with: .readable), backends.connections.contains(backend) else { return }
    backends.connections[backend].isReadable = true
    if !readiness.isDisjoint(with: [.peerEnded, .broken]) { backends.connections[backend].hasEnded = true }
    receiveSessionFrames(backend)
  }

  /// Reads a connection and acts on what comes.
  mutating func receiveSessionFrames(_ connection: Handle) {
    guard backends.connections[connection].state == .multiplexed else { return }
    let session = backends.connections[connection].session
    var buffer = services.large.take()
    for _ in 0..<Self.sessionBudget {
      buffer.removeAll()
      let room = buffer.freeCapacity
      switch receive(from: connection, into: &buffer) {
      case .moved(let count):
        if count < room, !backends.connections[connection].hasEnded { backends.connections[connection].isReadable = false }
        backendSessions[session].heardAt = services.now
        if backendSessions[session].pingedAt > 0 {
          backendSessions[session].pingedAt = 0
          armSessionTimer(session)
        }
        guard takeFrames(session, buffer) else {
          services.large.recycle(buffer)
          return endSession(session, .responseProtocolError)
        }
        guard backends.connections[connection].isReadable else { return services.large.recycle(buffer) }
      case .blocked:
        backends.connections[connection].isReadable = false
        return services.large.recycle(buffer)
      case .ended, .failed:
        services.large.recycle(buffer)
        return endSession(session, faultOfCarrier(connection) ?? .connectionTerminated)
      }
    }
    services.large.recycle(buffer)
    pending.append(Token.make(.backend, connection))
  }

  /// Hands what was received to the session; false when it cannot go on.
  private mutating func takeFrames(_ session: Handle, _ buffer: borrowing Buffer) -> Bool {
    var start = 0
    while start < buffer.count {
      let piece = buffer.bytes.extracting(droppingFirst: start)
      let outcome = backendSessions[session].session.receive(piece, &backendWorkspace)
      // What means nothing, such as frames on streams that were reset, comes to an end, or is not put up with.
      if backendWorkspace.eventCount > 0 {
        backendSessions[session].patience = max(backendSessions[session].patience, BackendSession.patience)
      } else {
        backendSessions[session].patience -= piece.count
      }
      actOnSessionEvents(session, piece)
      if backendSessions[session].patience < 0 {
        backendSessions[session].violation = ErrorCode.enhanceYourCalm.rawValue
        backendSessions[session].session.terminate(.enhanceYourCalm)
        writeSessionFrames(session)
        return false
      }
      guard case .consumed(let count) = outcome, count > 0 else {
        writeSessionFrames(session)
        return false
      }
      start += count
    }
    queueSession(session)
    return true
  }

  /// Acts on what a session has noted, of which `input` are the bytes.
  private mutating func actOnSessionEvents(_ session: Handle, _ input: Span<UInt8>) {
    var position = 0
    while position < backendWorkspace.eventCount {
      let event = backendWorkspace.event(at: position)
      position += 1
      switch event {
      case .settings:
        backendSessions[session].hasSettings = true
        backends.settleProtocol(backendSessions[session].connection)
        serveWaitingStreams(backendSessions[session].pool)
      case .goAway(let last, let code): wentAway(session, last, code)
      case .pong: break  // whatever comes is a sign of life
      case .connectionError(let code): sessionBroke(session, code)
      case .resetReceived: counters.add(.upstreamResetsReceived)
      case .resetSent: counters.add(.upstreamResetsSent)
      default:
        let backend = Handle(token: event.tag)
        guard backends.connections.contains(backend) else { continue }
        // What belongs together goes to the client together.
        let isLast = position == backendWorkspace.eventCount || backendWorkspace.event(at: position).tag != event.tag
        actOnStreamEvent(backend, event, input, isLast: isLast)
      }
    }
    backendWorkspace.clear()
  }

  /// The backend takes no further requests on a connection (RFC 9113 §6.8).
  private mutating func wentAway(_ session: Handle, _ last: Int32, _ code: UInt32) {
    counters.add(.upstreamGoAways)
    if code != ErrorCode.noError.rawValue { report(session, .warn, "GOAWAY: \(ErrorCode.name(code)), last stream \(last)") }
    retireSession(session)
  }

  /// The backend has broken a rule of the connection.
  private mutating func sessionBroke(_ session: Handle, _ code: UInt32) {
    if backendSessions[session].streamCount == 0 { report(session, .error, "the backend broke a rule of HTTP/2: \(ErrorCode.name(code))") }
    backendSessions[session].violation = code
    backendSessions[session].isRetiring = true
  }

  /// What is known of the end of a stream beyond its fault, in brackets; empty: nothing.
  func detail(ofStream backend: Handle) -> String {
    let violation = backendSessions[backendStreams[backends.connections[backend].carrier].session].violation
    return violation == 0 ? "" : " (over HTTP/2: \(ErrorCode.name(violation)))"
  }

  func report(_ session: Handle, _ level: LogPlan.Level, _ text: String) {
    guard level >= log.level else { return }
    let upstream = backendSessions[session].upstream, address = Int(backends.connections[backendSessions[session].connection].address)
    log.write(
      level, key: EventKey("upstream http2", upstream << 8), "upstream \(plan.upstreams[upstream].name) (\(backends.describe(address: address, of: backendSessions[session].pool))): \(text)")
  }

  // MARK: Frames out

  /// Notes that a session may have frames to write.
  mutating func queueSession(_ session: Handle) {
    guard !backendSessions[session].isQueued else { return }
    backendSessions[session].isQueued = true
    unflushed.append(Token.make(.backend, backendSessions[session].connection))
  }

  /// Writes the frames of a connection, and closes it when it is done.
  mutating func flushSession(_ connection: Handle) {
    guard backends.connections.contains(connection), backends.connections[connection].state == .multiplexed else { return }
    let session = backends.connections[connection].session
    backendSessions[session].isQueued = false
    flushFrames(connection)
    if !writeSessionFrames(session) { return endSession(session, .connectionTerminated) }
    if backendSessions[session].session.isOver {
      return endSession(session, backendSessions[session].violation > 0 ? .responseProtocolError : .connectionTerminated)
    }
    guard backendSessions[session].streamCount == 0, backendSessions[session].isRetiring || drain.isDraining else { return }
    backendSessions[session].session.terminate(.noError)
    _ = writeSessionFrames(session)
    endSession(session, .connectionTerminated)
  }

  /// Puts frames together and writes them, until there are none, or the backend does not take them. False: the session is broken.
  @discardableResult
  private mutating func writeSessionFrames(_ session: Handle) -> Bool {
    let connection = backendSessions[session].connection
    for _ in 0..<Self.sessionBudget {
      guard backends.connections[connection].backlog.isEmpty else { return true }
      let outcome = Self.collect(&backendSessions[session], &backends, exchanges, backendStreams, &services, &frames, &backendWorkspace, &drained)
      let isEmpty = frames.isEmpty
      if !isEmpty { writeFrames(to: connection) }
      if !drained.isEmpty { backendSessions[session].patience = max(backendSessions[session].patience, BackendSession.patience) }
      actOnSessionEvents(session, Span())
      streamsDrained()
      if outcome == .failed { return false }
      if isEmpty { return true }
    }
    queueSession(session)
    return true
  }

  private static func collect(
    _ session: inout BackendSession, _ backends: inout Backends, _ exchanges: borrowing Slab<Exchange>, _ streams: borrowing Slab<BackendStream>,
    _ services: inout Services, _ frames: inout Buffer, _ workspace: inout ClientWorkspace, _ drained: inout TokenQueue
  ) -> ProduceOutcome {
    frames.removeAll()
    return session.session.produce(into: &frames, limit: frameLimit, &workspace) { tag, take, output in
      let backend = Handle(token: tag)
      guard backends.connections.contains(backend), let exchange = backends.connections[backend].exchange else {
        return BodyState(count: 0, isComplete: false, hasTrailers: false)
      }
      if take > 0 {
        move(take, &backends.connections[backend].backlog, &services, &output)
        drained.append(tag)
      }
      let isComplete = exchanges[exchange].flags.contains(.requestComplete)
      return BodyState(
        count: backends.connections[backend].backlog.count, isComplete: isComplete,
        hasTrailers: isComplete && hasTrailers(streams[backends.connections[backend].carrier]))
    }
  }

  private static func hasTrailers(_ stream: borrowing BackendStream) -> Bool {
    switch stream.trailers {
    case .some: true
    case .none: false
    }
  }

  /// Writes what `frames` holds; what the backend does not take waits in the connection's backlog.
  private mutating func writeFrames(to connection: Handle) {
    var bytes = Buffer.absent
    swap(&bytes, &frames)
    var sent = 0
    switch send(bytes.bytes, to: connection) {
    case .moved(let count): sent = count
    case .blocked: break
    // It may have said why before: that is read next, and its end will be met there.
    case .ended, .failed:
      sent = bytes.count
      sendingFailed(connection)
    }
    if sent < bytes.count { backends.connections[connection].backlog.append(copying: bytes, from: sent, &services.large) }
    swap(&bytes, &frames)
  }

  /// Writes frames that wait.
  private mutating func flushFrames(_ connection: Handle) {
    while !backends.connections[connection].backlog.isEmpty {
      let count = backends.connections[connection].backlog.frontCount
      switch sendBacklog(to: connection) {
      case .moved(let sent):
        backends.connections[connection].backlog.consume(sent, &services.large)
        if sent < count { return }
      case .blocked: return
      case .ended, .failed: return sendingFailed(connection)
      }
    }
    flushReplies(connection)
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
