// Relaying — a backend's response on its way to the client: bytes down, demand up.
//
// A backend is read only while its client has room: what the client has not taken yet waits in the client's
// backlog, up to relay_buffer_limit_bytes. A response is parsed and written anew; a body is only passed through.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream
import Wire

/// How far a response has come.
enum RelayOutcome {
  case more
  case complete
  /// The connection is a tunnel from here on.
  case upgraded
  case failed(Fault)
}

extension Gateway {
  /// Reads from one backend in one turn, at most.
  private static var relayBudget: Int { 8 }
  /// Bodies up to this size are copied behind the head, so that both go in one write without a second vector.
  static var copyLimit: Int { 16 << 10 }

  /// The backend's socket has become ready.
  @inline(__always)
  mutating func backendIsReady(_ backend: Pin<BackendConnection>, _ readiness: Readiness) {
    guard let exchange = backends.connections[backend].exchange else { return unleasedIsReady(backend.handle, readiness) }
    focus(exchange, backend.handle)
    if backends.connections[backend].state.rawValue <= BackendConnection.State.securing.rawValue {
      if backends.connections[backend].state == .securing { return securingIsReady(backend.handle, exchange, readiness) }
      if backends.connections[backend].isRacing { return raceIsReady(backend.handle, exchange) }
      if !readiness.isDisjoint(with: [.writable, .broken]) {
        if readiness.contains(.peerEnded) { backends.connections[backend].hasEnded = true }
        if !readiness.isDisjoint(with: [.readable, .broken]) { backends.connections[backend].isReadable = true }
        connectEnded(backend.handle, exchange)
      }
      return
    }
    if readiness.contains(.writable) {
      if !backends.connections[backend].backlog.isEmpty {
        flushBackend(backend.handle)
        resumeRequest(exchange, backend.handle)
      } else if backends.connections[backend].carriage != .plain {
        flushReplies(backend.handle)
      }
    }
    guard !readiness.isDisjoint(with: .readable), backends.connections.contains(backend.handle) else { return }
    backends.connections[backend].isReadable = true
    if !readiness.isDisjoint(with: [.peerEnded, .broken]) { backends.connections[backend].hasEnded = true }
    receiveResponse(backend)
  }

  /// The backend has taken request bytes: its client may be read again.
  mutating func resumeRequest(_ exchange: Handle, _ backend: Handle) {
    guard backends.connections.contains(backend), exchanges.contains(exchange),
      backends.connections[backend].backlog.count <= lowWater(exchanges[exchange].client)
    else { return }
    guard backends.connections[backend].state != .tunnelled else { return backendOfTunnelDrained(exchange, backend) }
    let client = exchanges[exchange].client
    guard !clients[client].body.isComplete else { return }
    if clients[client].waiting == .nothing { setBodyTimer(client) }
    if clients[client].flags.contains(.readable) { enqueue(client) }
  }

  private mutating func lowWater(_ client: Handle) -> Int {
    clients[client].flags.contains(.stream) ? plan.http2.lowWater : plan.http1.lowWater
  }

  /// The client has taken response bytes: its backend may be read again.
  mutating func resumeResponse(_ exchange: Handle) {
    guard let backend = exchanges[exchange].backend else {
      if exchanges[exchange].flags.contains(.delivering) { return noteDelivery(exchanges[exchange].client) }
      if exchanges[exchange].flags.contains(.file) { sendFile(exchange) }
      return
    }
    guard backends.connections[backend].isReadable else { return }
    if clients[exchanges[exchange].client].backlog.count <= relayLimit(exchange) / 2 { receiveResponse(backend) }
  }

  @inline(__always)
  mutating func wantsResponse(_ exchange: Handle) -> Bool {
    let backlog = clients[exchanges[exchange].client].backlog.count
    return backlog == 0 || exchanges[exchange].flags.contains(.holding) || backlog < relayLimit(exchange)
  }

  /// What may wait for the client of a response. To have read all of it frees the backend; where that cannot be, a part is enough.
  @inline(never)
  private mutating func relayLimit(_ exchange: Handle) -> Int {
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.relayBufferLimit
    guard let backend = exchanges[exchange].backend, backends.connections[backend].body.remainingLength > limit else { return limit }
    return min(limit, Self.partLimit)
  }

  /// Bytes of a response that wait for the client while its rest is too long to be held.
  private static var partLimit: Int { 256 << 10 }

  // MARK: Receiving

  /// Reads from a backend and passes on what comes.
  @inline(__always)
  mutating func receiveResponse(_ backend: Handle) { unsafe receiveResponse(backends.connections.pin(backend)) }

