// BackendStreams — requests on the streams of HTTP/2 connections to backends.
//
// What is composed for a backend as an HTTP/1.1 head is taken apart once, when it is handed to the session; everything after it
// is body and waits in the backlog of the stream's connection, from which the session fills DATA frames as far as the windows
// allow.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream
import Wire

extension Gateway {
  /// Gives an exchange a stream of a session that has room, and sends its request.
  mutating func beginBackendStream(_ exchange: Handle, _ session: Handle) {
    let connection = backendSessions[session].connection, upstream = backendSessions[session].upstream, pool = backendSessions[session].pool
    guard let stream = backendStreams.insert(BackendStream(session)) else { return fail(exchange, .poolExhausted) }
    backendSessions[session].requests &+= 1
    guard let backend = backends.addStream(of: connection, carrier: stream, requests: backendSessions[session].requests, now: services.now) else {
      _ = backendStreams.remove(stream)
      return fail(exchange, .poolExhausted)
    }
    if let first = backendSessions[session].firstStream {
      backendStreams[stream].next = first
      backendStreams[backends.connections[first].carrier].previous = backend
    }
    backendSessions[session].firstStream = backend
    backendSessions[session].streamCount += 1
    counters.add(.upstreamStreams)
    counters.add(.upstreamStreamsActive)
    exchanges[exchange].backend = backend
    exchanges[exchange].pool = Int32(truncatingIfNeeded: pool)
    backends.connections[backend].exchange = exchange
    sendRequest(exchange, backend)
    if plan.upstreams[upstream].http2.preconnectWatermark > 0 { watchLoad(pool) }
  }

  /// Whether the exchange's request goes out on a stream, where it needs no framing.
  mutating func isOnStream(_ exchange: Handle) -> Bool {
    guard let backend = exchanges[exchange].backend else { return false }
    return backends.connections[backend].carriage == .stream
  }

  /// As `Socket.send`, for what has been composed for a stream: takes all of it, the head to the session and the rest to the backlog.
  mutating func sendOnStream(_ bytes: Span<UInt8>, to backend: Handle) -> Transfer {
    let stream = backends.connections[backend].carrier
    var start = 0
    if backendStreams[stream].id == 0, backendStreams[stream].fault == .none {
      guard let length = sendHead(bytes, backend, stream) else {
        backendStreams[stream].fault = .proxyInternalError
        pending.append(Token.make(.backend, backend))
        return .moved(bytes.count)
      }
      start = length
    }
    backends.connections[backend].backlog.append(bytes.extracting(droppingFirst: start), &services.large)
    return .moved(bytes.count)
  }

  /// Hands the head that `bytes` begin with to the session; returns its length, nil when it cannot be sent.
  private mutating func sendHead(_ bytes: Span<UInt8>, _ backend: Handle, _ stream: Handle) -> Int? {
    guard let exchange = backends.connections[backend].exchange, let length = services.backendHead.takeApart(bytes) else { return nil }
    let session = backendStreams[stream].session
    let isComplete = exchanges[exchange].flags.contains(.requestComplete) && length == bytes.count
    let isSecure = backends.connections[backendSessions[session].connection].carriage == .secure
    guard
      let id = backendSessions[session].session.request(
        tag: backend.token, services.backendHead, of: bytes.extracting(first: length), isSecure: isSecure,
        acceptsTrailers: exchanges[exchange].head.flags.contains(.acceptsTrailers), hasBody: !isComplete, &backendWorkspace)
    else {
      // The numbers have been used up: the next request finds another connection.
      retireSession(session)
      return nil
    }
    backendStreams[stream].id = id
    queueSession(session)
    return length
  }

  /// There is more of a stream's request, or its end.
  @inline(never)
  mutating func resumeBackendStream(_ backend: Handle) {
    let stream = backends.connections[backend].carrier
    guard backendStreams[stream].id > 0, !backendStreams[stream].flags.contains(.closed) else { return }
    let session = backendStreams[stream].session
    backendSessions[session].session.resume(backendStreams[stream].id)
    queueSession(session)
  }

