// Multiplexing — HTTP/2 connections: frames in, each request a client of its own, and what happens to all of a connection.
//
// The session says what has come (`SessionEvent`); here a request becomes a client with the flag `.stream`, whose head has
// the shape of an HTTP/1.1 head, and goes the way of all requests from `dispatch` on. Its body is passed on as it comes while
// the backend takes it, and waits in the stream's record otherwise; only what has been passed on is given back to the windows,
// so that a client can send no more than what they hold.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Telemetry
import Wire

extension Gateway {
  /// Reads from one connection in one turn, at most.
  private static var frameBudget: Int { 4 }

  // MARK: Beginning

  /// Whether the first bytes of this connection may be those of HTTP/2.
  func mayBePreface(_ client: Handle) -> Bool {
    profile != nil && clients[client].flags.contains(.fresh) && plan.listeners[Int(clients[client].listener)].http2
  }

  /// The connection has begun with the preface of HTTP/2; takes all of `input`.
  @inline(never)
  mutating func beginMultiplexing(_ client: Handle, _ input: inout Buffer) {
    guard makeMultiplexer(client) else { return doom(client) }
    takeFrames(client, input)
    input.removeAll()
    if clients[client].flags.contains(.readable) { enqueue(client) }
  }

  /// The TLS handshake of a connection has chosen `h2`: whatever comes must be HTTP/2.
  mutating func clientSpeaksHTTP2(_ client: Handle) {
    guard makeMultiplexer(client) else { return doom(client) }
    queueOutput(client)
    // What came together with the end of the handshake is read from there.
    enqueue(client)
  }

  private mutating func makeMultiplexer(_ client: Handle) -> Bool {
    guard let session = makeSession(), let multiplexer = multiplexers.insert(Multiplexer(session)) else { return false }
    clients[client].multiplexer = multiplexer
    clients[client].flags.insert(.multiplexed)
    clients[client].flags.remove([.fresh, .inHead])
    counters.add(.http2Connections)
    counters.add(.http2ConnectionsActive)
    return true
  }

  private func makeSession() -> ServerSession? {
    switch profile {
    case .some(let profile): ServerSession(profile)
    case .none: nil
    }
  }

  // MARK: Frames

  /// Reads a connection and acts on what comes.
  mutating func receiveFrames(_ client: Handle) {
    var buffer = services.large.take()
    for _ in 0..<Self.frameBudget {
      buffer.removeAll()
      let room = buffer.freeCapacity
      switch receive(client, into: &buffer) {
      case .moved(let count):
        counters.add(.bytesReceived, UInt64(count))
        if count < room { clients[client].noteShortRead() }
        takeFrames(client, buffer)
        guard clients[client].flags.contains(.readable), clients[client].flags.isDisjoint(with: [.closing, .doomed, .lingering]) else {
          return services.large.recycle(buffer)
        }
      case .blocked:
        clients[client].flags.remove(.readable)
        return services.large.recycle(buffer)
      case .ended, .failed:
        services.large.recycle(buffer)
        return doom(client)
      }
    }
    services.large.recycle(buffer)
    enqueue(client)
  }

  private mutating func takeFrames(_ client: Handle, _ buffer: borrowing Buffer) {
    let multiplexer = clients[client].multiplexer
    var start = 0
    while start < buffer.count {
      let piece = buffer.bytes.extracting(droppingFirst: start)
      let outcome = multiplexers[multiplexer].session.receive(piece, now: services.now, &workspace)
      actOnEvents(client, multiplexer, piece)
      guard case .consumed(let count) = outcome, count > 0 else {
        // What is left to be said goes out, and then it is over.
        report(client, .http2ConnectionError, "not HTTP/2, or out of memory")
        break
      }
      start += count
    }
    if multiplexers[multiplexer].session.isWithinSection {
      if clients[client].waiting != .head { setClientTimer(client, .head, plan.timeouts.request) }
    } else if clients[client].waiting == .head || clients[client].waiting == .firstByte {
      rest(client, multiplexer)
    }
    queueOutput(client)
  }

