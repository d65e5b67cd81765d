// FilePathTests — names of files from paths: decoded once, and never out of their directory.

import Memory
import Testing

@testable import Policy

@Suite struct FilePathTests {
  private func name(_ path: String, hidden: Bool = false) -> (FilePath, String) {
    var output = Buffer(capacity: FilePath.limit + 1)
    let bytes = Array(path.utf8)
    let outcome = FilePath.name(bytes.span, allowsHidden: hidden, into: &output)
    let text = output.bytes
    return (outcome, String(decoding: text.indices.map { text[$0] }, as: UTF8.self))
  }

  @Test(arguments: [
    ("/", FilePath.folder, ""), ("/a", .file, "a"), ("/a/", .folder, "a"), ("/a/b.txt", .file, "a/b.txt"), ("/a%20b", .file, "a b"), ("/%C3%A4", .file, "ä"),
    ("/100%25", .file, "100%"), ("/%252e%252e/x", .file, "%2e%2e/x"), ("/.well-known/x", .file, ".well-known/x"), ("/a..b/c.", .file, "a..b/c."),
  ])
  func names(_ path: String, _ outcome: FilePath, _ expected: String) {
    let (found, text) = name(path)
    #expect(found == outcome && text == expected, "\(found) \(text)")
  }

  @Test(arguments: [
    "", "a", "//", "/a//b", "/..", "/.", "/a/..", "/a/../b", "/%2e%2e/x", "/%2E", "/.%2e/x", "/a%2fb", "/%2fetc", "/a%00", "/a\\b", "/a%5cb", "/.git", "/a/.hidden",
    "/.well-known/.x", "/a/.well-known/x", "/...", "/a%", "/a%2", "/a%zz", "/" + String(repeating: "a", count: 4095),
  ])
  func refused(_ path: String) { #expect(name(path).0 == .refused) }

  @Test func hiddenOnesWhereAllowed() {
    #expect(name("/.git/config", hidden: true).0 == .file && name("/...", hidden: true).0 == .file)
    for path in ["/..", "/.", "/a/..", "/%2e%2e/x"] { #expect(name(path, hidden: true).0 == .refused) }
  }

  @Test func mediaTypes() {
    let types = MediaTypes(own: [("foo", "text/x-foo"), ("css", "application/x-css")])
    func type(_ name: String) -> String {
      let bytes = Array(name.utf8)
      let place = types.type(of: bytes.span), text = types.text.bytes
      return String(decoding: (place.lower..<place.upper).map { text[$0] }, as: UTF8.self)
    }
    for (file, expected) in [
      ("a.html", "text/html; charset=utf-8"), ("a.b/c.JPG", "image/jpeg"), ("x.foo", "text/x-foo; charset=utf-8"), ("x.css", "application/x-css"), ("a", "application/octet-stream"),
      ("a.b/c", "application/octet-stream"), ("a.", "application/octet-stream"), (".html", "text/html; charset=utf-8"), ("a.toolongextension", "application/octet-stream"),
      ("a.woff2", "font/woff2"), ("a.tar.gz", "application/gzip"), ("a.h\u{e4}", "application/octet-stream"),
    ] {
      let found = type(file)
      #expect(found == expected, "\(file)")
    }
  }
}
