// RateLimiting — asking the zones about a request, before it is routed; and telling its client what they said.
//
// Each zone that applies takes a token, in order; the first that has none refuses, and later ones are not asked. What is said in
// the response is of the zone with the least left.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Wire

/// One request's way through the zones.
private struct ZoneRound: BitwiseCopyable {
  let cost: Int64
  let mayWait: Bool
  /// The rule whose key is at hand; negative: none.
  var composed: Int32 = -1
  /// Its hash with the seed of the last table that has been asked: tables made by one master share theirs.
  var isHashed = false
  var hash: UInt64 = 0
  var seed: (low: UInt64, high: UInt64) = (0, 0)
  /// What has been said so far, and tokens of the full bucket of the zone that has.
  var note = RateNote()
  var tightest: Int64 = 0

  init(cost: Int64, mayWait: Bool) {
    self.cost = cost
    self.mayWait = mayWait
  }
}

extension Gateway {
  /// Asks the zones about the head in `services.head`. False when the request was refused, and answered.
  /// - Parameter isRewritten: the path is the one in `services.path`.
  @inline(never)
  mutating func admit(_ client: Handle, _ match: RouteMatch, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer) -> Bool {
    if clients[client].flags.contains(.admitted) {
      // It has been asked about already; what was said of one that was held is in `services.rateNote`.
      clients[client].flags.remove(.admitted)
      if services.heldFor == 0 { services.rateNote = RateNote() }
      return true
    }
    var route = -1
    if case .route(let number) = match { route = number }
    services.matchedRoute = route
    // Whoever waits has nothing left to be sent: pipelined answers go first. While the client does not take them, its request waits where it is.
    if stores.isActive, !services.responses.output.isEmpty {
      send(client)
      guard clients[client].isClear else {
        counters.subtract(.requests)
        return false
      }
    }
    var path = Buffer.absent, key = Buffer.absent
    swap(&path, &services.path)
    swap(&key, &limits.key)
    var note = RateNote(), isFull = false
    // One that has waited for a server's answer is counted already.
    if limits.countsRequests, stores.resumption == nil {
      isFull = isRewritten
        ? !enterRequest(client, route, path: path.bytes, input.bytes, &key)
        : !enterRequest(client, route, path: services.head.path.text(in: input.bytes), input.bytes, &key)
    }
    if !isFull {
      note =
        isRewritten
        ? ask(client, route, path: path.bytes, input.bytes, &key) : ask(client, route, path: services.head.path.text(in: input.bytes), input.bytes, &key)
    }
    swap(&path, &services.path)
    swap(&key, &limits.key)
    services.rateNote = note
    if note.isWaiting {
      park(client, id, length, &input)
      return false
    }
    if isFull { refuse(client, .concurrencyLimited, status: limits.concurrencyPlan.status, id, length, &input) }
    if note.isRefused {
      let fault: Fault = note.isUnavailable ? .rateLimitUnavailable : .rateLimited
      refuse(client, fault, status: note.isUnavailable ? Int(fault.row.status) : limits.plan.status, id, length, &input)
    }
    guard !isFull, !note.isRefused else { return false }
    return note.wait == 0 || !delay(client, note, id, length, &input)
  }

  private mutating func ask(_ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer) -> RateNote {
    var round = ZoneRound(cost: limits.cost(route), mayWait: limits.delayedCount < Int(limits.delayed.capacity))
    guard round.cost > 0 else { return round.note }
    if stores.isActive { return askWithStores(client, route, path: path, bytes, &key, round) }
    for index in 0..<limits.zones.count where composes(index, client, route, path: path, bytes, &key, &round) {
      let outcome = take(index, key.bytes, &round)
      note(outcome, of: index, &round)
      guard outcome.isAdmitted else { break }
    }
    return round.note
  }

  /// As `ask`, where servers have the buckets of some zones.
  @inline(never)
  private mutating func askWithStores(
    _ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer, _ beginning: ZoneRound
  ) -> RateNote {
    var round = beginning, first = 0, decision = StoreDecision.waiting
    // One that has waited for a server's answer goes on where it was.
    if let resumption = stores.resumption.take() {
      (first, round.note, decision) = (resumption.zone, resumption.note, resumption.decision)
      if round.note.zone >= 0 { round.tightest = limits.zones[Int(round.note.zone)].capacity }
    }
    for index in first..<limits.zones.count where composes(index, client, route, path: path, bytes, &key, &round) {
      var asked = StoreDecision.absent
      if limits.zones[index].isStored {
        asked = decision == .waiting ? askStore(client, zone: index, cost: round.cost, key.bytes, round.note) : decision
        decision = .waiting
        if asked == .waiting {
          round.note.isWaiting = true
          return round.note
        }
        if asked == .absent, let fallback = fallBack(index) {
          if fallback == .admit || limits.plan.dryRun { continue }
          var note = RateNote()
          note.isRefused = true
          note.isUnavailable = true
          return note
        }
      }
      let outcome = if case .decided(let said) = asked { said } else { take(index, key.bytes, &round) }
      note(outcome, of: index, &round)
      guard outcome.isAdmitted else { break }
    }
    return round.note
  }

