// TunnelClosing — the time of a tunnel: pings where they are configured, its idle limit, and a Close to both sides when it is ended
// from here.
//
// A frame of our own can stand only between two frames. A direction that is within one when the tunnel is to be closed is passed on
// up to the frame's end, and no further; what is not over by then is cut off.

import HTTPModel
import Kernel
import Memory
import SharedState
import Upstream
import WebSocket

extension Gateway {
  /// How long both sides may take to answer a Close when there is no hurry, in milliseconds.
  static var closePatience: Int64 { 5_000 }

  /// Ends a tunnel: a Close with 1001 to both sides, and time to answer it.
  mutating func closeTunnel(_ exchange: Handle, _ fault: Fault, within milliseconds: Int64) {
    guard let session = exchanges[exchange].session, let backend = exchanges[exchange].backend, !tunnels[session].flags.contains(.closing) else { return }
    tunnels[session].flags.insert(.closing)
    let endBy = services.now + milliseconds
    tunnels[session].endBy = tunnels[session].endBy == 0 ? endBy : min(endBy, tunnels[session].endBy)
    noteFault(exchange, fault)
    closeDown(exchange)
    closeUp(exchange)
    if exchanges.contains(exchange) { armTunnelTimer(exchange, backend) }
  }

  /// Names the reason for which a WebSocket ends.
  mutating func noteFault(_ exchange: Handle, _ fault: Fault) {
    guard exchanges[exchange].fault == .none, fault != .none else { return }
    exchanges[exchange].fault = fault
    counters.count(fault: fault.rawValue)
    report(exchange, fault)
  }

  /// Ends the direction to the client, if it stands between two frames.
  mutating func closeDown(_ exchange: Handle) {
    guard let session = exchanges[exchange].session, !tunnels[session].flags.contains(.downOver), tunnels[session].down.isAtBoundary else { return }
    if !tunnels[session].down.hasClosed {
      services.responses.output.append(close: .goingAway)
      exchanges[exchange].sent += 4
      send(exchanges[exchange].client)
    }
    tunnels[session].flags.insert(.downOver)
    tellEnds(exchange)
  }

  /// Ends the direction to the backend, if it stands between two frames.
  mutating func closeUp(_ exchange: Handle) {
    guard exchanges.contains(exchange), let session = exchanges[exchange].session, !tunnels[session].flags.contains(.upOver),
      tunnels[session].up.isAtBoundary
    else { return }
    if !tunnels[session].up.hasClosed {
      var frame = Buffer(capacity: 16)
      frame.append(close: .goingAway, key: services.random.next())
      sendUp(exchange, frame.bytes)
    }
    tunnels[session].flags.insert(.upOver)
    tellEnds(exchange)
  }

  // MARK: Time

  /// Sets the timer of a tunnel to what can become due first.
  mutating func armTunnelTimer(_ exchange: Handle, _ backend: Handle) {
    guard let session = exchanges[exchange].session else { return }
    let rule = actions.forwards[Int(exchanges[exchange].rule)].plan
    var due = Int64.max
    if tunnels[session].endBy > 0 { due = tunnels[session].endBy }
    if rule.webSocketIdleTimeout > 0 { due = min(due, lastSign(session, rule.webSocketPingInterval) + Int64(rule.webSocketIdleTimeout)) }
    if rule.webSocketPingInterval > 0, tunnels[session].endBy == 0 {
      due = min(due, max(tunnels[session].lastPing, min(tunnels[session].lastUp, tunnels[session].lastDown)) + Int64(rule.webSocketPingInterval))
    }
    if due == .max { backends.connections[backend].waiting = .nothing } else { setBackendTimer(backend, .tunnel, max(1, due - services.now)) }
  }

  /// When a tunnel last showed that it is alive. One that is pinged must do so on both sides.
  private mutating func lastSign(_ session: Handle, _ pingInterval: Int) -> Int64 {
    pingInterval > 0 ? min(tunnels[session].lastUp, tunnels[session].lastDown) : max(tunnels[session].lastUp, tunnels[session].lastDown)
  }

  mutating func tunnelTimerFired(_ backend: Handle, _ exchange: Handle) {
    guard let session = exchanges[exchange].session else { return }
    let client = exchanges[exchange].client
    if tunnels[session].endBy > 0, services.now >= tunnels[session].endBy { return doom(client) }
    let rule = actions.forwards[Int(exchanges[exchange].rule)].plan
    let idle = services.now - lastSign(session, rule.webSocketPingInterval)
    if rule.webSocketIdleTimeout > 0, idle >= Int64(rule.webSocketIdleTimeout) {
      // Closed already, and still no sign: it is not waited for again.
      if tunnels[session].flags.contains(.closing) { return doom(client) }
      return closeTunnel(exchange, .webSocketIdle, within: Self.closePatience)
    }
    let interval = Int64(rule.webSocketPingInterval)
    if interval > 0, tunnels[session].endBy == 0, services.now - min(tunnels[session].lastUp, tunnels[session].lastDown) >= interval,
      services.now - tunnels[session].lastPing >= interval
    {
      ping(exchange, session)
    }
    if exchanges.contains(exchange) { armTunnelTimer(exchange, backend) }
  }

  /// Sends a ping to both sides, where it can stand. The answers are passed on: they are pongs that nobody asked for, which the other
  /// side ignores (RFC 6455 §5.5.3).
  private mutating func ping(_ exchange: Handle, _ session: Handle) {
    tunnels[session].lastPing = services.now
    let nothing = Span<UInt8>()
    if tunnels[session].down.isAtBoundary, !tunnels[session].down.hasClosed, clients[exchanges[exchange].client].backlog.isEmpty {
      services.responses.output.append(frame: .ping, nothing)
      exchanges[exchange].sent += 2
      send(exchanges[exchange].client)
    }
    if tunnels[session].up.isAtBoundary, !tunnels[session].up.hasClosed, let backend = exchanges[exchange].backend,
      backends.connections[backend].backlog.isEmpty
    {
      var frame = Buffer(capacity: 16)
      frame.append(frame: .ping, nothing, maskedWith: services.random.next())
      sendUp(exchange, frame.bytes)
    }
  }
}
