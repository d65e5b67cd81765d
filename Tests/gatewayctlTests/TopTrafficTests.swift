// TopTrafficTests — what `top` shows of routes and upstreams.

import SharedState
import Testing

@testable import gatewayctl

@Suite struct TopTrafficTests {
  private func counts(_ requests: UInt64, _ failures: UInt64 = 0, _ microseconds: Int64 = 1000) -> TrafficCounts {
    var counts = TrafficCounts()
    counts.requests = requests
    counts.failures = failures
    counts.microseconds = requests * UInt64(microseconds)
    counts.buckets[LatencyBucket.index(of: microseconds)] = UInt32(requests)
    return counts
  }

  private func sample(_ rows: [TrafficSample.Row], generation: UInt64 = 3) -> TrafficSample { TrafficSample(generation: generation, rows: rows) }

  @Test func differences() {
    let before = sample([.init(number: 0, kind: .route, name: "/a", counts: counts(10)), .init(number: 1, kind: .route, name: "/b", counts: counts(5))])
    let now = sample([
      .init(number: 0, kind: .route, name: "/a", counts: counts(10)), .init(number: 1, kind: .route, name: "/b", counts: counts(25, 5)),
      .init(number: 3, kind: .upstream, name: "x", counts: counts(2)),
    ])
    let difference = now.since(before)
    #expect(difference.rows.map(\.name) == ["/b", "x"])
    #expect(difference.total.requests == 20 && difference.total.failures == 5)
    #expect(now.since(nil).rows.count == 3 && now.since(sample(before.rows, generation: 2)).rows.count == 3)
  }

  @Test func table() {
    let traffic = sample([
      .init(number: 0, kind: .route, name: "/slow", counts: counts(10, 0, 2_500_000)), .init(number: 1, kind: .route, name: "/fast", counts: counts(100, 2, 40)),
      .init(number: 3, kind: .upstream, name: "shop", counts: counts(10, 0, 150_000)),
    ])
    let text = TrafficText.text(traffic, seconds: 2, colours: false)
    let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ") }
    #expect(lines[0] == "ROUTE REQUESTS/S FAILED/S MEAN P50 P90 P99")
    #expect(lines[1] == "/fast 50 1 40 µs 47 µs 47 µs 47 µs")
    #expect(lines[2].hasPrefix("/slow 5 0 2.5 s "))
    #expect(lines[3].hasPrefix("all 55 1 "))
    #expect(lines[4].hasPrefix("UPSTREAM") && lines[5].hasPrefix("shop 5 0 150 ms"))
    #expect(TrafficText.text(sample([]), seconds: 1, colours: false).isEmpty)
  }

  @Test func durations() {
    #expect([0, 31, 999, 1000, 4_250, 99_999, 120_000, 999_999, 1_000_000, 125_000_000].map(TrafficText.duration) == [
      "0 µs", "31 µs", "999 µs", "1.0 ms", "4.2 ms", "99.9 ms", "120 ms", "999 ms", "1.0 s", "125 s",
    ])
  }

  @Test func json() {
    let members = TrafficText.json(sample([.init(number: 0, kind: .route, name: "/a", counts: counts(4, 1, 100))]), seconds: 2)
    let text = JSONValue.object(members).text
    #expect(text.contains("\"name\"") && text.contains("\"requests_per_second\"") && text.contains("\"p99_us\""))
  }
}