  @inline(__always)
  private mutating func receiveResponse(_ backend: Pin<BackendConnection>) {
    guard let exchange = backends.connections[backend].exchange else { return closeBackend(backend.handle) }
    guard backends.connections[backend].state == .leased else {
      if backends.connections[backend].state == .spliced { return splice(exchange, backend.handle) }
      if backends.connections[backend].state == .stream { return receiveOnStream(exchange, backend.handle) }
      if backends.connections[backend].state == .tunnelled { receiveTunnel(backend.handle) }
      return
    }
    var buffer = backends.connections[backend].input.take() ?? services.large.take()
    for _ in 0..<Self.relayBudget {
      guard wantsResponse(exchange) else {
        // The wait is the client's, not the backend's.
        backends.connections[backend].waiting = .nothing
        return stash(buffer, backend)
      }
      let room = buffer.freeCapacity
      switch receive(from: backend, into: &buffer) {
      case .moved(let count):
        if count < room, !backends.connections[backend].hasEnded { backends.connections[backend].isReadable = false }
        switch relay(exchange, backend, &buffer) {
        case .more:
          if backends.connections[backend].body.remainingLength >= Self.spliceThreshold, beginSplicing(exchange, backend.handle) {
            services.large.recycle(buffer)
            return splice(exchange, backend.handle)
          }
        case .complete:
          let isClean = buffer.isEmpty
          services.large.recycle(buffer)
          return responseIsComplete(exchange, backend, isClean: isClean)
        case .upgraded:
          services.large.recycle(buffer)
          return receiveTunnel(backend.handle)
        case .failed(let fault):
          services.large.recycle(buffer)
          return fail(exchange, fault)
        }
        if !backends.connections[backend].isReadable { return stash(buffer, backend) }
      case .blocked:
        backends.connections[backend].isReadable = false
        return stash(buffer, backend)
      case .ended:
        let hadBytes = !buffer.isEmpty
        services.large.recycle(buffer)
        return backendEnded(exchange, backend.handle, hadBytes: hadBytes, isReset: false)
      case .failed:
        let hadBytes = !buffer.isEmpty
        services.large.recycle(buffer)
        return backendEnded(exchange, backend.handle, hadBytes: hadBytes, isReset: true)
      }
      buffer.compact()
      // Compressing takes its time: the others come in between.
      if exchanges[exchange].flags.contains(.compressing) { break }
    }
    stash(buffer, backend)
    pending.append(Token.make(.backend, backend.handle))
  }

  /// Keeps the part of a head that has come, or gives the buffer back.
  @inline(__always)
  private mutating func stash(_ buffer: consuming Buffer, _ backend: Pin<BackendConnection>) {
    if buffer.isEmpty {
      services.large.recycle(buffer)
    } else {
      buffer.compact()
      backends.connections[backend].input = consume buffer
    }
  }

  /// The backend has closed its side, or the connection broke: that ends a response which has no other end only in the first case.
  private mutating func backendEnded(_ exchange: Handle, _ backend: Handle, hadBytes: Bool, isReset: Bool) {
    if !exchanges[exchange].flags.contains(.hasHead) { return fail(exchange, hadBytes ? .responseIncomplete : faultOfCarrier(backend) ?? .connectionTerminated) }
    guard !isReset, backends.connections[backend].body.streamEnded() else { return fail(exchange, .responseIncomplete) }
    let client = exchanges[exchange].client
    if exchanges[exchange].flags.contains(.compressing), let fault = endCoded(exchange) { return fail(exchange, fault) }
    if exchanges[exchange].flags.contains(.chunked) { services.responses.output.append("0\r\n\r\n") }
    if !exchanges[exchange].flags.contains(.holding) { commit(exchange, client) }
    responseIsComplete(exchange, backend, isClean: false)
  }

  // MARK: Body

