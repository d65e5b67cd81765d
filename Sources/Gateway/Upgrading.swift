// Upgrading — from a request for a WebSocket to the tunnel or the endpoint that it becomes (RFC 6455 §4, RFC 9110 §7.8).
//
// Everything that holds for requests has been applied before: routes, limits, policies. A request that asks for something else
// than a WebSocket is forwarded without its wish, as any proxy may. Over HTTP/2 (RFC 8441) the request has no key: one is made
// for the backend, and its answer verified here as a client would.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream
import WebSocket
import Wire

extension Gateway {
  // MARK: The request

  /// Judges a request with an `Upgrade` field that is to be forwarded. False when it has been answered.
  /// - Parameter key: is set when the backend shall be asked for a WebSocket.
  @inline(never)
  mutating func admitUpgrade(
    _ client: Handle, _ route: Int, _ rule: Int, _ key: inout Extent?, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) -> Bool {
    guard actions.forwards[rule].plan.webSocket else { return true }
    switch Handshake.examine(services.head, in: input.bytes) {
    case .notAsked: return true
    case .valid where isStopping: declineWebSocket(client, route, .webSocketDraining, id, length, &input)
    case .valid(let place):
      key = place
      return true
    case .otherVersion: declineWebSocket(client, route, .webSocketVersion, id, length, &input)
    case .malformed: declineWebSocket(client, route, .webSocketHandshakeError, id, length, &input)
    }
    return false
  }

  /// Judges an extended CONNECT (RFC 8441). False when it has been answered: only what can become a WebSocket goes on, because any
  /// other 2xx would be taken for one.
  @inline(never)
  mutating func admitConnect(_ client: Handle, _ route: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) -> Bool {
    var action = actions.index[route]
    if case .restricted(let index) = action { action = actions.restricted[index].action }
    switch action {
    case .redirect: return true
    case .split(let split) where actions.forwards[actions.splits.firstRule(split)].plan.webSocket: break
    case .forward(let rule) where actions.forwards[rule].plan.webSocket: break
    case .echo: break
    default:
      declineWebSocket(client, route, .methodNotImplemented, id, length, &input)
      return false
    }
    switch Handshake.examineFields(services.head, in: input.bytes, needsKey: false) {
    case .valid where isStopping: declineWebSocket(client, route, .webSocketDraining, id, length, &input)
    case .valid: return true
    case .otherVersion: declineWebSocket(client, route, .webSocketVersion, id, length, &input)
    case .malformed, .notAsked: declineWebSocket(client, route, .webSocketHandshakeError, id, length, &input)
    }
    return false
  }

  /// Whether no WebSocket is begun, because the gateway is being stopped. A worker whose generation has been replaced still begins
  /// those whose connections it has accepted: nobody could tell their clients to go elsewhere.
  var isStopping: Bool {
    mutating get {
      guard drain.isDraining else { return false }
      return board.map { $0.value(of: .generation) <= worker.generation } ?? true
    }
  }