  /// Sets the timer of a connection on which nothing is waited for.
  private mutating func rest(_ client: Handle, _ multiplexer: Handle) {
    if multiplexers[multiplexer].streamCount == 0 { setClientTimer(client, .idle, plan.timeouts.idle) } else { clients[client].waiting = .nothing }
  }

  /// Acts on what the session has noted, of which `input` are the bytes.
  mutating func actOnEvents(_ connection: Handle, _ multiplexer: Handle, _ input: Span<UInt8>) {
    for position in 0..<workspace.eventCount {
      switch workspace.event(at: position) {
      case .request(let stream, let section, let ends): beginStream(connection, multiplexer, stream, section, ends: ends)
      case .data(let stream, let start, let count):
        receiveData(multiplexer, stream, input.extracting(start..<start + count))
      case .trailers(let stream, let section): receiveTrailers(multiplexer, stream, section)
      case .end(let stream):
        if let client = client(of: stream, multiplexer) { streamEnded(client) }
      case .answered(let stream): responseWent(multiplexer, stream)
      case .wantsTrailers(let tag, let stream): sendTrailers(multiplexer, Handle(token: tag), stream)
      case .closed(let tag, let code):
        let client = Handle(token: tag)
        guard clients.contains(client) else { continue }
        let record = clients[client].carrier
        streams[record].flags.insert(.closed)
        // A WebSocket that both sides have ended may still have something to pass on; its exchange will come to its end by itself.
        // (A stream that the client's END_STREAM has closed is not found by its number any more.)
        if code == 0, streams[record].flags.contains(.over), let exchange = clients[client].exchange, exchanges[exchange].session != nil {
          if !streams[record].flags.contains(.ended) { streamEnded(client) }
          continue
        }
        doom(client)
      case .streamError(_, let code): report(connection, streamError: code)
      case .connectionError(let code): report(connection, .http2ConnectionError, ErrorCode.name(code))
      case .flooded(let flood): report(connection, Fault(flood), "")
      case .resetReceived: counters.add(.http2ResetsReceived)
      case .resetSent: counters.add(.http2ResetsSent)
      }
    }
    workspace.clear()
  }

  /// The connection that a client is, or is a stream of.
  @inline(__always)
  func connection(of client: Handle) -> Handle {
    clients[client].flags.contains(.stream) ? streams[clients[client].carrier].connection : client
  }

  private func client(of stream: Int32, _ multiplexer: Handle) -> Handle? {
    let tag = multiplexers[multiplexer].session.tag(of: stream)
    guard tag != 0 else { return nil }
    let client = Handle(token: tag)
    return clients.contains(client) && clients[client].flags.isDisjoint(with: .doomed) ? client : nil
  }

  // MARK: Requests

  /// A request has come: makes its client and dispatches it.
  private mutating func beginStream(_ connection: Handle, _ multiplexer: Handle, _ id: Int32, _ section: Int, ends: Bool) {
    let isHead = workspace.sections[section].head.method == .head
    let record = Stream(id, connection: connection, multiplexer: multiplexer, flags: isHead ? (ends ? [.isHead, .ended] : .isHead) : (ends ? .ended : []))
    guard let stream = streams.insert(record) else { return refuseStream(connection, multiplexer, id) }
    let peer = clients[connection].peer
    guard let client = clients.insert(Client(streamOf: peer, listener: clients[connection].listener, carrier: stream)) else {
      _ = streams.remove(stream)
      return refuseStream(connection, multiplexer, id)
    }
    // A stream that has been reset by now is not worth a look.
    guard multiplexers[multiplexer].session.tag(id, client.token) else {
      _ = streams.remove(stream)
      retire(client)
      return
    }
    link(client, stream, multiplexer)
    if clients[connection].waiting == .idle { clients[connection].waiting = .nothing }
    counters.add(.http2Streams)
    counters.add(.http2StreamsActive)
    clients[client].requestStart = services.nowMicroseconds
    if !ends { clients[client].flags.insert(.mustLinger) }
    swap(&services.head, &workspace.sections[section].head)
    var bytes = Buffer.absent
    swap(&bytes, &workspace.sections[section].bytes)
    let fault = workspace.sections[section].outcome
    if fault == .none, services.head.size <= services.headLimit {
      unsafe dispatch(clients.pin(client), bytes.count, &bytes)
    } else {
      let isLong = services.head.target.count > services.headLimit
      refuse(client, fault != .none ? fault : isLong ? .uriTooLong : .headersTooLarge, bytes)
    }
    send(client)
    // A request that was forwarded has taken the text along.
    if bytes.capacity == 0 { bytes = services.small.take() }
    bytes.removeAll()
    swap(&bytes, &workspace.sections[section].bytes)
  }