  /// Passes on the body bytes in `buffer`, all of them.
  @inline(__always)
  mutating func relayBody(_ exchange: Handle, _ backend: Handle, _ buffer: inout Buffer) -> RelayOutcome {
    let pinned = unsafe exchanges.pin(exchange)
    let client = exchanges[pinned].client
    if exchanges[pinned].responseDeadline > 0, services.now >= exchanges[pinned].responseDeadline { return .failed(.responseTooSlow) }
    if backends.connections[backend].waiting == .body { startBodyTimer(exchange, backend) }
    if exchanges[pinned].flags.contains(.compressing) { return relayCoded(exchange, backend, &buffer) }
    if exchanges[pinned].flags.contains(.holding), holdWhole(exchange, backend, client, &buffer) {
      return backends.connections[backend].body.isComplete ? .complete : .more
    }
    let isChunked = exchanges[pinned].flags.contains(.chunked), isHolding = exchanges[pinned].flags.contains(.holding)
    if isChunked { openChunk(exchange, backend, buffer.bytes) }
    var position = 0
    var isOpen = isChunked && chunkSize > 0
    while true {
      switch backends.connections[backend].body.next(buffer.bytes, at: &position) {
      case .data(let range):
        exchanges[pinned].bodySent += range.count
        exchanges[pinned].sent += range.count
        let data = buffer.bytes.extracting(range)
        if isHolding {
          clients[client].backlog.append(data, &services.large)
          if clients[client].backlog.count > holdLimit(exchange) { return .failed(.responseTooLarge) }
        } else if isChunked || data.count <= Self.copyLimit {
          if services.responses.output.freeCapacity < data.count + 64 { commit(exchange, client) }
          services.responses.output.append(data)
        } else {
          exchanges[pinned].flags.insert(.committed)
          send(client, body: data)
        }
      case .trailer(let range):
        if exchanges[pinned].flags.contains(.trailers), let fault = collectResponseTrailer(exchange, buffer.bytes.extracting(range)) {
          return .failed(fault)
        }
      case .needsMore:
        if isOpen { services.responses.output.append("\r\n") }
        isOpen = false
        buffer.removeAll()
        if !isHolding { commit(exchange, client) }
        return .more
      case .malformed: return .failed(.responseProtocolError)
      case .end(let next):
        if isOpen { services.responses.output.append("\r\n") }
        if isChunked || exchanges[exchange].flags.contains(.trailers), let fault = endChunks(exchange) { return .failed(fault) }
        buffer.consume(next)
        if !isHolding { commit(exchange, client) }
        return .complete
      }
    }
  }

  /// Data bytes of the piece being relayed in chunks; they go to the client as one chunk.
  private var chunkSize: Int { services.chunkSize }

  /// Writes the size line of the chunk that will hold all data of `bytes`.
  private mutating func openChunk(_ exchange: Handle, _ backend: Handle, _ bytes: Span<UInt8>) {
    var probe = backends.connections[backend].body
    var position = 0
    var size = 0
    scan: while true {
      switch probe.next(bytes, at: &position) {
      case .data(let range): size += range.count
      case .trailer: continue
      case .needsMore, .malformed, .end: break scan
      }
    }
    services.chunkSize = size
    if services.responses.output.freeCapacity < size + 128 { commit(exchange, exchanges[exchange].client) }
    if size > 0 { services.responses.output.append(chunkSize: size) }
  }

  /// Sends what is composed of the response: from here on it can only be completed or cut off.
  @inline(__always)
  mutating func commit(_ exchange: Handle, _ client: Handle) {
    exchanges[exchange].flags.insert(.committed)
    send(client)
  }

  mutating func collectResponseTrailer(_ exchange: Handle, _ line: Span<UInt8>) -> Fault? {
    if exchanges[exchange].trailers == nil { exchanges[exchange].trailers = services.small.take() }
    guard line.count <= exchanges[exchange].trailers?.freeCapacity ?? 0 else { return .responseHeadersTooLarge }
    exchanges[exchange].trailers?.append(line)
    return nil
  }

  /// Ends a chunked response: the last chunk, and the trailers that were announced.
  mutating func endChunks(_ exchange: Handle) -> Fault? {
    guard exchanges[exchange].flags.contains(.chunked) else { return keepStreamTrailers(exchange) }
    services.responses.output.append("0\r\n")
    if var lines = exchanges[exchange].trailers.take(), let announced = exchanges[exchange].heldHead.take() {
      let fault = Trailers.append(&lines, announcedIn: announced.bytes, to: &services.responses.output, scratch: &services.head)
      services.small.recycle(lines)
      if fault != nil { return .responseProtocolError }
    }
    services.responses.output.append("\r\n")
    return nil
  }

  // MARK: The end

  /// The response has been read to its end, and what is not sent yet waits in the client's backlog.
  mutating func responseIsComplete(_ exchange: Handle, _ backend: Handle, isClean: Bool) {
    unsafe responseIsComplete(exchange, backends.connections.pin(backend), isClean: isClean)
  }

  @inline(__always)
  private mutating func responseIsComplete(_ exchange: Handle, _ backend: Pin<BackendConnection>, isClean: Bool) {
    let pinned = unsafe exchanges.pin(exchange)
    if !exchanges[pinned].flags.isDisjoint(with: [.holding, .retrying, .guarded]) {
      if !exchanges[pinned].flags.contains(.retrying) {
        if exchanges[pinned].flags.contains(.holding), let fault = releaseHeld(exchange) { return fail(exchange, fault) }
        // Before somebody who waits gets the connection.
        reportAttempt(exchange)
      }
    }
    // The connection serves again only when both messages are over and it said so.
    let isReusable = isClean && exchanges[pinned].flags.contains(.requestComplete) && !backends.connections[backend].hasEnded
      && backends.connections[backend].backlog.isEmpty && backends.connections[backend].isPersistent && isQuiet(backend)
    if exchanges[pinned].flags.contains(.retrying) { return retryInstead(exchange, isReusable: isReusable) }
    detach(pinned, backend, isReusable: isReusable)
    finish(pinned)
  }
}
