// Commands as they go over the wire.

import Memory
import Testing

@testable import RateStore

@Suite struct StoreCommandTests {
  private static func text(_ buffer: borrowing Buffer) -> String {
    var bytes: [UInt8] = []
    for index in buffer.bytes.indices { bytes.append(buffer.bytes[index]) }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func questions() {
    let zone = StoreZone(prefix: "gw", zone: "per client/ä", rate: 1500, capacity: 20, salt: "client_ip/64")
    var output = Buffer(capacity: 8192)
    let digest = KeyDigest(high: 0x0123_4567_89ab_cdef, low: 1)
    StoreCommand.ask(zone, digest, cost: 1, wanted: 10, withScript: false, to: &output)
    let key = "gw:rate:per%20client%2F%C3%A4:0123456789abcdef0000000000000001"
    #expect(
      Self.text(output)
        == "*8\r\n$7\r\nEVALSHA\r\n$40\r\n\(StoreScript.digest)\r\n$1\r\n1\r\n$\(key.utf8.count)\r\n\(key)\r\n$4\r\n1500\r\n$2\r\n20\r\n$1\r\n1\r\n$2\r\n10\r\n")
    output.removeAll()
    StoreCommand.ask(zone, digest, cost: 12, wanted: 12, withScript: true, to: &output)
    #expect(Self.text(output).hasPrefix("*8\r\n$4\r\nEVAL\r\n$\(StoreScript.text.utf8CodeUnitCount)\r\n\(StoreScript.text)\r\n$1\r\n1\r\n"))
    #expect(Self.text(output).hasSuffix("\r\n$2\r\n12\r\n$2\r\n12\r\n"))
  }

  @Test func theLongestFitIntoWhatIsReckonedWith() {
    let zone = StoreZone(prefix: String(repeating: "p", count: 64), zone: String(repeating: "ä", count: 127), rate: 1_000_000_000_000, capacity: 9_000_000, salt: "path/64")
    var output = Buffer(capacity: 1 << 16)
    StoreCommand.ask(zone, KeyDigest(high: 1, low: 2), cost: .max, wanted: .max, withScript: false, to: &output)
    #expect(output.count <= StoreCommand.limit)
    output.removeAll()
    StoreCommand.ask(zone, KeyDigest(high: 1, low: 2), cost: .max, wanted: .max, withScript: true, to: &output)
    #expect(output.count <= StoreCommand.longLimit)
  }

  @Test func otherCommands() {
    var output = Buffer(capacity: 64)
    let fits = StoreCommand.append(["AUTH", "p w\r\n"], to: &output)
    #expect(fits)
    #expect(Self.text(output) == "*2\r\n$4\r\nAUTH\r\n$5\r\np w\r\n\r\n")
    let isTooLong = !StoreCommand.append([String(repeating: "x", count: 64)], to: &output)
    #expect(isTooLong)
  }
}
