// WebSocketEndpoint — a WebSocket that ends here: the `echo` action, which sends each message back (RFC 6455).
//
// A message is sent back while it comes: whole where it is short, in fragments of a buffer's size where it is long, so that no
// message takes more memory than that, whatever its length and however well it was compressed. A client that does not take what is
// sent back is not read. An idle connection holds no buffer; after a few seconds not even the window of its compressor.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import WebSocket
import Wire

/// An echo endpoint as it is configured.
struct EchoRule: ~Copyable {
  let wish: CompressionWish?
  /// Milliseconds; 0 means none.
  let idleTimeout: Int64
  let pingInterval: Int64
  private var subprotocols = Stack<Buffer>()

  init(_ plan: EchoPlan) {
    wish = plan.compression ? CompressionWish(windowBits: plan.windowBits, keepsContext: plan.contextTakeover) : nil
    idleTimeout = Int64(plan.idleTimeout)
    pingInterval = Int64(plan.pingInterval)
    for name in plan.subprotocols {
      let text = Array(name.utf8)
      var buffer = Buffer(capacity: text.count)
      buffer.append(text.span)
      subprotocols.append(buffer)
    }
  }

  /// Whether `name` is a subprotocol that is accepted. Case counts.
  func accepts(_ name: Span<UInt8>) -> Bool {
    for index in 0..<subprotocols.count where Self.isSame(subprotocols[index], name) { return true }
    return false
  }

  private static func isSame(_ buffer: borrowing Buffer, _ text: Span<UInt8>) -> Bool {
    guard buffer.count == text.count else { return false }
    let bytes = buffer.bytes
    for index in bytes.indices where bytes[index] != text[index] { return false }
    return true
  }
}

/// A WebSocket that ends here.
struct WebSocketSession: ~Copyable {
  var reader: MessageReader
  var writer: MessageWriter
  /// What has come of a message and was not sent back yet.
  var payload: Buffer?
  /// Index into the echo rules.
  let rule: Int
  /// Milliseconds of the monotonic clock when bytes last came, and of the last ping.
  var lastInput: Int64
  var lastPing: Int64 = 0
  /// The code it was closed with, by whom it was closed first.
  var closeCode: CloseCode?
  /// When it is cut off at the latest, after our Close; 0: not closed from here.
  var endBy: Int64 = 0

  init(_ rule: Int, limit: Int, _ terms: CompressionTerms?, now: Int64) {
    reader = MessageReader(limit: limit, compression: terms)
    writer = MessageWriter(compression: terms)
    self.rule = rule
    lastInput = now
  }
}

extension Gateway {
  /// Reads from one client in one turn, at most.
  private static var webSocketBudget: Int { 8 }

  // MARK: Beginning

  /// Answers a request on an echo route: a WebSocket begins, or an error is sent.
  @inline(never)
  mutating func beginWebSocket(_ client: Handle, _ route: Int, echo rule: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    // One of HTTP/2 has been examined, and has no key.
    if services.head.flags.contains(.extendedConnect) { return beginWebSocket(client, route, echo: rule, key: .none, id, length, &input) }
    switch Handshake.examine(services.head, in: input.bytes) {
    case .notAsked: declineWebSocket(client, route, .webSocketRequired, id, length, &input)
    case .otherVersion: declineWebSocket(client, route, .webSocketVersion, id, length, &input)
    case .malformed: declineWebSocket(client, route, .webSocketHandshakeError, id, length, &input)
    case .valid where isStopping: declineWebSocket(client, route, .webSocketDraining, id, length, &input)
    case .valid(let key): beginWebSocket(client, route, echo: rule, key: key, id, length, &input)
    }
  }

