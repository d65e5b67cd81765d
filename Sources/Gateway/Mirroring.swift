// Mirroring — copies of requests to another upstream, whose answers nobody waits for.
//
// A copy is the head as it was composed for the backend, rules and all, and the body as it came: so it is made when the request is sent,
// and sent when that is whole. It is an exchange of its own with a client of its own, which is not there: what is relayed to it is dropped. Invariants:
// nothing of a copy is waited for by its original, by a drain or by a connection's end; its failures are counted here and nowhere else; where there is
// no room for it (too many at the same time, too long a body, no slot) there is no copy, and that is counted.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Upstream
import Wire

/// What one route copies.
struct MirrorRule: BitwiseCopyable {
  /// A forward rule made for it.
  let rule: Int32
  /// Thousandths of a percent.
  let share: Int
  /// Copies that are being made or sent at the same time, at most.
  let limit: Int
  let maxBodySize: Int
  let copiesNonIdempotent: Bool
  /// Of them, at present.
  var active = 0
}

/// A copy being made.
struct Mirrored: ~Copyable {
  let mirror: Int32
  let route: Int32
  let method: Method
  let address: PeerText
  /// The head without its last, empty line.
  var head: Buffer
  var body = BufferChain()
  /// The body has to be told of.
  let hasBody: Bool
  let acceptsTrailers: Bool
}

extension Gateway {
  // MARK: Making

  /// Begins a copy of the request that has been composed in `services.request`, if there is to be one.
  @inline(never)
  mutating func beginMirror(_ exchange: Handle) {
    let route = Int(exchanges[exchange].route)
    let index = Int(actions.mirrorOfRoute[route])
    guard index >= 0 else { return }
    // Nobody but the gateway says what is a copy.
    actions.mirrorNames.strip(&services.request)
    guard exchanges[exchange].attempts == 1, exchanges[exchange].copy == nil, exchanges[exchange].flags.isDisjoint(with: [.upgrading, .mirror]) else { return }
    let rule = actions.mirrors[index]
    let method = exchanges[exchange].head.method
    guard rule.copiesNonIdempotent || method.isIdempotent, actions.splits.chance(thousandths: rule.share) else { return }
    if case .length(let length) = exchanges[exchange].head.body, length > rule.maxBodySize { return counters.add(.mirrorsSkipped) }
    guard rule.active < rule.limit else { return counters.add(.mirrorsSkipped) }
    var head = services.small.take()
    guard services.request.count + 512 <= head.capacity else {
      services.small.recycle(head)
      return counters.add(.mirrorsSkipped)
    }
    head.append(services.request.bytes)
    let hasBody = exchanges[exchange].head.body != .none
    guard
      let copy = mirrored.insert(
        Mirrored(
          mirror: Int32(index), route: Int32(route), method: method, address: clients[exchanges[exchange].client].address, head: head, hasBody: hasBody,
          acceptsTrailers: exchanges[exchange].head.flags.contains(.acceptsTrailers)))
    else { return counters.add(.mirrorsSkipped) }
    actions.mirrors[index].active += 1
    // What was collected is here already.
    if exchanges[exchange].flags.contains(.collected) {
      guard exchanges[exchange].requestBody.count <= rule.maxBodySize else { return dropMirror(copy) }
      var rest = BufferChain(), body = BufferChain()
      swap(&rest, &exchanges[exchange].requestBody)
      while let piece = rest.popFirst() {
        mirrored[copy].body.append(copying: piece, &services.large)
        body.append(piece, &services.large)
      }
      swap(&body, &exchanges[exchange].requestBody)
    } else if hasBody {
      return exchanges[exchange].copy = copy
    }
    launching.append(copy.token)
  }

  /// Takes body bytes along.
  @inline(never)
  mutating func mirrorBody(_ exchange: Handle, _ data: Span<UInt8>) {
    guard let copy = exchanges[exchange].copy else { return }
    guard data.count <= actions.mirrors[Int(mirrored[copy].mirror)].maxBodySize - mirrored[copy].body.count else {
      exchanges[exchange].copy = nil
      return dropMirror(copy)
    }
    mirrored[copy].body.append(data, &services.large)
  }

  /// The request has been passed on to its end: its copy can go.
  @inline(never)
  mutating func mirrorIsWhole(_ exchange: Handle) {
    guard let copy = exchanges[exchange].copy.take() else { return }
    launching.append(copy.token)
  }

  /// The exchange has ended before its request was whole.
  @inline(never)
  mutating func abandonMirror(_ exchange: Handle) {
    if let copy = exchanges[exchange].copy.take() { dropMirror(copy) }
  }

  private mutating func dropMirror(_ copy: Handle) {
    var gone = mirrored.remove(copy)
    gone.body.removeAll(&services.large)
    actions.mirrors[Int(gone.mirror)].active -= 1
    services.small.recycle(gone.head)
    counters.add(.mirrorsSkipped)
  }

  // MARK: Sending

