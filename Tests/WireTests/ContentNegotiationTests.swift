// ContentNegotiationTests — ranges, dates written, and codings by their qualities.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct ContentNegotiationTests {
  private func ranges(_ value: String, _ size: Int) -> (RangeOutcome, [ByteRange]) {
    var ranges = BoundedArray<ByteRange>(capacity: 4)
    let bytes = Array(value.utf8)
    let outcome = bytes.span.byteRanges(of: size, into: &ranges)
    var found: [ByteRange] = []
    for index in 0..<ranges.count { found.append(ranges[index]) }
    return (outcome, found)
  }

  @Test func rangesThatThereAre() {
    for (value, expected) in [
      ("bytes=0-0", [(0, 1)]), ("bytes=5-", [(5, 5)]), ("bytes=-3", [(7, 3)]), ("bytes=0-99", [(0, 10)]), ("bytes=-99", [(0, 10)]), ("bytes=9-,0-1", [(9, 1), (0, 2)]),
      ("Bytes=1-2 , 4-5", [(1, 2), (4, 2)]), ("bytes=10-11,3-3", [(3, 1)]),
    ] {
      let (outcome, found) = ranges(value, 10)
      #expect(outcome == .satisfiable && found == expected.map { ByteRange(start: $0.0, count: $0.1) }, "\(value)")
    }
    for value in ["bytes=10-", "bytes=-0", "bytes=99-100,50-"] { #expect(ranges(value, 10).0 == .unsatisfiable, "\(value)") }
    for value in ["", "bytes", "bytes=", "bytes=x", "bytes=3-2", "bytes=-", "bytes=0-1,x", "lines=0-1", "bytes=0-,0-", "bytes=0-0,1-1,2-2,3-3,4-4"] {
      #expect(ranges(value, 10) == (.none, []), "\(value)")
    }
    #expect(ranges("bytes=0-", 0).0 == .unsatisfiable)
  }

  /// What is written is read as the same.
  @Test func dates() {
    var generator = SystemRandomNumberGenerator()
    for seconds in [0, 1, 784_111_777, 951_782_400, 4_107_542_400, 253_402_300_799] + (0..<500).map({ _ in Int64.random(in: 0...253_402_300_799, using: &generator) }) {
      var buffer = Buffer(capacity: 32)
      buffer.append(httpDate: seconds)
      let count = buffer.count, read = HTTPDate.seconds(of: buffer.bytes)
      #expect(count == 29 && read == seconds)
    }
    var buffer = Buffer(capacity: 32)
    buffer.append(httpDate: 784_111_777)
    let isSame = buffer.bytes.equals("Sun, 06 Nov 1994 08:49:37 GMT")
    #expect(isSame)
  }

  private func chosen(_ value: String?, _ order: [ContentCoding] = [.brotli, .gzip]) -> ContentCoding {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n" + (value.map { "Accept-Encoding: \($0)\r\n" } ?? "") + "\r\n"
    let bytes = Array(text.utf8)
    var parser = RequestParser(), head = RequestHead()
    guard case .complete = parser.parse(bytes.span, into: &head) else { return .zstd }
    return head.acceptedCodings(in: bytes.span).choose(from: order.span)
  }

  @Test func codings() {
    for (value, expected) in [
      (nil, ContentCoding.identity), ("", .identity), ("gzip", .gzip), ("GZIP", .gzip), ("x-gzip", .gzip), ("gzip, deflate, br", .brotli), ("gzip;q=1, br;q=0.5", .gzip),
      ("gzip;q=0", .identity), ("br;q=0, gzip", .gzip), ("*", .brotli), ("*;q=0", .identity), ("br;q=0, *", .gzip), ("gzip;q=0.5, identity", .identity),
      ("gzip;q=0.5, identity;q=0.5", .gzip), ("identity;q=0, gzip", .gzip), ("deflate, compress", .identity), ("gzip;q=0.001", .gzip), ("zstd", .identity),
      ("gzip ; q=0", .identity), ("gzip;q=bogus", .gzip),
    ] as [(String?, ContentCoding)] {
      #expect(chosen(value) == expected, "\(value ?? "none")")
    }
  }
}
