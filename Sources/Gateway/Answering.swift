// Answering — responses of the gateway itself: fixed ones, redirects, errors.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Wire

/// In which form a client is told of an error.
enum ErrorForm { case text, json, call }

extension Gateway {
  /// How the response to the head in `services.head` has to look.
  @inline(__always)
  mutating func contextOfHead() -> ResponseContext {
    let flags = services.head.flags
    // A client that waits for 100 Continue may or may not send the body after a final answer: the connection cannot be kept.
    let persists = flags.contains(.persistent) && flags.isDisjoint(with: .expectsContinue) && !drain.isDraining
    return ResponseContext(isHead: services.head.method == .head, isVersion11: flags.contains(.version11), isPersistent: persists)
  }

  /// Sends the fixed response `index`.
  @inline(__always)
  mutating func answer(_ client: Pin<Client>, _ route: Int, response index: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    if clients[client].flags.contains(.stream), answerStream(client, route, response: index, id, context, length, &input) { return }
    let before = services.responses.output.count
    guard reserve(client, actions.responses[index].byteCount + 160) else { return }
    switch id {
    case .generated:
      services.ids.show(id)
      services.responses.send(actions.responses[index], context, requestID: services.ids.generated)
    case .received(let text): services.responses.send(actions.responses[index], context, requestID: text.text(in: input.bytes))
    }
    let status = actions.responses[index].status.code
    let body = context.isHead ? 0 : actions.responses[index].bodyCount
    finishLocal(client, status, .none, route: route, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  /// Hands the fixed response `index` to the session of a stream whose request has come whole. False when that is not enough: the
  /// response is composed, then, as any other.
  @inline(__always)
  private mutating func answerStream(
    _ client: Pin<Client>, _ route: Int, response index: Int, _ id: RequestID, _ context: ResponseContext, _ length: Int, _ input: inout Buffer
  ) -> Bool {
    let stream = clients[client].carrier, multiplexer = streams[stream].multiplexer
    guard streams[stream].flags.contains(.ended), streams[stream].id & 1 == 1, context.isPersistent, !plan.http2.enablePush, !limits.isActive,
      !editsLocally
    else { return false }
    let isTaken: Bool
    switch id {
    case .generated:
      services.ids.show(id)
      isTaken = multiplexers[multiplexer].session.respond(
        streams[stream].id, answer: index, date: services.responses.dateText, id: services.ids.generated, isHead: context.isHead, &workspace)
    case .received(let text):
      isTaken = multiplexers[multiplexer].session.respond(
        streams[stream].id, answer: index, date: services.responses.dateText, id: text.text(in: input.bytes), isHead: context.isHead, &workspace)
    }
    guard isTaken else { return false }
    streams[stream].flags.formUnion([.hasHead, .answered])
    let status = actions.responses[index].status.code
    let body = context.isHead ? 0 : actions.responses[index].bodyCount
    finishLocal(client, status, .none, route: route, id, context, sent: actions.responses[index].headCount + body, body: body, length, &input)
    return true
  }

  /// Answers a request that no route takes.
  @inline(never)
  mutating func decline(
    _ client: Handle, _ fault: Fault, allow: MethodSet?, _ id: RequestID, _ length: Int, _ input: inout Buffer, route: Int = -1
  ) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    let form = errorForm(input.bytes)
    let body = compose(error: fault, context, id, allow: allow, form, bytes: input.bytes)
    counters.count(fault: fault.rawValue)
    if form == .call { count(callStatus: Int16(CallStatus(fault).rawValue)) }
    finishLocal(
      client, form == .call ? 200 : fault.row.status, fault, route: route, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  /// Refuses what cannot be understood or must not go on, and closes the connection after the answer.
  /// - Parameter isScreened: it is known whom the request comes from.
  @inline(never)
  mutating func refuse(_ client: Handle, _ fault: Fault, _ input: borrowing Buffer, isScreened: Bool = false, route: Int = -1) {
    if !isScreened, clients[client].flags.contains(.trusted) { forgetAddress(client) }
    let known = !services.head.target.isEmpty && fault != .httpRequestError
    let context = ResponseContext(
      isHead: known && services.head.method == .head, isVersion11: !known || services.head.flags.contains(.version11), isPersistent: false)
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    let id = services.ids.make()
    let form = known ? errorForm(input.bytes) : .text
    let body = compose(error: fault, context, id, allow: nil, form)
    let status = form == .call ? 200 : fault.row.status
    if editsLocally, route >= 0 {
      _ = editLocal(client, route, status, fault, id, input.bytes, sent: services.responses.output.count - before, body: body)
    }
    counters.count(fault: fault.rawValue)
    if form == .call { count(callStatus: Int16(CallStatus(fault).rawValue)) }
    counters.add(.requestsAnswered)
    count(status: status, route: route, microseconds: services.nowMicroseconds &- clients[client].requestStart)
    if logsAccess {
      if !known { services.head.reset() }
      logLocal(client, status, fault, route: route, id, sent: services.responses.output.count - before, body: body, input.count, input.bytes)
    }
    if limits.isActive { leaveRequest(client) }
    clients[client].flags.remove([.inHead, .discarding])
    clients[client].flags.formUnion([.closing, .mustLinger])
  }

  @inline(never)
  mutating func redirect(
    _ client: Handle, _ route: Int, template: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4 * services.small.bufferCapacity + 4096) else { return }
    let status = Status(actions.redirectStatuses[template])
    services.responses.begin(status, context, server: plan.serverHeader)
    services.responses.output.append("Location: ")
    guard appendLocation(client, template, isRewritten: isRewritten, id, input.bytes) else {
      services.responses.output.truncate(to: before)
      // A part of the request that would stand in the Location cannot stand in a URI.
      return decline(client, .httpRequestError, allow: nil, id, length, &input)
    }
    services.responses.output.append("\r\nContent-Length: 0\r\nX-Request-Id: ")
    append(id, input.bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
    finishLocal(client, status.code, .none, route: route, id, context, sent: services.responses.output.count - before, body: 0, length, &input)
  }

  /// `OPTIONS *` asks about the server as a whole (RFC 9110 §9.3.7).
  @inline(never)
  mutating func answerServerOptions(_ client: Handle, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    services.responses.begin(.noContent, context, server: plan.serverHeader)
    services.responses.output.append("Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE\r\nX-Request-Id: ")
    append(id, input.bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
    finishLocal(client, 204, .none, route: -1, id, context, sent: services.responses.output.count - before, body: 0, length, &input)
  }

  /// Sends a text that was made for this request, as JSON.
  @inline(never)
  mutating func answer(_ client: Handle, _ route: Int, json text: [UInt8], _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard text.count < 128 << 10, reserve(client, text.count + 4096) else { return decline(client, .proxyInternalError, allow: nil, id, length, &input) }
    services.responses.begin(.ok, context, server: plan.serverHeader)
    services.responses.output.append("Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: ")
    services.responses.output.append(decimal: text.count)
    services.responses.output.append("\r\nX-Request-Id: ")
    append(id, input.bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
    if !context.isHead { services.responses.output.append(text.span) }
    finishLocal(
      client, 200, .none, route: route, id, context, sent: services.responses.output.count - before, body: context.isHead ? 0 : text.count, length, &input)
  }

  // MARK: Composing

  /// Makes room for `count` more bytes of output, by sending what is there. False when there is none to be had.
  mutating func reserve(_ client: Handle, _ count: Int) -> Bool { unsafe reserve(clients.pin(client), count) }

  @inline(__always)
  mutating func reserve(_ client: Pin<Client>, _ count: Int) -> Bool {
    if services.responses.output.freeCapacity >= count { return true }
    return makeRoom(client, count)
  }

  @inline(never)
  private mutating func makeRoom(_ client: Pin<Client>, _ count: Int) -> Bool {
    send(client)
    if services.responses.output.freeCapacity < count {
      // A response larger than the shared output: a larger one takes its place.
      services.responses.output = Buffer(capacity: count + (64 << 10))
    }
    return clients[client].flags.isDisjoint(with: .doomed)
  }

  mutating func append(_ id: RequestID, _ bytes: Span<UInt8>) {
    switch id {
    case .generated:
      services.ids.show(id)
      services.responses.output.append(services.ids.generated)
    case .received(let text): services.responses.output.append(text.text(in: bytes))
    }
  }

  /// Appends a whole error response, and returns the size of its body. Needs 4096 bytes of room.
  @inline(never)
  @discardableResult
  mutating func compose(
    error fault: Fault, status: UInt16? = nil, _ context: ResponseContext, _ id: RequestID, allow: MethodSet?, _ form: ErrorForm, bytes: Span<UInt8> = Span(),
    denial: RetryDenial? = nil
  ) -> Int {
    if form == .call {
      compose(call: fault, context, id, bytes)
      return 0
    }
    let row = fault.row
    let status = Status(status ?? row.status)
    var body = Buffer(capacity: 1024)
    if form == .json {
      body.append("{\"type\":\"about:blank\",\"title\":\"")
      body.append(status.reason)
      body.append("\",\"status\":")
      body.append(decimal: Int(status.code))
      body.append(",\"detail\":\"")
      body.append(row.sentence)
      body.append("\",\"fault\":\"")
      body.append(row.token)
      body.append("\",\"instance\":\"urn:request:")
      switch id {
      case .generated:
        services.ids.show(id)
        body.append(services.ids.generated)
      case .received(let text): body.append(text.text(in: bytes))
      }
      body.append("\"}\n")
    } else {
      switch fault {
      // Whoever reads this has opened an https address without https.
      case .plainRequest: body.append(row.sentence)
      case .circuitOpen: body.append("Upstream circuit breaker is open; please retry later.")
      case .retryBudgetExhausted: body.append("Upstream retry budget exhausted.")
      default: body.append(status.reason)
      }
      body.append("\n")
    }
    services.responses.begin(status, context, server: plan.serverHeader)
    services.responses.output.append(form == .json ? "Content-Type: application/problem+json\r\nContent-Length: " : "Content-Type: text/plain\r\nContent-Length: ")
    services.responses.output.append(decimal: body.count)
    services.responses.output.append("\r\nX-Request-Id: ")
    append(id, bytes)
    services.responses.output.append("\r\n")
    if let allow {
      services.responses.output.append("Allow: ")
      services.responses.output.append(allow)
      services.responses.output.append("\r\n")
    }
    if row.status == 426 { services.responses.output.append("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n") }
    if fault == .bodyTooLarge { services.responses.output.append("X-Request-Body-Limit-Exceeded: true\r\n") }
    if fault == .rangeNotSatisfiable {
      services.responses.output.append("Content-Range: bytes */")
      services.responses.output.append(decimal: services.rangeSize)
      services.responses.output.append("\r\n")
    }
    if fault == .http2NotNegotiated { services.responses.output.append("X-H2-Limitation: alpn-not-h2\r\n") }
    if fault == .http2UpgradeUnsupported { services.responses.output.append("X-H2-Limitation: connect-not-supported\r\n") }
    if let reason = denial?.token {
      services.responses.output.append("X-Proxy-Retry-Denied: ")
      services.responses.output.append(reason)
      services.responses.output.append("\r\n")
    }
    if fault.isOfGuard { composeGuardFields(fault) }
    if fault == .connectionLimitReached || fault == .concurrencyLimited || fault == .clientConnectionLimit { services.responses.output.append("Retry-After: 1\r\n") }
    services.responses.end(context)
    guard !context.isHead else { return 0 }
    services.responses.output.append(body.bytes)
    return body.count
  }

  /// Whether the client asks for JSON rather than for text.
  mutating func prefersJSON(_ bytes: Span<UInt8>) -> Bool {
    guard services.head.names.contains(.accept) else { return false }
    return services.head.prefersJSON(in: bytes)
  }

  /// In which form the request being dispatched is told of an error.
  mutating func errorForm(_ bytes: Span<UInt8>) -> ErrorForm { services.head.isCall(in: bytes) ? .call : prefersJSON(bytes) ? .json : .text }

  // MARK: After a local answer

  /// Ends a request that was answered from here: counts and logs it, and sees to its body.
  @inline(never)
  mutating func finishLocal(
    _ client: Handle, _ status: UInt16, _ fault: Fault, route: Int, _ id: RequestID, _ context: ResponseContext, sent: Int, body: Int,
    _ length: Int, _ input: inout Buffer
  ) {
    unsafe finishLocal(clients.pin(client), status, fault, route: route, id, context, sent: sent, body: body, length, &input)
  }

  @inline(__always)
  mutating func finishLocal(
    _ client: Pin<Client>, _ status: UInt16, _ fault: Fault, route: Int, _ id: RequestID, _ context: ResponseContext, sent: Int, body: Int,
    _ length: Int, _ input: inout Buffer
  ) {
    counters.add(.requestsAnswered)
    count(status: status, route: route, microseconds: services.nowMicroseconds &- clients[client].requestStart)
    var sent = sent
    if limits.isActive {
      sent += tellLimits(services.rateNote, behind: body)
      leaveRequest(client.handle)
    }
    if editsLocally, route >= 0 { sent += editLocal(client.handle, route, status, fault, id, input.bytes, sent: sent, body: body) }
    if logsAccess { logLocal(client.handle, status, fault, route: route, id, sent: sent, body: body, length, input.bytes) }
    input.consume(length)
    if !context.isPersistent {
      clients[client].flags.insert(.closing)
      if services.head.body != .none || !input.isEmpty { clients[client].flags.insert(.mustLinger) }
    } else if services.head.body != .none {
      clients[client].received = 0
      clients[client].body = BodyReader(services.head.body)
      if !clients[client].body.isComplete {
        clients[client].flags.insert(.discarding)
        return setBodyTimer(client.handle)
      }
    }
    if !clients[client].flags.contains(.stream) { setClientTimer(client, .idle, plan.timeouts.idle) }
  }

  @inline(never)
  mutating func logLocal(
    _ client: Handle, _ status: UInt16, _ fault: Fault, route: Int, _ id: RequestID, sent: Int, body: Int, _ length: Int, _ bytes: Span<UInt8>
  ) {
    let duration = services.nowMicroseconds - clients[client].requestStart
    guard accessLog?.takes(route: route, status: status, duration: duration) == true else { return }
    var entry = AccessEntry()
    entry.status = status
    entry.method = services.head.method
    entry.version = services.head.target.isEmpty && !clients[client].flags.contains(.stream) ? .http11 : AccessProtocol(services.head.flags)
    entry.fault = fault
    entry.route = Int32(truncatingIfNeeded: route)
    if fault != .none, services.head.isCall(in: bytes) { entry.callStatus = Int16(CallStatus(fault).rawValue) }
    entry.bytesReceived = UInt64(max(0, length))
    entry.bytesSent = UInt64(max(0, sent))
    entry.bodyBytesSent = UInt64(max(0, body))
    entry.duration = duration
    entry.startedAt = services.wall - entry.duration
    let peer = clients[client].address
    describeConnection(client)
    switch id {
    case .generated:
      if logsRequestIDs { services.ids.show(id) }
      accessLog?.append(entry, head: services.head, bytes: bytes, client: peer.span, requestID: services.ids.generated)
    case .received(let text):
      accessLog?.append(entry, head: services.head, bytes: bytes, client: peer.span, requestID: text.text(in: bytes))
    }
  }

  /// Counts a response by the class of its status, and by its route.
  @inline(__always)
  mutating func count(status: UInt16, route: Int, microseconds: Int64) {
    traffic?.count(route: route, status: status, microseconds: microseconds)
    let counter: Counter = switch status {
    case 200..<300: .responses2xx
    case 300..<400: .responses3xx
    case 400..<500: .responses4xx
    case 500...: .responses5xx
    default: .responses1xx
    }
    counters.add(counter)
  }
}
