// BackendStreamRelaying — responses on the streams of HTTP/2 connections to backends, on their way to clients.
//
// A response's head has the shape of an HTTP/1.1 head and goes the way of all (Relaying). Its body is passed on as it comes while
// the client takes it, and waits in the stream's record otherwise; its room in the windows is given back only when the client
// has taken it, so that a backend can send no more than what they hold.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream
import Wire

extension Gateway {
  /// Acts on what has come on one stream.
  /// - Parameter isLast: nothing of the same stream comes right behind it.
  mutating func actOnStreamEvent(_ backend: Handle, _ event: ClientEvent, _ input: Span<UInt8>, isLast: Bool) {
    guard let exchange = backends.connections[backend].exchange else { return }
    focus(exchange, backend)
    let stream = backends.connections[backend].carrier
    switch event {
    case .head(_, let section, let ends): receiveHead(exchange, backend, section, ends: ends, isLast: isLast)
    case .data(_, _, let start, let count):
      backendStreams[stream].owed += count
      backends.connections[backend].isReadable = true
      receiveBody(exchange, backend, input.extracting(start..<start + count), isLast: isLast)
    case .trailers(_, let section): receiveResponseTrailers(exchange, backend, section)
    case .end: streamEnded(exchange, backend)
    case .wantsTrailers(_, let id): sendRequestTrailers(backend, id)
    case .requestWent: break
    case .closed(_, let code): streamClosed(backend, code)
    case .violated(_, let violation):
      backendStreams[stream].flags.insert(.closed)
      fail(exchange, violation == .tooLarge ? .responseHeadersTooLarge : .responseProtocolError)
    default: break
    }
  }

  // MARK: Head

  private mutating func receiveHead(_ exchange: Handle, _ backend: Handle, _ section: Int, ends: Bool, isLast: Bool) {
    swap(&services.responseHead, &backendWorkspace.sections[section].head)
    var bytes = Buffer.absent
    swap(&bytes, &backendWorkspace.sections[section].bytes)
    let status = services.responseHead.status
    // Where the stream's end is the body's, a body that is not there has a length.
    if ends, services.responseHead.body == .untilClose, !status.forbidsBody, exchanges[exchange].head.method != .head {
      services.responseHead.body = .length(0)
      services.responseHead.flags.insert(.oddLength)
    }
    let length = bytes.count
    let fault = beginResponse(exchange, backend, &bytes, length)
    swap(&bytes, &backendWorkspace.sections[section].bytes)
    if let fault { return fail(exchange, fault) }
    if ends { return streamEnded(exchange, backend) }
    if exchanges[exchange].head.flags.contains(.version2) { expectTrailers(exchange) }
    if isLast { sendComposed(exchange) }
  }

  /// From stream to stream, trailers may follow a body whose length was told as well.
  private mutating func expectTrailers(_ exchange: Handle) {
    let flags = exchanges[exchange].flags
    guard flags.contains(.hasHead), flags.isDisjoint(with: [.holding, .trailers]),
      flags.contains(.grpc) || actions.forwards[Int(exchanges[exchange].rule)].plan.forwardTrailers
    else { return }
    exchanges[exchange].flags.insert(.trailers)
  }

  /// Sends what has been composed of a response, unless it is being collected.
  private mutating func sendComposed(_ exchange: Handle) {
    guard exchanges.contains(exchange), !exchanges[exchange].flags.contains(.holding), !services.responses.output.isEmpty else { return }
    commit(exchange, exchanges[exchange].client)
  }

  // MARK: Body

  private mutating func receiveBody(_ exchange: Handle, _ backend: Handle, _ bytes: Span<UInt8>, isLast: Bool) {
    let stream = backends.connections[backend].carrier
    if backendStreams[stream].incoming.isEmpty, wantsResponse(exchange) {
      if let fault = relayStreamBody(exchange, backend, bytes) { return fail(exchange, fault) }
      if isLast {
        sendComposed(exchange)
        settle(exchange, backend)
      }
    } else {
      backendStreams[stream].incoming.append(bytes, &services.small)
      if isLast { sendComposed(exchange) }
      // The wait is the client's, not the backend's.
      backends.connections[backend].waiting = .nothing
    }
  }

