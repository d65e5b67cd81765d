// Probing — checks of endpoints: one worker makes them for all, as long as it holds the lease in the table of endpoints.
//
// A check is a connection of its own (`Probe`), apart from the pools: it must not wait for one of theirs, nor use a kept one. It is connected as requests are: where an
// endpoint has several addresses, the next is tried when one has failed, and beside it when it is long in coming; the first that is connected is talked to. Timing is that
// of the turn; when checks are made, a worker has a turn at least when the next one is due. What they find is written into shared memory by the holder of the lease alone, so
// that counts of results one after the other can be its own; who takes the lease over begins to count anew, from the state that is known.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import TLS
import Telemetry
import Upstream

/// One attempt to connect for a check, and the check itself when it is made.
struct Probe: ~Copyable {
  enum State: UInt8 { case connecting, securing, talking }

  let pool: Int
  let upstream: Int
  /// The endpoint's row when it began: a pool may come to be another endpoint's.
  let row: Int32
  /// Which of the endpoint's addresses it is connected to.
  let address: Int
  /// The same for all attempts of one check.
  let check: UInt64
  var socket: Socket
  var state: State
  var session: TLSSession?
  var conversation: HealthConversation
  /// Bytes the kernel has not taken yet.
  var output = Buffer(capacity: 1 << 10)
  let deadline: Int64
  /// When the next address is tried beside it; 0: it is not.
  var rivalAt: Int64

  init(
    pool: Int, upstream: Int, row: Int32, address: Int, check: UInt64, socket: consuming Socket, conversation: consuming HealthConversation, deadline: Int64,
    rivalAt: Int64
  ) {
    self.pool = pool
    self.upstream = upstream
    self.row = row
    self.address = address
    self.check = check
    self.socket = socket
    state = .connecting
    self.conversation = conversation
    self.deadline = deadline
    self.rivalAt = rivalAt
  }
}

/// What the checks of a worker need.
struct HealthChecks: ~Copyable {
  /// Checks at the same time, at least and at most: those that wait for somebody who does not answer must not keep all others waiting.
  static var limits: ClosedRange<Int> { 64...1024 }

  /// Whether any upstream has checks, and whether any judges endpoints by their requests.
  let hasChecks: Bool
  let judges: Bool
  /// Whether this worker holds the lease.
  var leads = false
  var probes: Slab<Probe>
  var lastCheck: UInt64 = 0
  /// By pool: when the next check is due (0: when it will be decided), and results one after the other, good ones above 0.
  var due: [Int64] = []
  var streaks: [Int16] = []
  /// By upstream: when the first of its checks is due, or its endpoints are to be looked at again.
  var dueOfUpstreams: [Int64]
  /// Where to begin: with what found all places taken the last time, so that everybody has a turn. And whether they are.
  var nextUpstream = 0
  var nextMember = 0
  var isFull = false
  /// By pool: what had been counted when outliers were looked for last.
  var samples: [EndpointSample] = []
  /// By upstream: when they are looked for next.
  var nextJudgement: [Int64]
  /// When the lease is asked for or renewed, and when a check is due or over.
  var nextLease: Int64 = 0
  var nextProbe: Int64 = 0
  /// Ciphertext and plaintext at hand.
  var cipher = Buffer.absent
  var plain = Buffer.absent

  init(_ plan: Plan, table: EndpointTable?) {
    let checked = plan.upstreams.reduce(0) { $0 + ($1.health.check.kind == .none ? 0 : max(1, $1.endpoints.count)) }
    hasChecks = table != nil && checked > 0
    judges = table != nil && plan.upstreams.contains { $0.health.outliers.enabled }
    probes = Slab(capacity: hasChecks ? UInt32(min(max(checked / 8, Self.limits.lowerBound), Self.limits.upperBound)) : 1)
    dueOfUpstreams = [Int64](repeating: 0, count: plan.upstreams.count)
    nextJudgement = [Int64](repeating: 0, count: plan.upstreams.count)
  }

  var isActive: Bool { hasChecks || judges }

  /// Has room for what is kept of each pool.
  mutating func fit(pools: Int) {
    while due.count < pools {
      due.append(0)
      streaks.append(0)
      samples.append(EndpointSample())
    }
  }

  /// Begins anew: nothing is known of what was due, or had been found before.
  mutating func forget() {
    for pool in due.indices {
      due[pool] = 0
      streaks[pool] = 0
    }
    for upstream in dueOfUpstreams.indices { dueOfUpstreams[upstream] = 0 }
  }
}

extension Gateway {
  /// How long a lease lasts, and how often it is renewed; milliseconds.
  private static var leaseDuration: Int64 { 3_000 }
  private static var leaseRenewal: Int64 { 500 }

