// Gateway — everything one worker serves with: its clients, their exchanges, the backends, and what they share.
//
// The steps of a request are extensions of this type, one file each, in this order:
//   Accepting → Reading → Dispatching → Answering | Forwarding → Relaying → Finishing
// and, across them, Sending, Timing, Draining, Reporting. Requests of HTTP/2 connections come and go by way of
// Multiplexing and StreamSending.
//
// Its parts are separate stored properties, so that one can be changed in place while another is lent out.
// Clients, exchanges and backends name each other by handles; a handle that has gone stale matches nothing,
// so a late event is harmless. Invariant: a client's slot stays valid for the whole of an event; what has to
// go is marked (`doom`) and removed when the event has been handled (`reap`).
//
// Members that branch are `mutating`, even those that only look: a borrow of so large a noncopyable struct costs a copy at
// run time, and minutes of checking when it is compiled (a release build took six minutes, and takes one and a half).

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import RateStore
import Resolution
import SharedState
import TLS
import Telemetry
import Transport
import Upstream
import Wire

/// One worker's gateway.
public struct Gateway: ~Copyable {
  let plan: Plan
  let worker: WorkerIdentity
  let board: Scoreboard?
  public let counters: CounterPage
  let poller: Epoll
  let table: RouteTable
  var actions: RouteActions
  var listeners = Stack<ServedListener>()
  /// Client connections, and the streams of those that speak HTTP/2.
  var clients: Slab<Client>
  /// TLS of clients that speak it.
  var secured: Slab<SecuredClient>
  /// By listener; nil: in the clear.
  var servers: [TLSServer?] = []
  /// The keys of session tickets, for all listeners; nil: nobody speaks TLS.
  let tickets: TicketKeys?
  var ciphertext = Ciphertext()
  /// TLS of connections to backends that speak it.
  var securedBackends: Slab<SecuredBackend>
  /// By upstream; nil: in the clear.
  var tlsClients: [TLSClient?]
  /// …and for WebSockets, where others may get HTTP/2.
  var upgradingClients: [TLSClient?]
  /// What only streams have, and what only HTTP/2 connections have.
  var streams: Slab<Stream>
  var multiplexers: Slab<Multiplexer>
  /// How HTTP/2 sessions are set up; nil: HTTP/2 is not spoken.
  let profile: SessionProfile?
  var workspace: Workspace
  /// Frames being put together for one connection.
  var frames: Buffer
  /// Streams whose backlog has shrunk while frames were put together.
  var relieved = TokenQueue(capacity: 128)
  /// Streams that were given something to send, and have no timer for it yet.
  var unsettled = TokenQueue(capacity: 128)
  /// HTTP/2 connections that have frames to write.
  var unflushed = TokenQueue(capacity: 64)
  /// Streams without a record, in the turn in which they are answered.
  var answered = Stack<AnsweredStream>(capacity: 128)
  var pushes = Stack<PushedRequest>(capacity: 1)
  var exchanges: Slab<Exchange>
  var recoveries: Slab<Recovery>
  /// Copies of requests being made, and those that are whole.
  var mirrored: Slab<Mirrored>
  var launching = TokenQueue(capacity: 16)
  var backends: Backends
  /// What only streams to backends have, and what only the HTTP/2 connections have that carry them.
  var backendStreams: Slab<BackendStream>
  var backendSessions: Slab<BackendSession>
  var openSessions = 0
  /// How HTTP/2 sessions to backends are set up; nil: no upstream speaks it.
  let backendProfile: ClientProfile?
  var backendWorkspace: ClientWorkspace
  /// Streams to backends of whose requests some has gone while frames were put together.
  var drained = TokenQueue(capacity: 128)
  /// What the exchanges that have become WebSockets keep: those through the proxy, and those that end here.
  var tunnels: Slab<Tunnel>
  var webSockets: Slab<WebSocketSession>
  /// Responses being compressed.
  var encodings: Slab<Encoding>
  var activeEncoders: UInt32 = 0
  var compression: CompressionRules
  /// Files on their way, and the ranges that are asked for.
  var files: Slab<FileBody>
  var ranges = BoundedArray<ByteRange>(capacity: 16)
  /// Why the last file that was looked for could not be opened.
  var lastFileError: Errno?
  /// Pipes through which long responses go.
  var pipes: Slab<Pipe>
  /// Those of them that are large, in use or not.
  var largePipes = 0
  var services: Services
  var clientTimers: TimerWheel
  var backendTimers: TimerWheel
  /// Of exchanges that have a limit of their own.
  var exchangeTimers: TimerWheel
  /// Whether there has been any such.
  var timesExchanges = false
  /// Whether some route answers preflights.
  let answersPreflights: Bool
  /// Whether some route has bounds of its own on what clients send and take.
  let hasOwnBounds: Bool
  /// Whether some route has rules for the header fields of answers.
  let editsLocally: Bool
  /// Whether some route sends requests a second time while the first is under way.
  let hedges: Bool
  /// Clients and backends that have more to do than one turn allows.
  var pending = TokenQueue()
  /// Clients to be closed when the event at hand has been handled.
  var doomed = TokenQueue(capacity: 64)
  public let log: EventLog
  var accessLog: AccessLog?
  /// Requests and latencies by route and upstream; nil: nobody is to know.
  let traffic: TrafficColumn?
  /// Whether there is one: asking the optional itself takes a call.
  let logsAccess: Bool
  /// Whether its lines name the request.
  let logsRequestIDs: Bool
  /// …and the endpoint that has answered.
  let logsEndpoints: Bool
  var nextAccessFlush: Int64 = 0
  /// The access log cannot be written, as has been told; and the lines that had been dropped when it last could.
  var hasLogProblem = false
  var droppedWhenGood: UInt64 = 0
  /// When the endpoints are said to exist again.
  var nextEndpointTouch: Int64 = 0
  /// An open descriptor to give up when there are no others, so that a connection can be accepted and closed.
  var spare: Descriptor?
  /// Milliseconds at which listeners that ran out of descriptors are looked at again; 0: not needed.
  var acceptAgainAt: Int64 = 0
  public private(set) var openClients = 0
  /// Whether a request may be meant for another certificate than its connection's.
  var checksHosts: Bool
  var drain = DrainState()
  /// Who is let in, and whose word on addresses is taken.
  let addresses: AddressRules
  var limits: RateLimits
  /// The servers that have buckets of rate limits, and the requests that wait for them.
  var stores: RateStores
  var guards: UpstreamGuards
  /// What finds the addresses of names; nil: there are none.
  let resolver: Resolver?
  let upstreamsOfNames: [[Int]]
  /// Milliseconds of the monotonic clock at which the gateway was made.
  let startedAt: Int64
  let balances: BalanceTable
  /// Checks of endpoints, and whether there are any, or endpoints are judged by their requests.
  var health: HealthChecks
  let hasHealth: Bool

