// Reading — bytes from clients: request heads one after the other, bodies for those who want them, the rest dropped.
//
// A client is read only while someone wants its bytes. Readiness that comes at another time is remembered
// in `.readable` and used when it does. A turn reads a bounded amount from each client.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Wire

extension Gateway {
  /// Reads from one client in one turn, at most.
  private static var readBudget: Int { 16 }

  /// The client's socket has become ready.
  @inline(__always)
  mutating func clientIsReady(_ client: Pin<Client>, _ readiness: Readiness) {
    if !readiness.isDisjoint(with: .broken) { return clientBroke(client.handle) }
    if readiness.contains(.writable), clients[client].hasUnsent { sendUnsent(client.handle) }
    guard !readiness.isDisjoint(with: .readable) else { return }
    if clients[client].noteReady(readiness) { receiveRequests(client) } else { read(client.handle) }
  }

  /// The connection is closed in both directions, or reset. Where it is a WebSocket that we have ended, its last bytes count.
  @inline(never)
  private mutating func clientBroke(_ client: Handle) {
    guard let exchange = clients[client].exchange, exchanges[exchange].flags.contains(.upgraded), clients[client].backlog.isEmpty else {
      return doom(client)
    }
    clients[client].flags.formUnion([.readable, .ended])
    serveUpgraded(client, exchange)
  }

  /// Does what the client's state allows with what it has to be read.
  mutating func read(_ client: Handle) {
    let flags = clients[client].flags
    guard flags.isDisjoint(with: .finished) else {
      if flags.contains(.lingering) { return dropInput(client) }
      if flags.contains(.stream) { return readStream(client) }
      if flags.contains(.multiplexed), flags.isDisjoint(with: [.closing, .doomed]) { receiveFrames(client) }
      if flags.contains(.ended), !flags.isDisjoint(with: [.delayed, .asking]), plan.http1.halfClose == .cancel { doom(client) }
      return
    }
    if let exchange = clients[client].exchange {
      if !clients[client].body.isComplete { return receiveBody(client, exchange) }
      if exchanges[exchange].flags.contains(.upgraded) { return serveUpgraded(client, exchange) }
      // A FIN while the answer is awaited may be a half-close or the end: TCP cannot tell, so a setting does.
      if flags.contains(.ended), plan.http1.halfClose == .cancel, !exchanges[exchange].flags.contains(.delivering) { doom(client) }
      return
    }
    // Answers that the client does not take hold back its next requests.
    if clients[client].backlog.isEmpty { unsafe receiveRequests(clients.pin(client)) }
  }

  /// Goes on with a client that was put off, or whose last request is done: what it has sent already comes first, then its socket.
  mutating func proceed(_ client: Handle) {
    if clients[client].flags.contains(.multiplexed) {
      if clients[client].flags.isDisjoint(with: [.closing, .doomed, .lingering]) { return receiveFrames(client) }
    }
    if let exchange = clients[client].exchange, !exchanges[exchange].flags.isDisjoint(with: [.upgraded, .file]) {
      return exchanges[exchange].flags.contains(.file) ? sendFile(exchange) : serveUpgraded(client, exchange)
    }
    if clients[client].exchange == nil, clients[client].backlog.isEmpty, clients[client].flags.isDisjoint(with: .finished),
      var input = clients[client].input.take()
    {
      let client = unsafe clients.pin(client)
      answerRequests(client, in: &input)
      put(client, input)
    }
    if clients[client].flags.contains(.readable) { read(client) }
  }

  /// Reads once from the client, appending what arrived to `buffer`: `Socket.receive`, through whatever carries it.
  mutating func receive(_ client: Handle, into buffer: inout Buffer) -> Transfer { unsafe receive(clients.pin(client), into: &buffer) }

  @inline(__always)
  mutating func receive(_ client: Pin<Client>, into buffer: inout Buffer) -> Transfer {
    if !clients[client].flags.isDisjoint(with: [.secure, .stream, .unannounced]) { return receiveIndirectly(client.handle, into: &buffer) }
    return buffer.fill { clients[client].socket.receive(into: &$0) }
  }

