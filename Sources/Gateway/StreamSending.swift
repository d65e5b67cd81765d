// StreamSending — answers on the streams of an HTTP/2 connection, and the writing of its frames.
//
// What is composed for a client as an HTTP/1.1 head is taken apart once, when it reaches a stream; everything after it is
// body and waits in the client's backlog, from which the session fills DATA frames in the order of RFC 9218. Frames are put
// together when the turn's work is done, for all streams of a connection at once, in one buffer and with one write.
// Invariants: no frames are put together while the connection still has some to write, so that at most one buffer of them
// waits for a slow client; `workspace` holds no events between two steps.

import HTTP2
import HTTPModel
import Kernel
import Memory
import SharedState
import Wire

extension Gateway {
  /// Bytes of frames put together for one write.
  static var frameLimit: Int { 128 << 10 }
  /// Writes to one connection in one turn, at most.
  private static var writeBudget: Int { 4 }

  // MARK: Streams

  /// Takes what has been composed in the shared output for a stream: heads until the final one, then body.
  @inline(never)
  mutating func sendOnStream(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: .doomed) else { return }
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    let stream = clients[client].carrier
    var start = 0
    while start < output.count, !streams[stream].flags.contains(.hasHead) {
      let length = sendHead(client, stream, output.bytes.extracting(droppingFirst: start))
      guard length > 0 else {
        // It was composed here, so this cannot be.
        start = output.count
        streams[stream].code = .internalError
        doom(client)
        break
      }
      start += length
    }
    if start < output.count { keepForStream(client, output.bytes.extracting(droppingFirst: start)) }
    swap(&output, &services.responses.output)
    queueOutput(streams[stream].connection)
  }

  /// Hands the head that `bytes` begin with to the session; returns its length, 0 when it cannot be sent.
  private mutating func sendHead(_ client: Handle, _ stream: Handle, _ bytes: Span<UInt8>) -> Int {
    guard let length = services.memo.length(in: bytes) ?? takeApart(bytes) else { return 0 }
    let status = services.streamHead.status
    if plan.http2.enablePush, status.code >= 200 { makePromises(client, bytes) }
    let isBodyless = streams[stream].flags.contains(.isHead) || status.forbidsBody || services.streamHead.body == .length(0) && !mayHaveTrailers(client)
    let isTaken = multiplexers[streams[stream].multiplexer].session.respond(
      streams[stream].id, tag: client.token, services.streamHead, of: bytes.extracting(first: length), hasBody: !isBodyless, &workspace)
    if status.code >= 200 {
      streams[stream].flags.insert(.hasHead)
      if isBodyless { streams[stream].flags.insert(.isBodyless) }
    }
    return isTaken ? length : 0
  }

  /// Whether trailers may still follow the body of a response, be it empty.
  private mutating func mayHaveTrailers(_ client: Handle) -> Bool {
    guard let exchange = clients[client].exchange else { return false }
    return exchanges[exchange].flags.contains(.trailers)
  }

  @inline(never)
  private mutating func takeApart(_ bytes: Span<UInt8>) -> Int? {
    var parser = ResponseParser()
    services.memo.forget()
    guard case .complete(let length) = parser.parse(bytes, into: &services.streamHead) else { return nil }
    var id = 0..<0
    for index in services.streamHead.records.indices {
      let record = services.streamHead.records[index]
      if record.isNamed(.requestID) { id = record.value.lower..<record.value.upper }
    }
    services.memo.keep(bytes.extracting(first: length), id: id)
    return length
  }

  /// Body bytes of a stream wait in its backlog.
  mutating func keepForStream(_ client: Handle, _ bytes: Span<UInt8>) {
    let stream = clients[client].carrier
    guard !streams[stream].flags.contains(.isBodyless), clients[client].flags.isDisjoint(with: .doomed), !bytes.isEmpty else { return }
    let wasEmpty = clients[client].backlog.isEmpty
    // Small ones do not take a large buffer each.
    if bytes.count <= services.small.bufferCapacity, wasEmpty {
      clients[client].backlog.append(bytes, &services.small)
    } else {
      clients[client].backlog.append(bytes, &services.large)
    }
    if clients[client].flags.contains(.holding) { return }
    // Most are sent before the turn is over; only what is left then is waited for.
    if wasEmpty { unsettled.append(Token.make(.client, client)) }
    streamHasMore(client)
  }

  /// The session may ask a stream for more, or for its end.
  mutating func streamHasMore(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.doomed, .holding]) else { return }
    let stream = clients[client].carrier
    if streams[stream].flags.contains(.closed) {
      if clients[client].exchange == nil { doom(client) }
      return
    }
    multiplexers[streams[stream].multiplexer].session.resume(streams[stream].id)
    queueOutput(streams[stream].connection)
  }

  /// Keeps the trailers of a response for the end of the stream.
  mutating func keepStreamTrailers(_ exchange: Handle) -> Fault? {
    guard var lines = exchanges[exchange].trailers.take() else { return nil }
    var section = services.buffer(for: 2 * lines.count + 64)
    let isCall = exchanges[exchange].flags.contains(.grpc)
    if isCall { exchanges[exchange].heldHead = nil }
    let fault: Fault?
    switch exchanges[exchange].heldHead {
    case .some(let announced): fault = Trailers.append(&lines, announcedIn: announced.bytes, to: &section, scratch: &services.head)
    case .none: fault = Trailers.append(&lines, announcedIn: nil, to: &section, scratch: &services.head)
    }
    services.small.recycle(lines)
    if fault != nil { return .responseProtocolError }
    if isCall { noteCallStatus(exchange, trailers: section) }
    if !section.isEmpty { streams[clients[exchanges[exchange].client].carrier].trailers = consume section }
    return nil
  }

  /// All DATA of a stream is out: its trailers end it. Nothing when they have been handed in.
  mutating func sendTrailers(_ multiplexer: Handle, _ client: Handle, _ id: Int32) {
    guard clients.contains(client), var lines = streams[clients[client].carrier].trailers.take() else { return }
    queueOutput(streams[clients[client].carrier].connection)
    lines.append("\r\n")
    var isSent = false
    if case .complete = TrailerParser.parse(lines.bytes, into: &services.head) {
      isSent = multiplexers[multiplexer].session.sendTrailers(id, services.head, of: lines.bytes, &workspace)
    }
    services.small.recycle(lines)
    guard isSent else {
      streams[clients[client].carrier].code = .internalError
      return doom(client)
    }
  }

  // MARK: Connections

  /// Notes that a connection may have frames to write.
  mutating func queueOutput(_ connection: Handle) {
    guard !clients[connection].flags.contains(.unflushed) else { return }
    clients[connection].flags.insert(.unflushed)
    unflushed.append(Token.make(.client, connection))
  }

  /// Writes the frames of the connections that have any, to clients and backends.
  @inline(never)
  mutating func flushConnections() {
    if pushes.count > 0 { beginPushes() }
    for _ in 0..<unflushed.count {
      guard let token = unflushed.popFirst() else { return }
      let client = Token.handle(token)
      if Token.kind(token) == .backend {
        flushSession(client)
      } else if clients.contains(client) {
        clients[client].flags.remove(.unflushed)
        writeFrames(client)
      }
      if !doomed.isEmpty { reap() }
    }
    if answered.count > 0 {
      if workspace.openAnswers > 0 { keepAnswered() }
      answered.removeAll()
    }
    while let token = unsettled.popFirst() {
      let client = Token.handle(token)
      guard clients.contains(client), !clients[client].backlog.isEmpty, clients[client].flags.isDisjoint(with: [.doomed, .holding]) else { continue }
      setSendTimer(client)
    }
  }

  /// Puts frames together and writes them, until there are none, or the client does not take them.
  mutating func writeFrames(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.doomed, .lingering, .closing]) else { return }
    let multiplexer = clients[client].multiplexer
    for _ in 0..<Self.writeBudget {
      guard clients[client].backlog.isEmpty else { return }
      frames.removeAll()
      var outcome = Self.collect(&multiplexers[multiplexer], &clients, &streams, &services, &frames, &workspace, &relieved)
      if workspace.wantsTrailers, outcome != .failed {
        submitTrailers(multiplexer)
        outcome = Self.collect(&multiplexers[multiplexer], &clients, &streams, &services, &frames, &workspace, &relieved)
      }
      let isEmpty = frames.isEmpty
      if !isEmpty { writeOut(client) }
      actOnEvents(client, multiplexer, Span())
      relieve()
      if outcome == .failed { return doom(client) }
      guard clients[client].flags.isDisjoint(with: .doomed) else { return }
      if multiplexers[multiplexer].session.isOver { return end(client) }
      if isEmpty {
        // A frame in between, such as a PING, has woken it.
        if clients[client].waiting == .idle { multiplexers[multiplexer].session.sleep() }
        return
      }
    }
    // The others want a turn.
    queueOutput(client)
  }

  /// Hands in the trailers that have been asked for while frames were put together: they go in the same write as the DATA before them.
  @inline(never)
  private mutating func submitTrailers(_ multiplexer: Handle) {
    for position in 0..<workspace.eventCount {
      if case .wantsTrailers(let tag, let stream) = workspace.event(at: position) { sendTrailers(multiplexer, Handle(token: tag), stream) }
    }
  }

  /// Everything has been said; what has not gone yet is sent before the connection is closed.
  private mutating func end(_ client: Handle) {
    clients[client].flags.formUnion([.closing, .mustLinger])
    if clients[client].backlog.isEmpty { endClient(client) }
  }

  private static func collect(
    _ multiplexer: inout Multiplexer, _ clients: inout Slab<Client>, _ streams: inout Slab<Stream>, _ services: inout Services,
    _ frames: inout Buffer, _ workspace: inout Workspace, _ relieved: inout TokenQueue
  ) -> ProduceOutcome {
    multiplexer.session.produce(into: &frames, limit: frameLimit, &workspace) { tag, take, output in
      let client = Handle(token: tag)
      guard clients.contains(client), clients[client].flags.isDisjoint(with: .doomed) else { return BodyState(count: 0, isComplete: false, hasTrailers: false) }
      if take > 0 {
        move(take, &clients[client].backlog, &services, &output)
        relieved.append(tag)
      }
      // Once its exchange is over, or will be with it, all there is of a response is in the backlog.
      let isComplete = clients[client].exchange == nil || streams[clients[client].carrier].flags.contains(.over)
      return BodyState(
        count: clients[client].backlog.count, isComplete: isComplete, hasTrailers: isComplete && hasTrailers(streams[clients[client].carrier]))
    }
  }

  private static func hasTrailers(_ stream: borrowing Stream) -> Bool {
    switch stream.trailers {
    case .some: true
    case .none: false
    }
  }

  /// Moves the first `count` bytes of `backlog`, which has as many, to `output`.
  static func move(_ count: Int, _ backlog: inout BufferChain, _ services: inout Services, _ output: inout Buffer) {
    var rest = count
    while rest > 0, !backlog.isEmpty {
      let amount = min(rest, backlog.frontCount)
      backlog.withFront { output.append($0.extracting(first: amount)) }
      if backlog.frontCapacity == services.small.bufferCapacity {
        backlog.consume(amount, &services.small)
      } else {
        backlog.consume(amount, &services.large)
      }
      rest -= amount
    }
  }

  /// Writes what `frames` holds; what the kernel does not take waits in the connection's backlog.
  private mutating func writeOut(_ client: Handle) {
    if clients[client].flags.contains(.secure) {
      var bytes = Buffer.absent
      swap(&bytes, &frames)
      encrypt(client, bytes)
      return swap(&bytes, &frames)
    }
    let count = frames.count
    switch clients[client].socket.send(frames.bytes) {
    case .moved(count): counters.add(.bytesSent, UInt64(count))
    case .moved(let sent):
      counters.add(.bytesSent, UInt64(sent))
      keepFrames(client, from: sent)
    case .blocked: keepFrames(client, from: 0)
    case .ended, .failed:
      clients[client].backlog.append(copying: frames, from: 0, &services.large)
      doom(client)
    }
  }

  private mutating func keepFrames(_ client: Handle, from start: Int) {
    clients[client].backlog.append(copying: frames, from: start, &services.large)
    beginWaiting(client)
  }

  /// Streams whose backlog has shrunk may ask their backends for more.
  private mutating func relieve() {
    while let tag = relieved.popFirst() {
      let client = Handle(token: tag)
      if clients.contains(client), clients[client].flags.isDisjoint(with: .doomed) { backlogShrank(client, true) }
    }
  }

  /// The kernel has taken frames that waited.
  mutating func framesWent(_ client: Handle, _ progress: Bool) {
    guard clients[client].backlog.isEmpty else {
      if progress { setSendTimer(client) }
      return
    }
    if clients[client].flags.contains(.closing) { return endClient(client) }
    if clients[client].waiting == .send {
      if multiplexers[clients[client].multiplexer].streamCount == 0 { settleConnection(client) } else { clients[client].waiting = .nothing }
    }
    queueOutput(client)
  }
}