  /// Makes a gateway that serves `plan`; it has no listeners yet.
  /// - Parameters:
  ///   - board: for totals over all workers; nil: this is the only one.
  ///   - accessLog: where the access log goes; nil: nowhere.
  ///   - ticketKeys: keys of session tickets, one behind the other, the newest first.
  ///   - rateTables: the tables of rate limits, in the order of the plan's zones.
  ///   - concurrencyTables: likewise those of limits on what is under way.
  ///   - endpoints: what workers share of endpoints; nil: this is the only one.
  ///   - names: …and of names.
  ///   - breakers: the circuit breakers, of which this worker writes row `row`; nil: no upstream has one.
  ///   - traffic: where requests are counted by route and upstream.
  public init(
    _ plan: Plan, worker: WorkerIdentity, board: Scoreboard?, counters: consuming CounterPage, log: EventLog, accessLog: consuming AccessDestination?,
    ticketKeys: [UInt8], rateTables: [RateTable] = [], concurrencyTables: [ConcurrencyTable] = [], endpoints: EndpointTable? = nil, names: NameTable? = nil, breakers: BreakerTable? = nil, bell: consuming Bell? = nil, row: Int = 0,
    traffic: TrafficColumn? = nil
  ) throws(GatewayFailure) {
    // Everything that can fail comes first: a noncopyable value is initialised whole or not at all.
    let table = try Self.makeTable(plan)
    let poller = try Self.makePoller()
    let actions = try RouteActions(plan, table, worker: worker.slot, of: worker.count)
    let captureNames = plan.routes.indices.map { table.captureNames(ofRoute: $0) }
    let lines = try Self.makeAccessLog(plan, worker, accessLog)
    let tickets = try Self.makeTickets(plan, ticketKeys)
    let servers = try Self.makeServers(plan, tickets)
    let tlsClients = try Self.makeClients(plan)
    let upgradingClients = try Self.makeClients(plan, upgrading: true)
    let now = Clock().milliseconds
    let resolver = try Self.makeResolver(plan, worker, names, now: now)
    let backendCapacity = UInt32(clamping: plan.upstreams.reduce(64) { $0 + max(1, $1.pool.maxConnections) })
    let speaksHTTP2 = plan.upstreams.contains { PoolProtocol($0.http2) != .http1 }
    let backendProfile = try Self.makeBackendProfile(speaksHTTP2)
    let connectionCapacity = UInt32(clamping: plan.limits.maxConnections == 0 ? 1 << 20 : min(plan.limits.maxConnections, 1 << 20))
    let profile = try Self.makeProfile(plan)
    // Streams are clients, but not all connections will have many at the same time; beyond that they are refused.
    let streamCapacity = plan.http2.enabled ? max(16_384, min(8 * connectionCapacity, 1 << 20)) : 0
    let clientCapacity = connectionCapacity + streamCapacity
    // No more streams to backends than requests.
    let backendStreamCapacity = speaksHTTP2 ? clientCapacity : 0
    self.table = table
    self.resolver = resolver
    upstreamsOfNames = Self.upstreamsOfNames(plan)
    startedAt = now
    self.poller = poller
    let editsAny = actions.edits.isActive
    let mirrorCapacity = actions.mirrorCapacity
    hasOwnBounds = actions.hasOwnBounds
    answersPreflights = actions.edits.hasCrossOrigin
    editsLocally = actions.edits.editsResponses
    self.actions = actions
    switch lines {
    case .some(let log): (logsAccess, logsRequestIDs, logsEndpoints) = (true, log.showsRequestIDs, log.showsEndpoints)
    case .none: (logsAccess, logsRequestIDs, logsEndpoints) = (false, false, false)
    }
    self.accessLog = lines
    self.traffic = traffic
    backends = Backends(plan.upstreams, worker: worker.slot, of: worker.count, capacity: backendCapacity + backendStreamCapacity, table: endpoints, column: worker.row, now: now)
    backendStreams = Slab(capacity: backendStreamCapacity)
    backendSessions = Slab(capacity: speaksHTTP2 ? backendCapacity : 0)
    backendWorkspace = ClientWorkspace(
      sectionCapacity: speaksHTTP2 ? (plan.upstreams.map(\.http2.maxHeaderListSize).max() ?? 0) + 256 : 256, fieldLimit: 256)
    self.backendProfile = backendProfile
    clients = Slab(capacity: clientCapacity)
    secured = Slab(capacity: tickets == nil ? 1 : clientCapacity)
    self.tickets = tickets
    self.servers = servers
    checksHosts = servers.contains { $0?.isDivided == true }
    exchanges = Slab(capacity: clientCapacity)
    recoveries = Slab(capacity: clientCapacity)
    mirrored = Slab(capacity: mirrorCapacity)
    tunnels = Slab(capacity: clientCapacity)
    webSockets = Slab(capacity: clientCapacity)
    pipes = Slab(capacity: Self.pipeLimit)
    files = Slab(capacity: clientCapacity)
    encodings = Slab(capacity: CompressionRules.encoderLimit)
    compression = CompressionRules(plan.compression)
    streams = Slab(capacity: streamCapacity)
    multiplexers = Slab(capacity: plan.http2.enabled ? connectionCapacity : 0)
    var services = Services(plan.limits)
    workspace = Self.makeWorkspace(plan, services)
    frames = Buffer(capacity: plan.http2.enabled || speaksHTTP2 ? Self.frameLimit + ServerSession.slack : 0)
    securedBackends = Slab(capacity: tlsClients.contains { $0 != nil } ? backendCapacity : 1)
    self.tlsClients = tlsClients
    self.upgradingClients = upgradingClients
    if tlsClients.contains(where: { $0 != nil }) {
      ciphertext.prepare(small: services.small.bufferCapacity + 1024, large: services.large.bufferCapacity)
    }
    addresses = AddressRules(plan)
    limits = RateLimits(
      plan.rateLimit, tables: rateTables, keyLimit: services.small.bufferCapacity, routes: plan.routes, captures: { captureNames[$0] },
      concurrency: plan.concurrencyLimit, concurrencyTables: concurrencyTables, column: row, clients: clientCapacity)
    stores = RateStores(plan.rateLimit, fieldLimit: services.fieldLimit, clients: clientCapacity)
    balances = BalanceTable(plan.upstreams)
    let health = HealthChecks(plan, table: endpoints)
    hasHealth = health.isActive
    self.health = health
    if editsAny {
      services.facts = TemplateFacts(capacity: 8192)
      services.editLines = Buffer(capacity: Self.editCapacity)
    }
    guards = UpstreamGuards(plan.upstreams, breakers, bell: bell, row: row)
    self.services = services
    self.profile = profile
    clientTimers = TimerWheel(capacity: clientCapacity, now: now)
    backendTimers = TimerWheel(capacity: backendCapacity + backendStreamCapacity, now: now)
    exchangeTimers = TimerWheel(capacity: clientCapacity, now: now)
    spare = try? Descriptor.spare()
    hedges = plan.routes.contains { route in
      if case .forward(let forward) = route.action { forward.hedgeDelay > 0 } else { false }
    }
    self.plan = plan
    self.worker = worker
    self.board = board
    self.counters = counters
    self.log = log
    self.services.now = now
    applyNames()
  }

