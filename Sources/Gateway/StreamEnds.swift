// StreamEnds — how streams and the connections that carry them come to their end: by themselves, by an error, or by a drain.

import HTTP2
import Kernel
import Memory
import Plan
import SharedState

extension Gateway {
  /// Takes a stream's client out, and resets the stream where it has not ended by itself.
  mutating func removeStream(_ client: Handle) {
    if clients[client].flags.contains(.asking) { abandonWaiting(client) }
    clientTimers.disarm(client.index)
    let stream = clients[client].carrier
    counters.subtract(.http2StreamsActive)
    clients[client].backlog.removeAll(&services.large)
    vacate(client)
    let unused = streams[stream].incoming.count
    streams[stream].incoming.removeAll(&services.small)
    let multiplexer = streams[stream].multiplexer, connection = streams[stream].connection
    let next = streams[stream].next, previous = streams[stream].previous
    if let next { streams[clients[next].carrier].previous = previous }
    if let previous { streams[clients[previous].carrier].next = next } else { multiplexers[multiplexer].firstStream = next }
    multiplexers[multiplexer].streamCount -= 1
    let id = streams[stream].id
    if id & 1 == 0, id > 0 { multiplexers[multiplexer].pushCount -= 1 }
    if unused > 0 { multiplexers[multiplexer].session.giveBackToConnection(unused) }
    if !streams[stream].flags.contains(.closed) {
      multiplexers[multiplexer].session.untag(id)
      multiplexers[multiplexer].session.reset(id, streams[stream].code)
    }
    streams[stream].vacate()
    streams.park(stream)
    if multiplexers[multiplexer].streamCount == 0, clients[connection].waiting == .nothing { settleConnection(connection) }
    queueOutput(connection)
  }

  /// An HTTP/2 connection is closed: so are its streams, of which the client need not be told.
  mutating func endMultiplexing(_ client: Handle) {
    let multiplexer = clients[client].multiplexer
    while let stream = multiplexers[multiplexer].firstStream {
      streams[clients[stream].carrier].flags.insert(.closed)
      clients[stream].flags.insert(.doomed)
      if clients[client].flags.contains(.stalled) { clients[stream].flags.insert(.stalled) }
      if let exchange = clients[stream].exchange, exchanges.contains(exchange) { abandon(exchange) }
      removeStream(stream)
    }
    _ = multiplexers.remove(multiplexer)
    counters.subtract(.http2ConnectionsActive)
  }

  /// Moves an HTTP/2 connection nearer to its end: announced first, then no further requests, then closed once the last is
  /// answered. At the deadline what is left is cut off.
  mutating func drainMultiplexed(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.doomed, .lingering, .closing]) else { return }
    let multiplexer = clients[client].multiplexer
    if drain.isOver { return cutMultiplexed(client, multiplexer) }
    switch multiplexers[multiplexer].stage {
    case .none:
      multiplexers[multiplexer].stage = .announced
      multiplexers[multiplexer].announcedAt = services.now
      multiplexers[multiplexer].session.announceEnd()
    case .announced:
      // Requests under way need a round trip to have arrived.
      guard drain.isHurried || services.now >= min(multiplexers[multiplexer].announcedAt + 1_000, drain.deadline - 100) else { return }
      multiplexers[multiplexer].stage = .refusing
      multiplexers[multiplexer].session.refuseNewStreams()
    case .refusing: return
    }
    queueOutput(client)
  }

  private mutating func cutMultiplexed(_ client: Handle, _ multiplexer: Handle) {
    var next = multiplexers[multiplexer].firstStream
    var waits = false
    while let stream = next {
      next = streams[clients[stream].carrier].next
      cut(stream)
      // WebSockets get a moment to answer.
      if let exchange = clients[stream].exchange, exchanges[exchange].session != nil { waits = true }
    }
    // Answers go before the end, after which none are sent.
    writeFrames(client)
    if waits, services.now < drain.deadline + Self.closeGrace { return }
    multiplexers[multiplexer].session.terminate(.noError)
    writeFrames(client)
    doom(client)
  }
}
