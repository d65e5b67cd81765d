// Membership — endpoints that come to belong to an upstream, and cease to, while requests are under way.
//
// Whoever knows which endpoints an upstream has (the plan at the start; whoever resolves names, later) calls `update` with all of them. Endpoints go by
// their names, which must therefore stay the same for what is the same backend: for an address that was resolved, `10.0.0.7:8080`; for a name whose
// addresses are tried in turn, `app.example:8080` with all of these. One that is in the list already keeps its connections; a new one is used from
// now on; one that is missing gets no more requests: its idle connections are closed at once, the others when their exchanges are over. The same
// holds for one whose addresses have changed. With an empty list, requests fail with the fault that was given for it.
//
// In the gateway, `Gateway.updateEndpoints` is to be called instead, which ends HTTP/2 sessions as well and lets those who wait try again.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState

extension Backends {
  /// Makes `list` the endpoints of an upstream.
  /// - Parameters:
  ///   - upstream: index into the plan's upstreams.
  ///   - fault: why requests fail when `list` is empty.
  ///   - now: milliseconds of the monotonic clock.
  /// - Returns: the pools that have been retired.
  public mutating func update(_ upstream: Int, _ list: [Endpoint], whenEmpty fault: Fault = .noHealthyEndpoint, now: Int64) -> [Int] {
    var known: [String: UInt32] = [:]
    for member in sets[upstream].members { known[endpoints[Int(member)].name] = member }
    var members: [UInt32] = []
    var seen: Set<String> = []
    var retired: [Int] = []
    for endpoint in list where seen.insert(endpoint.name).inserted {
      if let member = known[endpoint.name], endpoints[Int(member)].addresses == endpoint.addresses {
        endpoints[Int(member)] = endpoint
        members.append(member)
        known[endpoint.name] = nil
      } else {
        members.append(UInt32(addPool(upstream, endpoint, now)))
      }
    }
    for member in known.values {
      retirePool(Int(member))
      retired.append(Int(member))
    }
    sets[upstream].members = members
    sets[upstream].faultWhenNone = list.isEmpty ? fault : .noHealthyEndpoint
    shareIdleLimit(upstream)
    refresh(upstream, now: now)
    return retired
  }

  /// A pool for another endpoint: a new one, or one that has ended.
  private mutating func addPool(_ upstream: Int, _ endpoint: Endpoint, _ now: Int64) -> Int {
    let plan = upstreams[upstream]
    var pool = Pool(plan.pool, upstream: upstream, speaks: PoolProtocol(plan.http2), worker: worker, of: workerCount)
    if let row = pools.table?.claim(upstream: plan.name, endpoint: endpoint.name, now: now) { pool.row = Int32(truncatingIfNeeded: row) }
    let sticky = plan.balance.sticky
    let binding = sticky.cookie.isEmpty ? 0 : BalanceKey.binding(upstream: plan.name, endpoint: endpoint.name, secret: sticky.secret)
    // What ended a while ago may still be named in the log line of an exchange.
    if pools.count > 2 * sets.count + 64, let free = (0..<pools.count).first(where: { pools[$0].isRetired && pools[$0].connections == 0 && pools[$0].firstSession == nil && pools[$0].inFlight == 0 }) {
      pools[free] = pool
      endpoints[free] = endpoint
      bindings[free] = binding
      return free
    }
    pools.append(pool)
    endpoints.append(endpoint)
    bindings.append(binding)
    return pools.count - 1
  }

  private mutating func retirePool(_ pool: Int) {
    pools[pool].isRetired = true
    pools[pool].idleLimit = 0
    // The endpoint may come again, or have come already, with another pool: the row is no longer this one's.
    let inFlight = pools[pool].inFlight
    pools[pool].inFlight = 0
    pools.publish(pool)
    pools[pool].inFlight = inFlight
    pools[pool].row = -1
    while let idle = newestIdle(pool) { retire(idle) }
  }

  /// Divides what may be idle among the endpoints.
  private mutating func shareIdleLimit(_ upstream: Int) {
    let total = upstreams[upstream].pool.maxIdleConnections, members = sets[upstream].members
    let own = total == 0 ? 0 : max(1, Pool.share(total, worker, workerCount))
    for member in members { pools[Int(member)].idleLimit = UInt32(clamping: total == 0 ? 0 : max(1, (own + members.count - 1) / members.count)) }
  }

  /// Makes up the list of endpoints that may be used.
  public mutating func refresh(_ upstream: Int, now: Int64) {
    let members = sets[upstream].members
    let isAlone = members.count == 1
    var hasPrimary = false
    for member in members where isUsable(Int(member)) && !endpoints[Int(member)].isBackup { hasPrimary = true }
    var candidates: [Candidate] = []
    sets[upstream].sole = -1
    sets[upstream].refreshAt = 0
    for member in members {
      if pools[Int(member)].countsLoad != !isAlone { pools[Int(member)].countsLoad = !isAlone }
      guard isUsable(Int(member)), !(hasPrimary && endpoints[Int(member)].isBackup) else { continue }
      let pool = Int(member), name = endpoints[pool].name
      candidates.append(Candidate(id: member, weight: weight(pool, upstream, now), hash: EndpointTable.key(upstream: upstreams[upstream].name, endpoint: name)))
      if isAlone { sets[upstream].sole = Int32(bitPattern: member) }
    }
    sets[upstream].balancer.replace(with: candidates)
  }

  /// An endpoint's weight in hundredths, less while it is coming back: from a tenth to all of it.
  private mutating func weight(_ pool: Int, _ upstream: Int, _ now: Int64) -> UInt32 {
    let full = UInt32(clamping: endpoints[pool].weight) * 100
    let slowStart = Int64(upstreams[upstream].balance.slowStart)
    guard slowStart > 0, let table = pools.table, pools[pool].row >= 0 else { return full }
    let since = Int64(clamping: table.value(.backSince, Int(pools[pool].row)))
    guard since > 0, now < since + slowStart else { return full }
    let next = now + max(20, slowStart / 50)
    if sets[upstream].refreshAt == 0 || next < sets[upstream].refreshAt { sets[upstream].refreshAt = next }
    return max(1, UInt32(clamping: Int64(full) * max(slowStart / 10, max(0, now - since)) / slowStart))
  }

  private func isUsable(_ pool: Int) -> Bool {
    guard let table = pools.table, pools[pool].row >= 0 else { return true }
    return table.administration(Int(pools[pool].row)) == .enabled
  }

  /// Looks at the standing of all endpoints again, where somebody has said that it has changed; to be called once a second.
  public mutating func refreshIfNeeded(now: Int64) -> Bool {
    guard let table = pools.table, table.epoch != epoch else { return false }
    epoch = table.epoch
    for upstream in 0..<sets.count { refresh(upstream, now: now) }
    return true
  }

  /// Says that the endpoints exist, so that their rows are kept; to be called now and then.
  public func touch(now: Int64) {
    guard let table = pools.table else { return }
    for pool in 0..<pools.count where pools[pool].row >= 0 { table.touch(Int(pools[pool].row), now: now) }
  }
}
