// RequestTables — request heads that are accepted and request heads that are refused, by name.

import HTTPModel
import Testing

/// A head and what it must be refused as.
struct RefusedRequest: Sendable, CustomTestStringConvertible {
  let name: String
  let text: [UInt8]
  let fault: Fault

  init(_ name: String, _ text: String, _ fault: Fault = .httpRequestError) {
    self.name = name
    self.text = bytes(text)
    self.fault = fault
  }

  var testDescription: String { name }

  private static let host = "Host: a.example\r\n"

  /// Field lines that make a head malformed, wherever they stand.
  static let fieldLines: [(String, String)] = [
    ("blank before the colon", "X : y\r\n"),
    ("tab before the colon", "X\t: y\r\n"),
    ("blank before the name", " X: y\r\n"),
    ("obs-fold with a blank", "X: y\r\n z\r\n"),
    ("obs-fold with a tab", "X: y\r\n\tz\r\n"),
    ("no colon", "X\r\n"),
    ("no name", ": y\r\n"),
    ("a name with a slash", "X/Y: z\r\n"),
    ("a name in quotes", "\"X\": z\r\n"),
    ("a name with a byte above ASCII", "X\u{e9}: z\r\n"),
    ("NUL in a name", "X\0: y\r\n"),
    ("NUL in a value", "X: a\0b\r\n"),
    ("a control character in a value", "X: a\u{1}b\r\n"),
    ("DEL in a value", "X: a\u{7f}b\r\n"),
    ("escape in a value", "X: \u{1b}[31m\r\n"),
    ("a bare CR in a value", "X: a\rb\r\n"),
    ("a bare CR at the end of a value", "X: a\r\r\n"),
    ("a bare LF after a value", "X: a\n"),
    ("a bare LF within a value", "X: a\nY: b\r\n"),
    ("a bare CR in a name", "X\rY: z\r\n"),
  ]

  static let all: [RefusedRequest] = startLines + framing + hosts + duplicates + fields + others