  /// Whether a zone applies, and its key, which is in `key` then, can be put together.
  @inline(__always)
  private mutating func composes(
    _ index: Int, _ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer, _ round: inout ZoneRound
  ) -> Bool {
    guard limits.keys.applies(limits.zones[index].rule.prefixes, to: path) else { return false }
    if limits.zones[index].rule.number == round.composed { return true }
    round.composed = -1
    guard composeKey(limits.zones[index].rule, client, route, path: path, bytes, &key) else { return false }
    round.composed = limits.zones[index].rule.number
    round.isHashed = false
    return true
  }

  /// Asks the cells of a zone.
  @inline(__always)
  private mutating func take(_ index: Int, _ key: Span<UInt8>, _ round: inout ZoneRound) -> RateOutcome {
    if !round.isHashed || limits.zones[index].limiter.memory.seed != round.seed {
      round.seed = limits.zones[index].limiter.memory.seed
      round.hash = limits.zones[index].limiter.hash(key)
      round.isHashed = true
    }
    let outcome = limits.zones[index].limiter.ask(round.hash, cost: round.cost, mayWait: round.mayWait, microseconds: services.nowMicroseconds)
    if limits.zones[index].isTracked { limits.zones[index].limiter.track(round.hash, key, isRefused: !outcome.isAdmitted) }
    return outcome
  }

  /// Takes down what a zone has said: the tightest, or the one that refuses, is told.
  @inline(__always)
  private mutating func note(_ outcome: RateOutcome, of index: Int, _ round: inout ZoneRound) {
    let capacity = limits.zones[index].capacity
    if !outcome.isAdmitted || round.note.zone < 0 || Double(outcome.remaining) * Double(round.tightest) < Double(round.note.remaining) * Double(capacity) {
      round.tightest = capacity
      round.note.zone = Int32(truncatingIfNeeded: index)
      round.note.remaining = outcome.remaining
      round.note.untilToken = outcome.untilToken
      round.note.untilAdmitted = outcome.untilAdmitted
    }
    if outcome.wait > round.note.wait, !limits.plan.dryRun { round.note.wait = outcome.wait }
    guard !outcome.isAdmitted else { return }
    noteRefusal(index)
    round.note.isRefused = !limits.plan.dryRun
  }

  @inline(never)
  private mutating func noteRefusal(_ index: Int) {
    limits.zones.span[index].limiter.memory.countRefusal(isSpared: limits.plan.dryRun)
    counters.add(limits.plan.dryRun ? .rateLimitSpared : .rateLimitRefusals)
    guard LogPlan.Level.info >= log.level else { return }
    let name = limits.plan.zones[index].name
    log.write(
      .info, key: EventKey("rate limit", index),
      limits.plan.dryRun ? "rate limit \(name): a request would have been refused (dry run)" : "rate limit \(name): request refused")
  }

  // MARK: Telling

  private mutating func refuse(_ client: Handle, _ fault: Fault, status: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    let form = errorForm(input.bytes)
    let status = form == .call ? 200 : UInt16(clamping: status)
    let body = compose(error: fault, status: status, context, id, allow: nil, form, bytes: input.bytes)
    if form == .call { count(callStatus: Int16(CallStatus(fault).rawValue)) }
    counters.count(fault: fault.rawValue)
    finishLocal(client, status, fault, route: services.matchedRoute, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  /// Adds what the zones said to the response head that ends `behind` bytes before the end of the output.
  /// - Returns: the bytes added.
  @inline(never)
  mutating func tellLimits(_ note: RateNote, behind: Int) -> Int {
    limits.compose(note)
    let position = services.responses.output.count - behind - 2
    guard !limits.lines.isEmpty, position >= 0, services.responses.output.freeCapacity >= limits.lines.count else { return 0 }
    var lines = Buffer.absent
    swap(&lines, &limits.lines)
    services.responses.output.insert(lines.bytes, at: position)
    let count = lines.count
    swap(&lines, &limits.lines)
    return count
  }
}
