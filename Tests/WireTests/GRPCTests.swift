// Which requests are calls, how long they may take, and what became of them.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct GRPCTests {
  private func isCall(_ lines: String, version2: Bool = true, method: String = "POST") -> Bool {
    var head = RequestHead(fieldLimit: 20)
    let bytes = parse(lines, method, &head)
    if version2 { head.flags.insert(.version2) }
    return head.isCall(in: bytes.span)
  }

  private func timeout(_ text: String) -> Int? {
    var head = RequestHead(fieldLimit: 20)
    let bytes = parse("grpc-timeout: \(text)\r\n", "POST", &head)
    return head.callTimeout(in: bytes.span)
  }

  private func parse(_ lines: String, _ method: String, _ head: inout RequestHead) -> [UInt8] {
    let bytes = Array("\(method) /a.B/C HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8)
    var parser = RequestParser()
    guard case .complete = parser.parse(bytes.span, into: &head) else {
      Issue.record("\(lines) is no request")
      return bytes
    }
    return bytes
  }

  @Test(arguments: [
    ("application/grpc", true), ("application/grpc+proto", true), ("Application/gRPC;a=b", true), ("application/grpc ; a=b", true),
    ("application/grpc-web", false), ("application/grpc-web+proto", false), ("application/grp", false), ("application/grpcx", false), ("text/plain", false),
  ]) func callsAreKnownByTheirType(type: String, expected: Bool) {
    #expect(isCall("Content-Type: \(type)\r\n") == expected)
  }

  @Test func onlyHTTP2AndPostMakeACall() {
    let type = "Content-Type: application/grpc\r\n"
    #expect(isCall(type) && !isCall(type, version2: false) && !isCall(type, method: "GET") && !isCall(""))
  }

  @Test(arguments: [
    ("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("400m", 400), ("99999999H", 99_999_999 * 3_600_000), ("1u", 1), ("1000u", 1), ("1001u", 2), ("1n", 1),
    ("99999999n", 100), ("0m", 0), ("m", nil), ("1", nil), ("", nil), ("1x", nil), ("-1m", nil), ("123456789m", nil), ("1 m", nil), ("1h", nil),
  ] as [(String, Int?)]) func timeouts(text: String, expected: Int?) {
    #expect(timeout(text) == expected)
  }

  @Test func statusesInTrailers() {
    for (lines, expected) in [
      ("grpc-status: 0\r\n", 0), ("grpc-message: x\r\nGRPC-Status:14\r\n", 14), ("a: b\r\ngrpc-status: 7\r\nc: d\r\n", 7), ("grpc-status: 999\r\n", 255),
      ("grpc-status: x\r\n", nil), ("grpc-status: \r\n", nil), ("grpc-status-x: 1\r\n", nil), ("", nil), ("x-grpc-status: 1\r\n", nil), ("grpc-status: 5", 5),
    ] as [(String, UInt8?)] {
      let bytes = Array(lines.utf8)
      #expect(CallStatus.status(inTrailers: bytes.span) == expected, "\(lines)")
    }
  }

  @Test func faultsHaveStatuses() {
    let expected: [(Fault, CallStatus)] = [
      (.routeNotFound, .unimplemented), (.httpRequestError, .internalError), (.connectionRefused, .unavailable), (.responseTimeout, .unavailable),
      (.poolExhausted, .unavailable), (.bodyTooLarge, .unknown), (.grpcDeadlineExceeded, .deadlineExceeded), (.proxyInternalError, .unknown),
    ]
    for (fault, status) in expected { #expect(CallStatus(fault) == status, "\(fault.row.token)") }
    #expect(CallStatus.allCases.map(\.rawValue) == Array(0...16) && "\(CallStatus.unauthenticated.name)" == "UNAUTHENTICATED")
  }

  @Test func messagesAreEscaped() {
    var output = Buffer(capacity: 200)
    output.append(callMessage: "not yet: 100% of ü\n~ ")
    let bytes = output.bytes
    let text = String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    #expect(text == "not yet: 100%25 of %C3%BC%0A~ ")
  }
}
