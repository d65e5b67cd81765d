// PreloadLinksTests — which targets a Link field wants preloaded, and which of them lie in an origin.

import HTTPModel
import Memory
import Testing
import Wire

@Suite struct PreloadLinksTests {
  @Test(arguments: [
    ("</a>; rel=preload", ["/a"]), ("</a>;rel=\"preload\"", ["/a"]), ("</a>; rel=\"x preload y\"", ["/a"]), ("</a>; as=script ; REL = PreLoad", ["/a"]),
    ("</a>; rel=preload, </b>;rel=preload", ["/a", "/b"]), (" ,, </a>; rel=preload,", ["/a"]), ("</a>;title=\"a,b;\\\"<c>\";rel=preload", ["/a"]),
    ("</a>; rel=preload; nopush", []), ("</a>; nopush; rel=preload, </b>; rel=preload", ["/b"]), ("</a>; rel=preloaded", []), ("</a>; rel=next; rel=preload", []),
    ("</a>", []), ("", []), ("<", []), ("</a", []), ("/a; rel=preload", []), ("</a>; rel", []), ("</a>; rel=", []), ("</a>; rel=\"preload", ["/a"]),
    ("</a>; rel=\"\\", []), ("</a>;;; rel=preload", ["/a"]), ("</a> x; rel=preload", []), ("<>; rel=preload, </b>; rel=preload", ["/b"]),
  ])
  func whatIsWanted(_ value: String, _ expected: [String]) {
    let bytes = Array(value.utf8)
    var links = PreloadLinks(Extent(0..<bytes.count)), found: [String] = []
    while let target = links.next(bytes.span) { found.append(String(decoding: bytes[target.lower..<target.upper], as: UTF8.self)) }
    #expect(found == expected)
  }

  @Test(arguments: [
    ("/", "/"), ("/a?b", "/a?b"), ("/a#b", "/a"), ("https://Host:1/a", "/a"), ("HTTPS://host:1/", "/"), ("https://host:1", nil), ("https://host:12/", nil),
    ("https://host/", nil), ("http://host:1/a", nil), ("//host:1/a", nil), ("https://host:1//a", nil), ("a", nil), ("", nil), ("#a", nil), ("/a b", nil), ("/\u{7f}", nil), ("/é", nil),
  ])
  func whatLiesInTheOrigin(_ target: String, _ expected: String?) {
    let bytes = Array(target.utf8), authority = Array("host:1".utf8)
    let range = bytes.span.path(in: "https://", authority.span)
    #expect(range.map { String(decoding: bytes[$0], as: UTF8.self) } == expected)
  }
}
