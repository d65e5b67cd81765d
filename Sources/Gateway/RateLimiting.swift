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
    var note = RateNote()
    let cost = limits.cost(route)
    guard cost > 0 else { return note }
    let mayWait = limits.delayedCount < Int(limits.delayed.capacity)
    // One that has waited for a server's answer goes on where it was.
    var first = 0, decision = StoreDecision.waiting
    if stores.isActive, let resumption = stores.resumption.take() { (first, note, decision) = (resumption.zone, resumption.note, resumption.decision) }
    // Which key is in `key`.
    var composed: Int32 = -1
    for index in first..<limits.zones.count {
      guard limits.keys.applies(limits.zones[index].rule.prefixes, to: path) else { continue }
      if limits.zones[index].rule.number != composed {
        composed = -1
        guard composeKey(limits.zones[index].rule, client, route, path: path, bytes, &key) else { continue }
        composed = limits.zones[index].rule.number
      }
      var asked = StoreDecision.absent
      if limits.zones[index].isStored {
        asked = decision == .waiting ? askStore(client, zone: index, cost: cost, key.bytes, note) : decision
        decision = .waiting
        if asked == .waiting {
          note.isWaiting = true
          return note
        }
        if asked == .absent, let fallback = fallBack(index) {
          if fallback == .admit || limits.plan.dryRun { continue }
          note = RateNote()
          note.isRefused = true
          note.isUnavailable = true
          return note
        }
      }
      let outcome =
        if case .decided(let said) = asked { said } else {
          limits.zones[index].limiter.ask(key.bytes, cost: cost, mayWait: mayWait, microseconds: services.nowMicroseconds)
        }
      if limits.zones[index].isTracked { limits.zones[index].limiter.track(key.bytes, isRefused: !outcome.isAdmitted) }
      if !outcome.isAdmitted || isTighter(outcome, limits.zones[index].capacity, than: note) {
        note.zone = Int32(index)
        note.remaining = outcome.remaining
        note.untilToken = outcome.untilToken
        note.untilAdmitted = outcome.untilAdmitted
      }
      if outcome.wait > note.wait, !limits.plan.dryRun { note.wait = outcome.wait }
      guard !outcome.isAdmitted else { continue }
      noteRefusal(index)
      note.isRefused = !limits.plan.dryRun
      return note
    }
    return note
  }

  // Mutating, as `composeKey` is, though it changes nothing: what is borrowed from so large a struct is copied.
  @inline(__always)
  private mutating func isTighter(_ outcome: RateOutcome, _ capacity: Int64, than note: RateNote) -> Bool {
    guard note.zone >= 0 else { return true }
    let other = limits.zones[Int(note.zone)].capacity
    return Double(outcome.remaining) * Double(other) < Double(note.remaining) * Double(capacity)
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
