// Accepting — new client connections, until the queue is empty or a limit is reached.
//
// At no limit does the worker spin: over `max_connections` a connection is answered 503 and closed; without
// descriptors the spare one is given up to accept and close; if even that fails, the listener rests for a while.

import HTTPModel
import Kernel
import Memory
import SharedState
import Telemetry
import Wire

/// A listening socket that this worker accepts on.
struct ServedListener: ~Copyable {
  let listener: Listener
  /// Index into the plan's listeners.
  let index: Int
  /// Which worker slot's queue it is; nil: shared by all.
  let slot: Int?
  var isServed = false
}

extension Gateway {
  /// Connections accepted in one turn from one listener, so that those accepted before are not kept waiting.
  private static var acceptBudget: Int { 64 }

  /// Takes over a listening socket; it is not accepted on before `serve`.
  public mutating func add(_ listener: consuming Descriptor, index: Int, slot: Int?) {
    listeners.append(ServedListener(listener: Listener(owning: listener), index: index, slot: slot))
  }

  /// Accepts on the sockets that `includes` names by slot (nil: shared by all workers).
  public mutating func serve(where includes: (Int?) -> Bool) throws(Errno) {
    for position in 0..<listeners.count where !listeners[position].isServed && includes(listeners[position].slot) {
      try poller.watchInput(listeners[position].listener.descriptor, token: Token.listener(position))
      listeners[position].isServed = true
      // Connections may have queued before the registration; edge-triggered readiness reports them once, now.
    }
  }

  /// Accepts no longer on the sockets that `includes` names, after those already queued have been accepted.
  public mutating func cease(where includes: (Int?) -> Bool, acceptingRest: Bool) {
    for position in 0..<listeners.count where listeners[position].isServed && includes(listeners[position].slot) {
      if acceptingRest { while acceptSome(position, budget: Self.acceptBudget) {} }
      poller.unwatch(listeners[position].listener.descriptor)
      listeners[position].isServed = false
    }
  }

  mutating func acceptAll(_ position: Int) {
    guard position < listeners.count, listeners[position].isServed else { return }  // closed while it was queued
    if acceptSome(position, budget: Self.acceptBudget) { pending.append(Token.listener(position)) }
  }

  /// Accepts up to `budget` connections; true when more may be waiting.
  private mutating func acceptSome(_ position: Int, budget: Int) -> Bool {
    for _ in 0..<budget {
      switch listeners[position].listener.accept() {
      case .accepted(let socket, let address): admit(socket, address, listener: listeners[position].index)
      case .failed(.wouldBlock): return false
      case .failed(let error):
        guard recover(from: error, at: position) else { return false }
      }
    }
    return true
  }

  private mutating func admit(_ socket: consuming Socket, _ address: SocketAddress, listener: Int) {
    counters.add(.connectionsAccepted)
    let limit = plan.limits.maxConnections
    guard limit == 0 || connectionsOfAllWorkers < limit else { return refuse(socket, listener: listener) }
    let peer = PeerText(address)
    var counted = Hold.none
    if limits.countsConnections, !enterConnection(peer, listener: listener, &counted) { return refuse(socket, listener: listener, .clientConnectionLimit) }
    var client = Client(socket, peer: peer, listener: UInt16(truncatingIfNeeded: listener))
    client.peerPort = address.port
    client.connectionHolds = counted
    guard let handle = clients.insert(client) else {
      if counted != Hold.none { limits.leave(&counted) }
      return counters.add(.connectionsRefused)
    }
    do throws(Errno) {
      try poller.watch(clients[handle].socket.descriptor, token: Token.make(.client, handle))
    } catch {
      vacate(handle)
      return counters.add(.acceptFailures)
    }
    guard secure(handle, listener: listener) else {
      vacate(handle)
      return counters.add(.acceptFailures)
    }
    if addresses.isActive { judgePeer(handle, isNew: true) }
    noteOpened()
    counters.add(.connectionsActive)
    setClientTimer(handle, .firstByte, plan.timeouts.request)
  }

  private var connectionsOfAllWorkers: Int {
    mutating get {
      guard let board else { return openClients }
      return Int(clamping: board.sum(of: .connectionsActive))
    }
  }

  /// Says 503 to a connection there is no room for. One write, and no wait for it: this is a full house.
  @inline(never)
  private mutating func refuse(_ socket: consuming Socket, listener: Int, _ fault: Fault = .connectionLimitReached) {
    counters.add(.connectionsRefused)
    counters.count(fault: fault.rawValue)
    let isSecure = server(of: listener) != nil
    if fault == .connectionLimitReached {
      log.write(
        .warn, key: EventKey("connection-limit"),
        "max_connections (\(plan.limits.maxConnections)) reached: a new connection is \(isSecure ? "refused with a TLS alert" : "answered 503")")
    }
    services.responses.output.removeAll()
    // A 503 would take a handshake; an alert can be said without one.
    if isSecure {
      services.responses.output.append(TLSRecord.refusal.span)
    } else {
      let status = fault == .connectionLimitReached ? nil : UInt16(clamping: limits.concurrencyPlan.status)
      compose(error: fault, status: status, ResponseContext(isHead: false, isVersion11: true, isPersistent: false), services.ids.make(), allow: nil, .text)
    }
    _ = socket.send(services.responses.output.bytes)
    services.responses.output.removeAll()
    // The request may have arrived already; unread, it would turn the close into a reset that takes the answer along.
    var drop = services.large.take()
    _ = drop.fill { socket.receive(into: &$0) }
    services.large.recycle(drop)
    socket.endSending()
  }

  /// Deals with a failed accept; false when the listener has to rest.
  @inline(never)
  private mutating func recover(from error: Errno, at position: Int) -> Bool {
    counters.add(.acceptFailures)
    guard error.isOutOfDescriptors else {
      // ECONNABORTED and its like concern one connection that is gone already.
      if error.concernsOneConnection { return true }
      log.write(.error, key: EventKey("accept"), "accept failed: \(error.text)")
      acceptAgainAt = services.now + 100
      return false
    }
    log.write(.error, key: EventKey("descriptors"), "out of file descriptors: new connections are closed; raise the limit (LimitNOFILE) or lower max_connections")
    guard spare.take() != nil else {
      acceptAgainAt = services.now + 100
      return false
    }
    // `take` has closed the spare one, so that one connection can be accepted, and is closed at once.
    // (The kernel says EMFILE before it looks whether anything waits, so there may be none.)
    var closedOne = false
    if case .accepted(let socket, _) = listeners[position].listener.accept() {
      _ = consume socket
      closedOne = true
    }
    spare = try? Descriptor.spare()
    if spare == nil { acceptAgainAt = services.now + 100 }
    return closedOne && spare != nil
  }

  /// Looks again at listeners that had to rest.
  mutating func acceptAgain() {
    acceptAgainAt = 0
    if spare == nil { spare = try? Descriptor.spare() }
    for position in 0..<listeners.count where listeners[position].isServed { acceptAll(position) }
  }
}
