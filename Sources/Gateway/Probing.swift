// Probing — checks of endpoints: one worker makes them for all, as long as it holds the lease in the table of endpoints.
//
// A check is a connection of its own (`Probe`), apart from the pools: it must not wait for one of theirs, nor use a kept one. Its timing is that of the turn; when checks are
// made, a worker has a turn at least when the next one is due. What they find is written into shared memory by the holder of the lease alone, so that counts of
// results one after the other can be its own; who takes the lease over begins to count anew, from the state that is known.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import TLS
import Telemetry
import Upstream

/// One check under way.
struct Probe: ~Copyable {
  enum State: UInt8 { case connecting, securing, talking }

  let pool: Int
  let upstream: Int
  var socket: Socket
  var state: State
  var session: TLSSession?
  var conversation: HealthConversation
  /// Bytes the kernel has not taken yet.
  var output = Buffer(capacity: 1 << 10)
  let deadline: Int64

  init(pool: Int, upstream: Int, socket: consuming Socket, state: State, conversation: consuming HealthConversation, deadline: Int64) {
    self.pool = pool
    self.upstream = upstream
    self.socket = socket
    self.state = state
    self.conversation = conversation
    self.deadline = deadline
  }
}

/// What the checks of a worker need.
struct HealthChecks: ~Copyable {
  /// Checks at the same time.
  static var limit: UInt32 { 64 }