  private static let startLines = [
    RefusedRequest("HTTP/0.9", "GET /\r\n\r\n"),
    RefusedRequest("no target", "GET  HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("two blanks after the method", "GET  / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("two blanks before the version", "GET /  HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a blank after the version", "GET / HTTP/1.1 \r\n\(host)\r\n"),
    RefusedRequest("a blank before the method", " GET / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a tab for a blank", "GET\t/ HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a blank in the target", "GET /a b HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a tab in the target", "GET /a\tb HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("NUL in the target", "GET /a\0b HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("DEL in the target", "GET /a\u{7f}b HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("CR in the target", "GET /a\rb HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("no method", " / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a method that is no token", "G(T / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a method in quotes", "\"GET\" / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a bare LF after the request line", "GET / HTTP/1.1\n\(host)\r\n"),
    RefusedRequest("a bare CR after the request line", "GET / HTTP/1.1\r\(host)\r\n"),
    RefusedRequest("only bare LFs", "GET / HTTP/1.1\nHost: a.example\n\n"),
    RefusedRequest("no version", "GET / \r\n\(host)\r\n"),
    RefusedRequest("half a version", "GET / HTTP/1\r\n\(host)\r\n"),
    RefusedRequest("a version in lower case", "GET / http/1.1\r\n\(host)\r\n"),
    RefusedRequest("a version with letters", "GET / HTTP/1.x\r\n\(host)\r\n"),
    RefusedRequest("a version with more digits", "GET / HTTP/1.10\r\n\(host)\r\n"),
    RefusedRequest("a version with a comma", "GET / HTTP/1,1\r\n\(host)\r\n"),
    RefusedRequest("another protocol", "GET / HTCP/1.1\r\n\(host)\r\n"),
    RefusedRequest("HTTP/2.0", "GET / HTTP/2.0\r\n\(host)\r\n", .versionNotSupported),
    RefusedRequest("HTTP/1.2", "GET / HTTP/1.2\r\n\(host)\r\n", .versionNotSupported),
    RefusedRequest("HTTP/3.0", "GET / HTTP/3.0\r\n\(host)\r\n", .versionNotSupported),
    RefusedRequest("HTTP/0.9 by name", "GET / HTTP/0.9\r\n\(host)\r\n", .versionNotSupported),
    RefusedRequest("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .versionNotSupported),
    RefusedRequest("five empty lines first", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a bare LF first", "\nGET / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a bare CR first", "\rGET / HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n"),
    RefusedRequest("CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", .methodNotImplemented),
    RefusedRequest("a fragment", "GET /a#b HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a fragment after the query", "GET /a?b#c HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a relative target", "GET a HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("an authority as target", "GET a.example:80 HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("an asterisk but not OPTIONS", "GET * HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("an asterisk and more", "OPTIONS *a HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("another scheme", "GET ftp://a.example/ HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a scheme without an authority", "GET http:///a HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a user in the authority", "GET http://u@a.example/ HTTP/1.1\r\n\(host)\r\n"),
    RefusedRequest("a bad port in the authority", "GET http://a.example:x/ HTTP/1.1\r\n\(host)\r\n"),
  ]

  private static let framing = [
    RefusedRequest("length and chunks", "POST / HTTP/1.1\r\n\(host)Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    RefusedRequest("chunks and length", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
    RefusedRequest("chunks and length zero", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
    RefusedRequest("lengths that differ", "POST / HTTP/1.1\r\n\(host)Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    RefusedRequest("lengths that agree", "POST / HTTP/1.1\r\n\(host)Content-Length: 1\r\ncontent-length: 1\r\n\r\n"),
    RefusedRequest("a list of lengths", "POST / HTTP/1.1\r\n\(host)Content-Length: 1, 1\r\n\r\n"),
    RefusedRequest("an empty length", "POST / HTTP/1.1\r\n\(host)Content-Length: \r\n\r\n"),
    RefusedRequest("a negative length", "POST / HTTP/1.1\r\n\(host)Content-Length: -1\r\n\r\n"),
    RefusedRequest("a length with a plus", "POST / HTTP/1.1\r\n\(host)Content-Length: +1\r\n\r\n"),
    RefusedRequest("a length in hexadecimal", "POST / HTTP/1.1\r\n\(host)Content-Length: 0x1\r\n\r\n"),
    RefusedRequest("a length with a blank", "POST / HTTP/1.1\r\n\(host)Content-Length: 1 1\r\n\r\n"),
    RefusedRequest("a fractional length", "POST / HTTP/1.1\r\n\(host)Content-Length: 1.0\r\n\r\n"),
    RefusedRequest("a length of nineteen digits", "POST / HTTP/1.1\r\n\(host)Content-Length: 1000000000000000000\r\n\r\n"),
    RefusedRequest("a length beyond 64 bits", "POST / HTTP/1.1\r\n\(host)Content-Length: 99999999999999999999\r\n\r\n"),
    RefusedRequest("identity", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: identity\r\n\r\n", .methodNotImplemented),
    RefusedRequest("gzip and chunked", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: gzip, chunked\r\n\r\n", .methodNotImplemented),
    RefusedRequest("chunked and gzip", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked, gzip\r\n\r\n", .methodNotImplemented),
    RefusedRequest("chunked twice in a list", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked, chunked\r\n\r\n", .methodNotImplemented),
    RefusedRequest("chunked with a parameter", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked;a=b\r\n\r\n", .methodNotImplemented),
    RefusedRequest("chunked in quotes", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: \"chunked\"\r\n\r\n", .methodNotImplemented),
    RefusedRequest("almost chunked", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: xchunked\r\n\r\n", .methodNotImplemented),
    RefusedRequest("an empty coding", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding:\r\n\r\n"),
    RefusedRequest("chunked twice", "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    RefusedRequest("chunks in HTTP/1.0", "POST / HTTP/1.0\r\n\(host)Transfer-Encoding: chunked\r\n\r\n"),
  ]

  private static let hosts = [
    RefusedRequest("no Host", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    RefusedRequest("no field at all", "GET / HTTP/1.1\r\n\r\n"),
    RefusedRequest("no Host beside an absolute target", "GET http://a.example/ HTTP/1.1\r\n\r\n"),
    RefusedRequest("two Hosts", "GET / HTTP/1.1\r\n\(host)Host: b.example\r\n\r\n"),
    RefusedRequest("two equal Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n\(host)\(host)\r\n"),
  ] + [
    "", "a b", "a,b", "a/b", "a@b", "a?b", "a#b", "http://a", "a\\b", "a%20b", ":80", "a:b", "a:80:80", "a:123456", "a:-1", "[::1", "::1", "[]", "[]:80",
    "[::1]80", "[::1]:x", "[::1]:123456", "[::g]", "[[::1]]", "[a", "a]", "a[b]", "\u{e9}.example",
  ].map { RefusedRequest("the host '\($0)'", "GET / HTTP/1.1\r\nHost: \($0)\r\n\r\n") }

  private static let duplicates = ["Authorization", "Content-Type", "Content-Length", "Content-Range", "Content-Disposition"].map {
    RefusedRequest("two fields called \($0)", "POST / HTTP/1.1\r\n\(host)\($0): 1\r\n\($0.lowercased()): 1\r\n\r\n")
  }

  private static let fields = fieldLines.flatMap { name, line in
    [
      RefusedRequest("\(name), first", "GET / HTTP/1.1\r\n\(line)\(host)\r\n"),
      RefusedRequest("\(name), last", "GET / HTTP/1.1\r\n\(host)\(line)\r\n"),
      RefusedRequest("\(name), far from the start", "GET / HTTP/1.1\r\n\(host)Cookie: abcdefghijklmnopqrstuvwxyz0123456789\r\n\(line)\r\n"),
    ]
  }

  private static let others = [
    RefusedRequest("garbage", "hello\r\n\r\n"),
    RefusedRequest("an SSH greeting", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    RefusedRequest("a bare LF at the end", "GET / HTTP/1.1\r\n\(host)\n"),
    RefusedRequest("a bare CR at the end", "GET / HTTP/1.1\r\n\(host)\rX"),
  ]
}

/// Heads that are accepted.
enum AcceptedRequest {
  static let browser = """
    GET /index.html?a=b HTTP/1.1\r
    Host: www.example.com\r
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
    Accept-Language: en-US,en;q=0.5\r
    Accept-Encoding: gzip, deflate, br\r
    Referer: https://www.example.com/\r
    Cookie: session=0123456789abcdef; theme=dark\r
    Connection: keep-alive\r
    Upgrade-Insecure-Requests: 1\r
    \r

    """

  static let all: [Sample] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b.example:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /p?q=1 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nContent-Length: 999999999999999999\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTE: gzip, trailers\r\nTrailer: x\r\n\r\n",
    "PUT /p HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 0\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n",
    "GET /\u{e9}?\u{e9} HTTP/1.1\r\nHost:a\r\nX:\r\nY: \r\nZ:\t \tv w \t\r\nA:b\r\nX: caf\u{e9} \"quoted\"\r\n\r\n",
    Sample(stringLiteral: browser),
  ]
}