  @inline(never)
  private mutating func receiveIndirectly(_ client: Handle, into buffer: inout Buffer) -> Transfer {
    if clients[client].flags.contains(.unannounced) {
      switch takeAnnouncement(client) {
      case .moved: break
      case let other: return other
      }
    }
    if clients[client].flags.contains(.stream) { return receiveFromStream(client, into: &buffer) }
    return clients[client].flags.contains(.secure) ? receiveSecurely(client, into: &buffer) : buffer.fill { clients[client].socket.receive(into: &$0) }
  }

  // MARK: Heads

  @inline(__always)
  mutating func receiveRequests(_ client: Pin<Client>) {
    var input = clients[client].input.take() ?? services.small.take()
    for _ in 0..<Self.readBudget {
      let room = input.freeCapacity
      switch receive(client, into: &input) {
      case .moved(let count):
        counters.add(.bytesReceived, UInt64(count))
        // A short read means drained, unless the peer's end is still to be read.
        if count < room { clients[client].noteShortRead() }
        answerRequests(client, in: &input)
        guard clients[client].isReadyForMore else {
          put(client, input)
          // The request that was begun may have a body waiting in the socket.
          if clients[client].exchange != nil, clients[client].flags.contains(.readable) { read(client.handle) }
          return
        }
        input.compact()
      case .blocked:
        clients[client].flags.remove(.readable)
        return put(client, input)
      case .ended:
        services.small.recycle(input)
        return inputEnded(client.handle)
      case .failed:
        services.small.recycle(input)
        return doom(client.handle)
      }
    }
    put(client, input)
    enqueue(client.handle)
  }

  /// Answers, or starts, every whole request in `input`, and sends the answers together.
  /// A request that is forwarded takes `input` along and leaves an empty one.
  @inline(__always)
  private mutating func answerRequests(_ client: Pin<Client>, in input: inout Buffer) {
    while !input.isEmpty {
      if clients[client].flags.contains(.discarding) {
        guard discardBody(client.handle, in: &input) else { break }
        continue
      }
      switch clients[client].parser.parse(input.bytes, into: &services.head) {
      case .complete(let length):
        clients[client].headIsComplete(now: services.nowMicroseconds)
        if services.head.size <= services.headLimit {
          dispatch(client, length, &input)
        } else {
          refuse(client.handle, services.head.target.count > services.headLimit ? .uriTooLong : .headersTooLarge, input)
        }
      case .incomplete:
        headIsIncomplete(client.handle, input)
        return send(client)
      case .rejected(let fault):
        if fault == .versionNotSupported, mayBePreface(client.handle) {
          switch ClientPreface.compare(input.bytes) {
          case .part:
            headIsIncomplete(client.handle, input)
            return send(client)
          case .whole: return beginMultiplexing(client.handle, &input)
          case .other: break
          }
        }
        clients[client].headIsComplete(now: services.nowMicroseconds)
        refuse(client.handle, fault, input)
      }
      if services.responses.output.freeCapacity < 64 << 10 { send(client) }
      guard clients[client].mayBeginRequest else { break }
    }
    send(client)
  }

  /// Goes on behind a request that was held: with those that have come with it, and with sending.
  @inline(never)
  mutating func goOn(_ client: Pin<Client>, _ input: inout Buffer) {
    if clients[client].mayBeginRequest { answerRequests(client, in: &input) } else { send(client) }
  }

  @inline(never)
  private mutating func headIsIncomplete(_ client: Handle, _ input: borrowing Buffer) {
    if !clients[client].flags.contains(.inHead) {
      clients[client].requestStart = services.nowMicroseconds
      clients[client].flags.insert(.inHead)
      setClientTimer(client, .head, plan.timeouts.request)
    }
    if input.count >= min(services.small.bufferCapacity, input.capacity) || input.count > services.headLimit + 4096 {
      refuse(client, RequestParser.isRequestLineOpen(input.bytes) ? .uriTooLong : .headersTooLarge, input)
    }
  }