  /// Sends the copies that are whole; after everything else that the turn has to do.
  @inline(never)
  mutating func launchMirrors() {
    while let token = launching.popFirst() {
      let copy = Handle(token: token)
      guard mirrored.contains(copy) else { continue }
      guard let client = clients.insert(Client(voidFrom: mirrored[copy].address)) else {
        dropMirror(copy)
        continue
      }
      guard let exchange = exchanges.revive() ?? exchanges.insert(Exchange(fieldLimit: 0)) else {
        vacate(client)
        dropMirror(copy)
        continue
      }
      launch(mirrored.remove(copy), client, exchange)
    }
  }

  private mutating func launch(_ copy: consuming Mirrored, _ client: Handle, _ exchange: Handle) {
    let rule = Int(actions.mirrors[Int(copy.mirror)].rule)
    var copy = copy
    exchanges[exchange].begin(
      client: client, route: Int(copy.route), rule: rule, upstream: actions.forwards[rule].plan.upstream, headLength: 0, requestID: .generated(0),
      started: services.nowMicroseconds, startedWall: services.wall)
    exchanges[exchange].head.reset()
    exchanges[exchange].head.method = copy.method
    exchanges[exchange].head.flags = copy.acceptsTrailers ? [.version11, .acceptsTrailers] : .version11
    exchanges[exchange].flags = [.mirror, .collected]
    if copy.hasBody { exchanges[exchange].head.body = .length(copy.body.count) }
    actions.mirrorNames.adapt(&copy.head, host: actions.hosts[actions.forwards[rule].plan.upstream], body: copy.hasBody ? copy.body.count : nil)
    var head = Buffer.absent
    swap(&head, &copy.head)
    exchanges[exchange].heldHead = consume head
    if copy.body.isEmpty { exchanges[exchange].flags.insert(.requestComplete) }
    swap(&copy.body, &exchanges[exchange].requestBody)
    clients[client].exchange = exchange
    counters.add(.mirrorsSent)
    limit(exchange, until: services.now + Int64(max(1, actions.forwards[rule].plan.timeout)))
    seekBackend(exchange)
  }

  /// Composes a copy's head, for `sendRequest`.
  mutating func composeMirror(_ exchange: Handle) {
    guard let head = exchanges[exchange].heldHead.take() else { return }
    Self.copy(head, to: &services.request)
    services.small.recycle(head)
  }

  private static func copy(_ head: borrowing Buffer, to output: inout Buffer) { output.append(head.bytes) }

  // MARK: The end

  /// A copy cannot go on.
  @inline(never)
  mutating func failMirror(_ exchange: Handle) {
    counters.add(.mirrorsFailed)
    if let backend = exchanges[exchange].backend { detach(exchange, backend, isReusable: false) }
    if exchanges[exchange].flags.contains(.waiting) { leaveQueue(exchange) }
    finishMirror(exchange)
  }

  /// A copy has come to its end, good or bad.
  @inline(never)
  mutating func finishMirror(_ exchange: Handle) {
    let client = exchanges[exchange].client
    actions.mirrors[Int(actions.mirrorOfRoute[Int(exchanges[exchange].route)])].active -= 1
    services.responses.output.removeAll()
    exchanges[exchange].flags.remove(.mirror)
    exchanges[exchange].deadline = 0
    if let lines = exchanges[exchange].trailers.take() { services.small.recycle(lines) }
    if let head = exchanges[exchange].heldHead.take() { services.small.recycle(head) }
    exchanges[exchange].requestBody.removeAll(&services.large)
    exchanges.park(exchange)
    clients[client].exchange = nil
    // Its slot stays valid for the whole of the event, as any client's does.
    doom(client)
  }

  /// Frees the slot of the client of a copy that has ended.
  mutating func removeVoid(_ client: Handle) {
    clientTimers.disarm(client.index)
    clients[client].backlog.removeAll(&services.large)
    vacate(client)
  }

  /// What an exchange whose route has rules has to do at its end. True when it was a copy, and that is all.
  @inline(never)
  mutating func endsAsMirror(_ exchange: Handle) -> Bool {
    if exchanges[exchange].copy != nil { abandonMirror(exchange) }
    guard exchanges[exchange].flags.contains(.mirror) else { return false }
    finishMirror(exchange)
    return true
  }
}

/// What of a composed head is another in a copy.
struct MirrorNames: ~Copyable {
  private let names: LineNames
  private let replaced: LineNames.Part
  private let marker: LineNames.Part

  init() {
    var names = LineNames()
    replaced = names.add(["host", "content-length", "transfer-encoding", "te", "trailer", "connection"])
    marker = names.add(["x-gateway-mirror"])
    self.names = names
  }

  /// Takes out what only copies have.
  func strip(_ head: inout Buffer) {
    while let line = names.first(of: marker, in: head.bytes, 0..<head.count) { head.remove(line.range) }
  }

  /// - Parameters:
  ///   - head: a request line and field lines; there is room for 512 bytes more.
  ///   - body: bytes of the body; nil where there is none.
  func adapt(_ head: inout Buffer, host: borrowing Buffer, body: Int?) {
    while let line = names.first(of: replaced, in: head.bytes, 0..<head.count) { head.remove(line.range) }
    guard head.freeCapacity >= host.count + 96 else { return }
    head.append("Host: ")
    head.append(host.bytes)
    if let body {
      head.append("\r\nContent-Length: ")
      head.append(decimal: body)
    }
    head.append("\r\nX-Gateway-Mirror: 1\r\n")
  }
}
