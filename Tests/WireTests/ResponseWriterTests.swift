// ResponseWriterTests — the exact bytes of responses.

import HTTPModel
import Memory
import Testing

@testable import Wire

private let date = "Sun, 06 Nov 1994 08:49:37 GMT"

private func makeWriter(_ capacity: Int = 4096) -> ResponseWriter {
  var writer = ResponseWriter(capacity: capacity)
  var text = InlineArray<29, UInt8>(repeating: 0)
  for (index, byte) in date.utf8.enumerated() { text[index] = byte }
  writer.update(date: text)
  return writer
}

private func context(head: Bool = false, version11: Bool = true, persistent: Bool = true) -> ResponseContext {
  ResponseContext(isHead: head, isVersion11: version11, isPersistent: persistent)
}

private func prepared(_ status: UInt16, _ fields: String, _ body: String, server: Bool = false) -> PreparedResponse {
  let fields = bytes(fields), body = bytes(body)
  return PreparedResponse(Status(status), fields: fields.span, body: body.span, server: server)
}

@Suite struct PreparedResponseTests {
  private func sent(_ response: borrowing PreparedResponse, _ context: ResponseContext) -> String {
    var writer = makeWriter(response.byteCount + ResponseWriter.reserve)
    let id = bytes("id-1")
    writer.send(response, context, requestID: id.span)
    return text(writer.output.bytes)
  }

  @Test func everyContext() {
    let response = prepared(200, "Content-Type: text/plain\r\n", "hello", server: true)
    let head = "200 OK\r\nServer: gateway\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nDate: \(date)\r\nX-Request-Id: id-1\r\n"
    #expect(holds(sent(response, context()) == "HTTP/1.1 \(head)\r\nhello"))
    #expect(holds(sent(response, context(head: true)) == "HTTP/1.1 \(head)\r\n"))
    #expect(holds(sent(response, context(persistent: false)) == "HTTP/1.1 \(head)Connection: close\r\n\r\nhello"))
    #expect(holds(sent(response, context(version11: false)) == "HTTP/1.0 \(head)Connection: keep-alive\r\n\r\nhello"))
    #expect(holds(sent(response, context(version11: false, persistent: false)) == "HTTP/1.0 \(head)Connection: close\r\n\r\nhello"))
  }

  @Test func bodiesThatMayNotBe() {
    #expect(holds(sent(prepared(204, "", "x"), context()) == "HTTP/1.1 204 No Content\r\nDate: \(date)\r\nX-Request-Id: id-1\r\n\r\n"))
    #expect(holds(sent(prepared(304, "ETag: \"a\"\r\n", "x"), context()) == "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nDate: \(date)\r\nX-Request-Id: id-1\r\n\r\n"))
    #expect(holds(sent(prepared(205, "", "x"), context()) == "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nDate: \(date)\r\nX-Request-Id: id-1\r\n\r\n"))
    #expect(holds(sent(prepared(200, "", ""), context()) == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: \(date)\r\nX-Request-Id: id-1\r\n\r\n"))
  }

  /// An id as the gateway makes them has its place in the prepared text.
  @Test func anIdOfTheUsualLength() {
    let response = prepared(200, "Content-Type: text/plain\r\n", "hello"), number = "0123456789abcdef0123456789ABCDEF", id = bytes(number)
    let head = "200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nDate: \(date)\r\nX-Request-Id: \(number)\r\n"
    var writer = makeWriter()
    writer.send(response, context(), requestID: id.span)
    writer.send(response, context(), requestID: id.span)
    writer.send(response, context(persistent: false), requestID: id.span)
    #expect(holds(text(writer.output.bytes) == "HTTP/1.1 \(head)\r\nhelloHTTP/1.1 \(head)\r\nhelloHTTP/1.1 \(head)Connection: close\r\n\r\nhello"))
  }

  @Test func severalResponsesShareTheOutput() {
    var writer = makeWriter()
    let response = prepared(200, "", "hello"), id = bytes("7")
    writer.send(response, context(), requestID: id.span)
    writer.send(response, context(version11: false), requestID: id.span)
    let rest = "200 OK\r\nContent-Length: 5\r\nDate: \(date)\r\nX-Request-Id: 7\r\n"
    #expect(holds(text(writer.output.bytes) == "HTTP/1.1 \(rest)\r\nhelloHTTP/1.0 \(rest)Connection: keep-alive\r\n\r\nhello"))
  }

  /// What `byteCount` promises is enough, whatever the status and the context.
  @Test func theRoomAskedForIsEnough() {
    let id = [UInt8](repeating: 0x61, count: 64)
    for code in UInt16(100)...599 {
      let response = prepared(code, "A: b\r\n", "body", server: true)
      for isPersistent in [false, true] {
        var writer = makeWriter(response.byteCount + id.count)
        writer.send(response, context(version11: false, persistent: isPersistent), requestID: id.span)
        #expect(holds(parseResponse(array(writer.output.bytes)).head.status == code))
      }
    }
  }
}

