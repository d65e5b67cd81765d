// GeneratedTests — the files made from the tables of settings and faults are those in the tree. With GATEWAY_REGENERATE=1 they are written anew.

import Configuration
import Glibc
import HTTPModel
import Testing

@Suite struct GeneratedTests {
  /// The root of the repository, from this file's path.
  private static let root = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")

  private func compare(_ path: String, _ text: String) {
    let path = Self.root + "/" + path
    if unsafe getenv("GATEWAY_REGENERATE").map({ unsafe String(cString: $0) }) == "1" {
      guard let file = unsafe fopen(path, "w") else {
        Issue.record("\(path) cannot be written")
        return
      }
      #expect(unsafe fputs(text, file) >= 0)
      unsafe fclose(file)
      return
    }
    #expect(Self.read(path) == text, "\(path) is not what the table makes; run the tests with GATEWAY_REGENERATE=1")
  }

  private static func read(_ path: String) -> String? {
    guard let file = unsafe fopen(path, "r") else { return nil }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = unsafe getc(file), byte >= 0 { bytes.append(UInt8(byte)) }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func schema() { compare("etc/gateway.schema.json", JSONSchema.text) }
  @Test func reference() { compare("docs/configuration.md", ConfigurationReference.markdown) }
  @Test func faults() { compare("docs/faults.md", FaultReference.markdown) }
  @Test func sample() { compare("etc/gateway.json", ConfigurationReference.sample) }

  /// The reference configuration differs from the defaults in its example upstream only.
  @Test func sampleIsValid() throws {
    var settings = try loaded(ConfigurationReference.sample).settings
    #expect(settings.upstreams.count == 1)
    var upstream = settings.upstreams[0]
    #expect(upstream.name == "demo" && upstream.routePrefix == "/api")
    upstream.routePrefix = ""
    var expected = UpstreamSettings()
    (expected.name, expected.host, expected.port) = ("demo", "127.0.0.1", 9001)
    #expect(upstream == expected)
    settings.upstreams = []
    #expect(settings == Settings())
  }

  /// Each fault is named once, and no text breaks the table it stands in.
  @Test func everyFaultIsListed() {
    let lines = FaultReference.markdown.split(separator: "\n")
    for row in FaultRow.table where row.fault != .none {
      let own = lines.filter { $0.hasPrefix("| `\(row.token)` |") }
      #expect(own.count == 1, "\(row.token)")
      #expect(own.allSatisfy { $0.split(separator: "|").count == 5 }, "\(row.token)")
    }
  }
}
