// Concurrency — counting requests under way and connections by key, and refusing those that are too many.
//
// Invariants: what a client is counted for is a chain of `Hold`s that begins with its `holds`, or of its connection with `connectionHolds`; both
// end when the client is vacated, if not before. A request is counted from its admission until its response has been sent.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Wire

/// One count of a client in a zone.
struct Hold: BitwiseCopyable {
  /// Index into `RateLimits.concurrencyZones`, and the place in the worker's column.
  let zone: Int32
  let place: Int32
  /// The next one of the chain; `none`: it is the last.
  let next: UInt32

  /// No hold.
  static var none: UInt32 { .max }
}

extension RateLimits {
  /// Puts what has been counted in `place` at the head of a chain.
  mutating func keep(_ zone: Int, _ place: Int32, _ chain: inout UInt32) {
    guard let hold = holds.insert(Hold(zone: Int32(truncatingIfNeeded: zone), place: place, next: chain)) else {
      // There are as many as clients have zones, so this cannot be.
      return concurrencyZones[zone].limiter.leave(place)
    }
    chain = hold.index
  }

  /// Takes back all that a chain has been counted for.
  @inline(never)
  mutating func leave(_ chain: inout UInt32) {
    while chain != Hold.none, let handle = holds.handle(at: chain) {
      let hold = holds.remove(handle)
      concurrencyZones[Int(hold.zone)].limiter.leave(hold.place)
      chain = hold.next
    }
    chain = Hold.none
  }
}

extension Gateway {
  // MARK: Requests

  /// Counts the request in the zones that apply. False: it is one too many for one of them.
  mutating func enterRequest(_ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer) -> Bool {
    leaveRequest(client)
    var chain = Hold.none
    var composed: Int32 = -1
    for zone in 0..<limits.requestZoneCount {
      guard limits.keys.applies(limits.concurrencyZones[zone].rule.prefixes, to: path) else { continue }
      if limits.concurrencyZones[zone].rule.number != composed {
        composed = -1
        guard composeKey(limits.concurrencyZones[zone].rule, client, route, path: path, bytes, &key) else { continue }
        composed = limits.concurrencyZones[zone].rule.number
      }
      guard enter(zone, key, &chain) else {
        limits.leave(&chain)
        return false
      }
    }
    clients[client].holds = chain
    return true
  }

  /// Counts one more in a zone. False: it is too much, and refused.
  private mutating func enter(_ zone: Int, _ key: borrowing Buffer, _ chain: inout UInt32) -> Bool {
    switch limits.concurrencyZones[zone].limiter.ask(key.bytes) {
    case .entered(let place):
      limits.keep(zone, place, &chain)
      return true
    case .full: noteExcess(zone, "")
    case .noRoom: noteExcess(zone, "; more keys than max_entries are under way")
    }
    return limits.concurrencyPlan.dryRun
  }

  /// The client's request is over, if it was counted.
  @inline(__always)
  mutating func leaveRequest(_ client: Handle) {
    if clients[client].holds != Hold.none { limits.leave(&clients[client].holds) }
  }

  /// The client's exchange is over. Its request is when all has been sent.
  @inline(never)
  mutating func requestIsOver(_ client: Handle) {
    if clients[client].backlog.isEmpty { leaveRequest(client) }
  }

  @inline(never)
  private mutating func noteExcess(_ zone: Int, _ detail: StaticString) {
    let isDryRun = limits.concurrencyPlan.dryRun, isOfConnections = limits.concurrencyZones[zone].isOfConnections
    limits.concurrencyZones[zone].limiter.memory.countRefusal(isSpared: isDryRun)
    counters.add(
      isOfConnections ? (isDryRun ? .connectionExcessSpared : .connectionExcessRefusals) : (isDryRun ? .concurrencySpared : .concurrencyRefusals))
    guard LogPlan.Level.info >= log.level else { return }
    let index = Int(limits.concurrencyZones[zone].index)
    let subject = isOfConnections ? "connection" : "request"
    log.write(
      .info, key: EventKey("concurrency limit", index),
      "concurrency limit \(limits.concurrencyPlan.zones[index].name): \(isDryRun ? "a \(subject) would have been refused (dry run)" : "\(subject) refused")\(detail)")
  }

  // MARK: Connections

  /// Whether a new connection from `peer` is the client's own: nothing is known yet of whom proxies speak for, and Unix sockets have no address.
  private mutating func isCounted(_ peer: PeerText, listener: Int) -> Bool {
    let isAnnounced = addresses.isActive && listener < addresses.announced.count && addresses.announced.span[listener]
    return !isAnnounced && isClients(PeerAddress(peer))
  }

  private mutating func isClients(_ peer: PeerAddress) -> Bool { peer.kind != .unix && !addresses.trusted.contains(peer) }

  /// Counts a new connection, as `chain`. False: it is one too many.
  @inline(never)
  mutating func enterConnection(_ peer: PeerText, listener: Int, _ chain: inout UInt32) -> Bool {
    guard isCounted(peer, listener: listener) else { return true }
    return enterConnection(peer, &chain)
  }

  private mutating func enterConnection(_ peer: PeerText, _ chain: inout UInt32) -> Bool {
    var key = Buffer.absent
    swap(&key, &limits.key)
    defer { swap(&key, &limits.key) }
    for zone in limits.requestZoneCount..<limits.concurrencyZones.count {
      key.removeAll()
      limits.concurrencyZones[zone].rule.append(peer, &key)
      key.append(0)
      guard enter(zone, key, &chain) else {
        limits.leave(&chain)
        return false
      }
    }
    return true
  }

  /// A proxy has said whose connection it is: counts it. False: it is one too many.
  @inline(never)
  mutating func enterAnnounced(_ client: Handle) -> Bool {
    guard isClients(clients[client].peer) else { return true }
    var chain = Hold.none
    guard enterConnection(clients[client].address, &chain) else { return false }
    clients[client].connectionHolds = chain
    return true
  }

  /// Takes back all that a client has been counted for, and drops its request if that is held.
  @inline(never)
  mutating func leaveAll(_ client: Handle) {
    if clients[client].flags.contains(.delayed) { dropDelayed(client) }
    leaveRequest(client)
    if clients[client].connectionHolds != Hold.none { limits.leave(&clients[client].connectionHolds) }
  }
}
