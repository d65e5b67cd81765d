// UpstreamGuards — what stands between requests and each upstream, made ready: its breaker and its retry budget.
//
// Invariant: there is a guard for each upstream, or for none at all.

import Kernel
import Memory
import Plan
import Policy
import SharedState

/// The guard of one upstream.
struct UpstreamGuard: BitwiseCopyable {
  let breaker: Breaker<BreakerCells>
  let budget: RetryBudget
  let isDryRun: Bool
  /// Each endpoint has a breaker, and the upstream's own lets everything through.
  let guardsEndpoints: Bool
  /// Requests that may be under way, and may wait; 0: any number.
  let requestLimit: UInt64
  let pendingLimit: UInt64
  /// Meaningful with `isAdaptive`.
  let concurrency: ConcurrencyLimit<BreakerCells>
  let isAdaptive: Bool
  /// The generation in which a refusal was logged last.
  var loggedGeneration = UInt32.max
}

/// All guards of a worker.
struct UpstreamGuards: ~Copyable {
  /// Whether any upstream has one; one with a limit of requests under way; and one that is found out.
  let isActive: Bool
  let boundsRequests: Bool
  let isAdaptive: Bool
  /// This worker's row.
  let row: Int
  /// By upstream: the place in `guards`; negative: none.
  private var places: BoundedArray<Int16>
  var guards: BoundedArray<UpstreamGuard>
  /// By place: its upstream.
  private(set) var upstreams: BoundedArray<Int>
  /// Tells all workers that a breaker has changed.
  private let bell: Bell?

  init(_ plan: [UpstreamPlan], _ table: BreakerTable?, bell: consuming Bell?, row: Int) {
    self.row = row
    self.bell = bell
    guards = BoundedArray(capacity: max(1, plan.count))
    places = BoundedArray(capacity: max(1, plan.count))
    upstreams = BoundedArray(capacity: max(1, plan.count))
    for (index, upstream) in plan.enumerated() {
      guard upstream.breaker.enabled, let cells = table?.cells(named: upstream.name, row: row) else {
        _ = places.append(-1)
        continue
      }
      _ = places.append(Int16(guards.count))
      _ = upstreams.append(index)
      _ = guards.append(
        UpstreamGuard(
          breaker: Breaker(cells, upstream.breaker), budget: RetryBudget(upstream.breaker), isDryRun: upstream.breaker.dryRun, guardsEndpoints: upstream.breaker.guardsEndpoints,
          requestLimit: UInt64(clamping: upstream.breaker.maxRequests), pendingLimit: UInt64(clamping: upstream.breaker.maxPending),
          concurrency: ConcurrencyLimit(cells, upstream.breaker), isAdaptive: upstream.breaker.isAdaptive))
    }
    isActive = guards.count > 0
    isAdaptive = plan.contains { $0.breaker.enabled && $0.breaker.isAdaptive }
    boundsRequests = plan.contains { $0.breaker.enabled && ($0.breaker.isAdaptive || $0.breaker.maxRequests > 0) }
  }

  /// The place of an upstream's guard; nil: it has none.
  func place(_ upstream: Int) -> Int? {
    guard isActive, upstream >= 0, upstream < places.count, places.span[upstream] >= 0 else { return nil }
    return Int(places.span[upstream])
  }

  /// Has all workers look at their queues.
  func ring() {
    switch bell {
    case .some(let bell): bell.ring()
    case .none: break
    }
  }

  /// Has `poller` report each ring.
  func watch(_ poller: borrowing Epoll, token: UInt64) throws(Errno) {
    switch bell {
    case .some(let bell): try poller.watchInput(bell.descriptor, token: token)
    case .none: break
    }
  }
}

/// What is told to a client whose request was not let through.
struct GuardNote: BitwiseCopyable {
  var upstream: Int32 = 0
  /// Milliseconds after which it makes sense to come back.
  var wait: Int64 = 0
  var isHalfOpen = false
}
