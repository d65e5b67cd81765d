// Forwarding — the way of a request to its backend: a connection, the head re-serialised from its parts, the body as it comes.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream
import Wire

extension Gateway {
  // MARK: Starting

  /// Begins an exchange: collects its body first where the route asks for it, else looks for a connection.
  mutating func start(_ exchange: Handle) {
    let client = exchanges[exchange].client
    if exchanges[exchange].head.flags.contains(.version2) { beginCall(exchange) }
    if actions.forwards[Int(exchanges[exchange].rule)].isGuarded {
      if actions.edits.routes[Int(exchanges[exchange].route)].rewrites, !isRewritable(exchange) { return fail(exchange, .pathRewriteRefused) }
      guard guardExchange(exchange) else { return }
    }
    if actions.forwards[Int(exchanges[exchange].rule)].collectsRequest, !clients[client].body.isComplete {
      exchanges[exchange].flags.formUnion([.collecting, .collected])
      if let fault = passHeldBody(exchange) { return fail(exchange, fault) }
      guard !clients[client].body.isComplete else { return bodyIsComplete(exchange) }
      payContinue(client)
      return setBodyTimer(client)
    }
    clients[client].waiting = .nothing
    seekBackend(exchange)
  }

  /// The whole request body has been read.
  mutating func bodyIsComplete(_ exchange: Handle) {
    let client = exchanges[exchange].client
    if clients[client].waiting == .body { clients[client].waiting = .nothing }
    guard exchanges[exchange].flags.contains(.collecting) else {
      if exchanges[exchange].copy != nil { mirrorIsWhole(exchange) }
      exchanges[exchange].flags.insert(.requestComplete)
      return flushRequest(exchange)
    }
    exchanges[exchange].flags.remove(.collecting)
    if exchanges[exchange].recovery != nil { beginAttempt(exchange) }
    if guards.isActive, !admitAttempt(exchange, isRetry: false) { return }
    seekBackend(exchange)
  }

  /// Whether more of the request body can be taken now.
  mutating func wantsBody(_ exchange: Handle) -> Bool {
    if exchanges[exchange].flags.contains(.collecting) { return true }
    guard let backend = exchanges[exchange].backend, backends.connections[backend].takesBody else { return false }
    let limit = clients[exchanges[exchange].client].flags.contains(.stream) ? plan.http2.highWater : plan.http1.highWater
    return backends.connections[backend].backlog.count < limit
  }

  // MARK: A connection

  /// Looks for a connection: an idle one, a new one, or a place in the queue.
  mutating func seekBackend(_ exchange: Handle) {
    let sole = Int(backends.sets[Int(exchanges[exchange].upstream)].sole)
    guard sole >= 0, backends.pools[sole].speaks == .http1 else { return seekStream(exchange) }
    seekConnection(exchange, sole)
  }

  /// Looks for a connection that serves this exchange alone.
  @inline(__always)
  mutating func seekConnection(_ exchange: Handle, _ pool: Int) {
    let pinned = unsafe exchanges.pin(exchange)
    exchanges[pinned].pool = Int32(truncatingIfNeeded: pool)
    // A request that cannot be sent twice goes only to a connection that was just looked at.
    let checked = !exchanges[pinned].head.method.isIdempotent || exchanges[pinned].head.body != .none
    if let backend = backends.reuse(pool, now: services.now, checked: checked) {
      counters.add(.upstreamReuses)
      attach(pinned, backend)
      return sendRequest(exchange, backend)
    }
    exchanges[pinned].addressesTried = 0
    openBackend(exchange)
  }