  /// Keeps the trailers of a request for the end of the stream.
  mutating func keepRequestTrailers(_ exchange: Handle) -> Fault? {
    guard var lines = exchanges[exchange].trailers.take(), let backend = exchanges[exchange].backend else { return nil }
    var section = services.buffer(for: 2 * lines.count + 64)
    let fault = Trailers.append(&lines, announcedIn: nil, to: &section, scratch: &services.head)
    services.small.recycle(lines)
    if let fault { return fault }
    if !section.isEmpty { backendStreams[backends.connections[backend].carrier].trailers = consume section }
    return nil
  }

  /// All DATA of a request is out: its trailers end it.
  mutating func sendRequestTrailers(_ backend: Handle, _ id: Int32) {
    let stream = backends.connections[backend].carrier, session = backendStreams[stream].session
    guard var lines = backendStreams[stream].trailers.take() else { return }
    queueSession(session)
    lines.append("\r\n")
    var isSent = false
    if case .complete = TrailerParser.parse(lines.bytes, into: &services.head) {
      isSent = backendSessions[session].session.sendTrailers(id, services.head, of: lines.bytes, &backendWorkspace)
    }
    services.small.recycle(lines)
    guard isSent else {
      backendStreams[stream].fault = .proxyInternalError
      return pending.append(Token.make(.backend, backend))
    }
  }

  /// Streams have been given room and have used it: their clients may be read again, and their timers set.
  mutating func streamsDrained() {
    while let tag = drained.popFirst() {
      let backend = Handle(token: tag)
      guard backends.connections.contains(backend), let exchange = backends.connections[backend].exchange else { continue }
      if backends.connections[backend].waiting == .send { backends.connections[backend].waiting = .nothing }
      flushBackend(backend)
      resumeRequest(exchange, backend)
    }
  }

  /// Takes a stream out of its session, and resets it where it has not ended by itself.
  mutating func removeBackendStream(_ backend: Handle) {
    var stream = backendStreams.remove(backends.connections[backend].carrier)
    let session = stream.session
    stream.incoming.removeAll(&services.small)
    if let next = stream.next { backendStreams[backends.connections[next].carrier].previous = stream.previous }
    if let previous = stream.previous {
      backendStreams[backends.connections[previous].carrier].next = stream.next
    } else {
      backendSessions[session].firstStream = stream.next
    }
    backendSessions[session].streamCount -= 1
    counters.subtract(.upstreamStreamsActive)
    backendSessions[session].session.giveBackToConnection(stream.owed)
    if stream.id > 0, !stream.flags.contains(.closed) {
      backendSessions[session].session.untag(stream.id)
      backendSessions[session].session.reset(stream.id, stream.code)
      // A whole window may be on its way.
      let window = plan.upstreams[backendSessions[session].upstream].http2.initialWindow
      backendSessions[session].patience = min(backendSessions[session].patience + window, .max >> 1)
    }
    if backendSessions[session].streamCount == 0 {
      backendSessions[session].idleSince = services.now
      if backends.pools[backendSessions[session].pool].idleLimit == 0 { retireSession(session) } else { armSessionTimer(session) }
    }
    queueSession(session)
  }
}

extension RequestHead {
  /// Takes the head that `bytes` begin with apart, which was composed here: a start line and fields. Returns its length.
  fileprivate mutating func takeApart(_ bytes: Span<UInt8>) -> Int? {
    reset()
    var position = 0
    func wordEnd() -> Int? {
      var end = position
      while end < bytes.count, bytes[end] != 0x20 { end += 1 }
      return end < bytes.count ? end : nil
    }
    guard let methodEnd = wordEnd() else { return nil }
    methodText = Extent(0..<methodEnd)
    position = methodEnd + 1
    guard let targetEnd = wordEnd() else { return nil }
    target = Extent(position..<targetEnd)
    // " HTTP/1.1" and the end of the line.
    let start = targetEnd + 11
    guard start < bytes.count else { return nil }
    let scan = scanFields(bytes, from: start)
    guard scan.outcome == .complete else { return nil }
    for index in 0..<fieldCount {
      let field = field(at: index)
      if field.isNamed(.host) { host = field.value }
    }
    return scan.end
  }
}
