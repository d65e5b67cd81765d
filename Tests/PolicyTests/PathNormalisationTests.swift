// Tests of the normal form of paths: a table of cases, and properties against a slow, plain reference.

import Memory
import Testing

@testable import Policy

@Suite struct PathNormalisationTests {
  @Test(arguments: [
    "/", "/a", "/a/", "/api/users/42", "/.well-known/acme", "/..a", "/a..", "/...", "/a.b/c-d_e~f", "/a/.b/..c/d",
    "/a:b@c!d$e&f'g(h)i*j+k,l;m=n", "/%20", "/a%25b", "/%C3%A9", "/%5B%7B", "*", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/b",
    "/1234567890123456", "/12345678901234/.b", "/a;b", "/a;", "/...;x", "/%3B",
  ])
  func keeps(_ path: String) {
    #expect(outcome(path) == .unchanged)
  }

  @Test(arguments: [
    ("", "/"), ("//", "/"), ("///a//b///", "/a/b/"), ("/.", "/"), ("/./", "/"), ("/a/.", "/a/"), ("/a/./b", "/a/b"), ("/a/..", "/"),
    ("/a/../", "/"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/../c", "/a/c"), ("/a//../b", "/b"), ("/a/b/c/../../d", "/a/d"), ("/a/../b/..", "/"),
    ("/%61", "/a"), ("/%7Euser", "/~user"), ("/%2d%2D", "/--"), ("/a%2e", "/a."), ("/%2e/a", "/a"), ("/a/%2E%2e/b", "/b"), ("/a/.%2e", "/"),
    ("/%2e%2e%2e", "/..."), ("/%c3%a9", "/%C3%A9"), ("/%3a", "/%3A"), ("/%252e%252e", "/%252e%252e"), ("/%25%32%65", "/%252e"), ("/é", "/%C3%A9"),
    ("/a|b", "/a%7Cb"), ("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"), ("/123456789012345//x", "/123456789012345/x"),
    ("/12345678901234/./x", "/12345678901234/x"), ("/a/.;/../..a/%2e./b", "nil"),
  ])
  func rewrites(_ path: String, _ expected: String) {
    #expect(normalised(path) ?? "nil" == expected)
  }

  @Test(arguments: [
    "a", "a/b", "?", "**", "/..", "/../a", "/a/../..", "/./..", "//..", "/%2e%2e", "/.%2E/", "/%", "/%2", "/%zz", "/%2g", "/%g2", "/a%", "/%00", "/%0a",
    "/%1F", "/%7f", "/%2f", "/a%2Fb", "/a\\b", "/%5c", "/%5C..", "/a b", "/\t", "/\u{7f}", "/a?b", "/a#b", "/.;", "/..;", "/..;/a", "/a/..;x/b", "/%2e%2e;",
    "/1234567890123456\u{1}", "/123456789012345\u{1}", "/12345678\\",
  ])
  func rejects(_ path: String) {
    #expect(outcome(path) == .rejected)
  }

  @Test func rejectsWhatDoesNotFit() {
    for capacity in 0...5 {
      var output = Buffer(capacity: capacity)
      let outcome = normalisePath(Array("/\u{e9}".utf8).span, into: &output), count = output.count
      #expect(outcome == .rejected && count <= capacity)
    }
    var empty = Buffer(capacity: 0)
    let outcome = normalisePath(Array("".utf8).span, into: &empty)
    #expect(outcome == .rejected)
  }

  @Test func findsEveryIrregularByteAtEveryPlace() {
    for size in 1...50 {
      for place in 1..<max(size, 2) where place < size {
        for byte in UInt8.min...UInt8.max {
          var path = [UInt8](repeating: UInt8(ascii: "a"), count: size)
          path[0] = .slash
          path[place] = byte
          let isPlain = byte.rawSpelling == .plain && !(place == 1 && (byte == .slash || (byte == .dot && size == 2)))
          #expect((firstIrregular(path) == size) == isPlain)
        }
      }
    }
  }

  @Test func agreesWithTheReference() {
    let pieces = [
      "/", "/", "/", ".", "..", "/.", "/..", "/../", "a", "b", "xyz", "%2e", "%2E", "%41", "%7e", "%c3%a9", "%20", "%3b", ";", "@", "_", "é", "{", "0123456789abcdef", "=",
    ]
    let bad = ["%", "%2", "%zz", "%2f", "\\", " ", "\u{1}", "%00", "?", "#"]
    var dice = Dice(1)
    for _ in 0..<30_000 {
      var path = dice.roll(20) == 0 ? "" : "/"
      for _ in 0..<dice.roll(12) { path += dice.roll(60) == 0 ? dice.pick(bad) : dice.pick(pieces) }
      let bytes = Array(path.utf8)
      let result = normalised(bytes)
      #expect(result == reference(bytes), "\(path)")
      if let result {
        #expect(outcome(String(decoding: result, as: UTF8.self)) == .unchanged, "\(path)")
      }
      fuzzPath(bytes.span)
    }
  }

  @Test func arbitraryBytes() {
    var dice = Dice(2)
    for _ in 0..<5_000 {
      var bytes: [UInt8] = [.slash]
      for _ in 0..<dice.roll(40) { bytes.append(UInt8(dice.roll(256))) }
      #expect(normalised(bytes) == reference(bytes))
      fuzzPath(bytes.span)
    }
  }

  /// The normal form, step by step and without an eye to cost.
  private func reference(_ path: [UInt8]) -> [UInt8]? {
    let unreserved = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8), others = Set("!$&'()*+,;=:@/".utf8)
    let escapable = Set("\"<>[]^`{|}".utf8)
    if path.isEmpty { return Array("/".utf8) }
    if path == Array("*".utf8) { return path }
    guard path[0] == UInt8(ascii: "/") else { return nil }
    // 1. One spelling for every byte.
    var spelt: [UInt8] = [], rest = path[...]
    func escape(_ byte: UInt8) -> [UInt8] {
      let digits = String(byte, radix: 16, uppercase: true)
      return Array(("%" + (digits.utf8.count < 2 ? "0" : "") + digits).utf8)
    }
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%") {
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit), let value = UInt8(digits, radix: 16) else { return nil }
        rest = rest.dropFirst(2)
        if value < 0x20 || value == 0x7f || value == UInt8(ascii: "/") || value == UInt8(ascii: "\\") { return nil }
        spelt += unreserved.contains(value) ? [value] : escape(value)
      } else if unreserved.contains(byte) || others.contains(byte) {
        spelt.append(byte)
      } else if byte >= 0x80 || escapable.contains(byte) {
        spelt += escape(byte)
      } else {
        return nil
      }
    }
    // 2. No empty segments but a last one.
    var segments = spelt.split(separator: .slash, omittingEmptySubsequences: true).map(Array.init)
    if spelt.last == .slash { segments.append([]) }
    // 3. No dot segments.
    var result: [[UInt8]] = []
    for (index, segment) in segments.enumerated() {
      let name = String(decoding: segment, as: UTF8.self), isLast = index == segments.count - 1
      if name.hasPrefix(".;") || name.hasPrefix("..;") { return nil }
      if name == ".." {
        guard result.popLast() != nil else { return nil }
      } else if name != "." {
        result.append(segment)
        continue
      }
      if isLast { result.append([]) }
    }
    return [.slash] + result.joined(separator: [.slash])
  }
}
