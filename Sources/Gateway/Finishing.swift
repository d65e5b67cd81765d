// Finishing — the one end of every exchange: counted, logged, released; and the ways that lead there when something failed.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  // MARK: Failing

  /// The exchange cannot go on. Sends it again where that is safe, answers with the fault's status where nothing has been
  /// sent, and otherwise cuts the response off so that the client sees it.
  @inline(never)
  mutating func fail(_ exchange: Handle, _ fault: Fault) {
    services.request.removeAll()
    if exchanges[exchange].flags.contains(.mirror) { return failMirror(exchange) }
    var denial: RetryDenial?
    if retries(exchange, fault, &denial) || fallsBack(exchange, fault) { return }
    if hasBareHead(exchange, whateverIsSent: fault.row.side == .upstream) { return endBareHead(exchange) }
    if exchanges[exchange].flags.contains(.hedged) { settleHedge(exchange, hasAnswer: false) }
    counters.count(fault: fault.rawValue)
    if fault.row.side == .upstream { counters.add(.upstreamFailures) }
    report(exchange, fault)
    exchanges[exchange].fault = fault
    reportAttempt(exchange)
    if let backend = exchanges[exchange].backend { detach(exchange, backend, isReusable: false) }
    if exchanges[exchange].flags.contains(.waiting) { leaveQueue(exchange) }
    let client = exchanges[exchange].client
    guard !exchanges[exchange].flags.contains(.committed), fault.row.status != 0, clients[client].flags.isDisjoint(with: .doomed) else {
      cutOff(exchange, client)
      return finish(exchange)
    }
    // What was collected of the response is not sent.
    if clients[client].flags.contains(.holding) {
      clients[client].flags.remove(.holding)
      clients[client].backlog.removeAll(&services.large)
    }
    answerFailure(exchange, client, fault, denial)
    finish(exchange)
  }

  private mutating func answerFailure(_ exchange: Handle, _ client: Handle, _ fault: Fault, _ denial: RetryDenial?) {
    services.responses.output.removeAll()
    exchanges[exchange].sent = 0
    exchanges[exchange].bodySent = 0
    let isRead = clients[client].body.isComplete
    if !isRead || drain.isDraining || fault == .circuitOpen || fault == .retryBudgetExhausted { exchanges[exchange].flags.remove(.persistent) }
    let context = ResponseContext(
      isHead: exchanges[exchange].head.method == .head, isVersion11: exchanges[exchange].head.flags.contains(.version11),
      isPersistent: exchanges[exchange].flags.contains(.persistent))
    if !isRead { clients[client].flags.insert(.mustLinger) }
    let isCall = exchanges[exchange].flags.contains(.grpc)
    if isCall { exchanges[exchange].callStatus = Int16(CallStatus(fault).rawValue) }
    exchanges[exchange].status = isCall ? 200 : fault.row.status
    // The text of a received id lies in the exchange's bytes.
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    let form: ErrorForm = isCall ? .call : exchanges[exchange].head.names.contains(.accept) && exchanges[exchange].head.prefersJSON(in: bytes.bytes) ? .json : .text
    exchanges[exchange].bodySent = compose(
      error: fault, context, exchanges[exchange].requestID, allow: nil, form, bytes: bytes.bytes, denial: denial)
    swap(&bytes, &exchanges[exchange].bytes)
    if limits.isActive { _ = tellLimits(exchanges[exchange].rateNote, behind: exchanges[exchange].bodySent) }
    if editsLocally { editFailure(exchange) }
    exchanges[exchange].sent += services.responses.output.count
    if !exchanges[exchange].flags.contains(.persistent) { clients[client].flags.insert(.closing) }
    send(client)
  }

  /// Ends a response that has begun and cannot be completed. In chunks or with a length the missing end shows; where the
  /// connection's end is the body's, only a reset does.
  private mutating func cutOff(_ exchange: Handle, _ client: Handle) {
    if clients[client].flags.contains(.stream) {
      streams[clients[client].carrier].code = exchanges[exchange].fault.row.side == .client ? .cancel : .internalError
    } else if exchanges[exchange].flags.contains(.untilClose) || !clients[client].backlog.isEmpty {
      clients[client].socket.resetOnClose()
    }
    services.responses.output.removeAll()
    doom(client)
  }

  /// The client is closed while its exchange runs.
  mutating func abandon(_ exchange: Handle) {
    if exchanges[exchange].flags.contains(.mirror) { return failMirror(exchange) }
    // What still waits has not been sent.
    let unsent = clients[exchanges[exchange].client].backlog.count
    exchanges[exchange].sent = max(0, exchanges[exchange].sent - unsent)
    exchanges[exchange].bodySent = max(0, exchanges[exchange].bodySent - unsent)
    if exchanges[exchange].fault == .none, !clients[exchanges[exchange].client].backlog.isEmpty || !hasBareHead(exchange) && !hasWholeBody(exchange) {
      let fault: Fault = clients[exchanges[exchange].client].flags.contains(.stalled) ? .clientStalled : drain.isOver ? .drainDeadline : .clientAborted
      exchanges[exchange].fault = fault
      counters.count(fault: fault.rawValue)
      if fault == .clientAborted { counters.add(.clientAborts) }
      if exchanges[exchange].status == 0 { exchanges[exchange].status = 499 }
      report(exchange, fault)
    }
    if exchanges[exchange].flags.contains(.hedged) { settleHedge(exchange, hasAnswer: false) }
    if let backend = exchanges[exchange].backend { detach(exchange, backend, isReusable: false) }
    if exchanges[exchange].flags.contains(.waiting) { leaveQueue(exchange) }
    finish(exchange)
  }

  /// Whether the response is a head without a body that has been passed on, and only the backend has not said yet that it is over.
  /// - Parameter whateverIsSent: also where the client has not sent all of its request, which nobody needs any more.
  private mutating func hasBareHead(_ exchange: Handle, whateverIsSent: Bool = false) -> Bool {
    let flags = exchanges[exchange].flags, status = Status(exchanges[exchange].status)
    return flags.contains([.committed, .hasHead]) && (whateverIsSent || flags.contains(.requestComplete)) && !flags.contains(.upgraded)
      && (exchanges[exchange].head.method == .head || status.code >= 200 && status.forbidsBody)
  }

  /// Whether a client has been sent a body of the length it was told, and only the end of the backend's stream has not come yet: for the
  /// client the response is over, and it may go (RFC 9112 §6.3; on a stream trailers may follow, which it does without).
  private mutating func hasWholeBody(_ exchange: Handle) -> Bool {
    let flags = exchanges[exchange].flags, client = exchanges[exchange].client
    guard let backend = exchanges[exchange].backend, flags.contains([.committed, .hasHead, .requestComplete]),
      flags.isDisjoint(with: [.holding, .chunked, .untilClose, .compressing, .upgraded, .grpc]), backends.connections[backend].carriage == .stream
    else { return false }
    if clients[client].flags.contains(.stream) {
      // What has not left the connection has not reached the client.
      guard clients[streams[clients[client].carrier].connection].backlog.isEmpty else { return false }
    } else if flags.contains(.trailers) {
      return false
    }
    return backends.connections[backend].body.isComplete && services.responses.output.isEmpty
  }

  /// Nothing is missing from such a response, whatever becomes of its backend.
  private mutating func endBareHead(_ exchange: Handle) {
    if let backend = exchanges[exchange].backend { detach(exchange, backend, isReusable: false) }
    finish(exchange)
  }

  mutating func report(_ exchange: Handle, _ fault: Fault) {
    let level: LogPlan.Level =
      switch fault.row.severity {
      case 4: .error
      case 3: .warn
      case 2: .info
      default: .debug
      }
    guard level >= log.level else { return }
    let upstream = Int(exchanges[exchange].upstream)
    guard plan.upstreams.indices.contains(upstream) else {
      return log.write(
        level, key: EventKey("websocket fault", Int(fault.rawValue)),
        "\(fault.row.token): \(fault.row.sentence) route=\(plan.routes[Int(exchanges[exchange].route)].pattern)")
    }
    var address = ""
    if let backend = exchanges[exchange].backend, backends.connections.contains(backend) {
      address = " (\(backends.describe(address: Int(backends.connections[backend].address), of: Int(backends.connections[backend].pool))))"
    }
    log.write(
      level, key: EventKey("upstream fault", upstream << 8 | Int(fault.rawValue)),
      "upstream \(plan.upstreams[upstream].name)\(address): \(fault.row.token): \(fault.row.sentence)\(detail(exchange)) route=\(plan.routes[Int(exchanges[exchange].route)].pattern) attempts=\(exchanges[exchange].attempts)")
  }

  // MARK: Backends

  /// Parts an exchange from its connection, which goes back to the pool or is closed; then somebody who waits gets a turn.
  mutating func detach(_ exchange: Handle, _ backend: Handle, isReusable: Bool, servesWaiting: Bool = true) {
    unsafe detach(exchanges.pin(exchange), backends.connections.pin(backend), isReusable: isReusable, servesWaiting: servesWaiting)
  }

  @inline(__always)
  mutating func detach(_ exchange: Pin<Exchange>, _ backend: Pin<BackendConnection>, isReusable: Bool, servesWaiting: Bool = true) {
    let pool = Int(backends.connections[backend].pool), upstream = Int(backends.connections[backend].upstream)
    exchanges[exchange].backend = nil
    if isReusable {
      backends.connections[backend].waiting = .nothing
      if backends.giveBack(backend.handle, now: services.now) {
        setBackendTimer(backend, .idle, backends.pools[pool].idleTimeout)
      } else {
        backendTimers.disarm(backend.handle.index)
      }
    } else {
      closeBackend(backend.handle)
    }
    if servesWaiting, backends.sets[upstream].waiting > 0 { serveWaiting(upstream) }
  }

  /// Closes a connection that no exchange uses any more.
  mutating func closeBackend(_ backend: Handle) {
    guard backends.connections.contains(backend) else { return }
    backendTimers.disarm(backend.index)
    backends.connections[backend].backlog.removeAll(&services.large)
    if let input = backends.connections[backend].input.take() { services.large.recycle(input) }
    if backends.connections[backend].carriage != .plain { closeCarrier(backend) }
    backends.close(backend)
  }

  /// Closes connections that the pools have given up.
  @inline(never)
  mutating func closeRetired() {
    while let token = backends.retired.popFirst() {
      closeBackend(Handle(index: UInt32(truncatingIfNeeded: token), generation: UInt32(truncatingIfNeeded: token >> 32)))
    }
  }

  // MARK: The queue

  /// Puts an exchange at the end of its upstream's queue.
  mutating func wait(_ exchange: Handle) {
    let upstream = Int(exchanges[exchange].upstream)
    // Where it goes is decided anew.
    exchanges[exchange].tried.removeLast()
    guard backends.sets[upstream].waiting < EndpointSet.waitLimit, !guards.isActive || admitWaiting(upstream) else {
      if !exchanges[exchange].flags.contains(.mirror) { counters.add(.queueRejections) }
      return fail(exchange, .poolExhausted)
    }
    exchanges[exchange].flags.insert(.waiting)
    exchanges[exchange].previousWaiting = backends.sets[upstream].lastWaiting
    exchanges[exchange].nextWaiting = nil
    if let last = backends.sets[upstream].lastWaiting { exchanges[last].nextWaiting = exchange } else { backends.sets[upstream].firstWaiting = exchange }
    backends.sets[upstream].lastWaiting = exchange
    backends.sets[upstream].waiting += 1
    counters.add(.waiting)
    setClientTimer(exchanges[exchange].client, .queue, plan.upstreams[upstream].pool.connectTimeout)
  }

  mutating func leaveQueue(_ exchange: Handle) {
    let upstream = Int(exchanges[exchange].upstream)
    let previous = exchanges[exchange].previousWaiting, next = exchanges[exchange].nextWaiting
    if let previous { exchanges[previous].nextWaiting = next } else { backends.sets[upstream].firstWaiting = next }
    if let next { exchanges[next].previousWaiting = previous } else { backends.sets[upstream].lastWaiting = previous }
    exchanges[exchange].flags.remove(.waiting)
    backends.sets[upstream].waiting -= 1
    if guards.isActive { endWaiting(upstream) }
    counters.subtract(.waiting)
    let client = exchanges[exchange].client
    if clients[client].waiting == .queue { clients[client].waiting = .nothing }
  }

  /// The first of those who wait looks for a connection again.
  mutating func serveWaiting(_ upstream: Int) {
    // Nobody is sent anywhere when all are being cut off.
    if drain.isOver { return }
    if guards.isActive, refuseWaiting(upstream) { return }
    guard let exchange = backends.sets[upstream].firstWaiting, exchanges.contains(exchange) else { return }
    leaveQueue(exchange)
    seekBackend(exchange)
  }

  // MARK: The end

  /// Ends an exchange whose backend has been detached.
  mutating func finish(_ exchange: Handle) { unsafe finish(exchanges.pin(exchange)) }

  @inline(__always)
  mutating func finish(_ pinned: Pin<Exchange>) {
    if !exchanges[pinned].flags.isDisjoint(with: [.edits, .mirror]), endsAsMirror(pinned.handle) { return }
    let client = unsafe clients.pin(exchanges[pinned].client)
    if !clients[client].backlog.isEmpty, awaitsDelivery(pinned.handle) { return }
    counters.subtract(.requestsActive)
    counters.add(exchanges[pinned].upstream < 0 ? .requestsAnswered : .requestsForwarded)
    let headAt = exchanges[pinned].headAt
    let duration = services.nowMicroseconds &- exchanges[pinned].started
    // What was upgraded lives on as long as its ends like.
    count(status: exchanges[pinned].status, route: Int(exchanges[pinned].route), microseconds: exchanges[pinned].flags.contains(.upgraded) ? max(0, headAt) : duration)
    if exchanges[pinned].upstream >= 0 {
      traffic?.count(upstream: Int(exchanges[pinned].upstream), failed: exchanges[pinned].status >= 500 || headAt < 0, microseconds: headAt < 0 ? duration : headAt)
    }
    if !exchanges[pinned].flags.isDisjoint(with: [.grpc, .guarded, .watched]) { finishSpecial(pinned.handle) }
    if logsAccess { log(pinned, client) }
    clients[client].exchange = nil
    if limits.isActive { requestIsOver(client.handle) }
    clients[client].flags.remove([.holding, .owesContinue, .pouring])
    if !exchanges[pinned].flags.contains(.persistent) {
      clients[client].flags.insert(.closing)
      if !clients[client].body.isComplete { clients[client].flags.insert(.mustLinger) }
    }
    let hasMore = release(pinned, client)
    if !clients[client].backlog.isEmpty { return flushAfterExchange(client.handle) }
    if clients[client].flags.contains(.closing) {
      if hasMore { clients[client].flags.insert(.mustLinger) }
      return endClient(client.handle)
    }
    setClientTimer(client, .idle, plan.timeouts.idle)
    if hasMore || clients[client].input != nil || clients[client].flags.contains(.readable) { enqueue(client.handle) }
  }

  /// Everything of the response is here, and some of it waits for the client: the exchange ends when that has gone, or the client has, so
  /// that its line in the log tells which. (Of a stream's response the last bytes go with the turn; nobody waits for those.)
  /// - Returns: false when it ends now.
  @inline(never)
  private mutating func awaitsDelivery(_ exchange: Handle) -> Bool {
    let client = exchanges[exchange].client, isStream = clients[client].flags.contains(.stream)
    guard !exchanges[exchange].flags.contains(.upgraded), clients[client].flags.isDisjoint(with: [.doomed, .void]),
      !isStream || clients[client].backlog.count > 16_384 && clients[client].body.isComplete
    else { return false }
    // What the backend did is known; what the client will do is not the backend's.
    if exchanges[exchange].flags.contains(.watched) { judge(exchange, exchanges[exchange].fault, exchanges[exchange].status) }
    reportAttempt(exchange)
    exchanges[exchange].deadline = 0
    exchanges[exchange].flags.remove(.collecting)
    exchanges[exchange].flags.formUnion([.committed, .delivering])
    clients[client].flags.remove([.holding, .owesContinue, .pouring])
    if isStream {
      streams[clients[client].carrier].flags.insert(.over)
      streamHasMore(client)
    } else {
      flushAfterExchange(client)
    }
    return true
  }

  /// Nothing of the response of a client waits any more: if that was all that its exchange waited for, it ends.
  mutating func noteDelivery(_ client: Handle) {
    guard clients[client].backlog.isEmpty, let exchange = clients[client].exchange, exchanges[exchange].flags.contains(.delivering) else { return }
    finish(exchange)
  }

  /// Ends what not every exchange is: a call, an attempt that its upstream's guard has let through, or one that says something about its endpoint.
  @inline(never)
  private mutating func finishSpecial(_ exchange: Handle) {
    if exchanges[exchange].flags.contains(.watched) { judge(exchange, exchanges[exchange].fault, exchanges[exchange].status) }
    if exchanges[exchange].flags.contains(.grpc) { finishCall(exchange) }
    reportAttempt(exchange)
  }

  /// Gives back what the exchange holds. True when bytes came behind its request: they are the client's input again.
  @inline(__always)
  private mutating func release(_ pinned: Pin<Exchange>, _ client: Pin<Client>) -> Bool {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[pinned].bytes)
    // What came behind the request is the next one.
    bytes.consume(min(exchanges[pinned].used, bytes.count))
    let hasMore = !bytes.isEmpty
    if hasMore, clients[client].input == nil { clients[client].input = consume bytes } else { services.small.recycle(bytes) }
    if exchanges[pinned].session != nil { releaseSession(pinned.handle) }
    if exchanges[pinned].recovery != nil { releaseRecovery(pinned.handle) }
    if let lines = exchanges[pinned].trailers.take() { services.small.recycle(lines) }
    if exchanges[pinned].path != nil { exchanges[pinned].path = nil }
    if exchanges[pinned].heldHead != nil { exchanges[pinned].heldHead = nil }
    if exchanges[pinned].requestBody.count > 0 { exchanges[pinned].requestBody.removeAll(&services.large) }
    // A few are kept with their storage; a crowd that has gone shall leave no memory behind.
    if exchanges.parkedCount >= 256 { exchanges[pinned].head = RequestHead(fieldLimit: 0) }
    exchanges.park(pinned.handle)
    return hasMore
  }

  @inline(never)
  private mutating func flushAfterExchange(_ client: Handle) {
    if clients[client].waiting != .send { setSendTimer(client) }
    flushBacklog(client)
  }

  @inline(never)
  private mutating func log(_ exchange: Pin<Exchange>, _ client: Pin<Client>) {
    let duration = services.nowMicroseconds &- exchanges[exchange].started
    let route = Int(exchanges[exchange].route), status = exchanges[exchange].status
    guard accessLog?.takes(route: route, status: status, duration: duration) == true else { return }
    var entry = AccessEntry()
    entry.status = status
    entry.method = exchanges[exchange].head.method
    entry.version = AccessProtocol(exchanges[exchange].head.flags)
    entry.fault = exchanges[exchange].fault
    entry.route = exchanges[exchange].route
    if exchanges[exchange].flags.contains(.grpc) { entry.callStatus = exchanges[exchange].callStatus }
    entry.upstream = exchanges[exchange].upstream
    entry.attempts = exchanges[exchange].attempts
    entry.bytesReceived = UInt64(max(0, exchanges[exchange].headLength &+ exchanges[exchange].bodyReceived))
    entry.bytesSent = UInt64(max(0, exchanges[exchange].sent))
    entry.bodyBytesSent = UInt64(max(0, exchanges[exchange].bodySent))
    entry.startedAt = exchanges[exchange].startedWall
    entry.duration = duration
    entry.upstreamConnect = exchanges[exchange].connectedAt
    entry.upstreamHeader = exchanges[exchange].headAt
    let peer = clients[client].address
    describeConnection(client.handle)
    if exchanges[exchange].recovery != nil { describeAttempts(exchange.handle) }
    let pool = Int(exchanges[exchange].pool)
    if logsEndpoints, pool >= 0 { accessLog?.note(endpoint: backends.name(of: pool).utf8Span.span) }
    let id = exchanges[exchange].requestID
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    switch id {
    case .generated:
      if logsRequestIDs { services.ids.show(id) }
      accessLog?.append(entry, head: exchanges[exchange.handle].head, bytes: bytes.bytes, client: peer.span, requestID: services.ids.generated)
    case .received(let text):
      accessLog?.append(entry, head: exchanges[exchange.handle].head, bytes: bytes.bytes, client: peer.span, requestID: text.text(in: bytes.bytes))
    }
    swap(&bytes, &exchanges[exchange].bytes)
  }
}
