// BackendSessionFrames — the frames of HTTP/2 connections to backends, in and out.
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

extension Gateway {
  /// Reads from, and writes to, one connection in one turn, at most.
  private static var sessionBudget: Int { 4 }

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
  mutating func detail(ofStream backend: Handle) -> String {
    let violation = backendSessions[backendStreams[backends.connections[backend].carrier].session].violation
    return violation == 0 ? "" : " (over HTTP/2: \(ErrorCode.name(violation)))"
  }

  mutating func report(_ session: Handle, _ level: LogPlan.Level, _ text: String) {
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
  mutating func writeSessionFrames(_ session: Handle) -> Bool {
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
}
