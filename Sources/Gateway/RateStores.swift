// RateStores — the Redis servers that have buckets of rate limits, as one worker knows them: a connection to each, the questions
// under way, and the requests that wait for the answers.
//
// A question is about one key and belongs to nobody: those who wait for it are a list, which may be empty when the answer comes. Without
// such a server none of this has any memory.
//
// Invariants: a question's token stands in the queue of its server's connection from the time it is sent until it is answered or the connection is
// given up, and no longer. A waiter is in the list of its question until it is settled.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import RateStore

/// One server.
struct StoreLink: ~Copyable {
  let plan: RateStorePlan
  /// Where it is, unless that has to be looked up.
  let addresses: [SocketAddress]
  /// The zones that have their buckets there.
  let zones: [Int]
  var connection = StoreConnection()
  /// Counts connections: events of earlier ones match nothing.
  var number: UInt32 = 0
  var breaker: StoreBreaker
  /// Which of its addresses is next.
  var place = 0
  /// Milliseconds by which it must have said that it is ready; 0: it has.
  var deadline: Int64 = 0
  /// Whether it is in use on trial, being given up.
  var isTrying = false

  init(_ plan: RateStorePlan, zones: [Int], _ redis: RedisPlan) {
    self.plan = plan
    self.zones = zones
    breaker = StoreBreaker(threshold: redis.failureThreshold, retryInterval: Int64(redis.retryInterval))
    let address = plan.unix.isEmpty ? plan.lookup < 0 ? SocketAddress(host: plan.host, port: plan.port) : nil : SocketAddress(unixPath: plan.unix)
    addresses = address.map { [$0] } ?? []
  }
}

/// What a zone has to do with servers.
struct StoredZone {
  /// Index of the server; negative: its buckets are in shared memory.
  let store: Int
  let words: StoreZone
  let batch: Int64
  let fallback: RateZonePlan.Fallback
}

/// A question under way.
struct StoreQuestion: BitwiseCopyable {
  let zone: Int32
  let key: KeyDigest
  let cost: Int64
  let wanted: Int64
  /// Microseconds of the monotonic clock.
  let askedAt: Int64
  /// The script has gone with it.
  var hasScript = false
  /// Those who wait, in order.
  var first: Handle?
  var last: Handle?
}

/// What becomes of a request that was asked about.
enum StoreDecision: Equatable, BitwiseCopyable {
  case waiting
  case decided(RateOutcome)
  /// There is no answer: the zone's fallback holds.
  case absent
}

/// A request that waits before it is routed.
struct Waiter: ~Copyable {
  var client = Handle(index: 0, generation: 0)
  /// The zone that it waits for, and what zones before it have said.
  var zone: Int32 = 0
  var note = RateNote()
  var cost: Int64 = 1
  var decision = StoreDecision.waiting
  var question: Handle?
  var next: Handle?
  var previous: Handle?
  /// The head, the bytes that it is in, and how many of them are its own.
  var head: RequestHead
  var bytes = Buffer.absent
  var length = 0
  var id = RequestID.generated(0)
  /// Milliseconds of the monotonic clock: since when it waits.
  var since: Int64 = 0

  init(fieldLimit: Int) { head = RequestHead(fieldLimit: fieldLimit) }
}

/// Where a request goes on that has waited.
struct Resumption: BitwiseCopyable {
  let zone: Int
  let note: RateNote
  let decision: StoreDecision
}

/// What a reply is to that is not to a question: tokens of generation 0, which no question has.
enum StoreStep: UInt32 {
  case authentication, selection, script, trial

  var token: UInt64 { Handle(index: rawValue, generation: 0).token }
}

/// All servers of a worker.
struct RateStores: ~Copyable {
  let isActive: Bool
  let plan: RedisPlan
  var links = Stack<StoreLink>(capacity: 1)
  private(set) var zones: [StoredZone] = []
  /// By zone; those without a server have no room.
  var held = Stack<HeldTokens>(capacity: 1)
  var questions: Slab<StoreQuestion>
  var waiters: Slab<Waiter>
  /// Waiters that have been settled and are not resumed yet.
  var settled = TokenQueue(capacity: 16)
  /// The one that is being made.
  var latest = Handle(index: 0, generation: 0)
  var resumption: Resumption?
  /// Whether connections have been begun.
  var hasStarted = false

  init(_ plan: RateLimitPlan, fieldLimit: Int, clients: UInt32) {
    isActive = plan.isActive && plan.zones.contains { $0.store >= 0 }
    self.plan = plan.redis
    questions = Slab(capacity: isActive ? UInt32(max(1, plan.stores.count) * StoreConnection.pendingLimit) : 1)
    waiters = Slab(capacity: isActive ? clients : 1)
    guard isActive else { return }
    for (index, store) in plan.stores.enumerated() {
      links.append(StoreLink(store, zones: plan.zones.indices.filter { plan.zones[$0].store == index }, plan.redis))
    }
    for zone in plan.zones {
      let isStored = zone.store >= 0
      let words = StoreZone(
        prefix: plan.redis.keyPrefix, zone: zone.name, rate: zone.rate, capacity: zone.capacity, salt: "\(zone.key)/\(zone.ipv6Prefix)")
      zones.append(StoredZone(store: isStored ? zone.store : -1, words: words, batch: Int64(max(1, zone.batch)), fallback: zone.fallback))
      held.append(HeldTokens(sets: isStored ? 1024 : 1))
    }
  }
}