  /// As above, for a handshake that is valid. Its key is `none` where the client's protocol has none.
  mutating func beginWebSocket(
    _ client: Handle, _ route: Int, echo rule: Int, key: Extent, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    var terms: CompressionTerms?
    if let wish = actions.echoes[rule].wish {
      switch Handshake.chooseCompression(services.head, in: input.bytes, wish) {
      case .none: break
      case .agreed(let agreed): terms = agreed
      case .malformed: return declineWebSocket(client, route, .webSocketHandshakeError, id, length, &input)
      }
    }
    guard reserve(client, length + 4096) else { return }
    let before = services.responses.output.count
    composeUpgrade(rule, key, terms, id, input.bytes)
    let sent = services.responses.output.count - before
    guard let session = webSockets.insert(WebSocketSession(rule, limit: plan.limits.maxWebSocketMessageSize, terms, now: services.now)),
      let exchange = exchanges.revive() ?? exchanges.insert(Exchange(fieldLimit: services.fieldLimit))
    else { return doom(client) }  // there are as many as clients
    let started = clients[client].requestStart
    exchanges[exchange].begin(
      client: client, route: route, rule: -1, upstream: -1, headLength: length, requestID: id, started: started,
      startedWall: services.wall - (services.nowMicroseconds - started))
    if logsAccess {
      exchanges[exchange].head = services.head.compacted()
      var head = Buffer(capacity: length)
      head.append(input.bytes.extracting(first: length))
      exchanges[exchange].bytes = consume head
    }
    exchanges[exchange].session = session
    exchanges[exchange].status = key.isEmpty ? 200 : 101
    exchanges[exchange].sent = sent
    exchanges[exchange].flags = [.hasHead, .committed, .upgraded]
    clients[client].exchange = exchange
    clients[client].takeBody(.none, received: 0)
    counters.add(.requestsActive)
    counters.add(.webSocketUpgrades)
    counters.add(.webSocketsActive)
    if services.scratch.capacity == 0 { services.scratch = Buffer(capacity: 32 << 10) }
    armWebSocketTimer(client, session)
    // What came behind the request are frames; the client's input is taken up again when this event is over.
    input.consume(length)
    exchanges[exchange].bodyReceived = input.count
    if !input.isEmpty { enqueue(client) }
  }

