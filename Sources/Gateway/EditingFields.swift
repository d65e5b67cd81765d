// EditingFields — the header rules of a route, applied: to the request being composed, to the response being relayed, to an answer of our own.
//
// Of requests, after everything that the gateway adds by itself; of responses likewise. Nothing is remembered between the two: what a template asks for
// is looked up when it is filled in, and the captures of the route are found by matching the path once more.

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
  /// Bytes that the rules of one route may add to a head.
  static var editCapacity: Int { 64 << 10 }

  // MARK: Requests

  /// Changes the request being composed for `backend`, whose last field line has ended.
  @inline(never)
  mutating func editRequest(_ exchange: Handle, _ backend: Handle) {
    rewriteTarget(exchange)
    defer { if actions.mirrors.count > 0 { beginMirror(exchange) } }
    let set = actions.edits.routes[Int(exchanges[exchange].route)].request
    guard !set.isEmpty else { return }
    tellFacts(of: exchange, set.needs)
    var message = Buffer.absent
    swap(&message, &services.request)
    let start = message.bytes.lineEnd(from: 0)
    let refused = Self.edit(
      set, &actions.edits, &exchanges[exchange], &services.captures, &services.facts, &services.editLines, &message, start..<message.count)
    swap(&message, &services.request)
    noteRefused(refused, exchange)
  }

  // MARK: Responses

  /// Changes the head of the response that has been composed in the output.
  @inline(never)
  mutating func editResponse(_ exchange: Handle, behind body: Int = 0) {
    let edit = actions.edits.routes[Int(exchanges[exchange].route)]
    let isFailure = exchanges[exchange].fault != .none
    let set = isFailure && !edit.always ? EditSet() : edit.response
    guard !set.isEmpty || edit.cors >= 0 else { return }
    tellFacts(of: exchange, set.needs)
    var message = Buffer.absent
    swap(&message, &services.responses.output)
    if message.freeCapacity < 2 * Self.editCapacity { Self.enlarge(&message, by: 2 * Self.editCapacity) }
    let range = message.bytes.fieldLines(from: 0, behind: body)
    let refused = Self.edit(
      set, &actions.edits, &exchanges[exchange], &services.captures, &services.facts, &services.editLines, &message, range, cors: edit.cors)
    swap(&message, &services.responses.output)
    noteRefused(refused, exchange)
  }

  /// Changes the error that an exchange is answered with.
  @inline(never)
  mutating func editFailure(_ exchange: Handle) { editResponse(exchange, behind: exchanges[exchange].bodySent) }

  /// Changes an answer of our own to the request in `services.head`, the last `sent` bytes of the output, of which `body` are body.
  /// - Returns: by how much it has grown.
  @inline(never)
  mutating func editLocal(
    _ client: Handle, _ route: Int, _ status: UInt16, _ fault: Fault, _ id: RequestID, _ bytes: Span<UInt8>, sent: Int, body: Int
  ) -> Int {
    let edit = actions.edits.routes[route]
    let set = fault == .none || edit.always ? edit.response : EditSet()
    guard !set.isEmpty || edit.cors >= 0 else { return 0 }
    tellFacts(client, set.needs, status, fault, id, bytes)
    var path = Buffer.absent
    swap(&path, &services.path)
    preparePath(bytes, set.needs, &path)
    var message = Buffer.absent
    swap(&message, &services.responses.output)
    let before = message.count
    if message.freeCapacity < Self.editCapacity { Self.enlarge(&message, by: Self.editCapacity) }
    let range = message.bytes.fieldLines(from: before - sent, behind: body)
    let isPreflight = edit.cors >= 0 && status == 204 && asksBeforehand(bytes)
    let refused = Self.edit(
      set, &actions.edits, &services.head, bytes, &path, &services.captures, &services.facts, &services.editLines, &message, range, cors: edit.cors,
      isPreflight: isPreflight)
    let growth = message.count - before
    swap(&message, &services.responses.output)
    swap(&path, &services.path)
    if refused > 0 { noteRefused(refused, route: route) }
    return growth
  }

  /// Makes `path` the one of the request in `services.head` in its normal form, and the captures those of its match.
  private mutating func preparePath(_ bytes: Span<UInt8>, _ needs: TemplateNeeds, _ path: inout Buffer) {
    let received = services.head.path.text(in: bytes)
    if case .rewritten = normalisePath(received, into: &path) {} else {
      path.removeAll()
      if received.count <= path.freeCapacity { path.append(received) }
    }
    guard needs.contains(.capture) else { return }
    _ = table.match(host: services.head.host.text(in: bytes), path: path.bytes, method: services.head.method, captures: &services.captures)
  }

  // MARK: Redirects

  /// Appends the Location of a redirect; false when it cannot be.
  mutating func appendLocation(_ client: Handle, _ template: Int, isRewritten: Bool, _ id: RequestID, _ bytes: Span<UInt8>) -> Bool {
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    let fits = fill(actions.redirects[template], client, isRewritten: isRewritten, id, bytes, into: &output)
    swap(&output, &services.responses.output)
    return fits
  }

  /// Appends a template filled in for the request in `services.head`, whose path in normal form is in `services.path` if it is rewritten.
  mutating func fill(
    _ place: TemplatePlace, _ client: Handle, isRewritten: Bool, _ id: RequestID, _ bytes: Span<UInt8>, into output: inout Buffer
  ) -> Bool {
    tellFacts(client, place.needs, 0, .none, id, bytes)
    if isRewritten {
      var path = Buffer.absent
      swap(&path, &services.path)
      let isFilled = Self.fill(place, &actions.edits, &services.head, bytes, path.bytes, &services.captures, &services.facts, &output)
      swap(&path, &services.path)
      return isFilled
    }
    let path = services.head.path.text(in: bytes)
    return Self.fill(place, &actions.edits, &services.head, bytes, path, &services.captures, &services.facts, &output)
  }

  private static func enlarge(_ buffer: inout Buffer, by count: Int) {
    var larger = Buffer(capacity: buffer.count + count + (64 << 10))
    larger.append(buffer.bytes)
    swap(&larger, &buffer)
  }

  // MARK: Facts

  /// Tells what templates ask for of the request in `services.head`, which is answered here.
  private mutating func tellFacts(_ client: Handle, _ needs: TemplateNeeds, _ status: UInt16, _ fault: Fault, _ id: RequestID, _ bytes: Span<UInt8>) {
    services.facts.clear()
    tellConnection(client, needs)
    if needs.contains(.requestID) { tell(id, bytes) }
    if needs.contains(.time) { services.facts.tell(.time, fixed: (services.wall - (services.nowMicroseconds - clients[client].requestStart)) / 1000, digits: 3) }
    if needs.contains(.attempts) { services.facts.tell(.attempts, decimal: 0) }
    tellOutcome(needs, status, fault, since: clients[client].requestStart)
  }

  /// Tells what the rules of an exchange's route ask for.
  mutating func tellFacts(of exchange: Handle, _ needs: TemplateNeeds) {
    services.facts.clear()
    tellConnection(exchanges[exchange].client, needs)
    if needs.contains(.requestID) { tellID(exchange) }
    if needs.contains(.time) { services.facts.tell(.time, fixed: exchanges[exchange].startedWall / 1000, digits: 3) }
    if needs.contains(.attempts) { services.facts.tell(.attempts, decimal: Int(exchanges[exchange].attempts)) }
    let upstream = Int(exchanges[exchange].upstream)
    if needs.contains(.upstream), upstream >= 0, upstream < actions.upstreamNames.count { Self.tellUpstream(actions.upstreamNames[upstream], &services.facts) }
    if needs.contains(.endpoint), let backend = exchanges[exchange].backend, backends.connections.contains(backend) {
      let start = services.facts.text.count
      backends.append(
        address: Int(backends.connections[backend].address), of: Int(backends.connections[backend].pool), to: &services.facts.text)
      services.facts.end(.endpoint, from: start)
    }
    tellOutcome(needs, exchanges[exchange].status, exchanges[exchange].fault, since: exchanges[exchange].started)
    if needs.contains(.upstreamConnectTime) { services.facts.tell(.upstreamConnectTime, fixed: exchanges[exchange].connectedAt, digits: 6) }
    if needs.contains(.upstreamHeaderTime) { services.facts.tell(.upstreamHeaderTime, fixed: exchanges[exchange].headAt, digits: 6) }
    if needs.contains(.capture) { Self.match(&exchanges[exchange], table, &services.captures) }
  }

  /// - Parameter start: microseconds of the monotonic clock.
  private mutating func tellOutcome(_ needs: TemplateNeeds, _ status: UInt16, _ fault: Fault, since start: Int64) {
    if needs.contains(.status) { services.facts.tell(.status, decimal: Int(status)) }
    if needs.contains(.fault), fault != .none {
      let start = services.facts.text.count
      services.facts.text.append(fault.row.token)
      services.facts.end(.fault, from: start)
    }
    if needs.contains(.duration) { services.facts.tell(.duration, fixed: max(0, services.nowMicroseconds - start), digits: 6) }
  }

  /// Tells of the client and of its connection.
  private mutating func tellConnection(_ client: Handle, _ needs: TemplateNeeds) {
    if needs.contains(.clientAddress) {
      let address = clients[client].address
      services.facts.tell(.clientAddress, address.span)
    }
    services.facts.isSecure = isSeenAsSecure(client)
    let connection = connection(of: client)
    if needs.concernTLS, clients[connection].flags.contains(.secure) { tellTLS(clients[connection].carrier, needs) }
  }

  private static func tellUpstream(_ name: borrowing Buffer, _ facts: inout TemplateFacts) { facts.tell(.upstream, name.bytes) }

  private mutating func tellTLS(_ handle: Handle, _ needs: TemplateNeeds) {
    var start = services.facts.text.count
    if needs.contains(.tlsVersion) {
      secured[handle].session.appendVersion(to: &services.facts.text)
      services.facts.end(.tlsVersion, from: start)
    }
    start = services.facts.text.count
    if needs.contains(.tlsCipher) {
      secured[handle].session.appendCipher(to: &services.facts.text)
      services.facts.end(.tlsCipher, from: start)
    }
    start = services.facts.text.count
    if needs.contains(.tlsServerName) {
      secured[handle].session.appendServerName(to: &services.facts.text)
      services.facts.end(.tlsServerName, from: start)
    }
    guard !secured[handle].identity.isEmpty, needs.contains(.tlsSubject) || needs.contains(.tlsFingerprint) else { return }
    var identity = Buffer.absent
    swap(&identity, &secured[handle].identity)
    let length = secured[handle].subjectLength
    if needs.contains(.tlsSubject) { services.facts.tell(.tlsSubject, identity.bytes.extracting(first: length)) }
    if needs.contains(.tlsFingerprint) { services.facts.tell(.tlsFingerprint, identity.bytes.extracting(droppingFirst: length)) }
    swap(&identity, &secured[handle].identity)
  }

  private mutating func tell(_ id: RequestID, _ bytes: Span<UInt8>) {
    switch id {
    case .generated:
      services.ids.show(id)
      services.facts.tell(.requestID, services.ids.generated)
    case .received(let text): services.facts.tell(.requestID, text.text(in: bytes))
    }
  }

  private mutating func tellID(_ exchange: Handle) {
    let id = exchanges[exchange].requestID
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    tell(id, bytes.bytes)
    swap(&bytes, &exchanges[exchange].bytes)
  }

  /// Finds the captures of an exchange's route again.
  private static func match(_ exchange: inout Exchange, _ table: borrowing RouteTable, _ captures: inout Captures) {
    let bytes = exchange.bytes.bytes, host = exchange.head.host.text(in: bytes), method = exchange.head.method
    switch exchange.path {
    case .some(let path): _ = table.match(host: host, path: path.bytes, method: method, captures: &captures)
    case .none: _ = table.match(host: host, path: exchange.head.path.text(in: bytes), method: method, captures: &captures)
    }
  }

  // MARK: Applying

  /// Lent to be changed, though it is not: the compiler copies what is not.
  private static func edit(
    _ set: EditSet, _ edits: inout RouteEdits, _ exchange: inout Exchange, _ captures: inout Captures, _ facts: inout TemplateFacts,
    _ lines: inout Buffer, _ message: inout Buffer, _ range: Range<Int>, cors: Int32 = -1
  ) -> Int {
    let bytes = exchange.bytes.bytes
    switch exchange.path {
    case .some(let path):
      return edits.apply(set, RequestView(exchange.head, of: bytes, path: path.bytes), &captures, &facts, &lines, to: &message, range, cors: cors)
    case .none:
      return edits.apply(
        set, RequestView(exchange.head, of: bytes, path: exchange.head.path.text(in: bytes)), &captures, &facts, &lines, to: &message, range, cors: cors)
    }
  }

  private static func edit(
    _ set: EditSet, _ edits: inout RouteEdits, _ head: inout RequestHead, _ bytes: Span<UInt8>, _ path: inout Buffer,
    _ captures: inout Captures, _ facts: inout TemplateFacts, _ lines: inout Buffer, _ message: inout Buffer, _ range: Range<Int>,
    cors: Int32, isPreflight: Bool
  ) -> Int {
    edits.apply(
      set, RequestView(head, of: bytes, path: path.bytes), &captures, &facts, &lines, to: &message, range, cors: cors, isPreflight: isPreflight)
  }

  private static func fill(
    _ place: TemplatePlace, _ edits: inout RouteEdits, _ head: inout RequestHead, _ bytes: Span<UInt8>, _ path: Span<UInt8>,
    _ captures: inout Captures, _ facts: inout TemplateFacts, _ output: inout Buffer
  ) -> Bool {
    edits.book.append(place, RequestView(head, of: bytes, path: path), &captures, &facts, to: &output)
  }

  private mutating func noteRefused(_ count: Int, _ exchange: Handle) {
    if count > 0 { noteRefused(count, route: Int(exchanges[exchange].route)) }
  }

  @inline(never)
  private mutating func noteRefused(_ count: Int, route: Int) {
    counters.add(.fieldsRefused, UInt64(count))
    guard log.level <= .info else { return }
    log.write(
      .info, key: EventKey("header rule", route), "a header rule's value was left out, because it would have held what cannot stand in a header field route=\(plan.routes[route].pattern)")
  }
}

extension Span<UInt8> {
  /// The field lines of the head that begins at `start` and ends, with its empty line, `body` bytes before the end.
  fileprivate func fieldLines(from start: Int, behind body: Int) -> Range<Int> {
    let end = Swift.max(0, count - body - 2)
    return Swift.min(lineEnd(from: Swift.max(0, start)), end)..<end
  }
}
