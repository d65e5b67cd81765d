// LearningIdleLimits — what responses and closes say about how long a backend keeps idle connections: see `IdleLimit`.

import HTTPModel
import Memory
import Upstream
import Wire

extension Gateway {
  /// The head in `services.responseHead`, with which `bytes` begin, has a Keep-Alive field.
  @inline(never)
  mutating func learnIdleLimit(_ backend: Handle, _ bytes: Span<UInt8>) {
    for index in 0..<services.responseHead.fieldCount {
      let field = services.responseHead.field(at: index)
      guard field.isNamed(.keepAlive), let seconds = KeepAlive.timeout(in: field.value.text(in: bytes)) else { continue }
      let pool = Int(backends.connections[backend].pool)
      backends.pools[pool].announceIdleLimit(seconds * 1000, now: services.now)
      return shortenIdleTimes(pool)
    }
  }

  /// An idle connection has become readable: nearly always because the backend has closed it.
  @inline(never)
  mutating func observeIdleClose(_ backend: Handle) {
    guard backends.connections[backend].state == .idle else { return }
    counters.add(.upstreamIdleCloses)
    observeClose(backend, after: services.now - backends.connections[backend].idleSince)
  }

  /// The backend has closed a kept connection instead of answering: it had probably done so before the request reached it.
  mutating func observeStale(_ backend: Handle, _ exchange: Handle) {
    observeClose(backend, after: exchanges[exchange].attemptStart / 1000 - backends.connections[backend].idleSince)
  }

  private mutating func observeClose(_ backend: Handle, after duration: Int64) {
    let pool = Int(backends.connections[backend].pool)
    backends.pools[pool].observeClose(after: duration, now: services.now)
    shortenIdleTimes(pool)
  }

  /// Has connections that are idle already keep to a limit that has become shorter.
  private mutating func shortenIdleTimes(_ pool: Int) {
    let limit = backends.pools[pool].idleTimeout
    var next = backends.newestIdle(pool)
    while let backend = next {
      let deadline = backends.connections[backend].idleSince + limit
      if backends.connections[backend].waiting == .idle, deadline < backends.connections[backend].deadline {
        backends.connections[backend].deadline = deadline
        backendTimers.arm(backend.index, deadline: deadline)
      }
      next = backends.olderIdle(backend)
    }
  }
}