  private static func makeWorkspace(_ plan: Plan, _ services: borrowing Services) -> Workspace {
    var workspace = Workspace(sectionCapacity: services.small.bufferCapacity, fieldLimit: services.fieldLimit)
    for route in plan.http2.enabled ? plan.routes : [] {
      if case .respond(let respond) = route.action { RouteActions.prepare(respond, server: plan.serverHeader, in: &workspace.answers) }
    }
    return workspace
  }

  private static func makeTable(_ plan: Plan) throws(GatewayFailure) -> RouteTable {
    do { return try RouteTable(plan.routes) } catch { throw GatewayFailure("routes: \(error)") }
  }

  private static func makePoller() throws(GatewayFailure) -> Epoll {
    do { return try Epoll() } catch { throw GatewayFailure("epoll: \(error.text)") }
  }

  private static func makeAccessLog(_ plan: Plan, _ worker: WorkerIdentity, _ destination: consuming AccessDestination?) throws(GatewayFailure) -> AccessLog? {
    guard let destination else { return nil }
    let format: AccessLogFormat
    do { format = try AccessLogFormat(plan.accessLog.format) } catch { throw GatewayFailure("access_log.format: \(error)") }
    var random = SystemRandomNumberGenerator()
    let selection = LineSelection(plan.accessLog, routes: plan.routes.map(\.rules.accessLog), seed: random.next())
    return AccessLog(
      format: format, to: destination, bufferSize: plan.accessLog.bufferSize, worker: worker.name, routes: plan.routes.map(\.pattern),
      upstreams: plan.upstreams.map(\.name), selection: selection)
  }

