// OutlierDetection — which endpoints of an upstream do markedly worse than the others: a decision over what was counted in one interval.
//
// Each endpoint is compared with the others, without itself: with few endpoints, one that fails moves every average, and no deviation is ever large. An upstream
// whose endpoints all fail has no outlier.

import Plan

/// What was counted of one endpoint in an interval.
public struct EndpointSample: Equatable, Sendable {
  public var requests: UInt64
  public var failures: UInt64
  /// Requests that were answered, and the microseconds it took to answer them, together.
  public var answers: UInt64
  public var latency: UInt64

  public init(requests: UInt64 = 0, failures: UInt64 = 0, answers: UInt64 = 0, latency: UInt64 = 0) {
    self.requests = requests
    self.failures = min(failures, requests)
    self.answers = answers
    self.latency = latency
  }

  var meanLatency: Double { answers == 0 ? 0 : Double(latency) / Double(answers) }
}

public enum OutlierDetection {
  /// The outliers among `samples`, the worst first.
  public static func outliers(_ samples: [EndpointSample], _ plan: OutlierPlan) -> [(index: Int, reason: HealthReason)] {
    let least = UInt64(max(1, plan.minRequests))
    let judged = samples.indices.filter { samples[$0].requests >= least }
    guard judged.count >= 2 else { return [] }
    var found: [(index: Int, reason: HealthReason, badness: Double)] = []
    let requests = judged.reduce(0.0) { $0 + Double(samples[$1].requests) }, failures = judged.reduce(0.0) { $0 + Double(samples[$1].failures) }
    for index in judged {
      let own = samples[index]
      let rate = Double(own.failures) / Double(own.requests)
      let others = (failures - Double(own.failures)) / max(1, requests - Double(own.requests))
      let gap = (rate - others) * 100
      if plan.successGap > 0, gap > Double(plan.successGap) {
        found.append((index, .successRate, 1000 + gap))
        continue
      }
      guard plan.latencyFactor > 0, own.answers > 0 else { continue }
      let means = judged.filter { $0 != index && samples[$0].answers > 0 }.map { samples[$0].meanLatency }.sorted()
      guard !means.isEmpty else { continue }
      // Of an even number the lower one, so that of two endpoints both slow none is excused by the other.
      let median = max(1000, means[(means.count - 1) / 2])
      let factor = own.meanLatency / median
      if factor > Double(plan.latencyFactor) { found.append((index, .latency, factor)) }
    }
    return found.sorted { $0.badness > $1.badness }.map { ($0.index, $0.reason) }
  }
}
