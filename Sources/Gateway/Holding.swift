// Holding — responses that are collected before any of them is sent: a backend is freed early, and one that fails
// half-way can still be answered 502.
//
// Invariant: while a response is held, the client's `backlog` holds its body alone (whatever was composed before has been
// sent), the exchange's `heldHead` the head as it came, and nothing of either goes out.

import HTTPModel
import Kernel
import Memory
import Plan
import Upstream
import Wire

extension Gateway {
  /// What a response that is collected may grow to.
  static var holdLimit: Int { 64 << 20 }

  /// …and one that will hardly be used.
  @inline(__always)
  mutating func holdLimit(_ exchange: Handle) -> Int {
    exchanges[exchange].flags.contains(.retrying) ? actions.forwards[Int(exchanges[exchange].rule)].plan.relayBufferLimit : Self.holdLimit
  }

  /// Whether the response is collected before any of it is sent.
  mutating func isHeld(_ exchange: Handle, _ bytes: Span<UInt8>) -> Bool {
    // An interim response may still wait in the backlog, which must hold the body alone.
    let isClear = clients[exchanges[exchange].client].backlog.isEmpty
    let plan = actions.forwards[Int(exchanges[exchange].rule)].plan
    let isEventStream = exchanges[exchange].flags.contains(.grpc) || services.responseHead.headers(in: bytes).isEventStream
    let asksForNoBuffering = services.responseHead.headers(in: bytes).asksForNoBuffering
    if isEventStream {
      exchanges[exchange].flags.insert(.eventStream)
      // It may go on for days; a breaker that is half-open shall not wait for its end.
      if exchanges[exchange].flags.contains(.guarded), !exchanges[exchange].flags.contains(.grpc), exchanges[exchange].status < 500 { reportSuccess(exchange) }
      if let backend = exchanges[exchange].backend { backends.connections[backend].waiting = .nothing }
      return false
    }
    if asksForNoBuffering || !isClear { return false }
    if exchanges[exchange].flags.contains(.untilClose), plan.http10 == .buffer { return true }
    switch plan.buffering {
    case .always: return true
    case .never: return false
    case .auto:
      // From stream to stream trailers may follow, which are not collected.
      let isFromStream = services.responseHead.flags.contains(.version2)
      if plan.forwardTrailers, isFromStream, exchanges[exchange].head.flags.contains(.version2) { return false }
      if case .length(let length) = services.responseHead.body { return length <= plan.autoStreamThreshold }
      return false
    }
  }

  /// Begins to collect: the head is kept as it came, the body will wait in the client's backlog.
  mutating func hold(_ exchange: Handle, _ client: Handle, _ bytes: Span<UInt8>) {
    exchanges[exchange].flags.insert(services.responseHead.flags.contains(.version2) ? [.holding, .heldFromHTTP2] : .holding)
    clients[client].flags.insert(.holding)
    var copy = services.buffer(for: bytes.count)
    copy.append(bytes)
    exchanges[exchange].heldHead = consume copy
  }

  /// Collects a piece that is body and nothing else by taking its buffer; false when it must be looked through.
  @inline(never)
  mutating func holdWhole(_ exchange: Handle, _ backend: Handle, _ client: Handle, _ buffer: inout Buffer) -> Bool {
    let count = buffer.count
    guard case .length = backends.connections[backend].body.framing, count <= backends.connections[backend].body.remainingLength,
      clients[client].backlog.count + count <= holdLimit(exchange)
    else { return false }
    var position = 0
    _ = backends.connections[backend].body.next(buffer.bytes, at: &position)
    exchanges[exchange].bodySent += count
    exchanges[exchange].sent += count
    var piece = services.large.take()
    swap(&piece, &buffer)
    clients[client].backlog.append(piece, &services.large)
    return true
  }

  /// Composes the head of a response that was collected.
  private mutating func composeHeld(_ exchange: Handle, _ head: borrowing Buffer) -> Fault? {
    var parser = ResponseParser()
    guard case .complete = parser.parse(head.bytes, into: &services.responseHead) else { return .proxyInternalError }
    if exchanges[exchange].flags.contains(.heldFromHTTP2) { services.responseHead.flags.insert(.version2) }
    exchanges[exchange].flags.remove([.holding, .untilClose, .heldFromHTTP2])
    var framing = RelayFraming.length(clients[exchanges[exchange].client].backlog.count)
    if case .length = services.responseHead.body, exchanges[exchange].flags.isDisjoint(with: .compressing) { framing = .asReceived }
    return composeHead(exchange, head.bytes, framing)
  }

  /// Sends a response that was collected: its length is known now.
  @inline(never)
  mutating func releaseHeld(_ exchange: Handle) -> Fault? {
    let client = exchanges[exchange].client
    guard let head = exchanges[exchange].heldHead.take() else { return .proxyInternalError }
    let fault = composeHeld(exchange, head)
    services.small.recycle(head)
    if let fault { return fault }
    clients[client].flags.remove(.holding)
    exchanges[exchange].flags.insert(.committed)
    // The head goes before what was collected, and with its first piece where that is taken at once.
    guard let first = clients[client].backlog.popFirst() else {
      send(client)
      return nil
    }
    var rest = BufferChain()
    swap(&rest, &clients[client].backlog)
    send(client, copying: first)
    services.large.recycle(first)
    if clients[client].flags.contains(.secure) {
      while let piece = rest.popFirst() {
        send(client, copying: piece)
        services.large.recycle(piece)
      }
      return nil
    }
    clients[client].backlog.append(contentsOf: &rest, &services.large)
    flushBacklogOfExchange(client)
    return nil
  }
}
