// RequestMeaningTests — what single fields of a request head say about the connection and the body.

import HTTPModel
import Testing

@testable import Wire

@Suite struct RequestMeaningTests {
  private func head(_ fields: String, version: String = "HTTP/1.1", host: Bool = true) -> RequestText {
    let (outcome, head) = parseRequest("POST /p \(version)\r\n\(host ? "Host: a\r\n" : "")\(fields)\r\n")
    if case .complete = outcome {} else { Issue.record("\(outcome): \(fields)") }
    return head
  }

  @Test(arguments: [
    ("", true, false), ("Connection: keep-alive\r\n", true, true), ("Connection: close\r\n", false, false), ("Connection: CLOSE\r\n", false, false),
    ("Connection: close, keep-alive\r\n", false, false), ("Connection: keep-alive\r\nConnection: close\r\n", false, false),
    ("Connection: Keep-Alive, X-A\r\n", true, true), ("Connection: x-close\r\n", true, false), ("Connection: \r\n", true, false),
    ("Connection: ,close,\r\n", false, false), ("Connection: upgrade\r\n", true, false),
  ] as [(Sample, Bool, Bool)])
  func persistence(_ sample: Sample, _ in11: Bool, _ in10: Bool) {
    let fields = sample.text
    #expect(head(fields).flags.contains(.persistent) == in11)
    #expect(head(fields, version: "HTTP/1.0").flags.contains(.persistent) == in10)
    #expect(head(fields).flags.contains(.version11) && !head(fields, version: "HTTP/1.0").flags.contains(.version11))
  }

  @Test func connectionOptions() {
    #expect(!head("Connection: keep-alive, close\r\n").flags.contains(.namesConnectionFields))
    #expect(head("Connection: X-A\r\n").flags.contains(.namesConnectionFields))
    #expect(head("Connection: close, X-A\r\n").flags.isSuperset(of: [.saysClose, .namesConnectionFields]))
    #expect(head("Connection: keep-alive\r\nConnection: te\r\n").flags.isSuperset(of: [.saysKeepAlive, .namesConnectionFields]))
  }

  @Test func expectations() {
    #expect(head("Expect: 100-continue\r\n").flags.contains(.expectsContinue))
    #expect(head("Expect: 100-CONTINUE\r\n").flags.contains(.expectsContinue))
    for other in ["", "101", "100-continue, x", "x", "100-continue;a"] {
      let flags = head("Expect: \(other)\r\n").flags
      #expect(flags.contains(.expectsUnknown) && !flags.contains(.expectsContinue), "\(other)")
    }
    #expect(head("").flags.isDisjoint(with: [.expectsContinue, .expectsUnknown]))
  }

  @Test func trailers() {
    #expect(head("TE: trailers\r\n").flags.contains(.acceptsTrailers))
    #expect(head("TE: gzip;q=0.5, Trailers\r\n").flags.contains(.acceptsTrailers))
    #expect(!head("TE: gzip\r\n").flags.contains(.acceptsTrailers))
    #expect(head("Trailer: X-Sum\r\n").flags.contains(.announcesTrailers))
  }

  @Test func bodies() {
    #expect(head("").body == .none)
    #expect(head("Content-Length: 0\r\n").body == .length(0))
    #expect(head("Content-Length: 42\r\n").body == .length(42))
    #expect(head("Content-Length: \t 42 \t\r\n").body == .length(42))
    #expect(head("Content-Length: 999999999999999999\r\n").body == .length(999_999_999_999_999_999))
    #expect(head("Transfer-Encoding: chunked\r\n").body == .chunked)
    #expect(head("transfer-encoding:CHUNKED\r\n").body == .chunked)
  }

  @Test func oldClientsNeedNoHost() {
    #expect(head("", version: "HTTP/1.0", host: false).host == "")
    #expect(head("Host: b:80\r\n", version: "HTTP/1.0", host: false).host == "b:80")
  }

  @Test(arguments: ["a", "a.example", "a.example.", "A-b_c~d", "127.0.0.1", "a:80", "a:", "a:00080", "a:65535", "[::1]", "[::1]:8080", "[::ffff:1.2.3.4]", "[2001:DB8::F]:"])
  func goodHosts(_ host: String) {
    #expect(parseRequest("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n").head.host == host)
    #expect(parseRequest("GET http://\(host)/x HTTP/1.1\r\nHost: other\r\n\r\n").head.host == host)
  }

  @Test func blanksAroundValuesAreNoPartOfThem() {
    let text = head("A:b\r\nB: c\r\nC:  d\r\nD:\te\t\r\nE: f g \r\nF:\r\nG: \r\nH:\t \t\r\n")
    #expect(text.fields == ["Host=a", "A=b", "B=c", "C=d", "D=e", "E=f g", "F=", "G=", "H="])
  }

  @Test func fieldsKeepTheirOrderAndTheirDuplicates() {
    #expect(head("Cookie: a\r\nX: 1\r\ncookie: b\r\nX: 2\r\n").fields == ["Host=a", "Cookie=a", "X=1", "cookie=b", "X=2"])
  }

  @Test func valuesMayHoldAnyTextButControlCharacters() {
    for byte in UInt8.min...UInt8.max {
      let text = bytes("GET / HTTP/1.1\r\nHost: a\r\nX: a") + [byte] + bytes("b\r\n\r\n")
      let isText = byte == 0x09 || (byte >= 0x20 && byte != 0x7f)
      #expect(parseRequest(text).outcome == (isText ? .complete(text.count) : .rejected(.httpRequestError)), "\(byte)")
    }
  }

  @Test func namesAreTokens() {
    let tokens = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for byte in UInt8.min...UInt8.max where byte != 0x3a {
      for prefix in ["", "n", "a-name-longer-than-a-vector"] {
        let text = bytes("GET / HTTP/1.1\r\nHost: a\r\n\(prefix)") + [byte] + bytes("n: b\r\n\r\n")
        #expect(parseRequest(text).outcome == (tokens.utf8.contains(byte) ? .complete(text.count) : .rejected(.httpRequestError)), "\(byte)")
      }
    }
  }

  @Test func methodsAreTokens() {
    let tokens = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for byte in UInt8.min...UInt8.max where byte != 0x20 {
      let text = bytes("A") + [byte] + bytes("B / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(parseRequest(text).outcome == (tokens.utf8.contains(byte) ? .complete(text.count) : .rejected(.httpRequestError)), "\(byte)")
    }
    for method in Method.allCases where method != .other && method != .connect {
      let head = parseRequest("\(method.name) / HTTP/1.1\r\nHost: a\r\n\r\n").head
      #expect(head.method == method && head.methodText == "\(method.name)")
    }
    #expect(parseRequest("get / HTTP/1.1\r\nHost: a\r\n\r\n").head.method == .other)
  }
}