  private static func makeBackendProfile(_ isNeeded: Bool) throws(GatewayFailure) -> ClientProfile? {
    guard isNeeded else { return nil }
    guard let profile = ClientProfile() else { throw GatewayFailure("upstreams: out of memory") }
    return profile
  }

  private static func makeProfile(_ plan: Plan) throws(GatewayFailure) -> SessionProfile? {
    guard plan.http2.enabled else { return nil }
    guard let profile = SessionProfile(SessionSettings(plan.http2)) else { throw GatewayFailure("http2: out of memory") }
    return profile
  }

  // MARK: Turns

  public borrowing func wait(into events: inout EventList, milliseconds: CInt) { poller.wait(into: &events, milliseconds: milliseconds) }

  /// Registers a descriptor that is not the gateway's, such as the channel to the master, for input.
  /// - Parameter token: below `Token.foreignLimit`; events with it are not for `handle`.
  public borrowing func watch(foreign descriptor: borrowing Descriptor, token: UInt32) throws(Errno) {
    try poller.watchInput(descriptor, token: Token.foreign(token))
  }

  /// Takes the time; to be called at the start of each turn.
  @inline(__always)
  public mutating func turnBegan(_ clock: borrowing Clock, isNewSecond: Bool) {
    services.nowMicroseconds = clock.now
    services.now = clock.milliseconds
    services.wall = clock.wallMicroseconds
    guard isNewSecond else { return }
    services.responses.update(date: clock.date)
    if limits.isActive { limits.sweep(microseconds: clock.now) }
    watchEndpoints()
    if resolver != nil { watchNames() }
    noteLogs()
  }

