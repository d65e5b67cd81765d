// Draining — the end of a worker: no new connections, what is in flight is finished, what is idle is let go gently.
//
// An idle keep-alive connection may have a request under way to us. While there is time it is therefore left open for
// its next request, which is answered with `Connection: close`; only when it has stayed silent, or in a hurry, is it closed.

import HTTPModel
import Kernel
import Memory
import Wire

/// How far a drain has come.
struct DrainState: BitwiseCopyable {
  var isDraining = false
  /// Idle connections are not waited for.
  var isHurried = false
  /// Milliseconds of the monotonic clock when everything left is cut off.
  var deadline: Int64 = 0
  /// When idle connections are looked at the next time.
  var nextLook: Int64 = 0
  /// Until when a silent connection may still send a request.
  var idleUntil: Int64 = 0
  /// The deadline has passed.
  var isOver = false
}

extension Gateway {
  /// How long idle connections may stay when there is no hurry, in milliseconds.
  private static var idleGrace: Int64 { 2_000 }

  /// How long a WebSocket may take to answer its Close when the deadline has passed, in milliseconds. The master waits a little longer.
  static var closeGrace: Int64 { 700 }

  /// Stops accepting and begins to drain. May be called again, to hurry or with another deadline.
  /// - Parameters:
  ///   - milliseconds: until what is left is cut off.
  ///   - hurry: close idle connections at once.
  ///   - leavesQueue: connections that nobody has accepted are for another process, which has the listening sockets as well.
  public mutating func beginDrain(milliseconds: Int, hurry: Bool, leavesQueue: Bool = false) {
    let wasDraining = drain.isDraining
    drain.isDraining = true
    drain.isHurried = drain.isHurried || hurry
    let deadline = services.now + Int64(max(0, milliseconds))
    drain.deadline = wasDraining ? min(drain.deadline, deadline) : deadline
    drain.idleUntil = drain.isHurried ? services.now : wasDraining ? drain.idleUntil : min(drain.deadline, services.now + Self.idleGrace)
    drain.nextLook = services.now
    if !wasDraining {
      cease(where: { _ in true }, acceptingRest: !leavesQueue)
      // Those who come when the last holder has let go are refused, rather than left waiting.
      listeners = Stack()
    }
  }

  /// Whether nothing is left to be done.
  public var isDrained: Bool {
    mutating get { drain.isDraining && openClients == 0 && openSessions == 0 }
  }
  public var isDraining: Bool { drain.isDraining }

  /// Closes what may be closed by now.
  @inline(never)
  mutating func continueDrain() {
    guard services.now >= drain.nextLook else { return }
    drain.nextLook = services.now + 50
    if services.now >= drain.deadline { drain.isOver = true }
    drainSessions()
    var next = clients.nextHandle(from: 0)
    while let client = next {
      if !clients[client].flags.isDisjoint(with: [.stream, .multiplexed]) {
        // Streams end with their connection.
        if clients[client].flags.contains(.multiplexed) { drainMultiplexed(client) }
      } else if drain.isOver {
        cut(client)
      } else if services.now >= drain.idleUntil {
        closeIfIdle(client)
      }
      next = clients.nextHandle(from: client.index + 1)
    }
  }

  /// There is no time for anything any more: what is in flight ends unfinished, and the log has it.
  public mutating func cutAll() {
    drain.isOver = true
    var next = clients.nextHandle(from: 0)
    while let client = next {
      if clients[client].flags.isDisjoint(with: [.stream, .void]) { doom(client) }
      next = clients.nextHandle(from: client.index + 1)
    }
    reap()
  }

  mutating func cut(_ client: Handle) {
    // A WebSocket is told, and gets a moment to answer.
    if services.now < drain.deadline + Self.closeGrace {
      if clients[client].flags.contains(.lingering) { return }
      if let exchange = clients[client].exchange, exchanges[exchange].flags.contains(.upgraded) { return goAway(client, exchange) }
    }
    if let exchange = clients[client].exchange, !exchanges[exchange].flags.contains(.committed) { return fail(exchange, .drainDeadline) }
    if clients[client].flags.contains(.delayed) { return refuseDelayed(client) }
    if clients[client].flags.contains(.asking) { return refuseWaiting(client) }
    doom(client)
  }

  /// Closes a connection on which nothing is going on. What has arrived in the meantime is served instead.
  private mutating func closeIfIdle(_ client: Handle) {
    guard clients[client].exchange == nil, clients[client].input == nil, clients[client].backlog.isEmpty,
      clients[client].flags.isDisjoint(with: [.doomed, .lingering, .discarding, .inHead, .readable, .delayed, .asking])
    else { return }
    if clients[client].socket.hasInput {
      clients[client].flags.insert(.readable)
      return enqueue(client)
    }
    _ = sayGoodbye(client)
    doom(client)
  }
}