  private mutating func refuseStream(_ connection: Handle, _ multiplexer: Handle, _ id: Int32) {
    multiplexers[multiplexer].session.reset(id, .refusedStream)
    report(connection, .http2StreamRefused, "no room for another stream")
  }

  private mutating func link(_ client: Handle, _ stream: Handle, _ multiplexer: Handle) {
    if let first = multiplexers[multiplexer].firstStream {
      streams[stream].next = first
      streams[clients[first].carrier].previous = client
    }
    multiplexers[multiplexer].firstStream = client
    multiplexers[multiplexer].streamCount += 1
  }

  // MARK: Bodies

  private mutating func receiveData(_ multiplexer: Handle, _ id: Int32, _ bytes: Span<UInt8>) {
    guard let client = client(of: id, multiplexer) else { return multiplexers[multiplexer].session.giveBackToConnection(bytes.count) }
    let stream = clients[client].carrier
    guard let exchange = clients[client].exchange else { return dropData(client, stream, bytes.count) }
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
    if !exchanges[exchange].flags.contains(.collecting) { setClientTimer(client, .body, plan.timeouts.request) }
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
    guard plan.limits.maxBodySize > 0, clients[client].received > UInt64(plan.limits.maxBodySize) else { return }
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
    guard clients[client].flags.isDisjoint(with: .doomed) else { return }
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

  private mutating func receiveTrailers(_ multiplexer: Handle, _ id: Int32, _ section: Int) {
    guard let client = client(of: id, multiplexer) else { return }
    if let exchange = clients[client].exchange {
      var lines = Buffer.absent
      swap(&lines, &workspace.sections[section].bytes)
      let fault = workspace.sections[section].outcome
      if let fault = fault == .none ? collectTrailers(exchange, lines) : fault { fail(exchange, fault) }
      swap(&lines, &workspace.sections[section].bytes)
    }
    streamEnded(client)
  }

  private mutating func collectTrailers(_ exchange: Handle, _ lines: borrowing Buffer) -> Fault? { collectTrailer(exchange, lines.bytes) }

  /// The client has ended its side of a stream.
  private mutating func streamEnded(_ client: Handle) {
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
    _ = clients[client].body.streamEnded()
    var position = 0
    if let fault = passBody(exchange, Span(), &position) { return fail(exchange, fault) }
    bodyIsComplete(exchange)
  }

  /// The response is out while the request still goes on. What still comes of it is dropped, unless it was refused or cannot
  /// be of use any more: then the client is told not to go on (RFC 9113 §8.1).
  private mutating func responseWent(_ multiplexer: Handle, _ id: Int32) {
    guard let client = client(of: id, multiplexer) else { return }
    // A WebSocket may be over in one direction only.
    if let exchange = clients[client].exchange, exchanges[exchange].session != nil { return }
    guard clients[client].flags.contains(.discarding) else {
      streams[clients[client].carrier].code = .noError
      return doom(client)
    }
    setClientTimer(client, .body, plan.timeouts.request)
  }

  // MARK: Timers

  /// A timer of a stream or of an HTTP/2 connection has fired; false when it means what it means for all clients.
  mutating func multiplexedTimerFired(_ client: Handle, _ waiting: ClientWaiting) -> Bool {
    if clients[client].flags.contains(.stream) { return streamTimerFired(client, waiting) }
    switch waiting {
    case .idle, .firstByte:
      counters.add(.idleCloses)
      multiplexers[clients[client].multiplexer].session.terminate(.noError)
    case .head:
      report(client, .requestTimeout, "a header section was not completed")
      multiplexers[clients[client].multiplexer].session.terminate(.enhanceYourCalm)
    default: return false
    }
    queueOutput(client)
    return true
  }

  private mutating func streamTimerFired(_ client: Handle, _ waiting: ClientWaiting) -> Bool {
    let stream = clients[client].carrier
    switch waiting {
    case .body:
      guard let exchange = clients[client].exchange else {
        streams[stream].code = .noError
        doom(client)
        return true
      }
      // A request that does not come to its end is cancelled, not answered.
      exchanges[exchange].flags.insert(.committed)
      fail(exchange, .requestTimeout)
    case .send:
      // Behind others of the same connection it may wait; the client has to take something.
      guard !multiplexers[streams[stream].multiplexer].session.hasRoom(streams[stream].id) else {
        setClientTimer(client, .send, plan.timeouts.send)
        return true
      }
      clients[client].flags.insert(.stalled)
      doom(client)
    default: return false
    }
    return true
  }

  // MARK: The end

  /// Takes a stream's client out, and resets the stream where it has not ended by itself.
  mutating func removeStream(_ client: Handle) {
    clientTimers.disarm(client.index)
    var stream = streams.remove(clients[client].carrier)
    counters.subtract(.http2StreamsActive)
    clients[client].backlog.removeAll(&services.large)
    retire(client)
    let unused = stream.incoming.count
    stream.incoming.removeAll(&services.small)
    let multiplexer = stream.multiplexer
    if let next = stream.next { streams[clients[next].carrier].previous = stream.previous }
    if let previous = stream.previous {
      streams[clients[previous].carrier].next = stream.next
    } else {
      multiplexers[multiplexer].firstStream = stream.next
    }
    multiplexers[multiplexer].streamCount -= 1
    if unused > 0 { multiplexers[multiplexer].session.giveBackToConnection(unused) }
    if !stream.flags.contains(.closed) {
      multiplexers[multiplexer].session.untag(stream.id)
      multiplexers[multiplexer].session.reset(stream.id, stream.code)
    }
    if multiplexers[multiplexer].streamCount == 0, clients[stream.connection].waiting == .nothing {
      setClientTimer(stream.connection, .idle, plan.timeouts.idle)
    }
    queueOutput(stream.connection)
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

  // MARK: Reporting

  /// Counts and logs something that concerns a connection as a whole.
  private func report(_ client: Handle, _ fault: Fault, _ detail: String) {
    counters.count(fault: fault.rawValue)
    let level: LogPlan.Level = fault.row.severity >= 3 ? .warn : .info
    guard level >= log.level else { return }
    let peer = clients[client].peer
    log.write(level, key: EventKey("http2 fault", Int(fault.rawValue)), "client \(peer): \(fault.row.token): \(fault.row.sentence)\(detail.isEmpty ? "" : " (\(detail))")")
  }

  private func report(_ client: Handle, streamError code: UInt32) {
    switch ErrorCode(rawValue: code) {
    case .refusedStream: report(client, .http2StreamRefused, "")
    case .enhanceYourCalm: report(client, .headersTooLarge, "longer than http2.max_header_list_size")
    default: report(client, .httpRequestError, "a stream was reset: \(ErrorCode.name(code))")
    }
  }
}

extension Fault {
  init(_ flood: Flood) {
    self =
      switch flood {
      case .resets: .http2RapidReset
      case .settings: .http2SettingsFlood
      case .pings: .http2PingFlood
      case .emptyFrames: .http2EmptyFrameFlood
      case .windowUpdates: .http2WindowUpdateFlood
      case .priorities: .http2PriorityFlood
      case .continuations: .http2ContinuationFlood
      }
  }
}
