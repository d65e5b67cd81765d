// Tunnelling — a WebSocket between a client and a backend: bytes both ways, each side read only while the other takes them.
//
// What waits for the client is bounded by relay_buffer_limit_bytes, what waits for the backend by http1.streaming.high_water_bytes.
// A side that has finished sending is passed on as such, and the other direction lives on. Both over: the exchange is finished.

import HTTPModel
import Kernel
import Memory
import SharedState
import Upstream
import WebSocket

extension Gateway {
  /// Reads from one side of a tunnel in one turn, at most.
  private static var tunnelBudget: Int { 8 }
  /// How long the other side may live on when one has ended, in milliseconds.
  private static var halfLife: Int64 { 30_000 }

  // MARK: Down

  /// Reads from the backend of a tunnel and passes on what comes.
  mutating func receiveTunnel(_ backend: Handle) {
    guard backends.connections.contains(backend), let exchange = backends.connections[backend].exchange, let session = exchanges[exchange].session,
      backends.connections[backend].isReadable, !tunnels[session].flags.contains(.backendEnded)
    else { return }
    let client = exchanges[exchange].client
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.relayBufferLimit
    var buffer = services.large.take()
    for _ in 0..<Self.tunnelBudget {
      guard clients[client].flags.isDisjoint(with: .doomed), clients[client].backlog.count < limit else { return services.large.recycle(buffer) }
      let room = buffer.freeCapacity
      switch receive(from: backend, into: &buffer) {
      case .moved(let count):
        if count < room, !backends.connections[backend].hasEnded { backends.connections[backend].isReadable = false }
        passDown(exchange, buffer.bytes)
        buffer.removeAll()
        if !backends.connections[backend].isReadable { return services.large.recycle(buffer) }
      case .blocked:
        backends.connections[backend].isReadable = false
        return services.large.recycle(buffer)
      case .ended:
        services.large.recycle(buffer)
        return tunnelEnded(exchange, .backendEnded)
      case .failed:
        services.large.recycle(buffer)
        // A backend that resets what is over says the same as one that ends it.
        if tunnels[session].flags.contains(.upOver) { return tunnelEnded(exchange, .backendEnded) }
        return fail(exchange, .responseIncomplete)
      }
    }
    services.large.recycle(buffer)
    pending.append(Token.make(.backend, backend))
  }

  /// Passes `data` on to the client.
  mutating func passDown(_ exchange: Handle, _ data: Span<UInt8>) {
    guard !data.isEmpty, let session = exchanges[exchange].session else { return }
    tunnels[session].lastDown = services.now
    guard !tunnels[session].flags.contains(.downOver) else { return }
    let count = tunnels[session].down.advance(data, stopsAtBoundary: tunnels[session].flags.contains(.closing))
    exchanges[exchange].sent += count
    exchanges[exchange].bodySent += count
    if count > 0 { send(exchanges[exchange].client, body: data.extracting(first: count)) }
    if tunnels[session].flags.contains(.closing) { closeDown(exchange) }
  }

  // MARK: Up

  /// Reads from the client of a tunnel and passes on what comes.
  mutating func receiveTunnel(_ client: Handle, _ exchange: Handle) {
    guard let session = exchanges[exchange].session, let backend = exchanges[exchange].backend, clients[client].flags.contains(.readable),
      !tunnels[session].flags.contains(.clientEnded)
    else { return }
    var buffer = services.large.take()
    for _ in 0..<Self.tunnelBudget {
      guard backends.connections[backend].backlog.count < plan.http1.highWater else { return services.large.recycle(buffer) }
      let room = buffer.freeCapacity
      switch receive(client, into: &buffer) {
      case .moved(let count):
        counters.add(.bytesReceived, UInt64(count))
        if count < room { clients[client].noteShortRead() }
        passUp(exchange, buffer.bytes)
        buffer.removeAll()
        if !clients[client].flags.contains(.readable) { return services.large.recycle(buffer) }
      case .blocked:
        clients[client].flags.remove(.readable)
        return services.large.recycle(buffer)
      case .ended:
        services.large.recycle(buffer)
        clients[client].flags.remove(.readable)
        return tunnelEnded(exchange, .clientEnded)
      case .failed:
        services.large.recycle(buffer)
        clients[client].flags.remove(.readable)
        return tunnels[session].flags.contains(.downOver) ? tunnelEnded(exchange, .clientEnded) : doom(client)
      }
    }
    services.large.recycle(buffer)
    enqueue(client)
  }

