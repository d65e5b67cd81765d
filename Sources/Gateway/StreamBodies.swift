// StreamBodies — the bodies of requests on streams, passed on as they come while the backend takes them, and their trailers.
//
// What the backend cannot take waits in the stream's record; only what has been passed on is given back to the windows, so
// that a client can send no more than what they hold.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Wire

extension Gateway {
  mutating func receiveData(_ multiplexer: Handle, _ id: Int32, _ tag: UInt64, _ bytes: Span<UInt8>) {
    guard let client = client(of: id, tag, multiplexer) else { return multiplexers[multiplexer].session.giveBackToConnection(bytes.count) }
    let stream = clients[client].carrier
    guard streams[stream].hasCome(bytes.count) else {
      multiplexers[multiplexer].session.giveBackToConnection(bytes.count)
      return breakOff(client)
    }
    guard let exchange = clients[client].exchange else {
      guard !clients[client].flags.isDisjoint(with: [.delayed, .asking]) else { return dropData(client, stream, bytes.count) }
      // No more than the window: nothing is given back to it before the request is dispatched.
      streams[stream].incoming.append(bytes, &services.small)
      clients[client].flags.insert(.readable)
      return
    }
    let isWebSocket = exchanges[exchange].session != nil
    if !isWebSocket, streams[stream].incoming.isEmpty, wantsBody(exchange) { return passData(client, exchange, bytes) }
    streams[stream].incoming.append(bytes, &services.small)
    clients[client].flags.insert(.readable)
    if isWebSocket { enqueue(client) }
  }

  /// As `Socket.receive`, for the stream of a WebSocket: takes what has come on it, and gives as much back to the windows.
  @inline(never)
  mutating func receiveFromStream(_ client: Handle, into buffer: inout Buffer) -> Transfer {
    let stream = clients[client].carrier
    var count = 0
    while !streams[stream].incoming.isEmpty, buffer.freeCapacity > 0 {
      let amount = min(buffer.freeCapacity, streams[stream].incoming.frontCount)
      streams[stream].incoming.withFront { buffer.append($0.extracting(first: amount)) }
      streams[stream].incoming.consume(amount, &services.small)
      count += amount
    }
    // It was counted when the frames came.
    counters.subtract(.bytesReceived, UInt64(count))
    if count > 0 {
      giveBack(stream, count)
      // The end is told by itself.
      if streams[stream].flags.contains(.ended) { clients[client].flags.insert(.ended) }
      return .moved(count)
    }
    return streams[stream].flags.contains(.ended) ? .ended : .blocked
  }

  /// Passes body bytes on to the backend, or to where they are collected.
  private mutating func passData(_ client: Handle, _ exchange: Handle, _ bytes: Span<UInt8>) {
    clients[client].received += UInt64(bytes.count)
    if !exchanges[exchange].flags.contains(.collecting) { setBodyTimer(client) }
    var position = 0
    if let fault = passBody(exchange, bytes, &position) { return fail(exchange, fault) }
    giveBack(clients[client].carrier, bytes.count)
    if clients[client].body.isComplete { return bodyIsComplete(exchange) }
    flushRequest(exchange)
    guard clients[client].exchange == exchange, wantsBody(exchange) else {
      // The wait that begins here is for the backend; its own timer runs.
      if clients[client].waiting == .body { clients[client].waiting = .nothing }
      return
    }
  }

  private mutating func passData(_ client: Handle, _ exchange: Handle, _ piece: borrowing Buffer) { passData(client, exchange, piece.bytes) }

  /// Body bytes of a request that has been answered.
  private mutating func dropData(_ client: Handle, _ stream: Handle, _ count: Int) {
    clients[client].received += UInt64(count)
    giveBack(stream, count)
    // The answer goes first; what may still come then is no more than a window.
    guard bounds(client).exclude(Int(clamping: clients[client].received)), !clients[streams[stream].connection].flags.contains(.unflushed) else { return }
    streams[stream].code = .noError
    doom(client)
  }

  /// Gives `count` bytes back to the windows, the stream's once they are worth a frame.
  private mutating func giveBack(_ stream: Handle, _ count: Int) {
    let multiplexer = streams[stream].multiplexer
    multiplexers[multiplexer].session.giveBackToConnection(count)
    streams[stream].owed += count
    // No more than a quarter of the window, so that it never runs dry for want of a few bytes.
    guard streams[stream].owed >= max(1, min(plan.http2.windowUpdate, plan.http2.initialWindow / 4)) else { return }
    if !streams[stream].flags.contains(.ended) { multiplexers[multiplexer].session.giveBack(streams[stream].id, streams[stream].owed) }
    streams[stream].owed = 0
    queueOutput(streams[stream].connection)
  }

