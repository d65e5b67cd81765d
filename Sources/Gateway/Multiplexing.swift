// Multiplexing — HTTP/2 connections: frames in, each request a client of its own, and what is said of a connection.
//
// The session says what has come (`SessionEvent`); here a request becomes a client with the flag `.stream`, whose head has
// the shape of an HTTP/1.1 head, and goes the way of all requests from `dispatch` on. Its body is the matter of StreamBodies,
// its end that of StreamEnds.

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
  /// Milliseconds without a stream after which a session is put aside.
  private static var settlingTime: Int { 1_000 }

  // MARK: Beginning

  /// Whether the first bytes of this connection may be those of HTTP/2.
  mutating func mayBePreface(_ client: Handle) -> Bool {
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

  private mutating func makeSession() -> ServerSession? {
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
    } else if clients[client].waiting != .nothing {
      rest(client, multiplexer)
    }
    queueOutput(client)
  }

  /// Sets the timer of a connection from which something has come, and of which nothing is waited for now.
  private mutating func rest(_ client: Handle, _ multiplexer: Handle) {
    switch clients[client].waiting {
    case .head, .firstByte: if multiplexers[multiplexer].streamCount == 0 { settleConnection(client) } else { clients[client].waiting = .nothing }
    // Requests that are answered already have ended its idleness.
    case .idle, .settling: if answered.count > 0 { settleConnection(client) }
    default: break
    }
  }

  /// Begins the time of a connection without streams.
  mutating func settleConnection(_ client: Handle) {
    let limit = plan.timeouts.idle
    setClientTimer(client, .settling, limit > 0 ? min(limit, Self.settlingTime) : Self.settlingTime)
  }

  /// The session of a connection without streams is put aside; what is left of its time begins.
  private mutating func sleep(_ client: Handle) {
    multiplexers[clients[client].multiplexer].session.sleep()
    setClientTimer(client, .idle, plan.timeouts.idle > 0 ? max(1, plan.timeouts.idle - Self.settlingTime) : 0)
  }

  /// Acts on what the session has noted, of which `input` are the bytes.
  mutating func actOnEvents(_ connection: Handle, _ multiplexer: Handle, _ input: Span<UInt8>) {
    for position in 0..<workspace.eventCount {
      switch workspace.event(at: position) {
      case .request(let stream, let section, let ends): beginStream(connection, multiplexer, stream, section, ends: ends)
      case .data(let stream, let tag, let start, let count):
        receiveData(multiplexer, stream, tag, input.extracting(start..<start + count))
      case .trailers(let stream, let tag, let section): receiveTrailers(multiplexer, stream, tag, section)
      case .end(let stream, let tag):
        if let client = client(of: stream, tag, multiplexer) { bodyCame(client) }
      case .answered(let stream): responseWent(multiplexer, stream)
      case .wantsTrailers(let tag, let stream): sendTrailers(multiplexer, Handle(token: tag), stream)
      case .progress(let tag):
        let client = Handle(token: tag)
        if clients.contains(client), clients[client].waiting == .send { setSendTimer(client) }
      case .closed(let tag, let code):
        let client = Handle(token: tag)
        guard clients.contains(client) else { continue }
        let record = clients[client].carrier
        streams[record].flags.insert(.closed)
        if code == 0 { noteDelivery(client) }
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
      case .promiseFailed(let stream): promiseFailed(multiplexer, stream)
      case .resetReceived: counters.add(.http2ResetsReceived)
      case .resetSent: counters.add(.http2ResetsSent)
      }
    }
    workspace.clear()
  }

  /// The connection that a client is, or is a stream of.
  @inline(__always)
  mutating func connection(of client: Handle) -> Handle {
    clients[client].flags.contains(.stream) ? streams[clients[client].carrier].connection : client
  }

  mutating func client(of stream: Int32, _ multiplexer: Handle) -> Handle? { client(of: stream, 0, multiplexer) }

  /// The client of a stream that had the tag `tag`; where that is 0, it may have been given one since.
  mutating func client(of stream: Int32, _ tag: UInt64, _ multiplexer: Handle) -> Handle? {
    let tag = tag == 0 ? multiplexers[multiplexer].session.tag(of: stream) : tag
    guard tag != 0 else { return nil }
    let client = Handle(token: tag)
    return clients.contains(client) && clients[client].flags.isDisjoint(with: .doomed) ? client : nil
  }

  // MARK: Requests

  /// A request has come: makes its client and dispatches it.
  private mutating func beginStream(_ connection: Handle, _ multiplexer: Handle, _ id: Int32, _ section: Int, ends: Bool) {
    // A stream that has been reset by now is not worth a look.
    guard multiplexers[multiplexer].session.isStillOpen(id) else { return counters.add(.http2Streams) }
    let isHead = workspace.sections[section].head.method == .head
    let flags: StreamFlags = isHead ? (ends ? [.isHead, .ended] : .isHead) : (ends ? .ended : [])
    guard let client = makeStream(connection, multiplexer, id, flags: flags) else { return refuseStream(connection, multiplexer, id) }
    counters.add(.http2Streams)
    if plan.http2.enablePush { keepOrigin(clients[client].carrier, multiplexer, section) }
    swap(&services.head, &workspace.sections[section].head)
    if !ends { expectBody(client) }
    var bytes = Buffer.absent
    swap(&bytes, &workspace.sections[section].bytes)
    let fault = workspace.sections[section].outcome
    if fault == .none, services.head.size <= services.headLimit {
      unsafe dispatch(clients.pin(client), bytes.count, &bytes)
    } else {
      let isLong = services.head.target.count > services.headLimit
      refuse(client, fault != .none ? fault : isLong ? .uriTooLong : .headersTooLarge, bytes)
    }
    if streams[clients[client].carrier].flags.contains(.answered) { releaseAnswered(client) } else { keepStream(client) }
    // A request that was forwarded has taken the text along.
    if bytes.capacity == 0 { bytes = services.small.take() }
    bytes.removeAll()
    swap(&bytes, &workspace.sections[section].bytes)
  }

  private mutating func expectBody(_ client: Handle) {
    clients[client].flags.insert(.mustLinger)
    if case .length(let length) = services.head.body { streams[clients[client].carrier].declared = length }
  }

  /// A stream that needs nothing more from here but to be sent what is prepared for it: it keeps no record.
  @inline(__always)
  private mutating func releaseAnswered(_ client: Handle) {
    let record = clients[client].carrier
    answered.append(AnsweredStream(connection: streams[record].connection, id: streams[record].id, bounds: clients[client].bounds))
    unmakeStream(client)
  }

  /// Takes back a stream that nobody knows of.
  @inline(__always)
  mutating func unmakeStream(_ client: Handle) {
    counters.subtract(.http2StreamsActive)
    streams.park(clients[client].carrier)
    clients.park(client)
  }

  /// A stream goes on after its request has been dispatched: it is found by what comes on it, and its connection knows of it.
  private mutating func keepStream(_ client: Handle) {
    let record = clients[client].carrier
    register(client, record)
    if !multiplexers[streams[record].multiplexer].session.tag(streams[record].id, client.token) {
      services.responses.output.removeAll()
      streams[record].flags.insert(.closed)
      return doom(client)
    }
    send(client)
  }

  /// Streams whose prepared answers could not go at once get a record, and a limit to the time that takes.
  @inline(never)
  mutating func keepAnswered() {
    for position in 0..<answered.count {
      let stream = answered[position]
      guard clients.contains(stream.connection), clients[stream.connection].flags.contains(.multiplexed),
        clients[stream.connection].flags.isDisjoint(with: .doomed)
      else { continue }
      let multiplexer = clients[stream.connection].multiplexer
      guard multiplexers[multiplexer].session.isOpen(stream.id) else { continue }
      guard let client = makeStream(stream.connection, multiplexer, stream.id, flags: [.ended, .hasHead, .answered]) else {
        multiplexers[multiplexer].session.reset(stream.id, .refusedStream)
        queueOutput(stream.connection)
        continue
      }
      register(client, clients[client].carrier)
      _ = multiplexers[multiplexer].session.tag(stream.id, client.token)
      clients[client].bounds = stream.bounds
      setSendTimer(client)
    }
    workspace.openAnswers = 0
  }

  /// Makes the record and the client of a stream; nil when there is no room.
  @inline(__always)
  mutating func makeStream(_ connection: Handle, _ multiplexer: Handle, _ id: Int32, flags: StreamFlags) -> Handle? {
    guard let stream = streams.revive() ?? streams.insert(Stream()) else { return nil }
    let origin = clients[connection].origin
    guard let client = clients.revive() ?? clients.insert(Client(Socket(Descriptor.none), peer: origin.address, listener: 0)) else {
      streams.park(stream)
      return nil
    }
    streams[stream].become(id, connection: connection, multiplexer: multiplexer, flags: flags)
    clients[client].becomeStream(of: origin, carrier: stream, at: services.nowMicroseconds)
    counters.add(.http2StreamsActive)
    return client
  }

  /// Puts a stream among those of its connection, which is not idle then.
  mutating func register(_ client: Handle, _ stream: Handle) {
    let connection = streams[stream].connection
    link(client, stream, streams[stream].multiplexer)
    if clients[connection].waiting == .idle || clients[connection].waiting == .settling { clients[connection].waiting = .nothing }
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

  // MARK: Timers

  /// A timer of a stream or of an HTTP/2 connection has fired; false when it means what it means for all clients.
  mutating func multiplexedTimerFired(_ client: Handle, _ waiting: ClientWaiting) -> Bool {
    if clients[client].flags.contains(.stream) { return streamTimerFired(client, waiting) }
    switch waiting {
    case .settling: sleep(client)
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
      // Whoever makes a call may pause as long as it likes.
      if exchanges[exchange].flags.contains(.grpc) { return true }
      // A request that does not come to its end is cancelled, not answered.
      exchanges[exchange].flags.insert(.committed)
      fail(exchange, .requestTimeout)
    case .send:
      // Behind others of the same connection it may wait; the client has to take something.
      guard !multiplexers[streams[stream].multiplexer].session.hasRoom(streams[stream].id) else {
        setSendTimer(client)
        return true
      }
      clients[client].flags.insert(.stalled)
      doom(client)
    default: return false
    }
    return true
  }

  // MARK: Reporting

  /// Counts and logs something that concerns a connection as a whole.
  private mutating func report(_ client: Handle, _ fault: Fault, _ detail: String) {
    counters.count(fault: fault.rawValue)
    let level: LogPlan.Level = fault.row.severity >= 3 ? .warn : .info
    guard level >= log.level else { return }
    let peer = clients[client].address
    log.write(level, key: EventKey("http2 fault", Int(fault.rawValue)), "client \(peer): \(fault.row.token): \(fault.row.sentence)\(detail.isEmpty ? "" : " (\(detail))")")
  }

  mutating func report(_ client: Handle, streamError code: UInt32) {
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