  /// Passes on body bytes.
  private mutating func relayStreamBody(_ exchange: Handle, _ backend: Handle, _ bytes: Span<UInt8>) -> Fault? {
    let client = exchanges[exchange].client
    if exchanges[exchange].responseDeadline > 0, services.now >= exchanges[exchange].responseDeadline { return .responseTooSlow }
    if backends.connections[backend].waiting == .body { startBodyTimer(exchange, backend) }
    var position = 0
    guard case .data(let range) = backends.connections[backend].body.next(bytes, at: &position) else { return nil }
    let data = bytes.extracting(range)
    if exchanges[exchange].flags.contains(.compressing) { return relayCoded(exchange, data) }
    exchanges[exchange].bodySent += data.count
    exchanges[exchange].sent += data.count
    if exchanges[exchange].flags.contains(.holding) {
      clients[client].backlog.append(data, &services.large)
      return clients[client].backlog.count > Self.holdLimit ? .responseTooLarge : nil
    }
    let isChunked = exchanges[exchange].flags.contains(.chunked)
    guard isChunked || data.count <= Self.copyLimit else {
      exchanges[exchange].flags.insert(.committed)
      send(client, body: data)
      return nil
    }
    if services.responses.output.freeCapacity < data.count + 64 { commit(exchange, client) }
    if isChunked { services.responses.output.append(chunkSize: data.count) }
    services.responses.output.append(data)
    if isChunked { services.responses.output.append("\r\n") }
    return nil
  }

  private mutating func relayStreamBody(_ exchange: Handle, _ backend: Handle, _ piece: borrowing Buffer) -> Fault? {
    relayStreamBody(exchange, backend, piece.bytes)
  }

  /// Gives back to the windows what the client has taken, or what is being collected.
  private mutating func settle(_ exchange: Handle, _ backend: Handle) {
    guard backends.connections.contains(backend), exchanges.contains(exchange), exchanges[exchange].backend == backend else { return }
    let stream = backends.connections[backend].carrier, client = exchanges[exchange].client
    let waits = exchanges[exchange].flags.contains(.holding) ? 0 : clients[client].backlog.count
    let count = backendStreams[stream].owed - backendStreams[stream].incoming.count - waits
    if count > 0 {
      backendStreams[stream].owed -= count
      let session = backendStreams[stream].session
      if !backendStreams[stream].flags.contains(.ended) { backendSessions[session].session.giveBack(backendStreams[stream].id, count) }
      backendSessions[session].session.giveBackToConnection(count)
      queueSession(session)
    }
    // While the client has something to take, the wait is not the backend's.
    if waits > 0 {
      backends.connections[backend].waiting = .nothing
    } else if backends.connections[backend].waiting == .nothing, exchanges[exchange].flags.contains(.hasHead), !backendStreams[stream].flags.contains(.ended) {
      startBodyTimer(exchange, backend)
    }
  }

  /// The client can take more of a response, or the turn of a stream has come.
  @inline(never)
  mutating func receiveOnStream(_ exchange: Handle, _ backend: Handle) {
    let stream = backends.connections[backend].carrier
    if backendStreams[stream].fault != .none { return fail(exchange, backendStreams[stream].fault) }
    while !backendStreams[stream].incoming.isEmpty, wantsResponse(exchange) {
      guard let piece = backendStreams[stream].incoming.popFirst() else { break }
      let fault = relayStreamBody(exchange, backend, piece)
      services.small.recycle(piece)
      if let fault { return fail(exchange, fault) }
      sendComposed(exchange)
      guard exchanges.contains(exchange), exchanges[exchange].backend == backend else { return }
    }
    settle(exchange, backend)
    if backendStreams[stream].incoming.isEmpty, backendStreams[stream].flags.contains(.ended) { responseEnded(exchange, backend) }
  }

