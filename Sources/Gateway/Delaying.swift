// Delaying — requests that are held until the token they have taken is there.
//
// A held request keeps its head and the bytes it is in; nothing more is read of its connection, and nothing blocks. It goes on from
// `dispatch`, past the zones, when its time has come.
// Invariant: a client has the flag `.delayed` as long as `delayed` names its request; both end when it goes on, when it is answered
// because the worker drains, or when the client is vacated.

import HTTPModel
import Kernel
import Memory
import SharedState
import Telemetry
import Wire

/// A request that is held.
struct DelayedRequest: ~Copyable {
  var head: RequestHead
  var bytes = Buffer.absent
  var length = 0
  var id = RequestID.generated(0)
  var note = RateNote()
  /// Milliseconds of the monotonic clock: since when, and until when.
  var since: Int64 = 0
  var until: Int64 = 0

  init(fieldLimit: Int) { head = RequestHead(fieldLimit: fieldLimit) }
}

extension Gateway {
  /// Holds the request in `services.head`, which takes `input` along. False: there is no room.
  @inline(never)
  mutating func delay(_ client: Handle, _ note: RateNote, _ id: RequestID, _ length: Int, _ input: inout Buffer) -> Bool {
    guard let handle = limits.delayed.revive() ?? limits.delayed.insert(DelayedRequest(fieldLimit: services.fieldLimit)) else { return false }
    limits.delayedCount += 1
    counters.add(.requestsHeld)
    counters.add(.requestsDelayed)
    swap(&limits.delayed[handle].head, &services.head)
    swap(&limits.delayed[handle].bytes, &input)
    limits.delayed[handle].length = length
    limits.delayed[handle].id = id
    limits.delayed[handle].note = note
    limits.delayed[handle].note.wait = 0
    limits.delayed[handle].since = services.now
    limits.delayed[handle].until = services.now + min(note.wait / 1000 + 1, 1 << 31)
    clients[client].delayed = handle.index
    clients[client].flags.insert(.delayed)
    waitForToken(client)
    return true
  }

  /// Sets the timer of a held request, for what is left of its time.
  mutating func waitForToken(_ client: Handle) {
    guard let handle = limits.delayed.handle(at: clients[client].delayed) else { return }
    setClientTimer(client, .token, Int(clamping: max(1, limits.delayed[handle].until - services.now)))
  }

  /// Takes a held request out: its head is in `services.head` then, its bytes in `bytes`.
  private mutating func release(_ client: Handle, _ bytes: inout Buffer) -> (id: RequestID, length: Int, note: RateNote, since: Int64)? {
    guard clients[client].flags.contains(.delayed), let handle = limits.delayed.handle(at: clients[client].delayed) else { return nil }
    clients[client].flags.remove(.delayed)
    swap(&limits.delayed[handle].head, &services.head)
    swap(&limits.delayed[handle].bytes, &bytes)
    let request = (
      id: limits.delayed[handle].id, length: limits.delayed[handle].length, note: limits.delayed[handle].note, since: limits.delayed[handle].since
    )
    limits.delayed.park(handle)
    limits.delayedCount -= 1
    counters.subtract(.requestsHeld)
    return request
  }

  /// The token of a held request is there: the request goes on.
  @inline(never)
  mutating func tokenIsThere(_ client: Handle) {
    var bytes = Buffer.absent
    guard let request = release(client, &bytes) else { return }
    clients[client].flags.insert(.admitted)
    services.rateNote = request.note
    services.heldFor = services.now - request.since
    let pinned = unsafe clients.pin(client)
    route(pinned, request.id, request.length, &bytes)
    services.heldFor = 0
    if clients[client].flags.contains(.stream) {
      services.small.recycle(bytes)
      goOn(stream: client)
    } else {
      goOn(pinned, &bytes)
      put(pinned, bytes)
      if clients[client].flags.contains(.readable) { read(client) }
    }
  }

  /// The worker drains no longer: a held request is answered.
  mutating func refuseDelayed(_ client: Handle) {
    var bytes = Buffer.absent
    guard release(client, &bytes) != nil else { return }
    refuse(client, .drainDeadline, bytes, isScreened: true)
    send(client)
    services.small.recycle(bytes)
  }

  /// The client has gone: so has its request.
  @inline(never)
  mutating func dropDelayed(_ client: Handle) {
    var bytes = Buffer.absent
    guard let request = release(client, &bytes) else { return }
    noteGivenUp(client, request.id, request.length, bytes)
  }

  /// Takes down that a client has given up a request which was not routed yet, with the head in `services.head`.
  mutating func noteGivenUp(_ client: Handle, _ id: RequestID, _ length: Int, _ bytes: consuming Buffer) {
    let fault: Fault = clients[client].flags.contains(.stalled) ? .clientStalled : drain.isOver ? .drainDeadline : .clientAborted
    counters.count(fault: fault.rawValue)
    if fault == .clientAborted { counters.add(.clientAborts) }
    counters.add(.requestsAnswered)
    count(status: 499, route: -1, microseconds: services.nowMicroseconds &- clients[client].requestStart)
    if logsAccess { logLocal(client, 499, fault, route: -1, id, sent: 0, body: 0, length, bytes.bytes) }
    services.small.recycle(bytes)
  }
}