  /// Answers a request for a WebSocket with an error, and closes the connection: frames may have been sent behind it already.
  @inline(never)
  mutating func declineWebSocket(_ client: Handle, _ route: Int, _ fault: Fault, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    var context = contextOfHead()
    context.isPersistent = false
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    let body = compose(error: fault, context, id, allow: nil, prefersJSON(input.bytes) ? .json : .text, bytes: input.bytes)
    counters.count(fault: fault.rawValue)
    finishLocal(
      client, fault.row.status, fault, route: route, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  /// Makes an exchange one that asks its backend for a WebSocket, with the client's own key.
  @inline(never)
  mutating func askForTunnel(_ exchange: Handle, key place: Extent) {
    var key = InlineArray<24, UInt8>(repeating: 0)
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    Self.copy(place, of: bytes, to: &key)
    swap(&bytes, &exchanges[exchange].bytes)
    var fields = Buffer(capacity: 48)
    fields.append("Upgrade: websocket\r\nConnection: Upgrade\r\n")
    startTunnel(exchange, key, fields)
  }

  private static func copy(_ place: Extent, of bytes: borrowing Buffer, to key: inout InlineArray<24, UInt8>) {
    let text = place.text(in: bytes.bytes)
    for index in 0..<min(24, text.count) { key[index] = text[index] }
  }

  /// Makes an exchange one that asks its backend for a WebSocket, with a key of our own: for clients whose protocol has none.
  @inline(never)
  mutating func startTunnel(_ exchange: Handle) {
    var text = Buffer(capacity: Handshake.keyLength)
    Handshake.append(keyOf: (services.random.next(), services.random.next()), to: &text)
    var key = InlineArray<24, UInt8>(repeating: 0)
    for index in 0..<24 { key[index] = text.bytes[index] }
    var fields = Buffer(capacity: 96)
    fields.append("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ")
    fields.append(text.bytes)
    fields.append("\r\n")
    startTunnel(exchange, key, fields)
  }

  private mutating func startTunnel(_ exchange: Handle, _ key: InlineArray<24, UInt8>, _ fields: consuming Buffer) {
    // There are as many as exchanges.
    guard let tunnel = tunnels.insert(Tunnel(key: key)) else { return }
    exchanges[exchange].session = tunnel
    exchanges[exchange].heldHead = consume fields
    exchanges[exchange].flags.insert(.upgrading)
  }

  // MARK: The answer

  /// Acts on the 101 in `services.responseHead`, whose text is `bytes`: the exchange becomes a tunnel.
  /// - Returns: why it must not, if so.
  @inline(never)
  mutating func acceptUpgrade(_ exchange: Handle, _ bytes: Span<UInt8>) -> Fault? {
    guard exchanges[exchange].flags.contains(.upgrading), let backend = exchanges[exchange].backend, let session = exchanges[exchange].session else {
      return .upgradeFailed
    }
    let key = tunnels[session].key
    guard Handshake.isAgreed(services.responseHead, in: bytes, key: key.span) else { return .upgradeFailed }
    guard services.responses.output.freeCapacity >= 2 * bytes.count + ResponseWriter.reserve else { return .responseHeadersTooLarge }
    let rule = actions.forwards[Int(exchanges[exchange].rule)]
    var dropped = rule.droppedFromResponse
    dropped.formUnion([HeaderNameSet(.contentLength), HeaderNameSet(.transferEncoding)])
    let isStream = clients[exchanges[exchange].client].flags.contains(.stream)
    services.responses.relay(upgrade: services.responseHead, of: bytes, dropped: dropped, via: rule.plan.setVia, isConnect: isStream)
    exchanges[exchange].status = isStream ? 200 : 101
    if exchanges[exchange].flags.contains(.edits) { editResponse(exchange) }
    exchanges[exchange].sent += services.responses.output.count
    exchanges[exchange].headAt = services.nowMicroseconds - exchanges[exchange].attemptStart
    exchanges[exchange].flags.formUnion([.hasHead, .committed, .upgraded])
    exchanges[exchange].flags.remove(.persistent)
    if exchanges[exchange].flags.contains(.guarded) { reportSuccess(exchange) }
    // From here on only silence ends it.
    exchanges[exchange].deadline = 0
    backends.tunnel(backend)
    tunnels[session].lastDown = services.now
    tunnels[session].lastUp = services.now
    counters.add(.tunnelUpgrades)
    counters.add(.tunnelsActive)
    let client = exchanges[exchange].client
    send(client)
    passEarlyBytes(exchange)
    settle(exchange)
    armTunnelTimer(exchange, backend)
    if clients[client].flags.contains(.readable) { enqueue(client) }
    return nil
  }

  /// Passes on what the client has sent behind its request.
  private mutating func passEarlyBytes(_ exchange: Handle) {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    let used = min(exchanges[exchange].used, bytes.count)
    if bytes.count > used { passUp(exchange, bytes.bytes.extracting(droppingFirst: used)) }
    bytes.truncate(to: used)
    swap(&bytes, &exchanges[exchange].bytes)
  }

  /// Lets go of everything that a WebSocket does not need for the rest of its life but the line in the access log does.
  mutating func settle(_ exchange: Handle) {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    if logsAccess {
      var copy = Buffer(capacity: exchanges[exchange].headLength)
      copy.append(bytes.bytes.extracting(first: min(exchanges[exchange].headLength, bytes.count)))
      exchanges[exchange].bytes = consume copy
      let head = exchanges[exchange].head.compacted()
      exchanges[exchange].head = head
    } else {
      exchanges[exchange].head = RequestHead(fieldLimit: 0)
    }
    services.small.recycle(bytes)
    exchanges[exchange].used = exchanges[exchange].headLength
    exchanges[exchange].heldHead = nil
    exchanges[exchange].path = nil
  }

  // MARK: The life of what has been upgraded

  /// Does what the state of a WebSocket allows with what its client has sent.
  @inline(never)
  mutating func serveUpgraded(_ client: Handle, _ exchange: Handle) {
    guard !clients[client].isFinished else { return }
    if exchanges[exchange].upstream < 0 { serveWebSocket(client, exchange) } else { receiveTunnel(client, exchange) }
  }

  /// The client has taken some of what waited for it.
  @inline(never)
  mutating func resumeUpgraded(_ client: Handle, _ exchange: Handle) {
    if exchanges[exchange].upstream < 0 { resumeWebSocket(client, exchange) } else { clientOfTunnelDrained(client, exchange) }
  }

  /// The drain deadline has passed.
  mutating func goAway(_ client: Handle, _ exchange: Handle) {
    if exchanges[exchange].upstream < 0 {
      closeWebSocket(client, exchange, .goingAway, .drainDeadline, within: Self.closeGrace)
    } else {
      closeTunnel(exchange, .drainDeadline, within: Self.closeGrace)
    }
  }

  /// The exchange ends: so does its session.
  @inline(never)
  mutating func releaseSession(_ exchange: Handle) {
    guard let session = exchanges[exchange].session else { return }
    exchanges[exchange].session = nil
    if exchanges[exchange].flags.contains(.spliced) { return releasePipe(session) }
    if exchanges[exchange].flags.isDisjoint(with: .file), exchanges[exchange].flags.contains(.compressing) { return releaseEncoder(session) }
    if exchanges[exchange].flags.contains(.file) {
      if let encoder = files[session].encoder { releaseEncoder(encoder) }
      _ = files.remove(session)
      return
    }
    if exchanges[exchange].upstream < 0 {
      releaseWebSocket(session)
    } else {
      _ = tunnels.remove(session)
      if exchanges[exchange].flags.contains(.upgraded) { counters.subtract(.tunnelsActive) }
    }
    // What was settled has no room for another request's fields.
    if exchanges[exchange].head.fieldLimit != services.fieldLimit { exchanges[exchange].head = RequestHead(fieldLimit: 0) }
  }
}
