// Dispatching — from a whole request head to what is done with it: admit, match, act.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Upstream
import Wire

extension Gateway {
  /// Acts on the head in `services.head`, which takes up the first `length` bytes of `input`.
  /// A request that is forwarded takes the whole of `input` along.
  @inline(__always)
  mutating func dispatch(_ client: Pin<Client>, _ length: Int, _ input: inout Buffer) {
    counters.add(.requests)
    if !clients[client].flags.isDisjoint(with: .screened), !screen(client.handle, length, &input) { return }
    if let fault = objection() { return refuse(client.handle, fault, input, isScreened: true) }
    if checksHosts, isMisdirected(client.handle, input) { return refuse(client.handle, .misdirectedRequest, input, isScreened: true) }
    let id = services.ids.make(services.head, input.bytes)
    route(client, id, length, &input)
  }

  /// Finds out what is to be done with the request in `services.head`, and does it.
  @inline(__always)
  mutating func route(_ client: Pin<Client>, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    switch services.head.flags.contains(.regularPath) ? .unchanged : normalise(input.bytes) {
    case .unchanged:
      let match = table.match(
        host: services.head.host.text(in: input.bytes), path: services.head.path.text(in: input.bytes), method: services.head.method,
        captures: &services.captures)
      act(client, match, isRewritten: false, id, length, &input)
    case .rewritten:
      var path = Buffer.absent
      swap(&path, &services.path)
      let match = table.match(
        host: services.head.host.text(in: input.bytes), path: path.bytes, method: services.head.method, captures: &services.captures)
      swap(&path, &services.path)
      act(client, match, isRewritten: true, id, length, &input)
    case .rejected:
      refuse(client.handle, .httpRequestError, input, isScreened: true)
    }
  }

  /// Why the request is refused whatever its target; nil when it is not.
  @inline(__always)
  private func objection() -> Fault? { services.head.flags.contains(.expectsUnknown) ? .expectationFailed : nil }

  /// Whether the body's declared length is more than is allowed where the route is not known.
  var isBodyTooLong: Bool {
    mutating get {
      if case .length(let length) = services.head.body { actions.bounds[0].exclude(length) } else { false }
    }
  }

  /// Brings the path into its normal form, in `services.path` where that is another one.
  @inline(never)
  private mutating func normalise(_ bytes: Span<UInt8>) -> PathOutcome {
    guard services.head.path.isEmpty else { return normalisePath(services.head.path.text(in: bytes), into: &services.path) }
    // An absolute-form target may have no path; it means "/" (RFC 9110 §4.2.3).
    services.path.removeAll()
    services.path.append("/")
    return .rewritten
  }

  @inline(__always)
  private mutating func act(
    _ client: Pin<Client>, _ match: RouteMatch, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    if hasOwnBounds { chooseBounds(client.handle, match) }
    if case .length(let length) = services.head.body, bounds(client.handle).exclude(length) { return refuseBody(client.handle, match, id, input) }
    if limits.isActive, !admit(client.handle, match, isRewritten: isRewritten, id, length, &input) { return }
    if answersPreflights, services.head.method == .options, let route = preflightRoute(input.bytes, isRewritten: isRewritten) {
      return answerPreflight(client.handle, route, id, length, &input)
    }
    switch match {
    case .route(let route):
      if services.head.flags.contains(.extendedConnect), !admitConnect(client.handle, route, id, length, &input) { return }
      perform(actions.index[route], client, route, isRewritten: isRewritten, id, length, &input)
    case .notFound:
      if services.head.path.count == 1, services.head.path.text(in: input.bytes).equals("*") { return answerServerOptions(client.handle, id, length, &input) }
      decline(client.handle, .routeNotFound, allow: nil, id, length, &input)
    case .methodNotAllowed(let allowed): decline(client.handle, .methodNotAllowed, allow: allowed, id, length, &input)
    }
  }

  /// Notes which bounds hold for the request at hand.
  private mutating func chooseBounds(_ client: Handle, _ match: RouteMatch) {
    if case .route(let route) = match { clients[client].bounds = Int32(truncatingIfNeeded: route + 1) } else { clients[client].bounds = 0 }
  }

  @inline(never)
  private mutating func refuseBody(_ client: Handle, _ match: RouteMatch, _ id: RequestID, _ input: borrowing Buffer) {
    if case .route(let route) = match { refuse(client, .bodyTooLarge, input, isScreened: true, route: route) } else { refuse(client, .bodyTooLarge, input, isScreened: true) }
  }

