// Support — what the tests of Wire share: heads as texts, outcomes that can be compared, and repeatable randomness.

import HTTPModel
import Memory
import Testing

@testable import Wire

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func array(_ span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

func text(_ span: Span<UInt8>) -> String { String(decoding: array(span), as: UTF8.self) }

/// A condition as it is: `#expect` takes apart what it is given, which spans and noncopyable values do not bear.
func holds(_ condition: Bool) -> Bool { condition }

/// A text as a test argument, shown with its control characters escaped.
struct Sample: ExpressibleByStringInterpolation, Sendable, CustomTestStringConvertible {
  let text: String

  init(stringLiteral text: String) { self.text = text }

  var testDescription: String { text.debugDescription }
}

/// A parse outcome that can be compared.
enum Outcome: Equatable, CustomStringConvertible {
  case complete(Int)
  case incomplete
  case rejected(Fault)

  init(_ outcome: ParseOutcome) {
    self = switch outcome {
    case .complete(let length): .complete(length)
    case .incomplete: .incomplete
    case .rejected(let fault): .rejected(fault)
    }
  }

  var description: String {
    switch self {
    case .complete(let length): "complete (\(length))"
    case .incomplete: "incomplete"
    case .rejected(let fault): "rejected as \(fault)"
    }
  }
}

/// The texts of a request head.
struct RequestText: Equatable {
  var method = Method.other
  var methodText = ""
  var target = ""
  var path = ""
  var query: String?
  var host = ""
  var body = BodyFraming.none
  var size = 0
  var flags = HeadFlags()
  var fields: [String] = []

  init() {}

  init(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) {
    method = head.method
    methodText = text(head.methodText.text(in: bytes))
    target = text(head.target.text(in: bytes))
    path = text(head.path.text(in: bytes))
    if head.hasQuery { query = text(head.query.text(in: bytes)) }
    host = text(head.host.text(in: bytes))
    body = head.body
    size = head.size
    flags = head.flags
    let list = head.headers(in: bytes)
    for index in 0..<list.count { fields.append("\(text(list.name(at: index)))=\(text(list.value(at: index)))") }
  }
}

/// The outcome of parsing `bytes` in one piece.
func parseRequest(_ bytes: [UInt8], fieldLimit: Int = 100) -> (outcome: Outcome, head: RequestText) {
  var head = RequestHead(fieldLimit: fieldLimit)
  var parser = RequestParser()
  let outcome = Outcome(parser.parse(bytes.span, into: &head))
  guard case .complete = outcome else { return (outcome, RequestText()) }
  return (outcome, RequestText(head, bytes.span))
}

func parseRequest(_ text: String, fieldLimit: Int = 100) -> (outcome: Outcome, head: RequestText) {
  parseRequest(bytes(text), fieldLimit: fieldLimit)
}

/// The outcome when one byte comes after the other: the first that is not `incomplete`.
func parseRequestBytewise(_ bytes: [UInt8], fieldLimit: Int = 100) -> (outcome: Outcome, head: RequestText) {
  var head = RequestHead(fieldLimit: fieldLimit)
  var parser = RequestParser()
  for end in 0..<bytes.count {
    let outcome = Outcome(parser.parse(bytes.span.extracting(first: end + 1), into: &head))
    switch outcome {
    case .incomplete: continue
    case .complete: return (outcome, RequestText(head, bytes.span))
    case .rejected: return (outcome, RequestText())
    }
  }
  return (.incomplete, RequestText())
}

/// The texts of a response head.
struct ResponseText: Equatable {
  var status: UInt16 = 0
  var reason = ""
  var body = BodyFraming.none
  var flags = HeadFlags()
  var fields: [String] = []

  init() {}

  init(_ head: borrowing ResponseHead, _ bytes: Span<UInt8>) {
    status = head.status.code
    reason = text(head.reason.text(in: bytes))
    body = head.body
    flags = head.flags
    let list = head.headers(in: bytes)
    for index in 0..<list.count { fields.append("\(text(list.name(at: index)))=\(text(list.value(at: index)))") }
  }
}

func parseResponse(_ bytes: [UInt8], fieldLimit: Int = 256) -> (outcome: Outcome, head: ResponseText) {
  var head = ResponseHead(fieldLimit: fieldLimit)
  var parser = ResponseParser()
  let outcome = Outcome(parser.parse(bytes.span, into: &head))
  guard case .complete = outcome else { return (outcome, ResponseText()) }
  return (outcome, ResponseText(head, bytes.span))
}

func parseResponse(_ text: String, fieldLimit: Int = 256) -> (outcome: Outcome, head: ResponseText) {
  parseResponse(bytes(text), fieldLimit: fieldLimit)
}

/// A small linear congruential generator: the same cases on every run.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 2 &+ 1 }

  /// A number below `bound`.
  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[roll(elements.count)] }
}
