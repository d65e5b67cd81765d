// RelayingHeads — the head of a backend's response: what it means for the exchange, and how it is written anew for the client.
//
// Invariants: a final head is composed once, when it is known that this response is the one the client gets; from then on the
// response can only be completed or cut off. How the end of the body is marked towards the client is decided here, whatever
// marks it on the backend's side.

import HTTPModel
import Memory
import Plan
import SharedState
import Upstream
import Wire

extension Gateway {
  /// Passes on what `buffer` holds.
  @inline(__always)
  mutating func relay(_ exchange: Handle, _ backend: Pin<BackendConnection>, _ buffer: inout Buffer) -> RelayOutcome {
    let pinned = unsafe exchanges.pin(exchange)
    if !exchanges[pinned].flags.contains(.hasHead) {
      repeat {
        switch backends.connections[backend].parser.parse(buffer.bytes, into: &services.responseHead) {
        case .incomplete: return buffer.count >= buffer.capacity ? .failed(.responseHeadersTooLarge) : .more
        case .rejected(let fault): return .failed(fault)
        case .complete(let length):
          if let body = wholeBody(pinned, buffer, length) { return relayWhole(exchange, backend, &buffer, length, body) }
          if let fault = beginResponse(exchange, backend.handle, &buffer, length) { return .failed(fault) }
          buffer.consume(length)
        }
      } while !exchanges[pinned].flags.contains(.hasHead) && !buffer.isEmpty
      if !exchanges[pinned].flags.contains(.hasHead) { return .more }
      if exchanges[pinned].flags.contains(.upgraded) {
        passDown(exchange, buffer.bytes)
        return .upgraded
      }
    }
    return relayBody(exchange, backend.handle, &buffer)
  }

  /// The length of the body when the response at hand is as most are: final, of known length, not large, and here to its end.
  @inline(__always)
  private mutating func wholeBody(_ exchange: Pin<Exchange>, _ buffer: borrowing Buffer, _ length: Int) -> Int? {
    guard case .length(let body) = services.responseHead.body, body <= Self.copyLimit, body <= buffer.count - length else { return nil }
    let status = services.responseHead.status
    guard status.code >= 200, !status.forbidsBody, exchanges[exchange].head.method != .head,
      exchanges[exchange].flags.isDisjoint(with: [.upgrading, .watchesStatus, .rewrites, .hedged, .mayCompress]) || passes(exchange, status)
    else { return nil }
    return services.responses.output.freeCapacity >= 2 * length + ResponseWriter.reserve + body ? body : nil
  }

  /// Passes on a response that is whole, in one piece.
  @inline(__always)
  private mutating func relayWhole(_ exchange: Handle, _ backend: Pin<BackendConnection>, _ buffer: inout Buffer, _ length: Int, _ body: Int) -> RelayOutcome {
    let pinned = unsafe exchanges.pin(exchange)
    exchanges[pinned].flags.formUnion([.hasHead, .committed])
    exchanges[pinned].headAt = services.nowMicroseconds - exchanges[pinned].attemptStart
    exchanges[pinned].status = services.responseHead.status.code
    backends.connections[backend].isPersistent = services.responseHead.flags.contains([.version11, .persistent])
    backends.connections[backend].waiting = .nothing
    if services.responseHead.names.contains(.keepAlive) { learnIdleLimit(backend.handle, buffer.bytes) }
    if let fault = composeHead(exchange, buffer.bytes.extracting(first: length), .asReceived) { return .failed(fault) }
    services.responses.output.append(buffer.bytes.extracting(length..<length + body))
    exchanges[pinned].sent += body
    exchanges[pinned].bodySent += body
    buffer.consume(length + body)
    unsafe send(clients.pin(exchanges[pinned].client))
    return .complete
  }

  /// Acts on the head in `services.responseHead`, the first `length` bytes of `buffer`.
  mutating func beginResponse(_ exchange: Handle, _ backend: Handle, _ buffer: inout Buffer, _ length: Int) -> Fault? {
    let pinned = unsafe exchanges.pin(exchange)
    let status = services.responseHead.status
    guard status.code >= 200 else { return relayInterim(exchange, status, buffer.bytes.extracting(first: length)) }
    // To an extended CONNECT any 2xx says that the WebSocket is there (RFC 8441 §4), which the backend has not said.
    if status.code < 300, exchanges[exchange].head.flags.contains(.extendedConnect) { return .upgradeFailed }
    if exchanges[pinned].flags.contains(.hedged) { settleHedge(exchange, hasAnswer: true) }
    let rest = buffer.count - length
    if exchanges[pinned].flags.contains(.rewrites) { return beginRewritten(exchange, backend, buffer.bytes.extracting(first: length), rest: rest) }
    return beginFinal(exchange, backend, buffer.bytes.extracting(first: length), rest: rest)
  }

