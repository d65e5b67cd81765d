// RequestParserTests — request heads: what is understood, what is refused, and that pieces make no difference.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct RequestParserTests {
  @Test func aSmallRequest() {
    let (outcome, head) = parseRequest("GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\nrest")
    #expect(outcome == .complete(57))
    #expect(head.method == .get && head.methodText == "GET" && head.target == "/a/b?c=d" && head.path == "/a/b" && head.query == "c=d")
    #expect(head.host == "example.com" && head.body == .none && head.fields == ["Host=example.com", "Accept=*/*"])
    #expect(head.flags == [.version11, .persistent, .regularPath])
    #expect(head.size == 8 + (4 + 11 + 4) + (6 + 3 + 4))
  }

  @Test func aBrowsersRequest() {
    let (outcome, head) = parseRequest(AcceptedRequest.browser)
    #expect(outcome == .complete(AcceptedRequest.browser.utf8.count))
    #expect(head.fields.count == 9 && head.fields[1].hasPrefix("User-Agent=Mozilla/5.0 (X11;") && head.fields[8] == "Upgrade-Insecure-Requests=1")
  }

  // MARK: Refusals

  @Test(arguments: RefusedRequest.all)
  func isRefused(_ request: RefusedRequest) {
    #expect(parseRequest(request.text).outcome == .rejected(request.fault))
    // In single bytes it is refused for the same reason, at the latest with the empty line.
    #expect(parseRequestBytewise(request.text + bytes("\r\n\r\n")).outcome == .rejected(request.fault))
  }

  /// A head that is refused is refused, or still waited for, at every cut; and refused when the rest has come.
  @Test(arguments: RefusedRequest.all)
  func isRefusedWhereverItIsCut(_ request: RefusedRequest) {
    let text = request.text + bytes("\r\n\r\n")
    for cut in 0...request.text.count {
      var head = RequestHead()
      var parser = RequestParser()
      let first = Outcome(parser.parse(text.span.extracting(first: cut), into: &head))
      guard first == .incomplete else {
        #expect(first == .rejected(request.fault), "cut at \(cut)")
        continue
      }
      #expect(Outcome(parser.parse(text.span, into: &head)) == .rejected(request.fault), "cut at \(cut)")
    }
  }

  // MARK: Pieces

  @Test(arguments: AcceptedRequest.all)
  func everyCutGivesTheSameHead(_ request: Sample) {
    let text = bytes(request.text)
    let whole = parseRequest(text)
    #expect(whole.outcome == .complete(text.count))
    let bytewise = parseRequestBytewise(text)
    #expect(bytewise.outcome == whole.outcome && bytewise.head == whole.head)
    for cut in 0..<text.count {
      var head = RequestHead()
      var parser = RequestParser()
      #expect(!parser.isWithinHead)
      #expect(Outcome(parser.parse(text.span.extracting(first: cut), into: &head)) == .incomplete, "cut at \(cut)")
      #expect(parser.isWithinHead == (cut > 0))
      #expect(Outcome(parser.parse(text.span, into: &head)) == whole.outcome, "cut at \(cut)")
      #expect(holds(RequestText(head, text.span) == whole.head), "cut at \(cut)")
      #expect(!parser.isWithinHead)
    }
  }

  @Test(arguments: 1...20)
  func threePiecesGiveTheSameHead(_ seed: UInt64) {
    var dice = Dice(seed)
    for request in AcceptedRequest.all {
      let text = bytes(request.text)
      let first = dice.roll(text.count), second = first + dice.roll(text.count - first)
      var head = RequestHead()
      var parser = RequestParser()
      #expect(Outcome(parser.parse(text.span.extracting(first: first), into: &head)) == .incomplete)
      #expect(Outcome(parser.parse(text.span.extracting(first: second), into: &head)) == .incomplete)
      #expect(Outcome(parser.parse((text + bytes("GET")).span, into: &head)) == .complete(text.count))
      #expect(holds(RequestText(head, text.span) == parseRequest(text).head))
    }
  }

  @Test func pipelinedRequestsComeOneByOne() {
    let texts = AcceptedRequest.all.map(\.text)
    let stream = bytes(texts.joined())
    for step in [1, 7, 64, stream.count] {
      var parser = RequestParser()
      var found: [RequestText] = []
      var start = 0
      var end = 0
      while end < stream.count {
        end = min(stream.count, end + step)
        while start < end {
          var head = RequestHead()
          guard case .complete(let length) = parser.parse(stream.span.extracting(start..<end), into: &head) else { break }
          found.append(RequestText(head, stream.span.extracting(start..<end)))
          start += length
        }
      }
      #expect(start == stream.count)
      #expect(found == texts.map { parseRequest($0).head }, "in steps of \(step)")
    }
  }

  @Test func aRefusalAfterAGoodRequest() {
    let stream = bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    var head = RequestHead()
    var parser = RequestParser()
    #expect(Outcome(parser.parse(stream.span, into: &head)) == .complete(27))
    #expect(Outcome(parser.parse(stream.span.extracting(droppingFirst: 27), into: &head)) == .rejected(.httpRequestError))
  }

  // MARK: Limits

  @Test func fieldsAreCounted() {
    let fields = (0..<10).map { "X-\($0): \($0)\r\n" }.joined()
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
    #expect(parseRequest(text, fieldLimit: 11).outcome == .complete(text.utf8.count))
    #expect(parseRequest(text, fieldLimit: 10).outcome == .rejected(.headersTooLarge))
    #expect(parseRequestBytewise(bytes(text), fieldLimit: 10).outcome == .rejected(.headersTooLarge))
  }

  @Test func longHeads() {
    let value = String(repeating: "v", count: 100_000)
    let text = "GET /\(value) HTTP/1.1\r\nHost: a\r\nX: \(value)\r\n\r\n"
    let (outcome, head) = parseRequest(text)
    #expect(outcome == .complete(text.utf8.count))
    #expect(head.target == "/\(value)" && head.fields[1] == "X=\(value)" && head.size == 100_001 + 9 + 100_005)
  }

  /// A megabyte that trickles in costs a look at each byte, not a parse of everything at each byte.
  @Test func aTricklingHeadIsReadOnce() {
    let text = bytes("GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "v", count: 1 << 20))\r\n\r\n")
    var head = RequestHead()
    var parser = RequestParser()
    for end in stride(from: 1, to: text.count, by: 16) {
      guard case .incomplete = parser.parse(text.span.extracting(first: end), into: &head) else {
        Issue.record("not incomplete at \(end)")
        return
      }
    }
    #expect(Outcome(parser.parse(text.span, into: &head)) == .complete(text.count))
  }

  @Test func requestLinesThatNeverEnd() {
    #expect(holds(RequestParser.isRequestLineOpen(bytes("GET /aaaa").span)))
    #expect(holds(RequestParser.isRequestLineOpen(bytes("\r\nGET /aaaa").span)))
    #expect(holds(!RequestParser.isRequestLineOpen(bytes("GET / HTTP/1.1\r\nX: y").span)))
    #expect(holds(RequestParser.isRequestLineOpen(Span<UInt8>())))
  }

  @Test func nothingIsIncomplete() {
    #expect(parseRequest("").outcome == .incomplete)
    #expect(parseRequest("\r").outcome == .incomplete)
    #expect(parseRequest("\r\n").outcome == .incomplete)
    #expect(parseRequest("\r\n\r").outcome == .incomplete)
  }
}
