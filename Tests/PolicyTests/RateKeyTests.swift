// Keys of rate limits, and the cookies they look for.

import Testing

@testable import Policy

@Suite struct RateKeyTests {
  @Test func parts() throws {
    #expect(try RateKey(parsing: "client_ip").parts == [.clientAddress])
    #expect(try RateKey(parsing: "path+header:X-Api-Key+cookie:SID+tls_subject").parts == [.path, .header("x-api-key"), .cookie("SID"), .tlsSubject])
    #expect(try RateKey(parsing: "param:id+client_ip").parts == [.routeParameter("id"), .clientAddress])
    for text in ["", "+", "client_ip+", "header:", "param:", "param:a/b", "header:a b", "cookie:a;b", "Path", "client_ip+path+header:a+header:b+header:c"] {
      #expect(throws: RateKeyError.self) { try RateKey(parsing: text) }
    }
  }

  @Test(arguments: [
    ("a=1", "a", "1"), ("b=2; a=1", "a", "1"), ("a=1; a=2", "a", "1"), ("aa=2;a=1", "a", "1"), ("a=", "a", ""), ("a=b=c; d", "a", "b=c"),
    ("a", "a", nil), ("=1", "a", nil), ("", "a", nil), (";;; a=1  ;", "a", "1"), ("ba=1", "a", nil), ("a =1", "a", nil),
  ] as [(String, String, String?)])
  func cookies(_ field: String, _ name: String, _ value: String?) {
    let bytes = Array(field.utf8), wanted = Array(name.utf8)
    let range = bytes.span.cookie(named: wanted.span)
    #expect(range.map { String(decoding: bytes[$0], as: UTF8.self) } == value)
  }
}
