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
    var route = -1
    if case .route(let number) = match { route = number }
    services.matchedRoute = route
    var path = Buffer.absent, key = Buffer.absent
    swap(&path, &services.path)
    swap(&key, &limits.key)
    let note =
      isRewritten
      ? ask(client, route, path: path.bytes, input.bytes, &key) : ask(client, route, path: services.head.path.text(in: input.bytes), input.bytes, &key)
    swap(&path, &services.path)
    swap(&key, &limits.key)
    services.rateNote = note
    if note.isRefused { refuseForRate(client, id, length, &input) }
    return !note.isRefused
  }

  private mutating func ask(_ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer) -> RateNote {
    var note = RateNote()
    let cost = limits.cost(route)
    guard cost > 0 else { return note }
    for index in 0..<limits.zones.count {
      let zone = limits.zones.span[index]
      guard limits.applies(zone, to: path), composeKey(zone, client, route, path: path, bytes, &key) else { continue }
      let outcome = zone.limiter.take(zone.limiter.hash(key.bytes), cost: cost, microseconds: services.nowMicroseconds)
      if !outcome.isAdmitted || isTighter(outcome, zone, than: note) {
        note.zone = Int32(index)
        note.remaining = outcome.remaining
        note.untilToken = outcome.untilToken
        note.untilAdmitted = outcome.untilAdmitted
      }
      guard !outcome.isAdmitted else { continue }
      noteRefusal(index)
      note.isRefused = !limits.plan.dryRun
      return note
    }
    return note
  }

  private func isTighter(_ outcome: RateOutcome, _ zone: RateZone, than note: RateNote) -> Bool {
    guard note.zone >= 0 else { return true }
    let other = limits.zones.span[Int(note.zone)].limiter.bucket.capacity
    return Double(outcome.remaining) / Double(zone.limiter.bucket.capacity) < Double(note.remaining) / Double(other)
  }

  private func noteRefusal(_ index: Int) {
    limits.zones.span[index].limiter.memory.countRefusal(isSpared: limits.plan.dryRun)
    counters.add(limits.plan.dryRun ? .rateLimitSpared : .rateLimitRefusals)
    guard LogPlan.Level.info >= log.level else { return }
    let name = limits.plan.zones[index].name
    log.write(
      .info, key: EventKey("rate limit", index),
      limits.plan.dryRun ? "rate limit \(name): a request would have been refused (dry run)" : "rate limit \(name): request refused")
  }

  // MARK: Keys

  /// Puts the request's key for `zone` together; false when it lacks a part. The parts are ended by NUL, which is in none.
  private mutating func composeKey(
    _ zone: RateZone, _ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer
  ) -> Bool {
    key.removeAll()
    for index in Int(zone.parts.lower)..<Int(zone.parts.upper) {
      let part = limits.parts.span[index]
      let start = key.count
      switch part.kind {
      case .clientAddress: append(addressOf: client, zone, &key)
      case .path: RateLimits.append(path, &key)
      case .header: RateLimits.append(header: part.name.text(in: limits.texts.bytes), of: services.head.records, bytes, &key)
      case .cookie: RateLimits.append(cookie: part.name.text(in: limits.texts.bytes), of: services.head.records, bytes, &key)
      case .tlsSubject: append(subjectOf: client, &key)
      case .routeParameter: RateLimits.append(services.captures.value(limits.capture(part.parameter, route), in: path), &key)
      }
      guard key.count > start, key.freeCapacity > 0 else { return false }
      key.append(0)
    }
    return true
  }

  private func append(addressOf client: Handle, _ zone: RateZone, _ key: inout Buffer) {
    let peer = clients[client].address
    guard let address = peer.ipv6 else { return RateLimits.append(peer.span, &key) }
    RateLimits.append(word: address.high & zone.highMask, &key)
    RateLimits.append(word: address.low & zone.lowMask, &key)
  }

  private mutating func append(subjectOf client: Handle, _ key: inout Buffer) {
    let connection = connection(of: client)
    guard clients[connection].flags.contains(.secure) else { return }
    let handle = clients[connection].carrier
    guard !secured[handle].identity.isEmpty else { return }
    var identity = Buffer.absent
    swap(&identity, &secured[handle].identity)
    RateLimits.append(identity.bytes.extracting(first: secured[handle].subjectLength), &key)
    swap(&identity, &secured[handle].identity)
  }

  // MARK: Telling

  private mutating func refuseForRate(_ client: Handle, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    let form = errorForm(input.bytes)
    let status = form == .call ? 200 : UInt16(clamping: limits.plan.status)
    let body = compose(error: .rateLimited, status: status, context, id, allow: nil, form, bytes: input.bytes)
    if form == .call { count(callStatus: Int16(CallStatus(.rateLimited).rawValue)) }
    counters.count(fault: Fault.rateLimited.rawValue)
    finishLocal(client, status, .rateLimited, route: services.matchedRoute, id, context, sent: services.responses.output.count - before, body: body, length, &input)
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

extension RateLimits {
  static func append(_ text: Span<UInt8>, _ key: inout Buffer) {
    if key.freeCapacity > text.count { key.append(text) }
  }

  static func append(word: UInt64, _ key: inout Buffer) {
    for shift in stride(from: UInt64(56), through: 0, by: -8) where key.freeCapacity > 1 { key.append(UInt8(truncatingIfNeeded: word >> shift)) }
  }

  /// The value of the first field called `name`.
  static func append(header name: Span<UInt8>, of fields: Span<HeaderField>, _ bytes: Span<UInt8>, _ key: inout Buffer) {
    for index in fields.indices where fields[index].nameText.text(in: bytes).equalsIgnoringCase(name) {
      return append(fields[index].value.text(in: bytes), &key)
    }
  }

  /// The value of the first cookie called `name`.
  static func append(cookie name: Span<UInt8>, of fields: Span<HeaderField>, _ bytes: Span<UInt8>, _ key: inout Buffer) {
    for index in fields.indices where fields[index].nameText.text(in: bytes).equalsIgnoringCase("cookie") {
      let value = fields[index].value.text(in: bytes)
      if let range = value.cookie(named: name) { return append(value.extracting(range), &key) }
    }
  }
}
