// Judging — what the attempts at an endpoint have come to, for upstreams that judge endpoints by their requests (`outlier_detection`); and the comparison of
// endpoints with each other, which the holder of the lease makes (see Probing).
//
// Invariants: an exchange with the flag `.watched` has an attempt under way that is not judged yet; each is judged once, when it ends. What the client or the
// gateway has ended says nothing about the endpoint.

import HTTPModel
import Memory
import Plan
import Policy
import SharedState
import Upstream

extension Gateway {
  /// The attempt under way has ended.
  @inline(never)
  mutating func judge(_ exchange: Handle, _ fault: Fault, _ status: UInt16) {
    exchanges[exchange].flags.remove(.watched)
    let upstream = Int(exchanges[exchange].upstream), pool = Int(exchanges[exchange].pool)
    guard pool >= 0, pool < backends.pools.count, let isFailure = Self.isFailure(fault, status) else { return }
    let latency = exchanges[exchange].headAt
    if backends.record(pool, upstream, isFailure: isFailure, latency: latency) { eject(pool, upstream, .consecutiveFailures) }
  }

  /// Nil: it says nothing about the endpoint.
  private static func isFailure(_ fault: Fault, _ status: UInt16) -> Bool? {
    if fault != .none {
      guard fault.row.side == .upstream, fault != .poolExhausted, fault != .poolQueueTimeout, fault != .noHealthyEndpoint else { return nil }
      return true
    }
    return status == 0 ? nil : status >= 500
  }

  // MARK: Outliers

  mutating func judgeOutliers() {
    guard let table = backends.pools.table else { return }
    health.fit(pools: backends.pools.count)
    for upstream in 0..<backends.sets.count where plan.upstreams[upstream].health.outliers.enabled && services.now >= health.nextJudgement[upstream] {
      let outliers = plan.upstreams[upstream].health.outliers
      let isFirst = health.nextJudgement[upstream] == 0
      health.nextJudgement[upstream] = services.now + Int64(outliers.interval)
      var samples: [EndpointSample] = []
      let members = backends.sets[upstream].members.map { Int($0) }
      for pool in members {
        var total = EndpointSample()
        if backends.pools[pool].row >= 0 {
          let row = Int(backends.pools[pool].row)
          total = EndpointSample(
            requests: table.value(.requests, row), failures: table.value(.failures, row), answers: table.value(.answers, row), latency: table.value(.latency, row))
          if let forgiven = Ejection(table.value(.ejection, row)).forgiven(outliers, now: services.now) { table.store(forgiven.word, .ejection, row) }
        }
        let last = health.samples[pool]
        health.samples[pool] = total
        samples.append(
          EndpointSample(
            requests: total.requests &- last.requests, failures: total.failures &- last.failures, answers: total.answers &- last.answers,
            latency: total.latency &- last.latency))
      }
      // What was counted before this worker led is nobody's interval.
      guard !isFirst else { continue }
      for outlier in OutlierDetection.outliers(samples, outliers) { eject(members[outlier.index], upstream, outlier.reason) }
    }
  }

  /// Takes an endpoint out of use for a while, unless too many are already.
  mutating func eject(_ pool: Int, _ upstream: Int, _ reason: HealthReason) {
    guard let duration = backends.eject(pool, upstream, reason, now: services.now) else { return }
    counters.add(.endpointEjections)
    log.write(.warn, "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: pool)) is ejected for \(duration) ms: \(reason.text)")
  }
}