  /// At the end of a turn: is anything due?
  @inline(never)
  mutating func proceedWithHealth() {
    guard let table = backends.pools.table else { return }
    if services.now >= health.nextLease {
      health.nextLease = services.now + Self.leaseRenewal
      let wants = !drain.isDraining
      let leads = wants && table.lead(generation: worker.generation, row: worker.row, now: services.now, until: services.now + Self.leaseDuration)
      if leads != health.leads {
        health.leads = leads
        if leads {
          log.write(.debug, "this worker checks the endpoints from now on")
          health.forget()
        } else {
          if !wants { table.ceaseToLead(row: worker.row) }
          dropProbes()
        }
      }
    }
    guard health.leads else { return }
    if health.hasChecks, services.now >= health.nextProbe { makeChecks() }
    if health.judges { judgeOutliers() }
  }

  /// When `proceedWithHealth` is to be called next, from now.
  mutating func delayUntilHealth() -> Int64 {
    var next = health.nextLease
    if health.leads, health.hasChecks { next = min(next, health.nextProbe) }
    return next - services.now
  }

  // MARK: When

  private mutating func makeChecks() {
    health.fit(pools: backends.pools.count)
    // Those that are over, or want company.
    var index: UInt32 = 0
    while let probe = health.probes.nextHandle(from: index) {
      index = probe.index + 1
      if services.now >= health.probes[probe].deadline {
        conclude(probe, .failed(health.probes[probe].state == .connecting ? .connect : .timeout))
      } else if health.probes[probe].rivalAt > 0, services.now >= health.probes[probe].rivalAt {
        beginRival(probe)
      }
    }
    health.isFull = false
    let count = health.dueOfUpstreams.count, first = health.nextUpstream
    for offset in 0..<count {
      let upstream = (first + offset) % count
      guard services.now >= health.dueOfUpstreams[upstream] else { continue }
      makeChecks(of: upstream)
      if health.isFull { break }
    }
    var next = services.now + 1000
    // With all places taken, the next check is made when one of them is free.
    if !health.isFull { for upstream in health.dueOfUpstreams.indices { next = min(next, health.dueOfUpstreams[upstream]) } }
    index = 0
    while let probe = health.probes.nextHandle(from: index) {
      index = probe.index + 1
      next = min(next, health.probes[probe].deadline)
      if health.probes[probe].rivalAt > 0 { next = min(next, health.probes[probe].rivalAt) }
    }
    health.nextProbe = max(services.now + 5, next)
  }

  private mutating func makeChecks(of upstream: Int) {
    guard plan.upstreams[upstream].health.check.kind != .none else { return health.dueOfUpstreams[upstream] = .max }
    let interval = Int64(plan.upstreams[upstream].health.check.interval)
    // Endpoints may come and go: they are looked at again before long.
    var next = services.now + 1000
    let count = backends.sets[upstream].members.count, first = upstream == health.nextUpstream ? health.nextMember : 0
    for offset in 0..<count {
      let position = (first + offset) % count
      let pool = Int(backends.sets[upstream].members[position])
      if health.due[pool] == 0 {
        // The first ones are soon, but not all at the same moment.
        health.due[pool] = services.now + Int64(services.random.next() % UInt64(max(1, min(interval / 4, 1000))))
      }
      if services.now >= health.due[pool] {
        health.due[pool] = services.now + interval
        beginCheck(pool, upstream)
        guard !health.isFull else {
          (health.nextUpstream, health.nextMember) = (upstream, position)
          return
        }
      }
      next = min(next, health.due[pool])
    }
    health.dueOfUpstreams[upstream] = next
  }

  // MARK: Connecting

  private mutating func beginCheck(_ pool: Int, _ upstream: Int) {
    guard let table = backends.pools.table, backends.pools[pool].row >= 0, table.administration(Int(backends.pools[pool].row)) != .disabled else { return }
    guard backends.addressCount(of: pool) > 0 else { return }
    health.lastCheck &+= 1
    let deadline = services.now + Int64(plan.upstreams[upstream].health.check.timeout)
    switch attempt(pool, upstream, address: 0, check: health.lastCheck, deadline: deadline) {
    case .begun: break
    // It is made the next time.
    case .noRoom:
      health.due[pool] = services.now
      health.isFull = true
    case .failed: noteCheck(pool, upstream, .failed(.connect))
    }
  }

  private enum Attempt { case begun, noRoom, failed }

  /// Tries to connect to one of an endpoint's addresses, and to those behind it as long as one fails at once.
  private mutating func attempt(_ pool: Int, _ upstream: Int, address first: Int, check: UInt64, deadline: Int64) -> Attempt {
    var address = first
    while let target = backends.checkAddress(address, of: pool, port: plan.upstreams[upstream].health.check.port) {
      do throws(Errno) {
        var isConnected = false
        let socket = try Socket.connect(to: target, isConnected: &isConnected)
        let delay = Int64(plan.upstreams[upstream].pool.attemptDelay)
        let hasRival = delay > 0 && address + 1 < backends.addressCount(of: pool)
        let probe = Probe(
          pool: pool, upstream: upstream, row: backends.pools[pool].row, address: address, check: check, socket: socket,
          conversation: HealthConversation(plan.upstreams[upstream].health.check), deadline: deadline, rivalAt: hasRival ? services.now + delay : 0)
        guard let handle = health.probes.insert(probe) else { return .noRoom }
        do throws(Errno) {
          try poller.watch(health.probes[handle].socket.descriptor, token: Token.make(.probe, handle))
        } catch {
          _ = health.probes.remove(handle)
          throw error
        }
        if isConnected { connected(handle) }
        return .begun
      } catch {
        address += 1
      }
    }
    return .failed
  }