  private mutating func receiveResponseTrailers(_ exchange: Handle, _ backend: Handle, _ section: Int) {
    if exchanges[exchange].flags.contains(.trailers) {
      var lines = Buffer.absent
      swap(&lines, &backendWorkspace.sections[section].bytes)
      let fault = keepTrailers(exchange, lines)
      swap(&lines, &backendWorkspace.sections[section].bytes)
      if let fault { return fail(exchange, fault) }
    }
    streamEnded(exchange, backend)
  }

  private mutating func keepTrailers(_ exchange: Handle, _ lines: borrowing Buffer) -> Fault? { collectResponseTrailer(exchange, lines.bytes) }

  // MARK: The end

  /// The backend has ended its side of a stream.
  private mutating func streamEnded(_ exchange: Handle, _ backend: Handle) {
    let stream = backends.connections[backend].carrier
    backendStreams[stream].flags.insert(.ended)
    backendStreams[stream].code = .noError
    if backendStreams[stream].incoming.isEmpty { return responseEnded(exchange, backend) }
    sendComposed(exchange)
    backends.connections[backend].isReadable = true
  }

  /// The whole response has been passed on.
  private mutating func responseEnded(_ exchange: Handle, _ backend: Handle) {
    guard backends.connections[backend].body.streamEnded() else { return fail(exchange, .responseIncomplete) }
    if exchanges[exchange].flags.contains(.compressing), let fault = endCoded(exchange) { return fail(exchange, fault) }
    if exchanges[exchange].flags.contains(.chunked) || exchanges[exchange].flags.contains(.trailers), let fault = endChunks(exchange) { return fail(exchange, fault) }
    if !exchanges[exchange].flags.contains(.holding) { commit(exchange, exchanges[exchange].client) }
    responseIsComplete(exchange, backend, isClean: false)
  }

  /// The session knows a stream no more.
  private mutating func streamClosed(_ backend: Handle, _ code: UInt32) {
    let stream = backends.connections[backend].carrier
    backendStreams[stream].flags.insert(.closed)
    // A response that is whole does not fail any more.
    if backendStreams[stream].flags.contains(.ended) { return }
    let pool = Int(backends.connections[backend].pool)
    switch ErrorCode(rawValue: code) {
    case .refusedStream:
      // Where the connection is ended from here, requests that have not gone are refused, too.
      let isBroken = backendSessions[backendStreams[stream].session].violation > 0
      streamBroke(backend, isBroken ? .responseProtocolError : .http2StreamUnprocessed)
    case .http11Required:
      // What the backend says of one request it means of all.
      backends.pools[pool].knowsHTTP1 = true
      backends.pools[pool].wantsHTTP1 = true
      retireSession(backendStreams[stream].session)
      streamBroke(backend, .http2HTTP1Required)
    default: streamBroke(backend, .http2StreamReset)
    }
  }

  /// Passes on what waits of a response that is whole, although the client has enough for now; it is no more than a window.
  private mutating func passOnTheRest(_ exchange: Handle, _ backend: Handle) {
    let stream = backends.connections[backend].carrier
    while let piece = backendStreams[stream].incoming.popFirst() {
      let fault = relayStreamBody(exchange, backend, piece)
      services.small.recycle(piece)
      if let fault { return fail(exchange, fault) }
      sendComposed(exchange)
      guard exchanges.contains(exchange), exchanges[exchange].backend == backend else { return }
    }
    responseEnded(exchange, backend)
  }

  /// Nothing more will come on a stream.
  mutating func streamBroke(_ backend: Handle, _ fault: Fault) {
    guard let exchange = backends.connections[backend].exchange else { return }
    focus(exchange, backend)
    // What has come to its end, and waits for the client, is still passed on.
    let stream = backends.connections[backend].carrier
    if backendStreams[stream].flags.contains(.ended), exchanges[exchange].flags.contains(.hasHead) { return passOnTheRest(exchange, backend) }
    fail(exchange, exchanges[exchange].flags.contains(.hasHead) && fault != .responseProtocolError ? .responseIncomplete : fault)
  }
}
