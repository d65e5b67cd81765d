// Parking — requests that wait for a server's word on a rate limit: taken aside with their head, and routed when it has come.
//
// A client with `.asking` is not read, and nothing else is done for it: later requests on its connection keep their place behind this one. A stream
// goes on receiving its body, as far as its window goes. What had been decided before the wait is not decided again (`RateStores.resumption`).
// Invariant: a client has the flag `.asking` as long as `waiter` names its request, and nothing is left to be sent to it meanwhile.

import HTTPModel
import Kernel
import Memory
import Policy
import SharedState
import Wire

extension Gateway {
  /// Puts the request in `services.head`, which takes up the first `length` bytes of `input`, aside: all of `input` goes with it.
  @inline(never)
  mutating func park(_ client: Handle, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let waiter = stores.latest
    if stores.waiters[waiter].head.fieldLimit == 0 { stores.waiters[waiter].head = RequestHead(fieldLimit: services.fieldLimit) }
    swap(&stores.waiters[waiter].head, &services.head)
    swap(&stores.waiters[waiter].bytes, &input)
    stores.waiters[waiter].length = length
    stores.waiters[waiter].id = id
    stores.waiters[waiter].since = services.now
    clients[client].flags.insert(.asking)
    clients[client].waiter = waiter
    setClientTimer(client, .answer, stores.plan.timeout)
  }

  /// Takes a request that waits out: its head is in `services.head` then, its bytes in `bytes`.
  private mutating func unpark(_ client: Handle, _ bytes: inout Buffer) -> (id: RequestID, length: Int) {
    let waiter = clients[client].waiter
    leaveQuestion(waiter)
    clients[client].flags.remove(.asking)
    swap(&stores.waiters[waiter].head, &services.head)
    swap(&stores.waiters[waiter].bytes, &bytes)
    let request = (stores.waiters[waiter].id, stores.waiters[waiter].length)
    release(waiter)
    return request
  }

  /// Goes on with a request, now that it has been decided about.
  @inline(never)
  mutating func resume(_ waiter: Handle) {
    guard stores.waiters.contains(waiter) else { return }
    let client = stores.waiters[waiter].client
    let resumption = Resumption(zone: Int(stores.waiters[waiter].zone), note: stores.waiters[waiter].note, decision: stores.waiters[waiter].decision)
    let since = stores.waiters[waiter].since
    var bytes = Buffer.absent
    let request = unpark(client, &bytes)
    clients[client].waiting = .nothing
    stores.resumption = resumption
    services.heldFor = services.now - since
    let pinned = unsafe clients.pin(client)
    route(pinned, request.id, request.length, &bytes)
    services.heldFor = 0
    stores.resumption = nil
    if clients[client].flags.contains(.stream) {
      services.small.recycle(bytes)
      return goOn(stream: client)
    }
    goOn(pinned, &bytes)
    put(pinned, bytes)
    if clients[client].flags.contains(.readable) { enqueue(client) }
  }

  /// The worker drains no longer: a request that waits is answered.
  mutating func refuseWaiting(_ client: Handle) {
    guard stores.waiters.contains(clients[client].waiter) else { return }
    var bytes = Buffer.absent
    _ = unpark(client, &bytes)
    refuse(client, .drainDeadline, bytes, isScreened: true)
    send(client)
    services.small.recycle(bytes)
  }

  /// A client goes while its request waits, which is logged as one that was given up.
  @inline(never)
  mutating func abandonWaiting(_ client: Handle) {
    guard stores.waiters.contains(clients[client].waiter) else { return }
    var bytes = Buffer.absent
    let request = unpark(client, &bytes)
    noteGivenUp(client, request.id, request.length, bytes)
  }

  private mutating func release(_ waiter: Handle) {
    // As exchanges: a few are kept with their storage.
    if stores.waiters.parkedCount >= 256 { stores.waiters[waiter].head = RequestHead(fieldLimit: 0) }
    stores.waiters.park(waiter)
  }

  /// Takes a waiter out of the list of its question.
  mutating func leaveQuestion(_ waiter: Handle) {
    guard let question = stores.waiters[waiter].question else { return }
    stores.waiters[waiter].question = nil
    let next = stores.waiters[waiter].next, previous = stores.waiters[waiter].previous
    stores.waiters[waiter].next = nil
    stores.waiters[waiter].previous = nil
    if let next { stores.waiters[next].previous = previous } else { stores.questions[question].last = previous }
    if let previous { stores.waiters[previous].next = next } else { stores.questions[question].first = next }
  }

  /// Makes a waiter for the request at hand, at the end of the list of `question`.
  mutating func joinQuestion(_ question: Handle, _ client: Handle, zone: Int, cost: Int64, _ note: RateNote) -> Bool {
    guard let waiter = stores.waiters.revive() ?? stores.waiters.insert(Waiter(fieldLimit: services.fieldLimit)) else { return false }
    stores.waiters[waiter].client = client
    stores.waiters[waiter].zone = Int32(truncatingIfNeeded: zone)
    stores.waiters[waiter].note = note
    stores.waiters[waiter].cost = cost
    stores.waiters[waiter].decision = .waiting
    append(waiter, to: question)
    stores.latest = waiter
    return true
  }

  mutating func append(_ waiter: Handle, to question: Handle) {
    let last = stores.questions[question].last
    stores.waiters[waiter].question = question
    stores.waiters[waiter].previous = last
    stores.waiters[waiter].next = nil
    if let last { stores.waiters[last].next = waiter } else { stores.questions[question].first = waiter }
    stores.questions[question].last = waiter
  }
}
