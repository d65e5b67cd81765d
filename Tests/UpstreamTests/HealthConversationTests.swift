// HealthConversationTests — what is concluded from the answer to a check, however it comes in pieces.

import HTTPModel
import Plan
import Policy
import Testing

@testable import Upstream

@Suite struct HealthConversationTests {
  private func plan(_ kind: HealthCheckPlan.Kind, body: String = "", statuses: [String] = ["200-399"]) -> HealthCheckPlan {
    var plan = HealthCheckPlan()
    plan.kind = kind
    plan.body = body
    plan.statuses = statuses
    return plan
  }

  /// The verdict on `bytes`, which come in pieces of `size`; what is at the end of the connection when that is not enough.
  private func verdict(_ plan: HealthCheckPlan, _ bytes: [UInt8], pieces size: Int = 1000) -> HealthVerdict {
    var conversation = HealthConversation(plan)
    var start = 0
    while start < bytes.count {
      let piece = Array(bytes[start..<min(bytes.count, start + size)])
      if let verdict = conversation.receive(piece.span) { return verdict }
      start += size
    }
    return conversation.ended()
  }

  private func http(_ plan: HealthCheckPlan, _ text: String) -> [HealthVerdict] { [1, 7, 1000].map { verdict(plan, Array(text.utf8), pieces: $0) } }

  @Test func statuses() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", gone = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    #expect(http(plan(.http), ok).allSatisfy { $0 == .passed })
    #expect(http(plan(.http), gone).allSatisfy { $0 == .failed(.status) })
    #expect(http(plan(.http, statuses: ["503", "2xx"]), gone).allSatisfy { $0 == .passed })
    #expect(http(plan(.http, statuses: ["204"]), ok).allSatisfy { $0 == .failed(.status) })
    #expect(http(plan(.http), "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + ok).allSatisfy { $0 == .passed })
    for text in ["nonsense\r\n\r\n", "", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n"] { #expect(http(plan(.http), text).allSatisfy { $0 == .failed(.malformed) }, "\(text)") }
  }

  @Test func bodies() {
    let wanted = plan(.http, body: "all is well")
    #expect(http(wanted, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n<all is well...>").allSatisfy { $0 == .passed })
    #expect(http(wanted, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnot!").allSatisfy { $0 == .failed(.body) })
    #expect(http(wanted, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n7\r\nis well\r\n0\r\n\r\n").allSatisfy { $0 == .passed })
    #expect(http(wanted, "HTTP/1.1 200 OK\r\n\r\nyes, all is well").allSatisfy { $0 == .passed })
    #expect(http(wanted, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall is").allSatisfy { $0 == .failed(.malformed) })
    #expect(http(wanted, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").allSatisfy { $0 == .failed(.malformed) })
    // What stands behind the first 64 KiB is not looked at.
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 200011\r\n\r\n" + String(repeating: "x", count: 200_000) + "all is well"
    #expect(verdict(wanted, Array(long.utf8)) == .failed(.body))
  }

  @Test func rangesOfStatuses() {
    #expect(HealthCheckPlan.statuses("200") == 200...200 && HealthCheckPlan.statuses("5xx") == 500...599 && HealthCheckPlan.statuses("200-204") == 200...204)
    for text in ["", "2x", "20", "2000", "0xx", "6xx", "600", "204-200", "200-", "-200", "200-20x", "200–204"] { #expect(HealthCheckPlan.statuses(text) == nil, "\(text)") }
  }

  private func frame(_ type: UInt8, _ flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
    [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
  }

  @Test func serving() {
    let start = frame(4, 0, stream: 0, []) + frame(4, 1, stream: 0, []) + frame(1, 4, stream: 1, [0x88])
    let cases: [([UInt8], HealthVerdict)] = [
      (frame(0, 0, stream: 1, [0, 0, 0, 0, 2, 8, 1]), .passed), (frame(0, 0, stream: 1, [0, 0, 0, 0, 2, 8, 2]), .failed(.notServing)),
      (frame(0, 0, stream: 1, [0, 0, 0, 0, 0]), .failed(.notServing)), (frame(1, 5, stream: 1, [0x88]), .failed(.notServing)),
      (frame(0, 8, stream: 1, [3, 0, 0, 0, 0, 2, 8, 1, 0, 0, 0]), .passed), (frame(0, 8, stream: 1, [200, 0]), .failed(.malformed)),
      (frame(0, 0, stream: 1, [0, 0, 0]) + frame(0, 1, stream: 1, [0, 2, 8, 1]), .passed), (frame(3, 0, stream: 1, [0, 0, 0, 7]), .failed(.notServing)),
      (frame(7, 0, stream: 0, [0, 0, 0, 0, 0, 0, 0, 0]), .failed(.notServing)), ([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], .failed(.malformed)), ([], .failed(.malformed)),
    ]
    for (bytes, expected) in cases { for size in [1, 5, 1000] { #expect(verdict(plan(.grpc), start + bytes, pieces: size) == expected, "\(bytes)") } }
    #expect(verdict(plan(.grpc), Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)) == .failed(.malformed))
  }

  @Test func requests() {
    var check = plan(.http)
    check.path = "/healthz?deep=1"
    let text = String(decoding: HealthConversation.request(check, host: "app:8080", isSecure: false), as: UTF8.self)
    #expect(text.hasPrefix("GET /healthz?deep=1 HTTP/1.1\r\nHost: app:8080\r\n") && text.hasSuffix("\r\n\r\n"))
    var call = plan(.grpc)
    call.service = String(repeating: "s", count: 200)
    call.host = "other"
    let bytes = HealthConversation.request(call, host: "app", isSecure: true)
    #expect(String(decoding: bytes.prefix(24), as: UTF8.self) == "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    // The message: field 1, its length as a varint, the name.
    #expect(Array(bytes.suffix(208).prefix(8)) == [0, 0, 0, 0, 203, 0x0a, 200, 1])
    #expect(HealthConversation.request(plan(.tcp), host: "", isSecure: false).isEmpty)
  }
}
