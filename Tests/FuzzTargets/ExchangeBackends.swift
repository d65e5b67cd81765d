// ExchangeBackends — scripted backends: which requests have come to one, and its responses as bytes, well-formed or not.

import ScriptedNetwork

/// One connection that the gateway has opened, as its far end sees it.
struct ScriptedBackend {
  let end: Int
  let isHTTP2: Bool
  /// Bytes that it will send, and how many it has sent.
  var unsent: [UInt8] = []
  var sent = 0
  /// It has sent something that is not known, so that nobody can say what its responses are.
  var isWild = false
  /// Responses of which some has been sent or will be.
  var responses: [SentResponse] = []
  var hasSettings = false
  /// How its connection has ended, if it has: in good order, after so many bytes.
  var finishedAt: Int?
  var wasReset = false
  /// Streams that it has said it did not look at.
  var refused: Set<Int> = []

  init(end: Int, isHTTP2: Bool) {
    self.end = end
    self.isHTTP2 = isHTTP2
  }

  /// The requests that have come to it in order, as far as their heads are here: stream (0 over HTTP/1.1), method and tag.
  func requests() throws(Violation) -> [(stream: Int, method: String, tag: Int)] {
    let bytes = sentBytes(end)
    var isMidway = false
    return isHTTP2 ? try http2Requests(bytes) : try http1Requests(bytes, &isMidway)
  }

  private func http2Requests(_ bytes: [UInt8]) throws(Violation) -> [(stream: Int, method: String, tag: Int)] {
    if bytes.isEmpty { return [] }
    var list = [scripted_request](repeating: scripted_request(), count: 128)
    let count = unsafe scripted_requests(bytes, bytes.count, &list, CInt(list.count))
    try require(count >= 0, "what a backend was sent is not HTTP/2")
    var result: [(stream: Int, method: String, tag: Int)] = []
    for request in list.prefix(Int(count)) {
      let path = cString(request.path)
      guard let tag = tag(of: path) else { throw Violation(description: "a backend was asked for \(path)") }
      result.append((Int(request.stream), cString(request.method), tag))
    }
    return result
  }

  /// - Parameter isMidway: the last head is not all there.
  private func http1Requests(_ bytes: [UInt8], _ isMidway: inout Bool) throws(Violation) -> [(stream: Int, method: String, tag: Int)] {
    var result: [(stream: Int, method: String, tag: Int)] = []
    var position = 0
    while position < bytes.count {
      guard let headEnd = bytes.position(of: lineEnd + lineEnd, from: position) else {
        isMidway = true
        return result
      }
      let lines = Array(bytes[position..<headEnd]).pieces(between: lineEnd).map { text($0) }
      position = headEnd + 4
      let parts = lines[0].split(separator: " ", omittingEmptySubsequences: false)
      guard parts.count == 3, parts[2] == "HTTP/1.1", let tag = tag(of: parts[1]) else { throw Violation(description: "a backend was sent: \(lines[0])") }
      result.append((0, String(parts[0]), tag))
      let fields = lines.dropFirst().map { $0.lowercased() }
      if let length = fields.first(where: { $0.hasPrefix("content-length:") }) {
        guard let count = Int(length.dropFirst(15).drop { $0 == " " }) else { throw Violation(description: length) }
        let body = bytes[position...].prefix(count)
        try require(body.elementsEqual(pattern(tag, from: 0, count: body.count)), "another body than the client's, of \(tag)")
        position += count
      } else if fields.contains("transfer-encoding: chunked") {
        guard skipChunks(bytes, &position) else { return result }
      }
    }
    return result
  }

  /// False when they are not over.
  private func skipChunks(_ bytes: [UInt8], _ position: inout Int) -> Bool {
    while let lineBreak = bytes.position(of: lineEnd, from: position), let size = Int(text(bytes[position..<lineBreak]), radix: 16) {
      position = lineBreak + 2
      if size == 0 {
        guard let end = bytes.position(of: lineEnd, from: position) else { return false }
        position = end + 2
        return true
      }
      position += size + 2
      if position >= bytes.count { return false }
    }
    return false
  }

