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
    if plan.breaker.guardsEndpoints, let table = pools.table, pool.row >= 0 {
      Breaker(table.breaker(Int(pool.row)), plan.breaker).setWindow(milliseconds: plan.breaker.window)
    }
    let sticky = plan.balance.sticky
    let hash = EndpointTable.key(upstream: plan.name, endpoint: endpoint.name)
    let binding = sticky.cookie.isEmpty ? 0 : BalanceKey.binding(upstream: plan.name, endpoint: endpoint.name, secret: sticky.secret)
    // What ended a while ago may still be named in the log line of an exchange.
    if retiredPools.count > 64, let place = retiredPools.firstIndex(where: { hasEnded($0) }) {
      let free = retiredPools.remove(at: place)
      pools[free] = pool
      endpoints[free] = endpoint
      hashes[free] = hash
      bindings[free] = binding
      return free
    }
    pools.append(pool)
    endpoints.append(endpoint)
    hashes.append(hash)
    bindings.append(binding)
    return pools.count - 1
  }

  /// Whether nothing is left of a pool that was retired.
  private func hasEnded(_ pool: Int) -> Bool { pools[pool].connections == 0 && pools[pool].firstSession == nil && pools[pool].inFlight == 0 }

  private mutating func retirePool(_ pool: Int) {
    pools[pool].isRetired = true
    retiredPools.append(pool)
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
    sets[upstream].sole = -1
    sets[upstream].refreshAt = 0
    for member in members where pools[Int(member)].countsLoad != !isAlone { pools[Int(member)].countsLoad = !isAlone }
    for member in members where pools[Int(member)].isSpared { pools[Int(member)].isSpared = false }
    var list = chosen(upstream, now)
    sets[upstream].isPanicking = false
    if isInPanic(upstream, list) {
      list = members.filter { isEnabled(Int($0)) && !endpoints[Int($0)].isBackup }
      sets[upstream].isPanicking = true
    }
    if upstreams[upstream].breaker.guardsEndpoints { list = closed(upstream, list, now) }
    let candidates = list.map { Candidate(id: $0, weight: weight(Int($0), upstream, now), hash: hashes[Int($0)]) }
    sets[upstream].balancer.replace(with: candidates)
    // Where endpoints have breakers each request asks.
    if isAlone, let only = list.first, !upstreams[upstream].breaker.guardsEndpoints { sets[upstream].sole = Int32(bitPattern: only) }
  }

  /// The endpoints that are fit for use; the backups among them only when there are no others.
  private mutating func chosen(_ upstream: Int, _ now: Int64) -> [UInt32] {
    var primaries: [UInt32] = [], backups: [UInt32] = []
    for member in sets[upstream].members where isEnabled(Int(member)) && isFit(Int(member), upstream, now) {
      if endpoints[Int(member)].isBackup { backups.append(member) } else { primaries.append(member) }
    }
    return primaries.isEmpty ? backups : primaries
  }

  /// Those of `list` whose breakers are not open, or not heeded because too many are. The one that has been open the longest is passed over first.
  private mutating func closed(_ upstream: Int, _ list: [UInt32], _ now: Int64) -> [UInt32] {
    let plan = upstreams[upstream].breaker
    guard let table = pools.table else { return list }
    var open: [(member: UInt32, until: Int64)] = [], held: Set<UInt32> = []
    for member in list {
      let row = Int(pools[Int(member)].row)
      guard row >= 0 else { continue }
      let state = BreakerState(word: table.breaker(row).load(BreakerCell.state))
      guard state.phase == .open, state.isHeld || state.wait(from: now) > 0 else { continue }
      if state.isHeld {
        held.insert(member)
      } else {
        open.append((member, now + state.wait(from: now)))
        if sets[upstream].refreshAt == 0 || now + state.wait(from: now) < sets[upstream].refreshAt { sets[upstream].refreshAt = now + state.wait(from: now) }
      }
    }
    if plan.dryRun { return list }
    let limit = plan.maxEjection == 0 ? 0 : max(1, list.count * plan.maxEjection / 100)
    open.sort { ($0.until, $0.member) < ($1.until, $1.member) }
    for spared in open.dropFirst(limit) { pools[Int(spared.member)].isSpared = true }
    let passed = held.union(open.prefix(limit).map { $0.member })
    return list.filter { !passed.contains($0) }
  }

  /// How long it will be until an endpoint whose breaker is open, or is trying it out, can be asked again; nil: there is none such.
  public func waitForEndpoint(_ upstream: Int, now: Int64) -> Int64? {
    guard let table = pools.table else { return nil }
    var shortest: Int64?
    for member in sets[upstream].members where pools[Int(member)].row >= 0 {
      let state = BreakerState(word: table.breaker(Int(pools[Int(member)].row)).load(BreakerCell.state))
      let plan = upstreams[upstream].breaker
      let wait: Int64? =
        switch state.phase {
        case .closed: nil
        case .halfOpen: Int64(plan.baseOpenDuration)
        case .open: state.isHeld ? Int64(plan.maxOpenDuration) : max(0, state.wait(from: now))
        }
      if let wait { shortest = min(shortest ?? wait, wait) }
    }
    return shortest
  }

  /// Whether so few of the endpoints are fit for use that this is no longer believed.
  private func isInPanic(_ upstream: Int, _ list: [UInt32]) -> Bool {
    let threshold = upstreams[upstream].health.panicThreshold
    guard threshold > 0, !list.contains(where: { endpoints[Int($0)].isBackup }) else { return false }
    let enabled = sets[upstream].members.count { isEnabled(Int($0)) && !endpoints[Int($0)].isBackup }
    return enabled > list.count && list.count * 100 < enabled * threshold
  }

  /// An endpoint's weight in hundredths, less while it is coming back: from a tenth to all of it.
  private mutating func weight(_ pool: Int, _ upstream: Int, _ now: Int64) -> UInt32 {
    let full = UInt32(clamping: endpoints[pool].weight) * 100
    let slowStart = Int64(upstreams[upstream].balance.slowStart)
    guard slowStart > 0, let table = pools.table, pools[pool].row >= 0 else { return full }
    let row = Int(pools[pool].row)
    var since = Int64(clamping: table.value(.backSince, row))
    let ejection = Ejection(table.value(.ejection, row))
    if upstreams[upstream].health.outliers.enabled, ejection.isOver(now: now) { since = max(since, ejection.until) }
    guard since > 0, now < since + slowStart else { return full }
    let next = now + max(20, slowStart / 50)
    if sets[upstream].refreshAt == 0 || next < sets[upstream].refreshAt { sets[upstream].refreshAt = next }
    return max(1, UInt32(clamping: Int64(full) * max(slowStart / 10, max(0, now - since)) / slowStart))
  }

  private func isEnabled(_ pool: Int) -> Bool {
    guard let table = pools.table, pools[pool].row >= 0 else { return true }
    return table.administration(Int(pools[pool].row)) == .enabled
  }

  /// Whether neither checks nor requests speak against an endpoint. (What is no longer configured counts no more.)
  mutating func isFit(_ pool: Int, _ upstream: Int, _ now: Int64) -> Bool {
    guard let table = pools.table, pools[pool].row >= 0 else { return true }
    let row = Int(pools[pool].row), health = upstreams[upstream].health
    if health.check.kind != .none, HealthWord(table.value(.health, row)).health == .unhealthy { return false }
    guard health.outliers.enabled, sets[upstream].members.count > 1 else { return true }
    let ejection = Ejection(table.value(.ejection, row))
    guard !ejection.isOver(now: now) else { return true }
    if sets[upstream].refreshAt == 0 || ejection.until < sets[upstream].refreshAt { sets[upstream].refreshAt = ejection.until }
    return false
  }

  /// Looks again at the standing of the endpoints of which somebody has said that it has changed; to be called once a second.
  public mutating func refreshIfNeeded(now: Int64) -> Bool {
    guard let table = pools.table, table.epoch != epoch else { return false }
    epoch = table.epoch
    for group in upstreamsOfGroups.indices {
      let count = table.news(ofGroup: group)
      guard count != news[group] else { continue }
      news[group] = count
      for upstream in upstreamsOfGroups[group] { refresh(upstream, now: now) }
    }
    return true
  }

  /// Says that the endpoints exist, so that their rows are kept; to be called now and then.
  public func touch(now: Int64) {
    guard let table = pools.table else { return }
    for pool in 0..<pools.count where pools[pool].row >= 0 { table.touch(Int(pools[pool].row), now: now) }
  }
}
