// LineSelection — which requests get a line in the access log: all of a route's, a share of them chosen by chance, or none.
//
// Invariant: what says that something is wrong (a high status, no response at all, a long time) gets its line whatever the share,
// unless its route has the log turned off.

import Plan

/// The choice of the requests that are logged.
public struct LineSelection {
  /// Thousandths of a percent by route; -1: none at all. Empty: each route has the share of all.
  private var shares: [Int32] = []
  private let share: Int32
  private let alwaysFromStatus: UInt16
  /// Microseconds.
  private let alwaysAfter: Int64
  private var state: UInt64

  private static var whole: Int32 { 100_000 }

  /// - Parameters:
  ///   - routes: each route's own rule, in the order of the plan.
  ///   - seed: where chance begins.
  /// Nil when every request has its line.
  public init?(_ plan: AccessLogPlan, routes: [RouteLogPlan?], seed: UInt64) {
    share = Int32(clamping: max(0, plan.samplePercent))
    alwaysFromStatus = plan.alwaysFromStatus > 0 ? UInt16(clamping: plan.alwaysFromStatus) : .max
    alwaysAfter = plan.alwaysAfter > 0 ? Int64(clamping: plan.alwaysAfter).multipliedReportingOverflow(by: 1000).partialValue : .max
    state = seed | 1
    if routes.contains(where: { $0 != nil }) {
      shares = routes.map { rule in
        guard let rule else { return Int32(clamping: max(0, plan.samplePercent)) }
        return rule.enabled ? Int32(clamping: max(0, rule.samplePercent)) : -1
      }
    }
    if share >= LineSelection.whole, shares.allSatisfy({ $0 >= LineSelection.whole }) { return nil }
  }

  /// - Parameters:
  ///   - route: -1: none.
  ///   - status: 0: no response was sent.
  ///   - duration: microseconds.
  public mutating func takes(route: Int, status: UInt16, duration: Int64) -> Bool {
    let share = shares.indices.contains(route) ? shares[route] : share
    if share < 0 { return false }
    if share >= LineSelection.whole || status >= alwaysFromStatus || (status == 0 && alwaysFromStatus != .max) || duration >= alwaysAfter { return true }
    return share > 0 && chance() < UInt64(share)
  }

  /// A number below a hundred thousand (xorshift).
  private mutating func chance() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return (state >> 32) % UInt64(LineSelection.whole)
  }
}