  private func cString<Text>(_ text: Text) -> String {
    unsafe withUnsafeBytes(of: text) { bytes in unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
  }

  // MARK: Sending

  /// Sends some of what is unsent.
  mutating func send(_ count: Int?) {
    let count = min(unsent.count, count ?? unsent.count)
    guard finishedAt == nil, !wasReset else { return }
    let bytes = Array(unsent.prefix(count))
    unsent.removeFirst(count)
    sent += count
    unsafe scripted_send(CInt(end), bytes, count)
  }

  mutating func sendRaw(_ bytes: [UInt8]) {
    if bytes.isEmpty { return }
    isWild = true
    unsent += bytes
    send(nil)
  }

  // MARK: HTTP/1.1

  /// Puts a response to the next request that has none behind what is unsent.
  mutating func respond(_ step: ResponseStep, id: Int) throws(Violation) {
    var isMidway = false
    let requests = try http1Requests(sentBytes(end), &isMidway)
    // An answer to a head that is still on its way is one, but nobody here knows to what.
    if isMidway, responses.count >= requests.count { isWild = true }
    // Whatever comes behind a response that has no other end belongs to it.
    if responses.last?.endsByClosing == true { isWild = true }
    let tag = responses.count < requests.count ? requests[responses.count].tag : -1
    let method = responses.count < requests.count ? requests[responses.count].method : ""
    var response = SentResponse(id: id, tag: tag, backend: end, status: step.status)
    var text = String(repeating: "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", count: step.interims)
    text += "HTTP/1.1 \(step.status) Something\r\nX-Response: \(id)\r\nX-Tag: \(tag)\r\n"
    if step.retryAfter >= 0 { text += "Retry-After: \(step.retryAfter)\r\n" }
    if step.closes { text += "Connection: close\r\n" }
    if step.status == 301 { text += "Location: /t\(tag)\r\nSet-Cookie: a=b; Path=/\r\n" }
    var body: [UInt8] = []
    // An honest backend has no body for HEAD; one that is not is found out by what is raw.
    let size = method == "HEAD" || step.framing == .none ? 0 : step.size
    switch step.framing {
    case .none: break
    case .length:
      text += "Content-Length: \(step.size)\r\n"
      body = pattern(id, from: 0, count: size)
    case .chunked:
      text += "Transfer-Encoding: chunked\r\n" + (step.hasTrailers ? "Trailer: X-Sum\r\n" : "")
      if method != "HEAD" {
        var start = 0
        while start < size {
          let count = min(7000, size - start)
          body += Array("\(String(count, radix: 16))\r\n".utf8) + pattern(id, from: start, count: count) + lineEnd
          start += count
        }
        body += Array(("0\r\n" + (step.hasTrailers ? "X-Sum: 1\r\n" : "") + "\r\n").utf8)
      }
    case .close:
      response.endsByClosing = method != "HEAD"
      body = pattern(id, from: 0, count: size)
    }
    unsent += Array((text + "\r\n").utf8)
    response.headEnd = sent + unsent.count
    unsent += body
    response.end = sent + unsent.count
    response.size = size
    responses.append(response)
  }

  // MARK: HTTP/2

  /// Sends a frame. The stream of the newest request but `back` is meant.
  mutating func frame(_ step: FrameStep, id: Int) throws(Violation) {
    let requests = try requests()
    func stream(_ back: Int) -> (stream: Int, method: String, tag: Int)? { requests.isEmpty ? nil : requests[max(0, requests.count - 1 - back)] }
    if !hasSettings {
      hasSettings = true
      if case .settings = step {} else { frame(4, 0, 0, []) }
    }
    switch step {
    case .settings(let streams, let window):
      var payload: [UInt8] = []
      if let streams { payload += [0, 3] + word(streams) }
      if let window { payload += [0, 4] + word(window) }
      frame(4, 0, 0, payload)
    case .settingsAck: frame(4, 1, 0, [])
    case .head(let back, let status, let ends, let interim):
      guard let target = stream(back) else { return }
      if interim { return frame(1, 4, target.stream, literal(":status", "103") + literal("link", "</a.css>")) }
      // A second head is trailers without END_STREAM, which no honest backend sends.
      if responses.contains(where: { $0.stream == target.stream }) { isWild = true }
      var response = SentResponse(id: id, tag: target.tag, backend: end, status: status)
      response.stream = target.stream
      response.hasEnded = ends
      frame(1, ends ? 5 : 4, target.stream, literal(":status", "\(status)") + literal("x-response", "\(id)") + literal("x-tag", "\(target.tag)"))
      responses.append(response)
    case .data(let back, let size, let ends):
      guard let target = stream(back), let index = responses.lastIndex(where: { $0.stream == target.stream }) else {
        // DATA before a head, or on no stream at all.
        isWild = true
        return frame(0, 0, stream(back)?.stream ?? 1, [1, 2, 3])
      }
      if responses[index].hasEnded || target.method == "HEAD" || [204, 304].contains(responses[index].status) { isWild = true }
      frame(0, ends ? 1 : 0, target.stream, pattern(responses[index].id, from: responses[index].size, count: size))
      responses[index].size += size
      responses[index].hasEnded = responses[index].hasEnded || ends
    case .trailers(let back):
      guard let target = stream(back), let index = responses.lastIndex(where: { $0.stream == target.stream }) else { return }
      if responses[index].hasEnded { isWild = true }
      frame(1, 5, target.stream, literal("x-sum", "1"))
      responses[index].hasEnded = true
    case .reset(let back, let code):
      guard let target = stream(back) else { return }
      if code == 7 || code == 13 { refused.insert(target.stream) }
      frame(3, 0, target.stream, word(code))
    case .goAway(let back, let code):
      let last = back == 7 ? 0 : stream(back)?.stream ?? 0
      for request in requests where request.stream > last { refused.insert(request.stream) }
      // Those that come later are not looked at either.
      for later in stride(from: (requests.last?.stream ?? 0) + 2, to: 600, by: 2) { refused.insert(later) }
      frame(7, 0, 0, word(last) + word(code))
    case .window(let back, let size): frame(8, 0, back.flatMap { stream($0)?.stream } ?? 0, word(size))
    case .ping: frame(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])
    case .pingAck: frame(6, 1, 0, [0, 0, 0, 0, 0, 0, 0, 0])
    }
  }

  private mutating func frame(_ type: UInt8, _ flags: UInt8, _ stream: Int, _ payload: [UInt8]) {
    unsent += word(payload.count).dropFirst() + [type, flags] + word(stream) + payload
  }

  private func word(_ number: Int) -> [UInt8] {
    let number = UInt32(truncatingIfNeeded: number)
    return [UInt8(truncatingIfNeeded: number >> 24), UInt8(truncatingIfNeeded: number >> 16), UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
  }

  /// A field that is not indexed (RFC 7541 §6.2.2).
  private func literal(_ name: String, _ value: String) -> [UInt8] {
    [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
  }
}