  private mutating func composeUpgrade(_ rule: Int, _ key: Extent, _ terms: CompressionTerms?, _ id: RequestID, _ bytes: Span<UInt8>) {
    services.responses.begin(
      Status(key.isEmpty ? 200 : 101), ResponseContext(isHead: false, isVersion11: true, isPersistent: true), server: plan.serverHeader)
    if !key.isEmpty {
      services.responses.output.append("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
      Handshake.append(acceptFor: key.text(in: bytes), to: &services.responses.output)
      services.responses.output.append("\r\n")
    }
    if let chosen = Handshake.chooseProtocol(services.head, in: bytes, { actions.echoes[rule].accepts($0) }) {
      services.responses.output.append("Sec-WebSocket-Protocol: ")
      services.responses.output.append(chosen.text(in: bytes))
      services.responses.output.append("\r\n")
    }
    if let terms {
      services.responses.output.append("Sec-WebSocket-Extensions: ")
      services.responses.output.append(terms)
      services.responses.output.append("\r\n")
    }
    services.responses.output.append("X-Request-Id: ")
    append(id, bytes)
    services.responses.output.append("\r\n\r\n")
  }

  // MARK: Frames

  /// Whether the client has taken enough of what was sent back that more may be read from it.
  private mutating func wantsFrames(_ client: Handle) -> Bool {
    clients[client].backlog.count <= plan.http1.lowWater && !clients[client].isFinished
  }

  /// Takes what the client has sent: what waits first, then what its socket has.
  mutating func serveWebSocket(_ client: Handle, _ exchange: Handle) {
    guard wantsFrames(client) else { return }
    var input = clients[client].input.take() ?? Buffer.absent
    var budget = Self.webSocketBudget
    while clients[client].exchange == exchange, wantsFrames(client) {
      if !input.isEmpty, !answerFrames(client, exchange, &input) { continue }
      guard clients[client].exchange == exchange, clients[client].flags.contains(.readable) else { break }
      guard budget > 0 else {
        enqueue(client)
        break
      }
      budget -= 1
      makeRoom(&input)
      let room = input.freeCapacity
      switch receive(client, into: &input) {
      case .moved(let count):
        counters.add(.bytesReceived, UInt64(count))
        exchanges[exchange].bodyReceived += count
        if let session = exchanges[exchange].session { webSockets[session].lastInput = services.now }
        if count < room { clients[client].noteShortRead() }
      case .blocked: clients[client].flags.remove(.readable)
      case .ended, .failed:
        clients[client].flags.remove(.readable)
        finishWebSocket(client, exchange, .abnormal, .clientAborted)
      }
    }
    keepInput(client, input)
  }

  /// A large buffer to receive into, with what is left of the last bytes in front.
  private mutating func makeRoom(_ input: inout Buffer) {
    guard input.capacity < services.large.bufferCapacity else { return input.compact() }
    var larger = services.large.take()
    larger.append(input.bytes)
    swap(&larger, &input)
    if larger.capacity == services.small.bufferCapacity { services.small.recycle(larger) }
  }

  /// Keeps what was not used: a piece of a header or of a control frame, in no more memory than it takes; or, of a client that has to
  /// take something first, all of it.
  private mutating func keepInput(_ client: Handle, _ input: consuming Buffer) {
    if input.count > 256 {
      input.compact()
      clients[client].input = consume input
      return
    }
    if !input.isEmpty {
      var rest = Buffer(capacity: 256)
      rest.append(input.bytes)
      clients[client].input = consume rest
    }
    if input.capacity == services.large.bufferCapacity { services.large.recycle(input) } else { services.small.recycle(input) }
  }

  /// Acts on the frames in `input`. True when it has got as far as can be; false when the client has to take something first, or is at its end.
  private mutating func answerFrames(_ client: Handle, _ exchange: Handle, _ input: inout Buffer) -> Bool {
    guard let session = exchanges[exchange].session else { return true }
    var payload = webSockets[session].payload.take() ?? services.small.take()
    var position = 0
    var isDone = false
    frames: while true {
      let event = webSockets[session].reader.next(input.bytes, at: &position, into: &payload, scratch: &services.scratch)
      switch event {
      case .needsMore:
        isDone = true
        break frames
      case .full:
        echo(client, exchange, session, webSockets[session].reader.kind ?? .binary, payload.bytes, isLast: false)
        payload.removeAll()
      case .message(let kind):
        counters.add(.webSocketMessages)
        echo(client, exchange, session, kind, payload.bytes, isLast: true)
        payload.removeAll()
      case .ping:
        // After our Close nothing else is sent.
        guard webSockets[session].endBy == 0, reserve(client, 256) else { continue }
        var ping = Buffer.absent
        swap(&ping, &services.scratch)
        services.responses.output.append(frame: .pong, ping.bytes)
        exchanges[exchange].sent += ping.count + 2
        swap(&ping, &services.scratch)
      case .pong: continue
      case .close:
        peerClosed(client, exchange, session)
        break frames
      case .failed(let code):
        failWebSocket(client, exchange, session, code)
        break frames
      }
      // A turn's answers go together, but not without bound.
      guard services.responses.output.count >= 64 << 10 else { continue }
      send(client)
      if !wantsFrames(client) { break }
    }
    if clients[client].exchange == exchange {
      input.consume(position)
      if payload.isEmpty { services.small.recycle(payload) } else { webSockets[session].payload = consume payload }
      send(client)
      armWebSocketTimer(client, session)
    } else {
      // Ended: what follows is of no interest (RFC 6455 §5.5.1).
      input.removeAll()
      services.small.recycle(payload)
    }
    return isDone
  }

  /// Sends a piece of a message back.
  private mutating func echo(_ client: Handle, _ exchange: Handle, _ session: Handle, _ kind: MessageKind, _ piece: Span<UInt8>, isLast: Bool) {
    guard webSockets[session].endBy == 0, reserve(client, webSockets[session].writer.room(for: piece.count)) else { return }
    let before = services.responses.output.count
    webSockets[session].writer.append(kind, piece, isLast: isLast, to: &services.responses.output, scratch: &services.scratch)
    let count = services.responses.output.count - before
    exchanges[exchange].sent += count
    exchanges[exchange].bodySent += count
  }

  /// The client has taken some of what waited for it.
  mutating func resumeWebSocket(_ client: Handle, _ exchange: Handle) {
    guard clients[client].backlog.count <= plan.http1.lowWater, let session = exchanges[exchange].session else { return }
    if clients[client].backlog.isEmpty { armWebSocketTimer(client, session) }
    if clients[client].input != nil || clients[client].flags.contains(.readable) { enqueue(client) }
  }
}
