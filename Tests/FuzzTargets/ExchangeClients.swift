// ExchangeClients — scripted clients: their requests as bytes, and what they are answered.

import HTTP2
import HTTPModel
import Memory
import ScriptedNetwork
import Wire

/// A client of the run. It speaks HTTP/1.1, or HTTP/2 by prior knowledge.
struct ScriptedClient: ~Copyable {
  let end: Int
  var requests: [SentRequest] = []
  /// Bytes that it will send, and how many it has sent.
  var unsent: [UInt8] = []
  var sent = 0
  /// Whether it has finished sending, or gone: what it gets from then on may be cut.
  var hasFinished = false
  private(set) var hasGone = false
  /// Whether the gateway had finished sending, in good order, when the client went.
  private var wasEnded = false
  /// …or has cancelled something.
  var cancelled: Set<Int> = []
  var http2: HTTP2Client?

  init(end: Int, isHTTP2: Bool) throws(Violation) {
    self.end = end
    if isHTTP2 {
      guard let made = HTTP2Client() else { throw Violation(description: "no session") }
      http2 = consume made
    }
  }

  var isHTTP2: Bool {
    switch http2 {
    case .some: true
    case .none: false
    }
  }

  /// Puts a request behind what is unsent.
  mutating func add(_ request: SentRequest) throws(Violation) {
    if isHTTP2 {
      try http2?.request(request)
      unsent += http2?.produce() ?? []
    } else {
      let bytes = request.http1
      var request = request
      request.headEnd = sent + unsent.count + (bytes.position(of: lineEnd + lineEnd) ?? 0) + 4
      unsent += bytes
      requests.append(request)
      return
    }
    requests.append(request)
  }

  /// The client goes, with a reset or without.
  mutating func leave(resetting: Bool) {
    if !hasGone { wasEnded = isEnded }
    hasGone = true
    if resetting { scripted_reset(CInt(end)) } else { scripted_leave(CInt(end)) }
  }

  /// Whether the gateway has finished sending, in good order.
  private var isEnded: Bool {
    let left = scripted_left(CInt(end))
    return left & CInt(SCRIPTED_ENDED | SCRIPTED_CLOSED) != 0 && left & CInt(SCRIPTED_WAS_RESET) == 0
  }

  /// Whether the gateway can know what is asked for.
  func hasAsked(_ tag: Int) -> Bool { isHTTP2 || requests.contains { $0.tag == tag && $0.headEnd <= sent } }

  /// Sends some of what is unsent.
  mutating func send(_ count: Int?) {
    let count = min(unsent.count, count ?? unsent.count)
    let bytes = Array(unsent.prefix(count))
    unsent.removeFirst(count)
    sent += count
    unsafe scripted_send(CInt(end), bytes, count)
  }

  /// Takes in what a gateway that speaks HTTP/2 has sent, and answers what its protocol wants answered.
  mutating func receive() throws(Violation) {
    guard isHTTP2, !hasGone else { return }
    try http2?.receive(sentBytes(end))
    unsent += http2?.produce() ?? []
    if !hasFinished { send(nil) }
  }

  mutating func answers() throws(Violation) -> [Int: Answer] {
    if isHTTP2 { return http2?.answers ?? [:] }
    // A gateway whose client has gone need not show it that something is missing.
    let hasEnded = hasGone ? wasEnded : isEnded
    let known = requests.map { request in
      var request = request
      // Of a head that is not over nothing is known yet.
      if request.headEnd > sent { request.step = RequestStep() }
      return request
    }
    return try readAnswers(sentBytes(end), to: known, hasEnded: hasEnded)
  }
}

extension SentRequest {
  var path: String { "/\(step.route)/t\(tag)" }

  /// The request as HTTP/1.1 or 1.0.
  var http1: [UInt8] {
    var head = "\(step.method) \(path) HTTP/1.\(step.isVersion10 ? 0 : 1)\r\nHost: example.com\r\n"
    if step.expectsContinue { head += "Expect: 100-continue\r\n" }
    switch step.body {
    case .none: return Array((head + "\r\n").utf8)
    case .length(let count): return Array((head + "Content-Length: \(count)\r\n\r\n").utf8) + pattern(tag, from: 0, count: count)
    case .chunked(let count):
      var bytes = Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8)
      var start = 0
      while start < count {
        let size = min(5000, count - start)
        bytes += Array("\(String(size, radix: 16))\r\n".utf8) + pattern(tag, from: start, count: size) + lineEnd
        start += size
      }
      return bytes + Array("0\r\n\r\n".utf8)
    }
  }
}

