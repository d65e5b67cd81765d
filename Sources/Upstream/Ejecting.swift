// Ejecting — what requests have shown of endpoints, in shared memory; and endpoints that are taken out of use for it.

import Kernel
import Plan
import Policy
import SharedState

extension Backends {
  /// Counts an attempt that has ended. True when it was the last of too many failures one after the other.
  /// - Parameter latency: microseconds until the response's head; negative: none came.
  public func record(_ pool: Int, _ upstream: Int, isFailure: Bool, latency: Int64) -> Bool {
    guard let table = pools.table, pools[pool].row >= 0 else { return false }
    let row = Int(pools[pool].row)
    table.add(1, .requests, row)
    if latency >= 0 {
      table.add(1, .answers, row)
      table.add(UInt64(latency), .latency, row)
    }
    guard isFailure else {
      if table.value(.consecutiveFailures, row) != 0 { table.store(0, .consecutiveFailures, row) }
      return false
    }
    table.add(1, .failures, row)
    table.add(1, .consecutiveFailures, row)
    let limit = upstreams[upstream].health.outliers.consecutiveFailures
    return limit > 0 && table.value(.consecutiveFailures, row) >= UInt64(limit)
  }

  /// Ejects an endpoint; nil: it is already, or too many are.
  /// - Returns: milliseconds.
  public mutating func eject(_ pool: Int, _ upstream: Int, _ reason: HealthReason, now: Int64) -> Int64? {
    guard let table = pools.table, pools[pool].row >= 0 else { return nil }
    let row = Int(pools[pool].row), plan = upstreams[upstream].health.outliers
    let old = Ejection(table.value(.ejection, row))
    let ejected = sets[upstream].members.count {
      pools[Int($0)].row >= 0 && !Ejection(table.value(.ejection, Int(pools[Int($0)].row))).isOver(now: now)
    }
    guard old.isOver(now: now), ejected < EjectionLimit.count(plan, of: sets[upstream].members.count) else { return nil }
    let new = old.next(plan, now: now)
    // Another worker may come to the same conclusion at the same moment.
    guard table.exchange(.ejection, row, expected: old.word, desired: new.word) else { return nil }
    table.store(reason.rawValue, .reason, row)
    table.store(0, .consecutiveFailures, row)
    table.add(1, .ejections, row)
    table.announce(row)
    return new.until - now
  }

  /// Where the endpoint of a pool is checked: one of its addresses, with another port where one is given; nil: there is no such address.
  public func checkAddress(_ index: Int, of pool: Int, port: Int) -> SocketAddress? {
    guard index >= 0, index < addressCount(of: pool) else { return nil }
    let address = endpoints[pool].addresses[index]
    guard port > 0, !address.isUnix else { return address }
    return SocketAddress(host: address.host, port: UInt16(clamping: port))
  }
}