  /// Goes on with a request body that was held back.
  mutating func readStream(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.doomed, .delayed, .asking]) else { return }
    let stream = clients[client].carrier
    if let exchange = clients[client].exchange, exchanges[exchange].session != nil {
      if exchanges[exchange].flags.contains(.upgraded) { serveUpgraded(client, exchange) }
      return
    }
    while let exchange = clients[client].exchange, !streams[stream].incoming.isEmpty, wantsBody(exchange) {
      guard let piece = streams[stream].incoming.popFirst() else { break }
      passData(client, exchange, piece)
      services.small.recycle(piece)
      guard clients[client].flags.isDisjoint(with: .doomed) else { return }
    }
    if clients[client].exchange == nil {
      let count = streams[stream].incoming.count
      streams[stream].incoming.removeAll(&services.small)
      dropData(client, stream, count)
    }
    guard streams[stream].incoming.isEmpty else { return }
    clients[client].flags.remove(.readable)
    if streams[stream].flags.contains(.ended) { bodyEnded(client) }
  }

  /// A body is longer or shorter than its request has said: it is malformed (RFC 9113 §8.1.1).
  @inline(never)
  private mutating func breakOff(_ client: Handle) {
    let stream = clients[client].carrier, multiplexer = streams[stream].multiplexer, id = streams[stream].id
    // At once, and also where the stream has ended for the session, its answer being out.
    multiplexers[multiplexer].session.untag(id)
    multiplexers[multiplexer].session.reset(id, .protocolError)
    streams[stream].flags.insert(.closed)
    report(streams[stream].connection, streamError: ErrorCode.protocolError.rawValue)
    doom(client)
  }

  /// The client has ended its side of a stream without trailers.
  mutating func bodyCame(_ client: Handle) {
    guard streams[clients[client].carrier].hasAll else { return breakOff(client) }
    streamEnded(client)
  }

  mutating func receiveTrailers(_ multiplexer: Handle, _ id: Int32, _ tag: UInt64, _ section: Int) {
    guard let client = client(of: id, tag, multiplexer) else { return }
    guard streams[clients[client].carrier].hasAll else { return breakOff(client) }
    if let exchange = clients[client].exchange {
      var lines = Buffer.absent
      swap(&lines, &workspace.sections[section].bytes)
      let fault = workspace.sections[section].outcome
      if let fault = fault == .none ? collectTrailers(exchange, lines) : fault { fail(exchange, fault) }
      swap(&lines, &workspace.sections[section].bytes)
    } else if !clients[client].flags.isDisjoint(with: [.delayed, .asking]) {
      guard workspace.sections[section].outcome == .none else { return breakOff(client) }
      var lines = Buffer.absent
      swap(&lines, &workspace.sections[section].bytes)
      var copy = Buffer(capacity: lines.count)
      copy.append(lines.bytes)
      streams[clients[client].carrier].requestTrailers = consume copy
      swap(&lines, &workspace.sections[section].bytes)
    }
    streamEnded(client)
  }

  /// A request that was held has been routed: what has come of it meanwhile is passed on.
  mutating func goOn(stream client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.delayed, .asking]) else { return }
    send(client)
    if let lines = streams[clients[client].carrier].requestTrailers.take(),
      let exchange = clients[client].exchange, let fault = collectTrailers(exchange, lines)
    {
      return fail(exchange, fault)
    }
    readStream(client)
  }

  mutating func collectTrailers(_ exchange: Handle, _ lines: borrowing Buffer) -> Fault? { collectTrailer(exchange, lines.bytes) }

  /// The client has ended its side of a stream.
  mutating func streamEnded(_ client: Handle) {
    let stream = clients[client].carrier
    streams[stream].flags.insert(.ended)
    clients[client].flags.remove(.mustLinger)
    if let exchange = clients[client].exchange, exchanges[exchange].session != nil {
      clients[client].flags.formUnion([.readable, .ended])
      return readStream(client)
    }
    if streams[stream].incoming.isEmpty { bodyEnded(client) }
  }

  /// The whole body of a request has been passed on.
  private mutating func bodyEnded(_ client: Handle) {
    if clients[client].flags.contains(.discarding) { clients[client].flags.remove(.discarding) }
    guard let exchange = clients[client].exchange, !clients[client].body.isComplete else { return }
    // Nothing goes before the head: while there is no connection that has taken it, the end waits, as a body would.
    if exchanges[exchange].upstream >= 0, !hasHeadGone(exchange) { return clients[client].flags.formUnion(.readable) }
    _ = clients[client].body.streamEnded()
    var position = 0
    if let fault = passBody(exchange, Span(), &position) { return fail(exchange, fault) }
    bodyIsComplete(exchange)
  }

  /// Whether there is somewhere for the end of a body: a connection that has the head, or what is collected.
  private mutating func hasHeadGone(_ exchange: Handle) -> Bool {
    if exchanges[exchange].flags.contains(.collecting) { return true }
    guard let backend = exchanges[exchange].backend else { return false }
    return backends.connections[backend].takesBody
  }

  /// The response is out while the request still goes on. What still comes of it is dropped, unless it was refused or cannot
  /// be of use any more: then the client is told not to go on (RFC 9113 §8.1).
  mutating func responseWent(_ multiplexer: Handle, _ id: Int32) {
    guard let client = client(of: id, multiplexer) else { return }
    noteDelivery(client)
    // A WebSocket may be over in one direction only.
    if let exchange = clients[client].exchange, exchanges[exchange].session != nil { return }
    guard clients[client].flags.contains(.discarding) else {
      streams[clients[client].carrier].code = .noError
      return doom(client)
    }
    setBodyTimer(client)
  }
}
