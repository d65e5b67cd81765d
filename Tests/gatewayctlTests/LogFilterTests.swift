// LogFilter — levels and statuses of lines, and lines as JSON.

import Testing

@testable import gatewayctl

@Suite struct LogFilterTests {
  private static func event(_ level: String) -> String { "[2026-01-31 23:59:59.123] [gateway] [\(level)] worker 1: it [really] happened: \"so\"" }

  @Test(arguments: [("debug", "info", false), ("info", "info", true), ("warning", "warn", true), ("warning", "error", false), ("error", "warn", true), ("critical", "critical", true)])
  func levels(_ printed: String, _ least: String, _ isWanted: Bool) {
    #expect(LogFilter(level: least).passes(Self.event(printed)) == isWanted)
  }

  @Test func whatIsNoEventHasNoLevel() {
    for line in ["", "[", "[x] [y] [loud] z", "warning", "[info] [warning] "] { #expect(!LogFilter(level: "trace").passes(line)) }
  }

  @Test func statuses() {
    let json = #"{"http.response.status_code": 503, "url.path": "/"}"#
    let common = #"127.0.0.1 - - [31/Jan/2026:23:59:59 +0000] "GET / HTTP/1.1" 404 12 "-" "curl""#
    #expect(LogFilter(status: "5xx").passes(json) && LogFilter(status: "503").passes(json) && !LogFilter(status: "404").passes(json))
    #expect(LogFilter(status: "4xx", text: "curl").passes(common) && !LogFilter(status: "4xx", text: "wget").passes(common))
  }

  @Test func linesAsJSON() {
    #expect(LogLine.json(Self.event("warning")) == #"{"time":"2026-01-31 23:59:59.123","level":"warn","message":"worker 1: it [really] happened: \"so\""}"#)
    #expect(LogLine.json(#"{"a": 1}"#) == #"{"a": 1}"#)
    #expect(LogLine.json(#"{"a": "#) == #"{"line":"{\"a\": "}"#)
  }
}
