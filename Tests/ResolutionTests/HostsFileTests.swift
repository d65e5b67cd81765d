// /etc/hosts: what is understood of it, and what is passed over.

import Kernel
import Testing

@testable import Resolution

@Suite struct HostsFileTests {
  private func read(_ text: String, _ wanted: Set<String>) -> [String: [String]] {
    HostsFile.addresses(in: Array(text.utf8), of: wanted).mapValues { $0.map(\.text) }
  }

  @Test func findsNamesAndAliases() {
    let text = "127.0.0.1\tlocalhost\n10.0.0.1 App.Example app # the first\n::1 localhost ip6-localhost\n10.0.0.2 app.example.\r\n#10.0.0.3 app\n"
    #expect(read(text, ["app.example", "app", "localhost"]) == ["app.example": ["10.0.0.1", "10.0.0.2"], "app": ["10.0.0.1"], "localhost": ["127.0.0.1", "::1"]])
  }

  @Test func passesOverWhatIsNotUnderstood() {
    let text = "nonsense app\n10.0.0 app\n10.0.0.1\n\n0.0.0.0 app\nfe80::1%eth0 app\nfe80::1 app\n\u{0} app\n10.0.0.9 app"
    #expect(read(text, ["app"]) == ["app": ["10.0.0.9"]])
    #expect(read(text, []).isEmpty)
  }

  @Test func countsARepeatedAddressOnce() {
    #expect(read("10.0.0.1 app app\n10.0.0.1 app", ["app"]) == ["app": ["10.0.0.1"]])
  }

  @Test func keepsABoundedNumber() {
    let text = (0..<1000).map { "10.0.\($0 / 250).\($0 % 250 + 1) app\n" }.joined()
    #expect(read(text, ["app"])["app"]?.count == NameState.addressLimit)
  }
}
