// TrafficTableTests — buckets of latencies, quantiles, and the table that workers and `top` share.

import Kernel
import Testing

@testable import SharedState

@Suite struct TrafficTableTests {
  @Test func bucketsAreInOrderAndHoldWhatTheySay() {
    var last = 0
    var values = Array(0..<5000)
    for exponent in 12...46 {
      let power = 1 << exponent, next = power + power / 4
      values += [power - 1, power, next - 1, next]
    }
    for value in values.sorted() {
      let bucket = LatencyBucket.index(of: Int64(value))
      #expect((0..<LatencyBucket.count).contains(bucket))
      if value <= 4999 {
        #expect(bucket == last || bucket == last + 1)
        last = bucket
      }
      guard bucket < LatencyBucket.count - 1 else { continue }
      let bound = LatencyBucket.upperBound(of: bucket)
      #expect(Int64(value) <= bound && (bucket == 0 || Int64(value) > LatencyBucket.upperBound(of: bucket - 1)), "\(value)")
      #expect(bucket == 0 || Double(bound) <= Double(value) * 1.25)
    }
    for value in [Int64.min, -1, 0, 31] { #expect(LatencyBucket.index(of: value) == 0) }
    #expect(LatencyBucket.index(of: .max) == LatencyBucket.count - 1)
    #expect(LatencyBucket.upperBound(of: LatencyBucket.count - 1) > 60_000_000)
  }

  @Test func quantiles() {
    var counts = TrafficCounts()
    #expect(counts.quantile(0.5) == nil)
    for value in 1...100 { counts.buckets[LatencyBucket.index(of: Int64(value * 1000))] += 1 }
    for (share, exact) in [(0.5, 50_000), (0.9, 90_000), (0.99, 99_000), (1.0, 100_000)] {
      let found = Double(counts.quantile(share) ?? 0)
      #expect(found >= Double(exact) && found <= Double(exact) * 1.25, "\(share): \(found)")
    }
    #expect(counts.quantile(-1) == counts.quantile(0) && counts.quantile(7) == counts.quantile(1))
  }

  @Test func workersCountInColumnsOfTheirOwn() throws {
    let file = try TrafficTable.create(routes: ["/a", "/b"], upstreams: ["x"], columns: 2)
    let writer = try TrafficTable(file), reader = try TrafficTable(file)
    #expect(reader.rowNames() == ["/a", "/b", "x"] && reader.rows == 4)
    let first = try #require(writer.column(0)), second = try #require(writer.column(1))
    #expect(writer.column(2) == nil && writer.column(-1) == nil)
    first.count(route: 1, status: 200, microseconds: 100)
    second.count(route: 1, status: 503, microseconds: 300)
    second.count(route: -1, status: 404, microseconds: 5)
    second.count(route: 2, status: 0, microseconds: -5)
    first.count(upstream: 0, failed: true, microseconds: 7)
    for upstream in [-1, 1, 99] { first.count(upstream: upstream, failed: true, microseconds: 7) }
    #expect(reader.counts(row: 0) == TrafficCounts())
    let b = reader.counts(row: 1)
    #expect(b.requests == 2 && b.failures == 1 && b.microseconds == 400 && b.buckets.reduce(0, +) == 2)
    let none = reader.counts(row: 2)
    #expect(none.requests == 2 && none.failures == 1 && none.microseconds == 5)
    #expect(reader.counts(row: 3).failures == 1 && reader.counts(row: 4) == TrafficCounts() && reader.counts(row: -1) == TrafficCounts())
    let before = b
    first.count(route: 1, status: 200, microseconds: 50)
    let difference = reader.counts(row: 1).since(before)
    #expect(difference.requests == 1 && difference.microseconds == 50 && difference.buckets.reduce(0, +) == 1)
  }

  @Test func manyNames() throws {
    let routes = (0..<3000).map { "/route/\($0)" } + [String(repeating: "é", count: 300), ""]
    let table = try TrafficTable(try TrafficTable.create(routes: routes, upstreams: [], columns: 1))
    let names = table.rowNames()
    #expect(names.count == routes.count && names[2999] == "/route/2999" && names[3000] == String(repeating: "é", count: 128) && names[3001] == "")
  }

  @Test func otherFilesAreRefused() throws {
    #expect(throws: Errno.self) { _ = try TrafficTable(try MemoryFile.table(size: 65_536, name: "other")) }
    #expect(throws: Errno.self) { _ = try TrafficTable(try MemoryFile.table(size: 100, name: "short")) }
    // A header that promises more than there is.
    var beginning: [UInt8] = []
    for word in [TrafficTable.magic, TrafficTable.version, 1000, 1000, 64, 0] { for byte in 0..<8 { beginning.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * byte))) } }
    #expect(throws: Errno.self) { _ = try TrafficTable(try MemoryFile.table(size: 65_536, beginning: beginning, name: "liar")) }
    beginning = []
    for word in [TrafficTable.magic, TrafficTable.version, .max, .max, 1, 0] as [UInt64] { for byte in 0..<8 { beginning.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * byte))) } }
    #expect(throws: Errno.self) { _ = try TrafficTable(try MemoryFile.table(size: 65_536, beginning: beginning, name: "liar")) }
  }
}
