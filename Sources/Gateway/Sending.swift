// Sending — bytes to clients: at once, and what the kernel does not take when it is ready again.

import HTTPModel
import Kernel
import Memory
import SharedState
import Wire

extension Gateway {
  /// Sends what has been composed for `client` in the shared output.
  mutating func send(_ client: Handle) { unsafe send(clients.pin(client)) }

  @inline(__always)
  mutating func send(_ client: Pin<Client>) {
    if !services.responses.output.isEmpty {
      transmit(client)
      services.responses.output.removeAll()
    }
    if clients[client].isDone { endClient(client.handle) }
  }

  @inline(__always)
  private mutating func transmit(_ client: Pin<Client>) {
    let count = services.responses.output.count
    if clients[client].flags.contains(.secure) { return transmitSecurely(client.handle) }
    guard clients[client].isClear else { return keep(client.handle, from: 0) }
    switch clients[client].socket.send(services.responses.output.bytes) {
    case .moved(count): counters.add(.bytesSent, UInt64(count))
    case .moved(let sent):
      counters.add(.bytesSent, UInt64(sent))
      keep(client.handle, from: sent)
    case .blocked: keep(client.handle, from: 0)
    case .ended, .failed: lose(client.handle)
    }
  }

  /// The client is not there any more: the shared output counts as waiting, so that nobody takes it for sent (`abandon`).
  @inline(never)
  private mutating func lose(_ client: Handle, _ body: Span<UInt8> = Span()) {
    clients[client].backlog.append(copying: services.responses.output, from: 0, &services.large)
    clients[client].backlog.append(body, &services.large)
    doom(client)
  }

  /// The rest of the shared output waits in the client's backlog.
  @inline(never)
  private mutating func keep(_ client: Handle, from start: Int) {
    if clients[client].flags.contains(.stream) { return sendOnStream(client) }
    if clients[client].flags.contains(.void) { return }
    let wasEmpty = clients[client].backlog.isEmpty
    clients[client].backlog.append(copying: services.responses.output, from: start, &services.large)
    if wasEmpty, !clients[client].flags.contains(.holding) { beginWaiting(client) }
  }

  /// Bytes that wait in a client's socket without having been sent, where it gets something long. Without a limit the kernel takes megabytes,
  /// which cool down there, and which a receiver on the same machine has to send to itself; what has been sent and not acknowledged is
  /// not concerned, so that the distance to the client is not, either. (Measured: 128 KiB; 256 KiB cost a third with 512 long downloads.)
  private static var unsentLimit: Int { 128 << 10 }

  /// The client gets something long, or more than it takes.
  @inline(never)
  mutating func limitUnsent(_ client: Handle) {
    let client = connection(of: client)
    guard clients[client].flags.isDisjoint(with: [.limited, .void]) else { return }
    clients[client].flags.insert(.limited)
    clients[client].socket.limitUnsent(Self.unsentLimit)
  }

  /// Sends the shared output and then `body`, without copying what the kernel takes at once.
  mutating func send(_ client: Handle, body: Span<UInt8>) {
    if clients[client].flags.contains(.secure) { return sendSecurely(client, body: body) }
    guard clients[client].isClear else {
      send(client)
      return keep(client, body)
    }
    let head = services.responses.output.count
    let outcome = head == 0 ? clients[client].socket.send(body) : clients[client].socket.send(services.responses.output.bytes, body)
    switch outcome {
    case .moved(let sent):
      counters.add(.bytesSent, UInt64(sent))
      if sent < head { keep(client, from: sent) }
      if sent < head + body.count { keep(client, body.extracting(droppingFirst: max(0, sent - head))) }
    case .blocked:
      if head > 0 { keep(client, from: 0) }
      keep(client, body)
    case .ended, .failed: lose(client, body)
    }
    services.responses.output.removeAll()
  }

  /// Sends the shared output and then what `buffer` holds; what has to wait is copied.
  mutating func send(_ client: Handle, copying buffer: borrowing Buffer) { send(client, body: buffer.bytes) }

  /// `bytes` wait in the client's backlog.
  mutating func keep(_ client: Handle, _ bytes: Span<UInt8>) {
    if clients[client].flags.contains(.stream) { return keepForStream(client, bytes) }
    if clients[client].flags.contains(.void) { return }
    let wasEmpty = clients[client].backlog.isEmpty
    clients[client].backlog.append(bytes, &services.large)
    if wasEmpty, !clients[client].flags.contains(.holding) { beginWaiting(client) }
  }

  /// The client does not take everything.
  mutating func beginWaiting(_ client: Handle) {
    limitUnsent(client)
    setSendTimer(client)
  }