  /// The same with the addresses in the head rewritten.
  @inline(never)
  private mutating func beginRewritten(_ exchange: Handle, _ backend: Handle, _ bytes: Span<UInt8>, rest: Int) -> Fault? {
    let head = rewritten(exchange, bytes)
    return head.isEmpty ? beginFinal(exchange, backend, bytes, rest: rest) : beginFinal(exchange, backend, head.bytes, rest: rest)
  }

  /// Acts on the head of the final response, `bytes`, behind which `rest` more have come.
  private mutating func beginFinal(_ exchange: Handle, _ backend: Handle, _ bytes: Span<UInt8>, rest: Int) -> Fault? {
    let pinned = unsafe exchanges.pin(exchange)
    let status = services.responseHead.status
    let rule = Int(exchanges[pinned].rule)
    let client = exchanges[pinned].client
    exchanges[pinned].flags.insert(.hasHead)
    exchanges[pinned].headAt = services.nowMicroseconds - exchanges[pinned].attemptStart
    exchanges[pinned].status = status.code
    let hasBody = exchanges[pinned].head.method != .head && !status.forbidsBody
    backends.connections[backend].isPersistent = services.responseHead.flags.contains([.version11, .persistent])
    backends.connections[backend].body = BodyReader(hasBody ? services.responseHead.body : .none)
    if services.responseHead.names.contains(.keepAlive) { learnIdleLimit(backend, bytes) }
    let duration = actions.forwards[rule].plan.streamMaxDuration
    if duration > 0 { exchanges[pinned].responseDeadline = services.now + Int64(duration) }

    var framing = framingToClient(exchange, hasBody: hasBody)
    if exchanges[pinned].flags.contains(.mayCompress) { framing = considerCompression(exchange, bytes, hasBody: hasBody, framing) }
    let isWhole = rest >= backends.connections[backend].body.remainingLength && services.responseHead.body != .untilClose
      && services.responseHead.body != .chunked
    if isWhole { backends.connections[backend].waiting = .nothing } else { startBodyTimer(exchange, backend) }
    if exchanges[pinned].flags.contains(.watchesStatus), keepsBack(exchange, status, bytes) {
      hold(exchange, client, bytes)
      return nil
    }
    if hasBody, !isWhole || framing == .chunked || exchanges[pinned].flags.contains(.untilClose), isHeld(exchange, bytes) {
      hold(exchange, client, bytes)
      return nil
    }
    if exchanges[pinned].flags.contains(.keepsBody) { dropKeptBody(exchange) }
    if framing == .chunked { exchanges[pinned].flags.insert(.chunked) }
    return composeHead(exchange, bytes, framing)
  }

  /// How the end of the body is marked towards the client.
  private mutating func framingToClient(_ exchange: Handle, hasBody: Bool) -> RelayFraming {
    guard hasBody else { return .asReceived }
    switch services.responseHead.body {
    case .none, .length: return .asReceived
    case .chunked, .untilClose:
      // A stream has an end of its own.
      if exchanges[exchange].head.flags.contains(.version2) { return .stream }
      if exchanges[exchange].head.flags.contains(.version11) { return .chunked }
      exchanges[exchange].flags.insert(.untilClose)
      return .asReceived
    }
  }

  /// Composes the client's head from the one in `services.responseHead`.
  @inline(__always)
  mutating func composeHead(_ exchange: Handle, _ bytes: Span<UInt8>, _ framing: RelayFraming) -> Fault? {
    let pinned = unsafe exchanges.pin(exchange)
    guard services.responses.output.freeCapacity >= 2 * bytes.count + ResponseWriter.reserve else { return .responseHeadersTooLarge }
    let rule = Int(exchanges[pinned].rule)
    // The connection can be kept when the whole request has been read and the response will have an end of its own.
    var flags = exchanges[pinned].flags
    if !clients[exchanges[pinned].client].body.isComplete || flags.contains(.untilClose) || drain.isDraining {
      flags.remove(.persistent)
      exchanges[pinned].flags = flags
    }
    let context = ResponseContext(
      isHead: exchanges[pinned].head.method == .head, isVersion11: exchanges[pinned].head.flags.contains(.version11),
      isPersistent: flags.contains(.persistent))
    if flags.contains(.grpc) { noteCallStatus(exchange, head: bytes) }
    let dropped = actions.forwards[rule].droppedFromResponse
    let via = actions.forwards[rule].plan.setVia
    guard framing == .asReceived, services.responseHead.flags.isDisjoint(with: .oddLength), services.responseHead.status.code != 204,
      flags.isDisjoint(with: .mayCompress)
    else {
      return composeHead(exchange, bytes, framing, context, dropped, rule)
    }
    services.responses.relay(services.responseHead, of: bytes, context, framing: framing, dropped: dropped, via: via)
    if limits.isActive { _ = tellLimits(exchanges[pinned].rateNote, behind: 0) }
    if !flags.isDisjoint(with: [.sticky, .edits]) { extendHead(exchange) }
    exchanges[pinned].sent += services.responses.output.count
    return nil
  }

