// ResponseParserTests — response heads of backends: what is understood, what is refused, and that pieces make no difference.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct ResponseParserTests {
  static let accepted: [Sample] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204\r\n\r\n", "HTTP/1.1 204 \r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.1 200 Fine, thanks \u{e9}\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n",
    "HTTP/1.1 500 x\r\nContent-Length: 7\r\nContent-Length: 7\r\nConnection: close, X-Hop\r\nX-Hop:1\r\nDate:\t x \t\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"abcdefghijklmnopqrstuvwxyz\"\r\nCache-Control: max-age=604800, stale-while-revalidate=86400\r\n\r\n",
  ]

  static let refused: [Sample] = [
    "HTTP/2 200 OK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 600 x\r\n\r\n",
    "HTTP/1.1 999 x\r\n\r\n", "HTTP/1.1 -20 x\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200 O\0K\r\n\r\n", "HTTP/1.1 200 O\u{1b}K\r\n\r\n", "HTTP/1.1 200 OK\n\r\n",
    "HTTP/1.1 200 OK\rX: y\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 \r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n", "hello\r\n\r\n", "\0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
  ] + RefusedRequest.fieldLines.map { Sample(stringLiteral: "HTTP/1.1 200 OK\r\nServer: x\r\n\($0.1)\r\n") }

  @Test func aSmallResponse() {
    let (outcome, head) = parseResponse("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nX-A:  b \r\n\r\nNot Found")
    #expect(outcome == .complete(55))
    #expect(head.status == 404 && head.reason == "Not Found" && head.body == .length(9) && head.fields == ["Content-Length=9", "X-A=b"])
    #expect(head.flags == [.version11, .persistent])
  }

  @Test(arguments: refused)
  func isRefused(_ sample: Sample) {
    let text = sample.text
    #expect(parseResponse(text).outcome == .rejected(.responseProtocolError))
    for cut in 0..<text.utf8.count {
      let bytes = bytes(text)
      var head = ResponseHead()
      var parser = ResponseParser()
      let first = Outcome(parser.parse(bytes.span.extracting(first: cut), into: &head))
      if first == .incomplete {
        #expect(Outcome(parser.parse(bytes.span, into: &head)) == .rejected(.responseProtocolError), "cut at \(cut)")
      } else {
        #expect(first == .rejected(.responseProtocolError), "cut at \(cut)")
      }
    }
  }

  @Test(arguments: accepted)
  func everyCutGivesTheSameHead(_ sample: Sample) {
    let bytes = bytes(sample.text)
    let whole = parseResponse(bytes)
    #expect(whole.outcome == .complete(bytes.count))
    for cut in 0..<bytes.count {
      var head = ResponseHead()
      var parser = ResponseParser()
      #expect(Outcome(parser.parse(bytes.span.extracting(first: cut), into: &head)) == .incomplete, "cut at \(cut)")
      #expect(Outcome(parser.parse(bytes.span, into: &head)) == whole.outcome, "cut at \(cut)")
      #expect(holds(ResponseText(head, bytes.span) == whole.head), "cut at \(cut)")
    }
    var head = ResponseHead()
    var parser = ResponseParser()
    for end in 1..<bytes.count { #expect(Outcome(parser.parse(bytes.span.extracting(first: end), into: &head)) == .incomplete) }
    #expect(Outcome(parser.parse(bytes.span, into: &head)) == whole.outcome)
  }

  /// What cannot become a response is refused with the first byte that shows it.
  @Test(arguments: ["X", "HX", "HTTP/2", "HTTP/1-", "HTTP/1.1x", "SSH-2.0"])
  func refusedEarly(_ text: String) {
    #expect(parseResponse(text).outcome == .rejected(.responseProtocolError))
  }

  @Test func interimAndFinalResponse() {
    let stream = bytes("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    var head = ResponseHead()
    var parser = ResponseParser()
    guard case .complete(let length) = parser.parse(stream.span, into: &head) else {
      Issue.record("the interim response is not complete")
      return
    }
    #expect(head.status.code == 103 && length == 40)
    #expect(Outcome(parser.parse(stream.span.extracting(droppingFirst: length), into: &head)) == .complete(stream.count - length))
    #expect(head.status.code == 200 && head.body == .length(0))
  }

  @Test(arguments: [
    ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.1", "Connection: keep-alive\r\n", true), ("HTTP/1.0", "", false),
    ("HTTP/1.0", "Connection: Keep-Alive\r\n", true), ("HTTP/1.1", "Connection: x, close\r\n", false), ("HTTP/1.0", "Connection: close\r\n", false),
  ] as [(String, Sample, Bool)])
  func persistence(_ version: String, _ fields: Sample, _ isPersistent: Bool) {
    #expect(parseResponse("\(version) 200 OK\r\n\(fields.text)\r\n").head.flags.contains(.persistent) == isPersistent)
  }

  @Test func bodies() {
    #expect(parseResponse("HTTP/1.1 200 OK\r\n\r\n").head.body == .untilClose)
    #expect(parseResponse("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").head.body == .length(0))
    #expect(parseResponse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length:5\r\n\r\n").head.body == .length(5))
    #expect(parseResponse("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").head.body == .chunked)
  }

  @Test func fieldsAreCounted() {
    let text = "HTTP/1.1 200 OK\r\n" + (0..<8).map { "X-\($0): \($0)\r\n" }.joined() + "\r\n"
    #expect(parseResponse(text, fieldLimit: 8).outcome == .complete(text.utf8.count))
    #expect(parseResponse(text, fieldLimit: 7).outcome == .rejected(.responseHeadersTooLarge))
  }

  @Test func everyStatus() {
    for code in 100...599 { #expect(parseResponse("HTTP/1.1 \(code) x\r\n\r\n").head.status == UInt16(code)) }
  }
}