@Suite struct ResponseWriterTests {
  @Test func aHeadByParts() {
    var writer = makeWriter()
    writer.begin(Status(418), context(), server: true)
    writer.output.append("X: y\r\n")
    writer.end(context())
    #expect(holds(text(writer.output.bytes) == "HTTP/1.1 418 I'm a teapot\r\nServer: gateway\r\nDate: \(date)\r\nX: y\r\n\r\n"))
    writer.output.removeAll()
    writer.begin(.ok, context(version11: false), server: false)
    writer.end(context(version11: false, persistent: false))
    #expect(holds(text(writer.output.bytes) == "HTTP/1.0 200 OK\r\nDate: \(date)\r\nConnection: close\r\n\r\n"))
    writer.output.removeAll()
    writer.begin(Status(299), context(version11: false), server: false)
    writer.end(context(version11: false))
    #expect(holds(text(writer.output.bytes) == "HTTP/1.0 299 Unknown\r\nDate: \(date)\r\nConnection: keep-alive\r\n\r\n"))
  }

  private func relayed(
    _ head: String, _ context: ResponseContext = context(), framing: RelayFraming = .asReceived, dropped: HeaderNameSet = HeaderNameSet(.connection), via: Bool = false
  ) -> String {
    let bytes = bytes(head)
    var parsed = ResponseHead()
    var parser = ResponseParser()
    guard case .complete = parser.parse(bytes.span, into: &parsed) else { return "not accepted" }
    var writer = makeWriter(bytes.count * 2 + ResponseWriter.reserve)
    writer.relay(parsed, of: bytes.span, context, framing: framing, dropped: dropped, via: via)
    return text(writer.output.bytes)
  }

  @Test func relayedHeads() {
    let head = "HTTP/1.1 200 All is well\r\nDate: yesterday\r\nSet-Cookie: a\r\nSet-Cookie:b\r\nContent-Length: 3\r\n\r\n"
    #expect(relayed(head) == "HTTP/1.1 200 All is well\r\nDate: yesterday\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\n")
    #expect(relayed("HTTP/1.0 200\r\n\r\n") == "HTTP/1.1 200 \r\nDate: \(date)\r\n\r\n")
    #expect(relayed(head, context(version11: false, persistent: false)).hasPrefix("HTTP/1.0 200 All is well\r\n"))
    #expect(relayed(head, context(version11: false, persistent: false)).hasSuffix("\r\nConnection: close\r\n\r\n"))
    #expect(relayed(head, context(version11: false)).hasSuffix("\r\nConnection: keep-alive\r\n\r\n"))
  }

  @Test func framings() {
    let head = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    let dropped: HeaderNameSet = [HeaderNameSet(.transferEncoding), HeaderNameSet(.contentLength), HeaderNameSet(.connection)]
    #expect(relayed(head, framing: .chunked, dropped: dropped) == "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    #expect(relayed(head, framing: .length(12), dropped: dropped) == "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 12\r\n\r\n")
    #expect(relayed(head, framing: .asReceived, dropped: dropped) == "HTTP/1.1 200 OK\r\nDate: x\r\n\r\n")
  }

  @Test func hopByHopFieldsStayHere() {
    let head = "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 2\r\nX-End: 3\r\n\r\n"
    let dropped: HeaderNameSet = [HeaderNameSet(.connection), HeaderNameSet(.keepAlive)]
    #expect(relayed(head, dropped: dropped) == "HTTP/1.1 200 OK\r\nDate: x\r\nX-End: 3\r\n\r\n")
  }

  @Test func viaIsOneList() {
    let dropped: HeaderNameSet = [HeaderNameSet(.connection), HeaderNameSet(.via)]
    let head = "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.0 a\r\nVia: 1.1 b\r\n\r\n"
    #expect(relayed(head, dropped: dropped, via: true) == "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.0 a, 1.1 b, 1.1 gateway\r\n\r\n")
    #expect(relayed("HTTP/1.0 200 OK\r\nDate: x\r\n\r\n", dropped: dropped, via: true) == "HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.0 gateway\r\n\r\n")
  }

  @Test func interimResponses() {
    let bytes = bytes("HTTP/1.1 103 Whatever\r\nLink:</a>\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 3\r\nLink: </b>\r\n\r\n")
    var head = ResponseHead()
    var parser = ResponseParser()
    _ = parser.parse(bytes.span, into: &head)
    var writer = makeWriter()
    writer.relay(interim: head, of: bytes.span, dropped: [HeaderNameSet(.connection), HeaderNameSet(.contentLength)])
    #expect(holds(text(writer.output.bytes) == "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n"))
  }

  @Test(arguments: [(0, "0\r\n"), (1, "1\r\n"), (16, "10\r\n"), (65_535, "ffff\r\n"), (-1, "0\r\n")] as [(Int, Sample)])
  func chunkSizes(_ count: Int, _ line: Sample) {
    var output = Buffer(capacity: 20)
    output.append(chunkSize: count)
    #expect(holds(text(output.bytes) == line.text))
  }
}
