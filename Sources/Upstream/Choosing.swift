// Choosing — the endpoint that a request goes to, where its upstream has several. What is decided is in Policy (see Balancer).

import Memory
import Policy
import SharedState

extension Backends {
  /// The pool of the endpoint for a request; nil: there is none that may be used (`EndpointSet.faultWhenNone` says why).
  /// - Parameters:
  ///   - tried: where it has been sent before.
  ///   - random: evenly distributed.
  ///   - now: milliseconds of the monotonic clock.
  @inline(never)
  public mutating func choose(_ upstream: Int, without tried: TriedEndpoints, random: UInt64, now: Int64) -> Int? {
    if let table = pools.table, table.epoch != epoch { _ = refreshIfNeeded(now: now) }
    return sets[upstream].balancer.choose(random, without: tried, pools).map { Int($0) }
  }
}

extension Backends {
  /// Whether some endpoint that may be used has not been tried.
  public func hasUntried(_ upstream: Int, _ tried: TriedEndpoints) -> Bool {
    guard tried.count < 8 else { return false }
    for index in 0..<sets[upstream].balancer.count where !tried.contains(sets[upstream].balancer.candidate(index).id) { return true }
    return false
  }
}