  /// Adds to a response head that has just been composed what not every one has.
  @inline(never)
  private mutating func extendHead(_ exchange: Handle) {
    if exchanges[exchange].flags.contains(.sticky) { tellEndpoint(exchange) }
    if exchanges[exchange].flags.contains(.edits) { editResponse(exchange) }
  }

  /// A head whose framing is not that which was received.
  @inline(never)
  private mutating func composeHead(
    _ exchange: Handle, _ bytes: Span<UInt8>, _ framing: RelayFraming, _ context: ResponseContext, _ received: HeaderNameSet, _ rule: Int
  ) -> Fault? {
    var dropped = received.union(droppedForCoding(exchange)), framing = framing
    let forwardsTrailers = actions.forwards[rule].plan.forwardTrailers || exchanges[exchange].flags.contains(.grpc)
    if framing == .asReceived, services.responseHead.flags.contains(.oddLength), case .length(let length) = services.responseHead.body {
      framing = .length(length)
    }
    if framing != .asReceived || services.responseHead.status.code == 204 { dropped.insert(HeaderNameSet(.contentLength)) }
    let mayHaveTrailers = forwardsTrailers && (framing == .chunked || framing == .stream)
    if mayHaveTrailers { dropped.remove(HeaderNameSet(.trailer)) }
    services.responses.relay(
      services.responseHead, of: bytes, context, framing: framing, dropped: dropped, via: actions.forwards[rule].plan.setVia)
    if exchanges[exchange].flags.contains(.varies) { tellCoding(exchange, bytes) }
    if limits.isActive { _ = tellLimits(exchanges[exchange].rateNote, behind: 0) }
    if !exchanges[exchange].flags.isDisjoint(with: [.sticky, .edits]) { extendHead(exchange) }
    exchanges[exchange].sent += services.responses.output.count
    if mayHaveTrailers { keepAnnouncement(exchange, bytes, framing) }
    return nil
  }

  /// Remembers which trailers were announced. On a stream they need not be, and nobody announces those of a call.
  private mutating func keepAnnouncement(_ exchange: Handle, _ bytes: Span<UInt8>, _ framing: RelayFraming) {
    guard services.responseHead.flags.contains(.announcesTrailers) || exchanges[exchange].flags.contains(.grpc) && framing != .stream else {
      if framing == .stream { exchanges[exchange].flags.insert(.trailers) }
      return
    }
    var list = Buffer(capacity: bytes.count + 2)
    list.append(listOf: .trailer, services.responseHead.records, bytes)
    exchanges[exchange].heldHead = consume list
    exchanges[exchange].flags.insert(.trailers)
  }

  /// Passes on an interim response (RFC 9110 §15.2). 100 is the gateway's own to give; HTTP/1.0 clients know none.
  @inline(never)
  private mutating func relayInterim(_ exchange: Handle, _ status: Status, _ bytes: Span<UInt8>) -> Fault? {
    if status.code == 101 { return acceptUpgrade(exchange, bytes) }
    // There is no use for many; a backend that sends them without end is broken.
    guard exchanges[exchange].interims < 32 else { return .responseProtocolError }
    exchanges[exchange].interims += 1
    guard status.code != 100, exchanges[exchange].head.flags.contains(.version11) else { return nil }
    guard services.responses.output.freeCapacity >= 2 * bytes.count + ResponseWriter.reserve else { return .responseHeadersTooLarge }
    var dropped = actions.forwards[Int(exchanges[exchange].rule)].droppedFromResponse
    dropped.insert(HeaderNameSet(.contentLength))
    services.responses.relay(interim: services.responseHead, of: bytes, dropped: dropped)
    counters.add(.responses1xx)
    send(exchanges[exchange].client)
    return nil
  }
}
