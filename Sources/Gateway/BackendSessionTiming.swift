// BackendSessionTiming — how long HTTP/2 connections to backends live: signs of life, age, idleness, and their end when a worker drains.
//
// A session has one timer for everything that can become due; it fires when the first of them may be, and looks again.

import HTTP2
import Kernel
import Memory
import Plan
import SharedState
import Upstream

extension Gateway {
  /// Sets the timer of a session for what becomes due first.
  mutating func armSessionTimer(_ session: Handle) {
    let pool = backendSessions[session].pool, connection = backendSessions[session].connection
    let settings = plan.upstreams[backendSessions[session].upstream].http2
    var due = Int64.max
    if !backendSessions[session].isRetiring {
      if backendSessions[session].pingedAt > 0 {
        if settings.pingTimeout > 0 { due = min(due, backendSessions[session].pingedAt + Int64(settings.pingTimeout)) }
      } else if settings.pingIdle > 0 {
        due = min(due, backendSessions[session].heardAt + Int64(settings.pingIdle))
      }
      if backends.pools[pool].lifetime > 0 { due = min(due, backends.connections[connection].createdAt + backends.pools[pool].lifetime) }
    }
    if backendSessions[session].streamCount == 0 { due = min(due, backendSessions[session].idleSince + backends.pools[pool].idleTimeout) }
    if backendSessions[session].drainDeadline > 0 { due = min(due, backendSessions[session].drainDeadline) }
    if due < .max { setBackendTimer(connection, .session, max(1, due - services.now)) } else { backends.connections[connection].waiting = .nothing }
  }

  /// The timer of a connection that no exchange has leased has fired.
  @inline(never)
  mutating func unleasedTimerFired(_ backend: Handle) {
    switch backends.connections[backend].state {
    case .multiplexed: break
    case .connecting: return openingAheadFailed(backend, .connectionTimeout)
    case .securing: return securingFailed(backend, nil, .tlsHandshakeTimeout)
    default: return closeBackend(backend)
    }
    let session = backends.connections[backend].session, pool = backendSessions[session].pool
    let settings = plan.upstreams[backendSessions[session].upstream].http2
    if backendSessions[session].drainDeadline > 0, services.now >= backendSessions[session].drainDeadline { return endSession(session, .http2DrainTimeout) }
    if backendSessions[session].streamCount == 0, services.now >= backendSessions[session].idleSince + backends.pools[pool].idleTimeout {
      retireSession(session)
    } else if backends.pools[pool].lifetime > 0, services.now >= backends.connections[backend].createdAt + backends.pools[pool].lifetime {
      retireSession(session)
    } else if backendSessions[session].pingedAt > 0 {
      if settings.pingTimeout > 0, services.now >= backendSessions[session].pingedAt + Int64(settings.pingTimeout) {
        counters.add(.upstreamPingTimeouts)
        return endSession(session, .http2PingTimeout)
      }
    } else if !backendSessions[session].isRetiring, settings.pingIdle > 0, services.now >= backendSessions[session].heardAt + Int64(settings.pingIdle) {
      backendSessions[session].session.ping()
      backendSessions[session].pingedAt = services.now
      queueSession(session)
    }
    armSessionTimer(session)
  }

  /// Ends the sessions that carry nothing, while the worker drains; the others end with their last stream.
  mutating func drainSessions() {
    var next = backendSessions.nextHandle(from: 0)
    while let session = next {
      if backendSessions[session].streamCount == 0 { queueSession(session) }
      next = backendSessions.nextHandle(from: session.index + 1)
    }
  }
}