/// The session of a client that speaks HTTP/2.
struct HTTP2Client: ~Copyable {
  private var session: ClientSession
  private var workspace = ClientWorkspace(sectionCapacity: 16_384, fieldLimit: 64)
  private var output = Buffer(capacity: (256 << 10) + ServerSession.slack)
  private var bodies: [UInt64: (bytes: [UInt8], sent: Int)] = [:]
  private var streams: [Int: Int32] = [:]
  private var position = 0
  private(set) var answers: [Int: Answer] = [:]
  private(set) var isBroken = false

  init?() {
    guard let profile = ClientProfile(), let session = ClientSession(profile, ClientSettings()) else { return nil }
    self.session = session
  }

  mutating func request(_ request: SentRequest) throws(Violation) {
    guard session.mayRequest, !isBroken else { return }
    // The head as HTTP/1.1, of which the session makes a header section. Bodies have no length that is told before.
    var body: [UInt8]?
    switch request.step.body {
    case .none: break
    case .length(let count), .chunked(let count): body = pattern(request.tag, from: 0, count: count)
    }
    let text = Array("\(request.step.method) \(request.path) HTTP/1.1\r\nHost: example.com\r\n\r\n".utf8)
    var parser = RequestParser(), head = RequestHead()
    guard case .complete = parser.parse(text.span, into: &head) else { throw Violation(description: "no request") }
    let tag = UInt64(request.tag + 1)
    if let body { bodies[tag] = (body, 0) }
    guard let stream = session.request(tag: tag, head, of: text.span, isSecure: false, acceptsTrailers: true, hasBody: body != nil, &workspace) else { return }
    streams[request.tag] = stream
  }

  /// Cancels the newest request.
  mutating func cancel(_ tag: Int) {
    if let stream = streams[tag] { session.reset(stream, .cancel) }
  }

  mutating func produce() -> [UInt8] {
    var result: [UInt8] = []
    while true {
      output.removeAll()
      var bodies = self.bodies
      _ = session.produce(into: &output, limit: 128 << 10, &workspace) { tag, take, output in
        let body = bodies[tag] ?? ([], 0)
        let rest = body.bytes[body.sent...]
        if take > 0 {
          output.append(Array(rest.prefix(take)).span)
          bodies[tag] = (body.bytes, body.sent + take)
        }
        return BodyState(count: rest.count - take, isComplete: true, hasTrailers: false)
      }
      self.bodies = bodies
      workspace.clear()
      if output.isEmpty { return result }
      result += array(output.bytes)
    }
  }

  /// Takes in `bytes` from where it stopped the last time.
  mutating func receive(_ bytes: [UInt8]) throws(Violation) {
    while position < bytes.count, !isBroken {
      let piece = Array(bytes[position...].prefix(16_384))
      let outcome = session.receive(piece.span, &workspace)
      for index in 0..<workspace.eventCount { try note(workspace.event(at: index), piece) }
      workspace.clear()
      guard case .consumed(let count) = outcome, count > 0 else { throw Violation(description: "what the gateway has sent is not HTTP/2") }
      position += count
    }
  }

  private mutating func note(_ event: ClientEvent, _ piece: [UInt8]) throws(Violation) {
    let tag = Int(event.tag) - 1
    switch event {
    case .head(_, let section, let ends):
      let lines = bytes(of: workspace.sections[section]).pieces(between: lineEnd)
      guard let status = Int(text(lines[0]).dropFirst(9).prefix(3)) else { throw Violation(description: "no status") }
      guard status >= 200 else { return }
      var answer = Answer(status: status)
      for line in lines {
        let parts = text(line).split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let number = Int(parts[1].drop { $0 == " " }) else { continue }
        if parts[0].lowercased() == "x-response" { answer.response = number }
        if parts[0].lowercased() == "x-tag" { answer.responseTag = number }
      }
      try require(answers[tag] == nil, "two answers to \(tag)")
      answer.isWhole = ends
      answers[tag] = answer
    case .data(_, let stream, let start, let count):
      answers[tag]?.body += piece[start..<start + count]
      session.giveBack(stream, count)
      session.giveBackToConnection(count)
    case .trailers, .end: answers[tag]?.isWhole = true
    case .violated(_, let violation): throw Violation(description: "the answer to \(tag): \(violation)")
    case .connectionError(let code): throw Violation(description: "the gateway broke a rule of the connection: \(code)")
    default: break
    }
  }
}
