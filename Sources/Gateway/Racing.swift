// Racing — the address of the other family, when a connection is long in coming (RFC 8305); see Racing in Upstream.

import HTTPModel
import Kernel
import Memory
import SharedState
import Upstream

extension Gateway {
  /// Limits an attempt to connect that has just begun: until a second one begins beside it, where there is another family to try.
  @inline(never)
  mutating func startConnectTimer(_ backend: Handle, _ pool: Int) {
    let limit = backends.pools[pool].connectTimeout
    let delay = Int64(plan.upstreams[Int(backends.pools[pool].upstream)].pool.attemptDelay)
    setBackendTimer(backend, .connect, delay > 0 && delay < limit && backends.hasRival(backend) ? delay : limit)
  }

  /// The time for the attempt is over, or it is time for another one beside it.
  @inline(never)
  mutating func connectTimerFired(_ backend: Handle, _ exchange: Handle) {
    let pool = Int(backends.connections[backend].pool)
    let limit = backends.pools[pool].connectTimeout
    let age = services.now - backends.connections[backend].createdAt
    guard backends.hasRival(backend), age < limit else { return connectFailed(backend, exchange, .connectionTimeout) }
    counters.add(.upstreamRaces)
    backends.race(backend) { socket, handle throws(Errno) in
      try poller.watch(socket.descriptor, token: Token.make(.backend, handle))
    }
    // The second attempt has as much time as the first; without one, the first has what it had.
    setBackendTimer(backend, .connect, backends.connections[backend].isRacing ? limit : limit - age)
  }

  /// Something has happened to one of the two attempts.
  @inline(never)
  mutating func raceIsReady(_ backend: Handle, _ exchange: Handle?) {
    switch backends.settleRace(backend) {
    case .open, .halved: break
    case .lost(let error): connectFailed(backend, exchange, Fault(connecting: error))
    case .won(let byRival):
      if byRival { counters.add(.upstreamRacesWon) }
      // Whatever has come with it was announced for either socket.
      backends.connections[backend].isReadable = true
      isConnected(backend, exchange)
    }
  }
}