  /// Opens a connection to the next address of the exchange's endpoint that was not tried.
  mutating func openBackend(_ exchange: Handle) {
    let pool = Int(exchanges[exchange].pool), upstream = Int(exchanges[exchange].upstream)
    var error = Errno.other(0)
    exchanges[exchange].attemptStart = services.nowMicroseconds
    backends.pools[pool].refreshIdleLimit(now: services.now)
    if !backends.retired.isEmpty { closeRetired() }
    while Int(exchanges[exchange].addressesTried) < backends.addressCount(of: pool) {
      let address = Int(exchanges[exchange].addressesTried)
      let lease = backends.open(pool, address: address, now: services.now, mayMultiplex: mayMultiplex(exchange, pool)) { socket, handle throws(Errno) in
        try poller.watch(socket.descriptor, token: Token.make(.backend, handle))
      }
      switch lease {
      case .connected(let backend):
        counters.add(.upstreamConnects)
        unsafe attach(exchanges.pin(exchange), backend)
        return isConnected(backend, exchange)
      case .connecting(let backend):
        counters.add(.upstreamConnects)
        unsafe attach(exchanges.pin(exchange), backend)
        return startConnectTimer(backend, pool)
      case .exhausted: return wait(exchange)
      case .reused: return
      case .failed(let reason):
        error = reason
        exchanges[exchange].addressesTried &+= 1
      }
    }
    if triesAnother(exchange, Fault(connecting: error)) { return }
    fail(exchange, Fault(connecting: error))
    if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  @inline(__always)
  private mutating func attach(_ exchange: Pin<Exchange>, _ backend: Handle) {
    exchanges[exchange].backend = backend
    backends.connections[backend].exchange = exchange.handle
  }

  /// A connection attempt has come to its end, good or bad.
  mutating func connectEnded(_ backend: Handle, _ exchange: Handle) {
    guard let error = backends.connections[backend].socket.connectError else { return isConnected(backend, exchange) }
    connectFailed(backend, exchange, Fault(connecting: error))
  }

  /// A connection could not be made ready: the next address is tried, if there is one.
  mutating func connectFailed(_ backend: Handle, _ exchange: Handle?, _ fault: Fault) {
    guard let exchange else { return openingAheadFailed(backend, fault) }
    let pool = Int(backends.connections[backend].pool), upstream = Int(backends.connections[backend].upstream)
    exchanges[exchange].addressesTried = UInt8(truncatingIfNeeded: backends.connections[backend].lastAddress &+ 1)
    if Int(exchanges[exchange].addressesTried) < backends.addressCount(of: pool) {
      exchanges[exchange].backend = nil
      closeBackend(backend)
      return openBackend(exchange)
    }
    if triesAnother(exchange, fault) { return }
    fail(exchange, fault)
    if backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// There is a TCP connection: TLS comes next, where the upstream speaks it.
  mutating func isConnected(_ backend: Handle, _ exchange: Handle?) {
    let upstream = Int(backends.connections[backend].upstream)
    if let exchange, actions.forwards[Int(exchanges[exchange].rule)].announces, !announce(backend, exchange) {
      return connectFailed(backend, exchange, .connectionTerminated)
    }
    if let client = upgradingClients[upstream], !mayMultiplex(exchange, Int(backends.connections[backend].pool)) { return secure(backend, exchange, client) }
    if let client = tlsClients[upstream] { return secure(backend, exchange, client) }
    isReady(backend, exchange, .none)
  }

  /// A new connection is ready for use: decides what becomes of it, by what was agreed on.
  mutating func isReady(_ backend: Handle, _ exchange: Handle?, _ agreed: AgreedProtocol) {
    if let exchange { exchanges[exchange].connectedAt = services.nowMicroseconds - exchanges[exchange].attemptStart }
    guard let exchange, backends.pools[Int(backends.connections[backend].pool)].speaks == .http1 else { return protocolIsKnown(backend, exchange, agreed) }
    backends.established(backend)
    sendRequest(exchange, backend)
    // What has come with the connection is not announced again.
    if backends.connections.contains(backend), backends.connections[backend].isReadable { pending.append(Token.make(.backend, backend)) }
  }

  /// Brings the gauges of connections up to date; at the end of each turn, and before they are read here.
  @inline(__always)
  mutating func publishConnections() {
    counters.store(.upstreamConnectionsActive, UInt64(backends.connectionCount))
    counters.store(.upstreamConnectionsIdle, UInt64(backends.idleCount))
  }

  // MARK: The request

  /// Sends the head, and the body as far as it is there: once more what was taken of it, where it is sent again.
  mutating func sendRequest(_ exchange: Handle, _ backend: Handle) {
    let pinned = unsafe exchanges.pin(exchange)
    counters.add(.upstreamRequests)
    exchanges[pinned].attempts &+= 1
    exchanges[pinned].attemptStart = services.nowMicroseconds
    let upstream = Int(exchanges[pinned].upstream)
    let client = exchanges[pinned].client
    services.request.removeAll()
    let rule = Int(exchanges[pinned].rule)
    let peer = clients[client].address
    let isSecure = clients[connection(of: client)].flags.contains(.secure)
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[pinned].bytes)
    if exchanges[pinned].flags.contains(.mirror) {
      composeMirror(exchange)
    } else if actions.forwards[rule].tellsWay {
      composeTellingWay(exchange, bytes.bytes)
    } else {
      RequestComposer.compose(
        &exchanges[pinned], bytes.bytes, actions.forwards[rule].style, without: actions.forwards[rule].dropped, host: actions.hosts[upstream],
        peer: peer.span, isSecure: isSecure, ids: &services.ids, into: &services.request)
    }
    swap(&bytes, &exchanges[pinned].bytes)
    if isSecure, actions.forwards[rule].plan.setClientCertificate { composeIdentity(client) }
    if exchanges[pinned].flags.contains(.edits) { editRequest(exchange, backend) }
    services.request.append("\r\n")
    if exchanges[pinned].recovery != nil { noteSending(exchange, backend) }
    if exchanges[pinned].flags.contains(.collected) {
      if backends.connections[backend].carriage == .stream {
        if exchanges[pinned].requestBody.isEmpty { exchanges[pinned].flags.insert(.requestComplete) }
        flushRequest(exchange)
      } else {
        backends.connections[backend].backlog.append(copying: services.request, &services.large)
        services.request.removeAll()
      }
      sendCollected(exchange, backend)
      return flushRequest(exchange)
    }
    if exchanges[pinned].head.body == .none {
      exchanges[pinned].flags.insert(.requestComplete)
      return flushRequest(exchange)
    }
    if exchanges[pinned].attempts > 1 { return replayBody(exchange, backend) }
    if let fault = passHeldBody(exchange) { return fail(exchange, fault) }
    if clients[client].body.isComplete { return bodyIsComplete(exchange) }
    continueBody(exchange, client)
  }

  /// Sends what has been composed of a request whose body is not over yet, and goes on reading that.
  mutating func continueBody(_ exchange: Handle, _ client: Handle) {
    flushRequest(exchange)
    guard clients[client].exchange == exchange else { return }
    if wantsBody(exchange) { setBodyTimer(client) }
    payContinue(client)
    if clients[client].flags.contains(.readable) { enqueue(client) }
  }

  /// Passes on the body bytes that came together with the head.
  private mutating func passHeldBody(_ exchange: Handle) -> Fault? {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    var position = exchanges[exchange].used
    let held = position
    let fault = passBody(exchange, bytes.bytes, &position, isHeld: true)
    exchanges[exchange].used = max(held, position)
    swap(&bytes, &exchanges[exchange].bytes)
    return fault
  }

  /// Takes body bytes of `exchange` from `bytes`, from `position` on: to the composed request, to the collected body, or,
  /// where they need no framing and nothing waits before them, straight to the backend.
  /// - Returns: why the exchange must fail, if it must.
  mutating func passBody(_ exchange: Handle, _ bytes: Span<UInt8>, _ position: inout Int, isHeld: Bool = false) -> Fault? {
    let client = exchanges[exchange].client
    let isCollecting = exchanges[exchange].flags.contains(.collecting)
    let isChunked = exchanges[exchange].head.body == .chunked
    while true {
      switch clients[client].body.next(bytes, at: &position) {
      case .data(let range):
        exchanges[exchange].bodyReceived += range.count
        if exchanges[exchange].copy != nil { mirrorBody(exchange, bytes.extracting(range)) }
        if isChunked, exceedsLimit(exchange, client) { return .bodyTooLarge }
        let data = bytes.extracting(range)
        if isCollecting {
          exchanges[exchange].requestBody.append(data, &services.large)
        } else {
          if !isHeld { keepBody(exchange, data) }
          append(requestBody: data, exchange)
        }
      case .trailer(let range):
        // Those that come later are not kept.
        if !isHeld, !isCollecting { dropKeptBody(exchange) }
        if let fault = collectTrailer(exchange, bytes.extracting(range)) { return fault }
      case .needsMore: return isChunked && exceedsLimit(exchange, client) ? .bodyTooLarge : nil
      case .malformed: return .httpRequestError
      case .end:
        if isChunked, !isCollecting { return endChunkedRequest(exchange) }
        return nil
      }
    }
  }

  /// Whether a chunked body is too long already, or will be: a chunk is refused by its size, not when it has come.
  private mutating func exceedsLimit(_ exchange: Handle, _ client: Handle) -> Bool {
    bounds(client).exclude(exchanges[exchange].bodyReceived + clients[client].body.announced)
  }

  /// Appends body bytes to the composed request, framed as its head says.
  mutating func append(requestBody data: Span<UInt8>, _ exchange: Handle) {
    if exchanges[exchange].head.body == .chunked, !isOnStream(exchange) { appendRequest(exchange, chunk: data) } else { appendRequest(exchange, data) }
  }

  private mutating func appendRequest(_ exchange: Handle, chunk data: Span<UInt8>) {
    if services.request.freeCapacity < data.count + 32 { flushRequest(exchange) }
    services.request.append(chunkSize: data.count)
    services.request.append(data)
    services.request.append("\r\n")
  }

  private mutating func appendRequest(_ exchange: Handle, _ data: Span<UInt8>) {
    if data.count <= 16 << 10, services.request.freeCapacity >= data.count { return services.request.append(data) }
    flushRequest(exchange, data)
  }

  /// Collects a trailer line; the section may be as long as a header section.
  mutating func collectTrailer(_ exchange: Handle, _ line: Span<UInt8>) -> Fault? {
    if exchanges[exchange].trailers == nil { exchanges[exchange].trailers = services.small.take() }
    let room = exchanges[exchange].trailers?.freeCapacity ?? 0
    let size = exchanges[exchange].trailers?.count ?? 0
    // (The empty line follows.)
    guard line.count + 2 <= room, size + line.count <= services.headLimit else { return .headersTooLarge }
    exchanges[exchange].trailers?.append(line)
    return nil
  }

  /// Ends a chunked request: the last chunk, and what of the trailers may be passed on.
  mutating func endChunkedRequest(_ exchange: Handle) -> Fault? {
    if isOnStream(exchange) { return keepRequestTrailers(exchange) }
    services.request.append("0\r\n")
    if var lines = exchanges[exchange].trailers.take() {
      let fault = Trailers.append(&lines, announcedIn: nil, to: &services.request, scratch: &services.head)
      services.small.recycle(lines)
      if let fault { return fault }
    }
    services.request.append("\r\n")
    return nil
  }

  // MARK: Sending

  /// Sends what has been composed.
  mutating func flushRequest(_ exchange: Handle) {
    guard let handle = exchanges[exchange].backend else { return services.request.removeAll() }
    let backend = unsafe backends.connections.pin(handle)
    if !services.request.isEmpty {
      let count = services.request.count
      if backends.connections[backend].backlog.isEmpty {
        switch sendRequestBytes(to: backend) {
        case .moved(count): break
        case .moved(let sent): backends.connections[backend].backlog.append(copying: services.request, from: sent, &services.large)
        case .blocked: backends.connections[backend].backlog.append(copying: services.request, &services.large)
        case .ended, .failed: sendingFailed(handle)
        }
      } else {
        backends.connections[backend].backlog.append(copying: services.request, &services.large)
      }
      services.request.removeAll()
    }
    flushBackend(backend)
  }

  /// Sends what has been composed and then `data`.
  private mutating func flushRequest(_ exchange: Handle, _ data: Span<UInt8>) {
    flushRequest(exchange)
    guard let backend = exchanges[exchange].backend else { return }
    guard backends.connections[backend].backlog.isEmpty else { return backends.connections[backend].backlog.append(data, &services.large) }
    switch send(data, to: backend) {
    case .moved(let sent): backends.connections[backend].backlog.append(data.extracting(droppingFirst: sent), &services.large)
    case .blocked: backends.connections[backend].backlog.append(data, &services.large)
    case .ended, .failed: sendingFailed(backend)
    }
    if !backends.connections[backend].backlog.isEmpty { flushBackend(backend) }
  }

  /// Sends request bytes that wait, and sets the timer for what comes next.
  mutating func flushBackend(_ backend: Handle) { unsafe flushBackend(backends.connections.pin(backend)) }

  private mutating func flushBackend(_ backend: Pin<BackendConnection>) {
    guard let exchange = backends.connections[backend].exchange else { return }
    let pinned = unsafe exchanges.pin(exchange)
    if backends.connections[backend].carriage == .stream { resumeBackendStream(backend.handle) }
    var progress = backends.connections[backend].waiting != .send
    while !backends.connections[backend].backlog.isEmpty {
      let count = backends.connections[backend].backlog.frontCount
      switch sendBacklog(to: backend.handle) {
      case .moved(let sent):
        backends.connections[backend].backlog.consume(sent, &services.large)
        progress = true
        if sent == count { continue }
      case .blocked: break
      case .ended, .failed:
        sendingFailed(backend.handle)
        continue
      }
      break
    }
    let rule = Int(exchanges[pinned].rule)
    if !backends.connections[backend].backlog.isEmpty {
      if progress, !exchanges[pinned].flags.contains(.hasHead) { setBackendTimer(backend, .send, Int64(actions.forwards[rule].plan.sendTimeout)) }
    } else if !exchanges[pinned].flags.contains(.hasHead) {
      if exchanges[pinned].flags.contains(.requestComplete) {
        setBackendTimer(backend, .head, Int64(actions.forwards[rule].plan.responseTimeout))
      } else {
        backends.connections[backend].waiting = .nothing
      }
    }
  }

  /// The backend takes no more. It may have answered before it closed: that is read next, and its end will be met there.
  mutating func sendingFailed(_ backend: Handle) {
    backends.connections[backend].backlog.removeAll(&services.large)
    backends.connections[backend].isReadable = true
    pending.append(Token.make(.backend, backend))
  }
}

extension Fault {
  /// Why a connection could not be made.
  init(connecting error: Errno) {
    self =
      error.isRefused ? .connectionRefused
      : error.isUnreachable ? .destinationUnroutable : error.isTimeout ? .connectionTimeout : .destinationUnavailable
  }
}