  /// Keeps `input` for the rest of a request, or gives it back when nothing is left in it.
  @inline(__always)
  mutating func put(_ client: Pin<Client>, _ input: consuming Buffer) {
    if input.isEmpty {
      services.small.recycle(input)
    } else {
      input.compact()
      clients[client].input = consume input
    }
  }

  /// The client has sent its FIN while no exchange runs. A request that was begun can never be completed;
  /// answers that wait are still sent.
  private mutating func inputEnded(_ client: Handle) {
    if clients[client].backlog.isEmpty {
      _ = sayGoodbye(client)
      return doom(client)
    }
    clients[client].flags.remove(.readable)
    clients[client].flags.insert(.closing)
  }

  // MARK: Bodies

  /// Reads a request body for `exchange` while its way onward is clear.
  mutating func receiveBody(_ client: Handle, _ exchange: Handle) {
    guard wantsBody(exchange) else { return }
    payContinue(client)
    var buffer = services.large.take()
    for _ in 0..<Self.readBudget {
      let room = buffer.freeCapacity
      switch receive(client, into: &buffer) {
      case .moved(let count):
        counters.add(.bytesReceived, UInt64(count))
        clients[client].received += UInt64(count)
        if count < room { clients[client].noteShortRead() }
        // A body that is collected has one limit for the whole of it.
        if !exchanges[exchange].flags.contains(.collecting) { setBodyTimer(client) }
        var used = 0
        let fault = passBody(exchange, buffer.bytes, &used)
        if let fault {
          services.large.recycle(buffer)
          return fail(exchange, fault)
        }
        if clients[client].body.isComplete {
          // What follows the body is the next request.
          buffer.consume(used)
          if buffer.isEmpty { services.large.recycle(buffer) } else { clients[client].input = consume buffer }
          return bodyIsComplete(exchange)
        }
        buffer.removeAll()
        flushRequest(exchange)
        guard clients[client].exchange == exchange, wantsBody(exchange) else {
          // The wait that begins here is for the backend; its own timer runs.
          if clients[client].waiting == .body { clients[client].waiting = .nothing }
          return services.large.recycle(buffer)
        }
        guard clients[client].flags.contains(.readable) else { return services.large.recycle(buffer) }
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

  /// Sends the `100 Continue` that the client waits for, if it is owed (RFC 9110 §10.1.1).
  mutating func payContinue(_ client: Handle) {
    guard clients[client].flags.contains(.owesContinue) else { return }
    clients[client].flags.remove(.owesContinue)
    services.responses.output.append("HTTP/1.1 100 Continue\r\n\r\n")
    send(client)
  }

  /// Drops body bytes of a request that was answered already; true once the next request's head begins.
  private mutating func discardBody(_ client: Handle, in input: inout Buffer) -> Bool {
    var position = 0
    while true {
      switch clients[client].body.next(input.bytes, at: &position) {
      case .trailer: continue
      case .data(let range):
        clients[client].received += UInt64(range.count)
        guard bounds(client).exclude(Int(clamping: clients[client].received)) else { continue }
        input.removeAll()
        clients[client].flags.formUnion([.closing, .mustLinger])
        return false
      case .needsMore:
        input.removeAll()
        return false
      case .malformed:
        input.removeAll()
        clients[client].flags.formUnion([.closing, .mustLinger])
        return false
      case .end(let next):
        input.consume(next)
        clients[client].flags.remove(.discarding)
        setClientTimer(client, .idle, plan.timeouts.idle)
        return true
      }
    }
  }

  // MARK: After the end

  /// Reads and drops what a client still sends after its last answer, as it comes.
  mutating func dropInput(_ client: Handle) {
    var buffer = services.large.take()
    for _ in 0..<Self.readBudget {
      buffer.removeAll()
      switch buffer.fill({ clients[client].socket.receive(into: &$0) }) {
      case .moved: continue
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
}