  /// Handles one event; returns the token of a foreign one.
  @inline(__always)
  public mutating func handle(_ event: Event) -> UInt32? {
    let handle = Token.handle(event.token)
    switch Token.kind(event.token) {
    case .client:
      if let client = unsafe clients.find(handle) { clientIsReady(client, event.readiness) }
    case .backend:
      if let backend = unsafe backends.connections.find(handle) { backendIsReady(backend, event.readiness) }
    case .listener: acceptAll(Int(handle.index))
    case .foreign: return handle.index
    case .probe: probeIsReady(handle, event.readiness)
    case .store: storeIsReady(handle, event.readiness)
    }
    if !doomed.isEmpty { reap() }
    return nil
  }

  /// Ends a turn: continues what was put off, fires timers, and says how long the next wait may last (-1: without end).
  @inline(__always)
  public mutating func turnEnded() -> CInt {
    if !pending.isEmpty { continuePending() }
    if stores.isActive { proceedWithStores() }
    if !launching.isEmpty { launchMirrors() }
    if !unflushed.isEmpty { flushConnections() }
    if !backends.retired.isEmpty { closeRetired() }
    fireTimers()
    if hasHealth { proceedWithHealth() }
    publishConnections()
    if pending.isEmpty, unflushed.isEmpty { return delayUntilTimer() }
    return 0
  }

  @inline(never)
  private mutating func continuePending() {
    for _ in 0..<pending.count {
      guard let token = pending.popFirst() else { return }
      let handle = Token.handle(token)
      switch Token.kind(token) {
      case .client where clients.contains(handle):
        clients[handle].flags.remove(.queued)
        proceed(handle)
      case .backend where backends.connections.contains(handle):
        // It may have gone back to its pool since.
        if let exchange = backends.connections[handle].exchange {
          focus(exchange, handle)
          receiveResponse(handle)
        } else {
          receiveSessionFrames(handle)
        }
      case .listener: acceptAll(Int(handle.index))
      default: break
      }
      if !doomed.isEmpty { reap() }
    }
  }

  /// Puts a client at the end of the queue of those that have something left to do.
  mutating func enqueue(_ client: Handle) {
    guard !clients[client].flags.contains(.queued) else { return }
    clients[client].flags.insert(.queued)
    pending.append(Token.make(.client, client))
  }

  mutating func noteOpened() { openClients += 1 }
  mutating func noteClosed() { openClients -= 1 }
}