  /// Whether any upstream has checks, and whether any judges endpoints by their requests.
  let hasChecks: Bool
  let judges: Bool
  /// Whether this worker holds the lease.
  var leads = false
  var probes: Slab<Probe>
  /// By pool: when the next check is due (0: when it will be decided), and results one after the other, good ones above 0.
  var due: [Int64] = []
  var streaks: [Int16] = []
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
    hasChecks = table != nil && plan.upstreams.contains { $0.health.check.kind != .none }
    judges = table != nil && plan.upstreams.contains { $0.health.outliers.enabled }
    probes = Slab(capacity: hasChecks ? HealthChecks.limit : 1)
    nextJudgement = [Int64](repeating: 0, count: plan.upstreams.count)
  }

  var isActive: Bool { hasChecks || judges }
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
          for pool in health.due.indices {
            health.due[pool] = 0
            health.streaks[pool] = 0
          }
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
  func delayUntilHealth() -> Int64 {
    var next = health.nextLease
    if health.leads, health.hasChecks { next = min(next, health.nextProbe) }
    return next - services.now
  }

  // MARK: Checks

  private mutating func makeChecks() {
    var next = services.now + 1000
    while health.due.count < backends.pools.count {
      health.due.append(0)
      health.streaks.append(0)
      health.samples.append(EndpointSample())
    }
    // Those that are over.
    var index: UInt32 = 0
    while let probe = health.probes.nextHandle(from: index) {
      index = probe.index + 1
      if services.now >= health.probes[probe].deadline { conclude(probe, .failed(health.probes[probe].state == .connecting ? .connect : .timeout)) } else { next = min(next, health.probes[probe].deadline) }
    }
    for upstream in 0..<backends.sets.count where plan.upstreams[upstream].health.check.kind != .none {
      let interval = Int64(plan.upstreams[upstream].health.check.interval)
      for member in backends.sets[upstream].members {
        let pool = Int(member)
        if health.due[pool] == 0 {
          // The first ones are soon, but not all at the same moment.
          health.due[pool] = services.now + Int64(services.random.next() % UInt64(max(1, min(interval / 4, 1000))))
        }
        if services.now >= health.due[pool] {
          health.due[pool] = services.now + interval
          beginCheck(pool, upstream)
        }
        next = min(next, health.due[pool])
      }
    }
    health.nextProbe = max(services.now + 5, next)
  }

  private mutating func beginCheck(_ pool: Int, _ upstream: Int) {
    guard let table = backends.pools.table, backends.pools[pool].row >= 0, table.administration(Int(backends.pools[pool].row)) != .disabled else { return }
    let check = plan.upstreams[upstream].health.check
    guard let address = backends.checkAddress(of: pool, port: check.port) else { return }
    let deadline = services.now + Int64(check.timeout)
    do throws(Errno) {
      var isConnected = false
      let socket = try Socket.connect(to: address, isConnected: &isConnected)
      let probe = Probe(pool: pool, upstream: upstream, socket: socket, state: .connecting, conversation: HealthConversation(check), deadline: deadline)
      // With all places taken it is made the next time.
      guard let handle = health.probes.insert(probe) else { return health.due[pool] = services.now + 50 }
      try poller.watch(health.probes[handle].socket.descriptor, token: Token.make(.probe, handle))
      if isConnected { probeIsConnected(handle) }
    } catch {
      noteCheck(pool, upstream, .failed(.connect))
    }
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
      probeIsConnected(probe)
      guard health.probes.contains(probe) else { return }
    }
    flush(probe)
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { receive(probe) }
  }

  private mutating func probeIsConnected(_ probe: Handle) {
    let upstream = health.probes[probe].upstream
    // An endpoint that expects the PROXY protocol is told that the connection is the gateway's own.
    switch plan.upstreams[upstream].proxyProtocol {
    case .off: break
    case .v1:
      let line = Array("PROXY UNKNOWN\r\n".utf8)
      append(line.span, probe)
    case .v2:
      let head: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00]
      append(head.span, probe)
    }
    if let client = tlsClients[upstream] {
      health.probes[probe].state = .securing
      if health.cipher.capacity == 0 {
        health.cipher = Buffer(capacity: 20 << 10)
        health.plain = Buffer(capacity: 20 << 10)
      }
      health.probes[probe].session = TLSSession(client)
      return shakeHands(probe)
    }
    beginTalk(probe)
  }

  private mutating func beginTalk(_ probe: Handle) {
    let upstream = health.probes[probe].upstream
    let check = plan.upstreams[upstream].health.check
    health.probes[probe].state = .talking
    if check.kind == .tcp { return conclude(probe, .passed) }
    let name = RouteActions.host(of: plan.upstreams[upstream])
    var host: [UInt8] = []
    for index in name.bytes.indices { host.append(name.bytes[index]) }
    send(probe, HealthConversation.request(check, host: String(decoding: host, as: UTF8.self), isSecure: tlsClients[upstream] != nil))
  }

  /// Sends plaintext, by way of TLS where there is any.
  private mutating func send(_ probe: Handle, _ bytes: [UInt8]) {
    guard var session = health.probes[probe].session.take() else {
      append(bytes.span, probe)
      return flush(probe)
    }
    health.cipher.removeAll()
    _ = session.encrypt(bytes.span, into: &health.cipher, now: services.now)
    health.probes[probe].session = consume session
    flushCipher(probe)
  }

  private mutating func append(_ bytes: Span<UInt8>, _ probe: Handle) {
    var old = Buffer.absent
    swap(&old, &health.probes[probe].output)
    var grown = Buffer(capacity: old.count + bytes.count + 1)
    grown.append(old.bytes)
    grown.append(bytes)
    health.probes[probe].output = consume grown
  }

  private mutating func flushCipher(_ probe: Handle) {
    var cipher = Buffer.absent
    swap(&cipher, &health.cipher)
    append(cipher.bytes, probe)
    cipher.removeAll()
    swap(&cipher, &health.cipher)
    flush(probe)
  }

  private mutating func flush(_ probe: Handle) {
    guard health.probes.contains(probe), health.probes[probe].state != .connecting, !health.probes[probe].output.isEmpty else { return }
    var output = Buffer.absent
    swap(&output, &health.probes[probe].output)
    if case .moved(let count) = health.probes[probe].socket.send(output.bytes) { output.consume(count) }
    swap(&output, &health.probes[probe].output)
  }

  private mutating func shakeHands(_ probe: Handle) {
    let nothing: [UInt8] = []
    shakeHands(probe, nothing.span)
  }

  private mutating func shakeHands(_ probe: Handle, _ received: Span<UInt8>) {
    guard var session = health.probes[probe].session.take() else { return conclude(probe, .failed(.tls)) }
    health.cipher.removeAll()
    var used = 0, rest = 0
    var step = TLSSession.HandshakeStep.wantsInput
    repeat {
      step = session.handshake(received.extracting(droppingFirst: rest), used: &used, into: &health.cipher)
      rest += used
    } while step == .wantsRoom && health.cipher.freeCapacity > 0
    health.probes[probe].session = consume session
    flushCipher(probe)
    switch step {
    case .established:
      beginTalk(probe)
      if health.probes.contains(probe), rest < received.count { takeCipher(probe, received.extracting(droppingFirst: rest)) }
    case .wantsInput: break
    case .wantsRoom, .failed: conclude(probe, .failed(.tls))
    }
  }

  private mutating func receive(_ probe: Handle) {
    var buffer = services.large.take()
    // A check's answer is short; one that is not has the next turn of the socket.
    for _ in 0..<4 {
      guard health.probes.contains(probe) else { break }
      buffer.removeAll()
      switch buffer.fill({ health.probes[probe].socket.receive(into: &$0) }) {
      case .moved: take(probe, buffer.bytes)
      case .blocked:
        services.large.recycle(buffer)
        return
      case .ended: conclude(probe, ended(probe))
      case .failed: conclude(probe, .failed(health.probes[probe].state == .securing ? .tls : .malformed))
      }
    }
    services.large.recycle(buffer)
    if health.probes.contains(probe) { conclude(probe, .failed(.malformed)) }
  }

  private mutating func ended(_ probe: Handle) -> HealthVerdict {
    health.probes[probe].state == .talking ? health.probes[probe].conversation.ended() : .failed(.tls)
  }

  private mutating func take(_ probe: Handle, _ bytes: Span<UInt8>) {
    switch health.probes[probe].state {
    case .connecting: break
    case .securing: shakeHands(probe, bytes)
    case .talking where tlsClients[health.probes[probe].upstream] != nil: takeCipher(probe, bytes)
    case .talking: if let verdict = health.probes[probe].conversation.receive(bytes) { conclude(probe, verdict) }
    }
  }

  private mutating func takeCipher(_ probe: Handle, _ bytes: Span<UInt8>) {
    guard var session = health.probes[probe].session.take() else { return conclude(probe, .failed(.tls)) }
    var rest = 0
    var verdict: HealthVerdict?
    loop: while verdict == nil {
      health.plain.removeAll()
      health.cipher.removeAll()
      var used = 0
      let outcome = session.decrypt(bytes.extracting(droppingFirst: rest), used: &used, into: &health.plain, replies: &health.cipher)
      rest += used
      if !health.plain.isEmpty {
        var plain = Buffer.absent
        swap(&plain, &health.plain)
        verdict = health.probes[probe].conversation.receive(plain.bytes)
        swap(&plain, &health.plain)
      }
      switch outcome {
      case .drained: break loop
      case .full: continue
      case .closed: if verdict == nil { verdict = health.probes[probe].conversation.ended() }
      case .failed: if verdict == nil { verdict = .failed(.tls) }
      }
    }
    health.probes[probe].session = consume session
    if let verdict { conclude(probe, verdict) }
  }

  private mutating func conclude(_ probe: Handle, _ verdict: HealthVerdict) {
    let gone = health.probes.remove(probe)
    noteCheck(gone.pool, gone.upstream, verdict)
  }

  // MARK: Findings

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
      table.announce()
      guard before == .unhealthy else { return }
      counters.add(.endpointRecoveries)
      log.write(.info, "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: pool)) is healthy again")
    case .failed(let reason):
      table.add(1, .failedChecks, row)
      health.streaks[pool] = max(min(0, health.streaks[pool]) - 1, -1000)
      guard before != .unhealthy, Int(-health.streaks[pool]) >= check.unhealthyAfter else { return }
      table.store(reason.rawValue, .reason, row)
      table.store(HealthWord(.unhealthy, since: services.now).word, .health, row)
      table.announce()
      counters.add(.endpointFailures)
      log.write(.warn, "upstream \(plan.upstreams[upstream].name): endpoint \(backends.name(of: pool)) is unhealthy: \(reason.text)")
    }
  }

  // MARK: Outliers

  private mutating func judgeOutliers() {
    guard let table = backends.pools.table else { return }
    while health.samples.count < backends.pools.count {
      health.due.append(0)
      health.streaks.append(0)
      health.samples.append(EndpointSample())
    }
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