  @inline(__always)
  private mutating func perform(
    _ action: ActionIndex, _ client: Pin<Client>, _ route: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    switch action {
    case .respond(let index): answer(client, route, response: index, id, length, &input)
    case .forward(let rule): forward(client, route, rule, isRewritten: isRewritten, id, length, &input)
    case .split(let split):
      forward(client, route, chooseArm(client.handle, split, isRewritten: isRewritten, id, input.bytes), isRewritten: isRewritten, id, length, &input)
    case .echo(let index): beginWebSocket(client.handle, route, echo: index, id, length, &input)
    case .redirect(let index): redirect(client.handle, route, template: index, isRewritten: isRewritten, id, length, &input)
    case .health: answerHealth(client.handle, route, id, length, &input)
    case .stats: answerStats(client.handle, route, id, length, &input)
    case .file(let index): serveFile(client.handle, route, rule: index, isRewritten: isRewritten, id, length, &input)
    case .respondCoded(let index): answerCoded(client.handle, route, index, id, length, &input)
    case .restricted(let index): performRestricted(index, client, route, isRewritten: isRewritten, id, length, &input)
    }
  }

  /// What the route does, if the client's address may use it.
  @inline(never)
  private mutating func performRestricted(
    _ index: Int, _ client: Pin<Client>, _ route: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    let restricted = actions.restricted[index]
    guard actions.rules[restricted.rule].permits(PeerAddress(clients[client].address)) else {
      return decline(client.handle, .requestDenied, allow: nil, id, length, &input, route: route)
    }
    // Its action is none of this kind.
    if case .restricted = restricted.action { return }
    perform(restricted.action, client, route, isRewritten: isRewritten, id, length, &input)
  }

  /// Makes the exchange for a request to be forwarded, and sends it on its way.
  private mutating func forward(
    _ client: Pin<Client>, _ route: Int, _ rule: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    var key: Extent?
    if services.head.names.contains(.upgrade), !admitUpgrade(client.handle, route, rule, &key, id, length, &input) { return }
    // Pipelined answers go first; while the client does not take them, the request waits where it is and is parsed again.
    if !services.responses.output.isEmpty {
      send(client)
      guard clients[client].isClear else {
        // It has been asked about, and will not be again.
        if limits.isActive { clients[client].flags.insert(.admitted) }
        return counters.subtract(.requests)
      }
    }
    guard let handle = exchanges.revive() ?? exchanges.insert(Exchange(fieldLimit: services.fieldLimit)) else {
      // The slab holds as many exchanges as clients, so this cannot be.
      return doom(client.handle)
    }
    let pinned = unsafe exchanges.pin(handle)
    let started = clients[client].requestStart
    exchanges[pinned].begin(
      client: client.handle, route: route, rule: rule, upstream: actions.forwards[rule].plan.upstream, headLength: length, requestID: id,
      started: started, startedWall: services.wall - (services.nowMicroseconds - started))
    if limits.isActive { exchanges[pinned].rateNote = services.rateNote }
    if exchanges[pinned].head.fieldLimit == 0 { exchanges[pinned].head = RequestHead(fieldLimit: services.fieldLimit) }
    swap(&exchanges[pinned].head, &services.head)
    swap(&exchanges[pinned].bytes, &input)
    if isRewritten {
      var path = Buffer(capacity: services.path.count)
      path.append(services.path.bytes)
      exchanges[pinned].path = consume path
    }
    if actions.forwards[rule].plan.stripPrefix { exchanges[pinned].pathStart = stripStart(exchanges[pinned]) }
    let flags = exchanges[pinned].head.flags
    if flags.contains(.persistent), !drain.isDraining { exchanges[pinned].flags.insert(.persistent) }
    let body = exchanges[pinned].head.body, received = exchanges[pinned].bytes.count
    clients[client].takeBody(body, received: received)
    if flags.contains([.expectsContinue, .version11]), received == length, !clients[client].body.isComplete {
      clients[client].flags.insert(.owesContinue)
    }
    clients[client].exchange = handle
    counters.add(.requestsActive)
    if let key { askForTunnel(handle, key: key) } else if flags.contains(.extendedConnect) { startTunnel(handle) }
    start(handle)
  }

  /// Where the part of `path` begins that is forwarded when the prefix is stripped; its end when that is "/" alone.
  private func stripStart(of path: Span<UInt8>) -> Int32 {
    guard services.captures.tail < path.count else { return Int32(truncatingIfNeeded: path.count) }
    return Int32(truncatingIfNeeded: path.count - services.captures.strippedPath(of: path).count)
  }

  private func stripStart(_ exchange: borrowing Exchange) -> Int32 {
    switch exchange.path {
    case .some(let path): stripStart(of: path.bytes)
    case .none: stripStart(of: exchange.head.path.text(in: exchange.bytes.bytes))
    }
  }
}