  /// It takes long: the next address is tried beside it.
  private mutating func beginRival(_ probe: Handle) {
    health.probes[probe].rivalAt = 0
    guard health.probes[probe].state == .connecting else { return }
    let pool = health.probes[probe].pool, upstream = health.probes[probe].upstream, address = health.probes[probe].address
    guard backends.pools[pool].row == health.probes[probe].row else { return }
    _ = attempt(pool, upstream, address: address + 1, check: health.probes[probe].check, deadline: health.probes[probe].deadline)
  }

  /// One attempt has made it; what others there are of its check are given up.
  private mutating func connected(_ probe: Handle) {
    health.probes[probe].rivalAt = 0
    if backends.addressCount(of: health.probes[probe].pool) > 1 { dropRivals(of: probe) }
    probeIsConnected(probe)
  }

  private mutating func dropRivals(of probe: Handle) {
    var index: UInt32 = 0
    while let other = health.probes.nextHandle(from: index) {
      index = other.index + 1
      if other != probe, health.probes[other].check == health.probes[probe].check { _ = health.probes.remove(other) }
    }
  }

  /// Whether another attempt of the same check is under way, or begins now.
  private mutating func isContinued(_ check: UInt64, _ pool: Int, _ upstream: Int, after address: Int, deadline: Int64) -> Bool {
    var index: UInt32 = 0
    while let other = health.probes.nextHandle(from: index) {
      index = other.index + 1
      if health.probes[other].check == check { return true }
    }
    guard services.now < deadline, address + 1 < backends.addressCount(of: pool) else { return false }
    return attempt(pool, upstream, address: address + 1, check: check, deadline: deadline) == .begun
  }

  private mutating func dropProbes() {
    var index: UInt32 = 0
    while let probe = health.probes.nextHandle(from: index) {
      index = probe.index + 1
      _ = health.probes.remove(probe)
    }
  }

  /// The socket of a check has become ready.
  @inline(never)
  mutating func probeIsReady(_ probe: Handle, _ readiness: Readiness) {
    guard health.probes.contains(probe) else { return }
    if health.probes[probe].state == .connecting {
      guard !readiness.isDisjoint(with: [.writable, .broken]) else { return }
      guard health.probes[probe].socket.connectError == nil else { return conclude(probe, .failed(.connect)) }
      connected(probe)
      guard health.probes.contains(probe) else { return }
    }
    flush(probe)
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { receive(probe) }
  }

  // MARK: Findings

  mutating func conclude(_ probe: Handle, _ verdict: HealthVerdict) {
    let gone = health.probes.remove(probe)
    if health.isFull { health.nextProbe = services.now }
    // The pool is another endpoint's by now.
    guard backends.pools[gone.pool].row == gone.row else { return }
    if gone.state == .connecting, isContinued(gone.check, gone.pool, gone.upstream, after: gone.address, deadline: gone.deadline) { return }
    noteCheck(gone.pool, gone.upstream, verdict)
  }

  private mutating func noteCheck(_ pool: Int, _ upstream: Int, _ verdict: HealthVerdict) {
    guard let table = backends.pools.table, backends.pools[pool].row >= 0, health.streaks.indices.contains(pool) else { return }
    let row = Int(backends.pools[pool].row), check = plan.upstreams[upstream].health.check
    let before = HealthWord(table.value(.health, row)).health
    table.add(1, .checks, row)
    switch verdict {
    case .passed:
      health.streaks[pool] = min(max(0, health.streaks[pool]) + 1, 1000)
      let isEnough = before == .unknown || Int(health.streaks[pool]) >= check.healthyAfter
      guard before != .healthy, isEnough else { return }
      if before == .unhealthy { table.store(UInt64(clamping: services.now), .backSince, row) }
      table.store(HealthWord(.healthy, since: services.now).word, .health, row)
      // It was used before the first verdict, too: nobody need look at it again.
      guard before == .unhealthy else { return }
      table.announce(row)
      counters.add(.endpointRecoveries)
      log.write(.info, "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: pool)) is healthy again")
    case .failed(let reason):
      table.add(1, .failedChecks, row)
      health.streaks[pool] = max(min(0, health.streaks[pool]) - 1, -1000)
      guard before != .unhealthy, Int(-health.streaks[pool]) >= check.unhealthyAfter else { return }
      table.store(reason.rawValue, .reason, row)
      table.store(HealthWord(.unhealthy, since: services.now).word, .health, row)
      table.announce(row)
      counters.add(.endpointFailures)
      log.write(.warn, "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: pool)) is unhealthy: \(reason.text)")
    }
  }
}
