// Timing — deadlines of clients and backends, and what happens when one passes.
//
// A deadline is a stored number; the wheel only promises to look (see TimerWheel). Setting one to a later time is a
// plain store.

import HTTPModel
import Kernel
import Memory
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  /// The client must have got on within `milliseconds` (0: no limit) with what `waiting` says.
  mutating func setClientTimer(_ client: Handle, _ waiting: ClientWaiting, _ milliseconds: Int) {
    unsafe setClientTimer(clients.pin(client), waiting, milliseconds)
  }

  @inline(__always)
  mutating func setClientTimer(_ client: Pin<Client>, _ waiting: ClientWaiting, _ milliseconds: Int) {
    guard milliseconds > 0 else {
      clients[client].waiting = .nothing
      return
    }
    clients[client].waiting = waiting
    let deadline = services.now + Int64(milliseconds)
    clients[client].deadline = deadline
    clientTimers.arm(client.handle.index, deadline: deadline)
  }

  /// What holds for the request at hand of a client.
  @inline(__always)
  func bounds(_ client: Handle) -> RequestBounds { actions.bounds[Int(clients[client].bounds)] }

  /// The client must go on with its request's body in time, or with taking the response.
  mutating func setBodyTimer(_ client: Handle) { setClientTimer(client, .body, bounds(client).requestTimeout) }
  mutating func setSendTimer(_ client: Handle) { setClientTimer(client, .send, bounds(client).sendTimeout) }

  /// The backend must have got on within `milliseconds` (0: no limit) with what `waiting` says.
  mutating func setBackendTimer(_ backend: Handle, _ waiting: BackendConnection.Waiting, _ milliseconds: Int64) {
    unsafe setBackendTimer(backends.connections.pin(backend), waiting, milliseconds)
  }

  @inline(__always)
  mutating func setBackendTimer(_ backend: Pin<BackendConnection>, _ waiting: BackendConnection.Waiting, _ milliseconds: Int64) {
    guard milliseconds > 0 else {
      backends.connections[backend].waiting = .nothing
      return
    }
    backends.connections[backend].waiting = waiting
    let deadline = services.now + milliseconds
    backends.connections[backend].deadline = deadline
    backendTimers.arm(backend.handle.index, deadline: deadline)
  }

  /// The whole of the exchange must be over at `deadline`, milliseconds of the monotonic clock, unless an earlier limit holds.
  @inline(never)
  mutating func limit(_ exchange: Handle, until deadline: Int64) {
    let current = exchanges[exchange].deadline
    guard current == 0 || deadline < current else { return }
    exchanges[exchange].deadline = max(1, deadline)
    armExchangeTimer(exchange)
  }

  /// Limits the wait for the next body bytes of a response, and the whole of it.
  mutating func startBodyTimer(_ exchange: Handle, _ backend: Handle) {
    let plan = actions.forwards[Int(exchanges[exchange].rule)].plan
    var limit = exchanges[exchange].flags.contains(.eventStream) ? 0 : Int64(plan.streamIdleTimeout)
    let deadline = exchanges[exchange].responseDeadline
    if deadline > 0 { limit = limit == 0 ? max(1, deadline - services.now) : min(limit, max(1, deadline - services.now)) }
    setBackendTimer(backend, .body, limit)
  }

  /// The client has taken everything; its exchange goes on.
  mutating func resumeClientTimer(_ client: Handle) {
    guard clients[client].waiting == .send else { return }
    if clients[client].body.isComplete { clients[client].waiting = .nothing } else { setBodyTimer(client) }
  }

  @inline(__always)
  mutating func fireTimers() {
    while let index = clientTimers.popDue(services.now) {
      if let client = clients.handle(at: index) { clientTimerFired(client) }
    }
    while let index = backendTimers.popDue(services.now) {
      if let backend = backends.connections.handle(at: index) { backendTimerFired(backend) }
    }
    if timesExchanges { fireExchangeTimers() }
    if acceptAgainAt > 0, services.now >= acceptAgainAt { acceptAgain() }
    if logsAccess, services.now >= nextAccessFlush { flushAccessLog() }
    if drain.isDraining { continueDrain() }
    if !doomed.isEmpty { reap() }
  }

  /// How long nothing can become due: -1 for ever.
  @inline(__always)
  mutating func delayUntilTimer() -> CInt {
    var delay: Int64 = -1
    func consider(_ other: Int64?) {
      guard let other else { return }
      delay = delay < 0 ? max(0, other) : min(delay, max(0, other))
    }
    consider(clientTimers.delay(from: services.now))
    consider(backendTimers.delay(from: services.now))
    if timesExchanges { consider(exchangeTimers.delay(from: services.now)) }
    if acceptAgainAt > 0 { consider(acceptAgainAt - services.now) }
    if logsAccess, hasUnwrittenLines() { consider(nextAccessFlush - services.now) }
    if hasHealth { consider(delayUntilHealth()) }
    if stores.isActive { consider(delayUntilStores()) }
    if drain.isDraining { consider(drain.nextLook - services.now) }
    return CInt(clamping: delay)
  }

  @inline(never)
  private mutating func clientTimerFired(_ client: Handle) {
    let waiting = clients[client].waiting
    guard waiting != .nothing, clients[client].flags.isDisjoint(with: .doomed) else { return }
    guard clients[client].deadline <= services.now else { return clientTimers.arm(client.index, deadline: clients[client].deadline) }
    clients[client].waiting = .nothing
    if !clients[client].flags.isDisjoint(with: [.stream, .multiplexed]), multiplexedTimerFired(client, waiting) { return }
    switch waiting {
    case .nothing, .settling: break
    case .firstByte, .idle:
      counters.add(.idleCloses)
      if clients[client].flags.contains(.unannounced) { counters.count(fault: Fault.proxyHeaderTimeout.rawValue) }
      noteHandshakeTimeout(client)
      _ = sayGoodbye(client)
      doom(client)
    case .head:
      let input = clients[client].input.take() ?? Buffer.absent
      services.head.reset()
      refuse(client, .requestTimeout, input)
      services.small.recycle(input)
      send(client)
    case .body:
      if let exchange = clients[client].exchange { fail(exchange, .requestTimeout) } else { doom(client) }
    case .queue:
      if !clients[client].flags.contains(.void) { counters.add(.queueTimeouts) }
      if let exchange = clients[client].exchange { fail(exchange, .poolQueueTimeout) }
    case .send:
      clients[client].flags.insert(.stalled)
      clients[client].socket.resetOnClose()
      doom(client)
    case .linger: doom(client)
    case .token: tokenIsThere(client)
    case .answer: answerIsLate(client)
    case .webSocket: if let exchange = clients[client].exchange { webSocketTimerFired(client, exchange) }
    }
  }

  @inline(never)
  private mutating func backendTimerFired(_ backend: Handle) {
    let waiting = backends.connections[backend].waiting
    guard waiting != .nothing else { return }
    guard backends.connections[backend].deadline <= services.now else {
      return backendTimers.arm(backend.index, deadline: backends.connections[backend].deadline)
    }
    backends.connections[backend].waiting = .nothing
    guard let exchange = backends.connections[backend].exchange else { return unleasedTimerFired(backend) }
    focus(exchange, backend)
    switch waiting {
    case .nothing, .idle, .session: break
    case .tunnel: tunnelTimerFired(backend, exchange)
    case .connect: connectTimerFired(backend, exchange)
    case .handshake: securingFailed(backend, exchange, .tlsHandshakeTimeout)
    case .send: fail(exchange, .connectionWriteTimeout)
    case .head: fail(exchange, .responseTimeout)
    case .body:
      let deadline = exchanges[exchange].responseDeadline
      fail(exchange, deadline > 0 && services.now >= deadline ? .responseTooSlow : .responseStalled)
    }
  }

  // MARK: Exchanges

  @inline(never)
  private mutating func fireExchangeTimers() {
    while let index = exchangeTimers.popDue(services.now) {
      // The entry may be that of an exchange that has ended; the one in its slot now has its own deadline, or none.
      if let exchange = exchanges.handle(at: index) { exchangeTimerFired(exchange) }
    }
  }

  private mutating func exchangeTimerFired(_ exchange: Handle) {
    // What is left is the client's to take, within its own limit.
    if exchanges[exchange].flags.contains(.delivering) { return }
    let deadline = exchanges[exchange].deadline
    if deadline > 0, deadline <= services.now {
      fail(exchange, exchanges[exchange].flags.contains(.deadlineIsCalls) ? .grpcDeadlineExceeded : .exchangeTimeout)
    } else { recoveryTimerFired(exchange) }
    if exchanges.contains(exchange) { armExchangeTimer(exchange) }
  }

  // MARK: Access log

  @inline(never)
  private mutating func flushAccessLog() {
    nextAccessFlush = services.now + Int64(max(1, plan.accessLog.flushInterval))
    accessLog?.flush()
    counters.store(.logLinesDropped, linesDropped &+ log.lost)
  }

  /// Once a second: counts lines that were lost, and says when the access log cannot be written, and when it can again.
  @inline(never)
  mutating func noteLogs() {
    let dropped = linesDropped
    counters.store(.logLinesDropped, dropped &+ log.lost)
    let lost = dropped &- droppedWhenGood
    switch (accessLogProblem(), hasLogProblem) {
    case (let problem?, false):
      hasLogProblem = true
      log.write(
        .error, key: EventKey("access log", 0), "the access log cannot be written: \(problem); lines wait for it as long as there is room, and are dropped then")
    case (nil, true):
      hasLogProblem = false
      log.write(.warn, key: EventKey("access log again", 0), "the access log is written again; \(lost) of its lines were dropped")
    case (nil, false):
      if lost > 0 { log.write(.warn, key: EventKey("access log lines", 0), "\(lost) lines of the access log were dropped: it did not take them for a moment") }
    case (.some, true): return
    }
    if !hasLogProblem { droppedWhenGood = dropped }
  }

  @inline(never)
  private mutating func accessLogProblem() -> String? { accessLog?.problem }

  // Mutating, though they change nothing: what is borrowed from so large a struct is copied, and the compiler takes minutes to see how.
  @inline(never)
  private mutating func hasUnwrittenLines() -> Bool { accessLog?.isEmpty == false }

  private var linesDropped: UInt64 { mutating get { accessLog?.dropped ?? 0 } }

  /// Writes what is collected, then goes on in `descriptor`.
  public mutating func reopenAccessLog(_ descriptor: consuming Descriptor) {
    accessLog?.replace(descriptor: descriptor)
  }

  /// Writes what is collected of the access log.
  public mutating func flushLogs() { accessLog?.flush() }

  /// Writes what is collected of the access log, for the last time.
  public mutating func closeLogs() {
    accessLog?.close()
    let lost = linesDropped &- droppedWhenGood
    if lost > 0 { log.write(.error, "\(lost) lines of the access log could not be written, and are lost\(accessLogProblem().map { ": " + $0 } ?? "")") }
    counters.store(.logLinesDropped, linesDropped &+ log.lost)
  }
}