  /// Passes `data` on to the backend.
  mutating func passUp(_ exchange: Handle, _ data: Span<UInt8>) {
    guard let session = exchanges[exchange].session else { return }
    tunnels[session].lastUp = services.now
    exchanges[exchange].bodyReceived += data.count
    guard !tunnels[session].flags.contains(.upOver) else { return }
    let count = tunnels[session].up.advance(data, stopsAtBoundary: tunnels[session].flags.contains(.closing))
    if count > 0 { sendUp(exchange, data.extracting(first: count)) }
    if tunnels[session].flags.contains(.closing) { closeUp(exchange) }
  }

  /// Sends `data` to the backend; what it does not take waits.
  mutating func sendUp(_ exchange: Handle, _ data: Span<UInt8>) {
    guard let backend = exchanges[exchange].backend else { return }
    guard backends.connections[backend].backlog.isEmpty else { return backends.connections[backend].backlog.append(data, &services.large) }
    switch send(data, to: backend) {
    case .moved(data.count): break
    case .moved(let sent): backends.connections[backend].backlog.append(data.extracting(droppingFirst: sent), &services.large)
    case .blocked: backends.connections[backend].backlog.append(data, &services.large)
    case .ended, .failed:
      // What it has sent before is read next, and its end found there.
      backends.connections[backend].isReadable = true
      pending.append(Token.make(.backend, backend))
    }
  }

  // MARK: Demand

  /// The backend has taken enough of what waited for it.
  mutating func backendOfTunnelDrained(_ exchange: Handle, _ backend: Handle) {
    tellEnds(exchange)
    guard exchanges.contains(exchange) else { return }
    let client = exchanges[exchange].client
    if clients[client].flags.contains(.readable) { enqueue(client) }
  }

  /// The client has taken some of what waited for it.
  mutating func clientOfTunnelDrained(_ client: Handle, _ exchange: Handle) {
    tellEnds(exchange)
    guard clients[client].exchange == exchange else { return }
    resumeResponse(exchange)
  }

  // MARK: Ends

  /// One side has finished sending.
  private mutating func tunnelEnded(_ exchange: Handle, _ side: TunnelFlags) {
    guard let session = exchanges[exchange].session else { return }
    tunnels[session].flags.insert(side)
    tunnels[session].flags.insert(side == .clientEnded ? .upOver : .downOver)
    if tunnels[session].endBy == 0 { tunnels[session].endBy = services.now + Self.halfLife }
    tellEnds(exchange)
  }

  /// Tells each side that nothing more comes, once everything has been sent to it, and finishes when both have ended.
  mutating func tellEnds(_ exchange: Handle) {
    guard let session = exchanges[exchange].session, let backend = exchanges[exchange].backend else { return }
    let client = exchanges[exchange].client
    if tunnels[session].flags.contains(.downOver), !tunnels[session].flags.contains(.clientTold), clients[client].backlog.isEmpty,
      clients[client].flags.isDisjoint(with: .doomed)
    {
      // A goodbye of the carrier may have to wait; this is come back to.
      if clients[client].flags.contains(.stream) {
        tunnels[session].flags.insert(.clientTold)
        streams[clients[client].carrier].flags.insert(.over)
        streamHasMore(client)
      } else if sayGoodbye(client) {
        tunnels[session].flags.insert(.clientTold)
        clients[client].socket.endSending()
      }
    }
    if tunnels[session].flags.contains(.upOver), !tunnels[session].flags.contains(.backendTold), backends.connections[backend].backlog.isEmpty {
      tunnels[session].flags.insert(.backendTold)
      endSending(to: backend)
    }
    guard tunnels[session].flags.isSuperset(of: [.clientEnded, .backendEnded, .clientTold, .backendTold]) else {
      return armTunnelTimer(exchange, backend)
    }
    detach(exchange, backend, isReusable: false)
    finish(exchange)
  }
}