  /// Sends what waits, as much as the kernel takes, and goes on with whatever was held back by it.
  mutating func flushBacklog(_ client: Handle) {
    guard clients[client].flags.isDisjoint(with: [.holding, .doomed, .stream]) else {
      if clients[client].flags.contains(.stream) { streamHasMore(client) }
      return
    }
    var progress = false
    while !clients[client].backlog.isEmpty {
      let count = clients[client].backlog.frontCount
      switch clients[client].backlog.withFront({ clients[client].socket.send($0) }) {
      case .moved(let sent):
        counters.add(.bytesSent, UInt64(sent))
        clients[client].backlog.consume(sent, &services.large)
        progress = true
        if sent < count { return backlogShrank(client, progress) }
      case .blocked: return backlogShrank(client, progress)
      case .ended, .failed: return doom(client)
      }
    }
    backlogShrank(client, progress)
  }

  /// Sends what waits of a response that is complete, while its exchange has not ended yet.
  mutating func flushBacklogOfExchange(_ client: Handle) {
    if clients[client].flags.contains(.stream) { return streamHasMore(client) }
    while clients[client].flags.isDisjoint(with: [.holding, .doomed]), !clients[client].backlog.isEmpty {
      let count = clients[client].backlog.frontCount
      switch clients[client].backlog.withFront({ clients[client].socket.send($0) }) {
      case .moved(let sent):
        counters.add(.bytesSent, UInt64(sent))
        clients[client].backlog.consume(sent, &services.large)
        if sent < count { return setSendTimer(client) }
      case .blocked: return setSendTimer(client)
      case .ended, .failed: return doom(client)
      }
    }
  }

  mutating func backlogShrank(_ client: Handle, _ progress: Bool) {
    if clients[client].flags.contains(.multiplexed) { return framesWent(client, progress) }
    let isEmpty = clients[client].backlog.isEmpty
    if let exchange = clients[client].exchange {
      if isEmpty { resumeClientTimer(client) } else if progress { setSendTimer(client) }
      return exchanges[exchange].flags.contains(.upgraded) ? resumeUpgraded(client, exchange) : resumeResponse(exchange)
    }
    guard isEmpty else {
      if progress { setSendTimer(client) }
      return
    }
    if limits.isActive {
      if clients[client].flags.contains(.delayed) { return waitForToken(client) }
      leaveRequest(client)
    }
    if clients[client].flags.contains(.closing) { return endClient(client) }
    setClientTimer(client, .idle, plan.timeouts.idle)
    enqueue(client)
  }

  /// Everything has been sent and nothing more will be: ends the connection, without a reset that could destroy the answer.
  @inline(never)
  mutating func endClient(_ client: Handle) {
    let flags = clients[client].flags
    guard flags.isDisjoint(with: [.lingering, .doomed]) else { return }
    if flags.contains(.stream) { return streamHasMore(client) }
    guard sayGoodbye(client) else { return }
    guard flags.contains(.mustLinger) || flags.contains(.readable) else { return doom(client) }
    // RFC 9112 §9.6: close the sending side, then read until the peer has closed as well.
    clients[client].socket.endSending()
    clients[client].flags.insert(.lingering)
    clients[client].flags.remove([.discarding, .inHead])
    if let input = clients[client].input.take() { services.small.recycle(input) }
    setClientTimer(client, .linger, 2_000)
    if clients[client].flags.contains(.readable) { dropInput(client) }
  }

  // MARK: The end

  /// Marks a client to be closed when the event at hand has been handled.
  mutating func doom(_ client: Handle) {
    guard !clients[client].flags.contains(.doomed) else { return }
    clients[client].flags.insert(.doomed)
    doomed.append(Token.make(.client, client))
  }

  /// Closes the clients that are doomed.
  @inline(never)
  mutating func reap() {
    while let token = doomed.popFirst() {
      let client = Token.handle(token)
      guard clients.contains(client) else { continue }
      if let exchange = clients[client].exchange, exchanges.contains(exchange) { abandon(exchange) }
      if clients[client].flags.contains(.void) {
        removeVoid(client)
        continue
      }
      if !clients[client].flags.isDisjoint(with: [.stream, .multiplexed]) {
        if clients[client].flags.contains(.stream) {
          removeStream(client)
          continue
        }
        endMultiplexing(client)
      }
      remove(client)
    }
  }

  private mutating func remove(_ client: Handle) {
    if clients[client].flags.contains(.asking) { abandonWaiting(client) }
    clientTimers.disarm(client.index)
    if let input = clients[client].input.take() {
      if input.capacity == services.large.bufferCapacity { services.large.recycle(input) } else { services.small.recycle(input) }
    }
    clients[client].backlog.removeAll(&services.large)
    if clients[client].flags.contains(.secure) { removeSession(clients[client].carrier) }
    vacate(client)
    counters.subtract(.connectionsActive)
    noteClosed()
  }

  /// Closes a client that holds nothing any more, and frees its slot.
  mutating func vacate(_ client: Handle) {
    if limits.isActive || limits.countsConnections { leaveAll(client) }
    clients[client].vacate()
    clients.park(client)
  }
}
