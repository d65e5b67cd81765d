// WebSocketClosing — the end of a WebSocket that ends here, by whoever wants it, and what is done while nothing happens.
//
// A Close is answered with its own code, or sent with ours; then the connection is ended as after any last answer: our FIN, and what
// the client still sends is read and dropped until it has ended too, so that no reset destroys the Close.

import HTTPModel
import Kernel
import Memory
import SharedState
import WebSocket

extension Gateway {
  /// How long the window of a compressor is kept when nothing happens, in milliseconds.
  private static var contextPatience: Int64 { 5_000 }

  // MARK: Closing

  /// The client has sent a Close; its payload is in the scratch buffer.
  mutating func peerClosed(_ client: Handle, _ exchange: Handle, _ session: Handle) {
    switch ClosePayload(services.scratch.bytes) {
    case .code(let code): reply(client, exchange, session, code.reply, counted: code)
    case .empty: reply(client, exchange, session, .noStatus, counted: .noStatus)
    case .malformed(let code): failWebSocket(client, exchange, session, code)
    }
  }

  private mutating func reply(_ client: Handle, _ exchange: Handle, _ session: Handle, _ code: CloseCode, counted: CloseCode) {
    // To a Close of ours this is the answer, and needs none.
    if webSockets[session].endBy == 0 { sendClose(client, exchange, code) }
    finishWebSocket(client, exchange, counted, .none)
  }

  /// The client has broken a rule: it is told, and the connection ended.
  mutating func failWebSocket(_ client: Handle, _ exchange: Handle, _ session: Handle, _ code: CloseCode) {
    if webSockets[session].endBy == 0 { sendClose(client, exchange, code) }
    let fault: Fault =
      switch code {
      case .tooBig: .webSocketMessageTooLarge
      case .invalidData: .webSocketInvalidData
      case .internalError: .proxyInternalError
      default: .webSocketProtocolError
      }
    finishWebSocket(client, exchange, code, fault)
  }

  private mutating func sendClose(_ client: Handle, _ exchange: Handle, _ code: CloseCode) {
    guard reserve(client, 16) else { return }
    let before = services.responses.output.count
    services.responses.output.append(close: code)
    exchanges[exchange].sent += services.responses.output.count - before
  }

  /// Ends a WebSocket from here: a Close, and time to answer it. What still comes is dropped.
  mutating func closeWebSocket(_ client: Handle, _ exchange: Handle, _ code: CloseCode, _ fault: Fault, within milliseconds: Int64) {
    guard let session = exchanges[exchange].session, webSockets[session].endBy == 0 else { return }
    sendClose(client, exchange, code)
    webSockets[session].endBy = services.now + milliseconds
    webSockets[session].closeCode = code
    noteFault(exchange, fault)
    send(client)
    armWebSocketTimer(client, session)
  }

  /// Ends the exchange of a WebSocket, and its connection as soon as everything has been sent.
  mutating func finishWebSocket(_ client: Handle, _ exchange: Handle, _ code: CloseCode, _ fault: Fault) {
    guard let session = exchanges[exchange].session else { return }
    if webSockets[session].closeCode == nil {
      webSockets[session].closeCode = code
      if fault == .clientAborted { counters.add(.clientAborts) }
      noteFault(exchange, fault)
    }
    clients[client].waiting = .nothing
    if fault != .clientAborted { clients[client].flags.insert(.mustLinger) }
    // What is composed goes before the exchange ends; then there is nothing left but to close.
    send(client)
    finish(exchange)
  }

  /// The exchange ends: so does the session.
  mutating func releaseWebSocket(_ handle: Handle) {
    var session = webSockets.remove(handle)
    if let payload = session.payload.take() { services.small.recycle(payload) }
    counters.subtract(.webSocketsActive)
    switch session.closeCode ?? .abnormal {
    case .normal, .noStatus: counters.add(.closesNormal)
    case .goingAway: counters.add(.closesGoingAway)
    case .protocolError: counters.add(.closesProtocolError)
    case .abnormal: counters.add(.closesAbnormal)
    case .invalidData: counters.add(.closesInvalidData)
    case .tooBig: counters.add(.closesTooBig)
    default: counters.add(.closesOther)
    }
  }

  // MARK: Time

  /// Sets the timer of a WebSocket to what can become due first. While something waits to be sent, that is what is timed.
  mutating func armWebSocketTimer(_ client: Handle, _ session: Handle) {
    guard clients[client].waiting != .send || clients[client].backlog.isEmpty else { return }
    let rule = webSockets[session].rule
    let last = webSockets[session].lastInput, endBy = webSockets[session].endBy
    var due = endBy > 0 ? endBy : Int64.max
    if endBy == 0, actions.echoes[rule].idleTimeout > 0 { due = last + actions.echoes[rule].idleTimeout }
    if endBy == 0, actions.echoes[rule].pingInterval > 0 {
      due = min(due, max(last, webSockets[session].lastPing) + actions.echoes[rule].pingInterval)
    }
    if webSockets[session].writer.mayReleaseContext { due = min(due, last + Self.contextPatience) }
    if due == .max { clients[client].waiting = .nothing } else { setClientTimer(client, .webSocket, Int(max(1, due - services.now))) }
  }

  mutating func webSocketTimerFired(_ client: Handle, _ exchange: Handle) {
    guard let session = exchanges[exchange].session else { return }
    if webSockets[session].endBy > 0, services.now >= webSockets[session].endBy { return finishWebSocket(client, exchange, .abnormal, .none) }
    let rule = webSockets[session].rule
    let idle = services.now - webSockets[session].lastInput
    if idle >= Self.contextPatience { webSockets[session].writer.releaseContext() }
    let limit = actions.echoes[rule].idleTimeout
    if limit > 0, idle >= limit, webSockets[session].endBy == 0 {
      return closeWebSocket(client, exchange, .goingAway, .webSocketIdle, within: Self.closePatience)
    }
    let interval = actions.echoes[rule].pingInterval
    if interval > 0, idle >= interval, services.now - webSockets[session].lastPing >= interval, webSockets[session].endBy == 0, reserve(client, 16) {
      webSockets[session].lastPing = services.now
      services.responses.output.append(frame: .ping, Span())
      exchanges[exchange].sent += 2
      send(client)
    }
    armWebSocketTimer(client, session)
  }
}
