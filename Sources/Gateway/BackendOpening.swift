// BackendOpening — connections to HTTP/2 backends that are opened before a request needs them.
//
// Nobody has leased such a connection while it is made ready; when that fails, it is closed and nothing more: the request that
// needs one will say why there is none. Only one is being opened at a time, for each endpoint.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Telemetry
import Upstream

extension Gateway {
  /// Whether a connection that the exchange opens may turn out to speak HTTP/2. WebSockets get HTTP/1.1, and so does who asks for it.
  @inline(__always)
  mutating func mayMultiplex(_ exchange: Handle?, _ pool: Int) -> Bool {
    guard backends.pools[pool].speaks != .http1, !backends.pools[pool].wantsHTTP1 else { return false }
    guard let exchange else { return true }
    return !exchanges[exchange].flags.contains(.upgrading)
  }

  /// Opens another connection when the sessions of a pool are as full as they may become without one.
  @inline(never)
  mutating func watchLoad(_ pool: Int) {
    let settings = plan.upstreams[Int(backends.pools[pool].upstream)].http2
    guard backends.pools[pool].opening == 0 else { return }
    var next = backends.pools[pool].firstSession
    while let session = next {
      next = backendSessions[session].next
      guard !backendSessions[session].isRetiring else { continue }
      if backendSessions[session].streamCount * 100 < streamLimit(session) * settings.preconnectWatermark { return }
    }
    guard backends.hasRoom(pool) else { return counters.add(.upstreamPreconnectsSkipped) }
    openAhead(pool)
  }

  /// Opens a connection that nobody waits for, to the first address of an endpoint.
  mutating func openAhead(_ pool: Int) {
    counters.add(.upstreamPreconnects)
    let lease = backends.open(pool, address: 0, now: services.now, mayMultiplex: mayMultiplex(nil, pool), isForRequest: false) { socket, handle throws(Errno) in
      try poller.watch(socket.descriptor, token: Token.make(.backend, handle))
    }
    switch lease {
    case .connected(let backend):
      counters.add(.upstreamConnects)
      isConnected(backend, nil)
    case .connecting(let backend):
      counters.add(.upstreamConnects)
      setBackendTimer(backend, .connect, backends.pools[pool].connectTimeout)
    case .reused, .exhausted, .failed: break
    }
  }

  /// The attempt to connect has come to its end, good or bad.
  mutating func connectAheadEnded(_ backend: Handle, _ readiness: Readiness) {
    // Who wanted it has left it to others.
    if backends.connections[backend].isRacing { return raceIsReady(backend, nil) }
    guard !readiness.isDisjoint(with: [.writable, .broken]) else { return }
    if !readiness.isDisjoint(with: .readable), readiness.isDisjoint(with: .broken) { backends.connections[backend].isReadable = true }
    guard let error = backends.connections[backend].socket.connectError else { return isConnected(backend, nil) }
    openingAheadFailed(backend, Fault(connecting: error))
  }

  /// There will be no connection; those who wait for it open one of their own.
  mutating func openingAheadFailed(_ backend: Handle, _ fault: Fault) {
    let pool = Int(backends.connections[backend].pool), upstream = Int(backends.connections[backend].upstream)
    if .info >= log.level {
      let address = Int(backends.connections[backend].address)
      log.write(
        .info, key: EventKey("upstream opening", upstream << 8 | Int(fault.rawValue)),
        "upstream \(plan.upstreams[upstream].name) (\(backends.describe(address: address, of: pool))): no further connection: \(fault.row.token): \(fault.row.sentence)")
    }
    closeBackend(backend)
    if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }
}
