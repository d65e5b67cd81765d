// AccessLogTests — the lines themselves: golden ones, hostile text, bounds, and what happens when writing fails.

import Glibc
import HTTPModel
import Kernel
import Testing

@testable import Telemetry

private let browser: [(String, [UInt8])] = [
  ("Host", Array("example.org:8080".utf8)), ("User-Agent", Array("Mozilla/5.0 (X11)".utf8)),
  ("Referer", Array("https://example.org/".utf8)), ("X-Trace-Id", Array("t1".utf8)),
]

/// The end of `sampleEntry` in the local time zone, as the C library writes it.
private let localTime: String = {
  var time: time_t = 1_769_903_999
  var parts = unsafe tm()
  unsafe localtime_r(&time, &parts)
  var text = [CChar](repeating: 0, count: 64)
  let count = unsafe strftime(&text, text.count, "%d/%b/%Y:%H:%M:%S %z", &parts)
  return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}()

@Suite struct AccessLogTests {
  @Test func jsonHasEveryMember() throws {
    let request = SampleRequest(target: Array("/a/b?c=d".utf8), fields: browser)
    let line = try request.line("json")
    #expect(line.hasSuffix("}\n"))
    let members = try #require(FlatJSON.parse(String(line.dropLast())))
    #expect(members == [
      "time": "2026-01-31T23:59:59.123456Z", "client.address": "192.0.2.7", "gateway.request_id": "r-1", "http.request.method": "GET",
      "server.address": "example.org", "url.path": "/a/b", "url.query": "c=d", "network.protocol.version": "1.1",
      "http.response.status_code": "200", "http.request.size": "512", "http.response.size": "123456789012", "http.response.body.size": "1200",
      "http.server.request.duration": "0.003000", "http.route": "/a/*rest", "gateway.upstream": "web", "gateway.upstream.attempts": "1",
      "gateway.upstream.connect_time": "0.000150", "gateway.upstream.header_time": "12.000601", "user_agent.original": "Mozilla/5.0 (X11)",
    ])
  }

  @Test func jsonLeavesOutWhatIsAbsent() throws {
    var entry = AccessEntry()
    entry.status = 400
    entry.fault = .httpRequestError
    entry.version = .http10
    let request = SampleRequest(target: [])
    let members = try #require(FlatJSON.parse(String(try request.line("json", entry, requestID: "").dropLast())))
    #expect(members == [
      "time": "1970-01-01T00:00:00.000000Z", "client.address": "192.0.2.7", "network.protocol.version": "1.0", "http.response.status_code": "400",
      "http.request.size": "0", "http.response.size": "0", "http.response.body.size": "0", "http.server.request.duration": "0.000000", "error.type": "http_request_error",
    ])
  }

  @Test func combinedIsAsServersOfTheFieldWriteIt() throws {
    let request = SampleRequest(target: Array("/a/b?c=d".utf8), fields: browser)
    #expect(try request.line("combined") ==
      "192.0.2.7 - - [\(localTime)] \"GET /a/b?c=d HTTP/1.1\" 200 1200 \"https://example.org/\" \"Mozilla/5.0 (X11)\"\n")
  }

  @Test func combinedEscapesAndMarksWhatIsAbsent() throws {
    let request = SampleRequest(method: "BREW", target: Array("/\"\\".utf8) + [0x01, 0xff], fields: [])
    var entry = sampleEntry
    entry.version = .http10
    #expect(try request.line("combined", entry) ==
      "192.0.2.7 - - [\(localTime)] \"BREW /\\x22\\x5c\\x01\\xff HTTP/1.0\" 200 1200 \"-\" \"-\"\n")
  }

  @Test func http2IsCalledByItsName() throws {
    let request = SampleRequest(target: Array("/a".utf8), fields: [])
    var entry = sampleEntry
    entry.version = .http2
    #expect(try request.line("$request|$protocol|$protocol_version", entry) == "GET /a HTTP/2.0|HTTP/2.0|2.0\n")
    #expect(try request.line("json", entry).contains("\"network.protocol.version\":\"2\","))
  }

  @Test func everyVariable() throws {
    let request = SampleRequest(method: "POST", target: Array("/a/b?c=d".utf8), fields: browser)
    let format = """
      $time_iso8601|$time_local|$msec|$remote_addr|$request_id|$request|$method|$uri|$path|$query|$protocol|$protocol_version|$host|\
      $status|$bytes_sent|$body_bytes_sent|$bytes_received|$duration|$upstream|$upstream_connect_time|$upstream_header_time|$attempts|\
      $fault|$route|$worker|$http_x_trace_id|$http_absent|${status}x|$$
      """
    #expect(try request.line(format) == """
      2026-01-31T23:59:59.123456Z|\(localTime)|1769903999.123|192.0.2.7|r-1|POST /a/b?c=d HTTP/1.1|POST|/a/b?c=d|/a/b|c=d|\
      HTTP/1.1|1.1|example.org|200|123456789012|1200|512|0.003000|web|0.000150|12.000601|1|-|/a/*rest|2.9|t1|-|200x|$

      """)
  }

  @Test func ownJSONFormatEscapesAsJSON() throws {
    let request = SampleRequest(target: Array("/\"".utf8))
    var entry = sampleEntry
    entry.upstreamConnect = -1
    entry.route = 1
    #expect(try request.line(#"{"u":"$uri","c":$upstream_connect_time,"f":"$fault","r":"$route"}"#, entry) ==
      #"{"u":"/\"","c":null,"f":"","r":"/\"quoted\""}"# + "\n")
  }

  @Test func anUnparsedRequestShowsItsFirstLine() throws {
    let scratch = Scratch()
    var log = AccessLog(format: try AccessLogFormat("\"$request\" $method $http_host"), descriptor: try scratch.open("a"), bufferSize: 4096)
    let head = RequestHead()
    let bytes = Array("\u{16}\u{3}garbage\r\nHost: x".utf8)
    log.append(sampleEntry, head: head, bytes: bytes.span, client: "c".utf8Span.span, requestID: "".utf8Span.span)
    log.flush()
    #expect(scratch.read("a") == "\"\\x16\\x03garbage\" - -\n")
  }

  @Test(arguments: ["example.org:8080", "example.org", "[::1]:80", "[::1]", "127.0.0.1:8080", "127.0.0.1", "h:"])
  func hostLosesItsPort(host: String) throws {
    let request = SampleRequest(target: Array("/".utf8), fields: [("Host", Array(host.utf8))])
    let expected = ["example.org:8080": "example.org", "[::1]:80": "[::1]", "127.0.0.1:8080": "127.0.0.1", "h:": "h"][host] ?? host
    #expect(try request.line("$host") == expected + "\n")
  }

  // MARK: Hostile text

  @Test func jsonStaysJSONWhateverIsSent() throws {
    let texts: [([UInt8], String)] = [
      (Array("caf\u{e9} \u{1f600}".utf8), "caf\u{e9} \u{1f600}"), ([0x61, 0xe9, 0x62], "a\u{fffd}b"), ([0xc0, 0x80], "\u{fffd}\u{fffd}"),
      ([0xed, 0xa0, 0x80], "\u{fffd}\u{fffd}\u{fffd}"), ([0xf5, 0x80], "\u{fffd}\u{fffd}"), ([0xf0, 0x9f, 0x98], "\u{fffd}\u{fffd}\u{fffd}"),
      ([0x00, 0x1f, 0x7f], "\u{0}\u{1f}\u{7f}"), (Array("\"\\\n\r\t/".utf8), "\"\\\n\r\t/"), ([0xc2, 0x9b], "\u{9b}"),
    ]
    for (bytes, expected) in texts {
      // Of every length, so that each of the copying steps meets the special byte at each place.
      for padding in 0..<34 {
        let filler = [UInt8](repeating: 0x78, count: padding)
        let request = SampleRequest(target: [0x2f], fields: [("User-Agent", filler + bytes + filler)])
        let line = try request.line("json")
        let members = try #require(FlatJSON.parse(String(line.dropLast())))
        let around = String(repeating: "x", count: padding)
        #expect(members["user_agent.original"] == around + expected + around)
        #expect(!line.dropLast().unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) })
      }
    }
  }

  @Test func plainTextOfEveryLengthIsCopied() throws {
    for length in 1..<140 {
      let text = (0..<length).map { UInt8(0x61 + $0 % 26) }
      let request = SampleRequest(target: [0x2f] + text)
      #expect(try request.line("$uri.") == "/" + String(decoding: text, as: UTF8.self) + ".\n")
    }
  }

  @Test(arguments: ["json", "combined", "$uri$uri$uri$uri$http_user_agent$status"])
  func aLineIsBounded(format: String) throws {
    for unit in [[0x78], [0x01], [0xc3, 0xa9], [0x22]] as [[UInt8]] {
      let long = Array(repeatElement(unit, count: 20_000).joined())
      let fields = [("Host", long), ("User-Agent", long), ("Referer", long)]
      let request = SampleRequest(target: [0x2f] + long, fields: fields)
      let line = try request.line(format, requestID: String(repeating: "r", count: 9000))
      #expect(line.utf8.count <= AccessProgram.lineLimit)
      #expect(line.contains("..."))
      #expect(line.last == "\n")
      if format == "json" { #expect(FlatJSON.parse(String(line.dropLast())) != nil) } else { #expect(line.contains("200")) }
    }
  }

  // MARK: Numbers

  @Test func numbersOfEverySize() throws {
    var value: UInt64 = 0
    let request = SampleRequest(target: [0x2f])
    while true {
      for near in [value, value &- 1, value &+ 1] {
        var entry = sampleEntry
        entry.bytesSent = near
        #expect(try request.line("$bytes_sent", entry) == "\(near)\n")
      }
      if value > UInt64.max / 10 { break }
      value = value == 0 ? 10 : value * 10
    }
    for micros in [0, 1, 9, 10, 99, 100, 999_999, 1_000_000, 12_345_678, 99_999_999_999_999] as [Int64] {
      var entry = sampleEntry
      entry.duration = micros
      let fraction = String(micros % 1_000_000)
      #expect(try request.line("$duration", entry) == "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count) + fraction)\n")
    }
  }
}
