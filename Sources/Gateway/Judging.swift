// Judging — what the attempts at an endpoint have come to, for upstreams that judge endpoints by their requests (`outlier_detection`).
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
}
