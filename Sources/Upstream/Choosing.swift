// Choosing — the endpoint that a request goes to, where its upstream has several. What is decided is in Policy (see Balancer).

import Memory
import Policy
import SharedState

extension Backends {
  /// The pool of the endpoint for a request; nil: there is none that may be used (`EndpointSet.faultWhenNone` says why).
  /// - Parameters:
  ///   - bound: the endpoint that the client's cookie names; 0: none.
  ///   - now: milliseconds of the monotonic clock.
  @inline(never)
  public mutating func choose(_ upstream: Int, _ question: BalanceQuestion, bound: UInt64 = 0, now: Int64) -> Int? {
    if let table = pools.table, table.epoch != epoch { _ = refreshIfNeeded(now: now) }
    if sets[upstream].refreshAt > 0, now >= sets[upstream].refreshAt { refresh(upstream, now: now) }
    if bound != 0, let pool = boundPool(upstream, bound, question.tried, now) { return pool }
    return sets[upstream].balancer.choose(question, pools).map { Int($0) }
  }

  /// The pool of the endpoint that a client is bound to, if it can be used: even while it is being drained.
  private mutating func boundPool(_ upstream: Int, _ bound: UInt64, _ tried: TriedEndpoints, _ now: Int64) -> Int? {
    for index in 0..<sets[upstream].members.count {
      let pool = Int(sets[upstream].members[index])
      guard bindings[pool] == bound, !tried.contains(UInt32(truncatingIfNeeded: pool)) else { continue }
      guard let table = pools.table, pools[pool].row >= 0 else { return pool }
      return table.administration(Int(pools[pool].row)) != .disabled && isFit(pool, upstream, now) ? pool : nil
    }
    return nil
  }

  /// What stands for a pool's endpoint in the cookie that binds clients to it; 0: nothing.
  public func binding(of pool: Int) -> UInt64 { bindings.indices.contains(pool) ? bindings[pool] : 0 }

  /// Whether some endpoint that may be used has not been tried.
  public func hasUntried(_ upstream: Int, _ tried: TriedEndpoints) -> Bool {
    guard tried.count < TriedEndpoints.limit else { return false }
    for index in 0..<sets[upstream].balancer.count where !tried.contains(sets[upstream].balancer.candidate(index).id) { return true }
    return false
  }
}
