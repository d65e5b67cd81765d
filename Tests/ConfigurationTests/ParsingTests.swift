// ParsingTests — the text itself: JSON and YAML, positions, what is refused.

import Configuration
import Testing

@Suite struct ParsingTests {
  @Test func jsonWithCommentsTabsAndTrailingCommas() throws {
    let text = "# head\n{\t\"bind_port\": 1, # why\n\t\"log\":{\"level\":\"warn\",},\n\t\"user\": \"a\",}\n"
    let settings = try loaded(text).settings
    #expect(settings.bindPort == 1)
    #expect(settings.log.level == .warn)
    #expect(settings.identity.user == "a")
  }

  @Test func yaml() throws {
    let settings = try loaded("bind_port: 81\nbind_host: 127.0.0.1\nlog:\n  level: debug\nupstreams:\n- name: a\n  host: b.test\n").settings
    #expect(settings.bindPort == 81)
    #expect(settings.log.level == .debug)
    #expect(settings.upstreams.map(\.host) == ["b.test"])
  }

  @Test func escapes() throws {
    func body(_ json: String) throws -> String? { try loaded("{\"routes\": [{\"path\": \"/\", \"respond\": {\"body\": \(json)}}]}").settings.routes[0].respond?.body }
    #expect(try body(#""a\/b\u00e9\n\"\\""#) == "a/bé\n\"\\")
    #expect(try body(#""\uD83D\uDE00 and \ud83d\ude01""#) == "😀 and 😁")
    #expect(try body(#""\\uD83D\\uDE00""#) == "\\uD83D\\uDE00")
    #expect(try body("\"\u{feff}😀\"".replacing("\u{feff}", with: "")) == "😀")
  }

  @Test func columnsAfterSurrogatePairs() {
    let line = #"{"user": "\uD83D\uDE00\uD83D\uDE00", "bind_port": "x"}"#
    #expect(errors(line).last == "t:1:51: error: bind_port must be a whole number (found the text \"x\")")
  }

  @Test func halfASurrogatePair() {
    let found = errors("{\n \"user\": \"\\uD83D\"}")
    #expect(found.count == 1)
    #expect(found[0].hasPrefix("t:2:"))
    #expect(found[0].contains("surrogate"))
  }

  @Test(arguments: [
    ("", "t:1:1: error: the file holds no configuration"),
    ("[]", "t:1:1: error: the configuration must be an object"),
    ("{\"a\": &x 1}", "anchors are not supported"),
    ("{\"a\": *x}", "aliases are not supported"),
    ("{\"a\": !!str 1}", "tags are not supported"),
    ("--- {}\n--- {}\n", "t:2:1: error: not valid JSON or YAML: a second document"),
    ("{[1]: 2}", "a key must be text"),
    ("{\"log\": {\"level\": \"warn\"", "not valid JSON or YAML: did not find expected"),
    ("{\"user\": \"\u{1}\"}", "control characters are not allowed"),
    ("{\"user\": \"a\", \"user\": \"b\"}", "t:1:15: error: key \"user\" is given twice; the first is at line 1, column 2"),
  ])
  func refused(_ text: String, _ message: String) {
    let found = errors(text)
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }

  @Test func invalidUTF8IsPlaced() {
    var source = ConfigurationSource()
    source.surroundings = stillMachine
    guard case .failure(let errors) = source.load(text: Array("{\n \"user\": \"".utf8) + [0xff, 0x22, 0x7d], file: "t") else {
      Issue.record("accepted")
      return
    }
    #expect(errors.errors[0].line == 2)
    #expect(errors.errors[0].column == 11)
  }

  @Test func depthIsBounded() {
    #expect(errors(String(repeating: "[", count: 5000)).contains { $0.contains("64 levels") })
  }

  @Test func byteOrderMarkIsSkipped() throws {
    #expect(try loaded("\u{feff}{\"bind_port\": 5}").settings.bindPort == 5)
  }

  /// Whatever the bytes, there is an answer; and what is accepted is dumped so that it reads the same.
  @Test func arbitraryBytes() {
    var random = Seeded(4)
    let seed = Array(
      ##"{"$schema":"x","listeners":[{"host":"::","port":80}],"log":{"level":"warn"},"upstreams":[{"name":"a","host":"b","pool":{"idle_timeout_sec":"250ms"},"proxy":{"route_prefix":"/a/:b([0-9]+)/*c"}}],"routes":[{"path":"/x","respond":{"headers":{"A":["b","c"]},"body":"\uD83D\uDE00"}}]} # c"##
        .utf8)
    fuzzConfiguration(seed)
    for _ in 0..<2000 {
      var bytes = seed
      for _ in 0...random.below(4) {
        let at = random.below(bytes.count)
        switch random.below(4) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: at)
        case 2: bytes.insert(Array("{}[]:,\"'#&*!|>-\n\t\\0".utf8)[random.below(19)], at: at)
        default: bytes.removeSubrange(at..<min(bytes.count, at + random.below(20)))
        }
        if bytes.isEmpty { bytes = [0x7b] }
      }
      fuzzConfiguration(bytes)
    }
  }
}
