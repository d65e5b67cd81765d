// Balancer — which of an upstream's endpoints a request goes to: a decision over candidates, loads, a key and a random number.
//
// Candidates are those that may be used at present; whoever keeps the balancer replaces them when that changes. What is in flight on an endpoint
// is asked of `EndpointLoads` at each choice. Endpoints that the request has been sent to already are chosen only when there is no other.

import Memory

/// Knows what is in flight on endpoints.
public protocol EndpointLoads: ~Copyable {
  /// Requests in flight on the endpoint that a candidate's `id` names.
  func load(of id: UInt32) -> UInt32
}

/// An endpoint that may be chosen.
public struct Candidate: BitwiseCopyable, Sendable, Equatable {
  /// What whoever asks calls it.
  public let id: UInt32
  /// Its share beside those of the others; at least 1.
  public let weight: UInt32

  public init(id: UInt32, weight: UInt32) {
    self.id = id
    self.weight = max(1, weight)
  }
}

/// The endpoints that a request has been sent to; the last eight of them.
public struct TriedEndpoints: BitwiseCopyable, Sendable {
  @usableFromInline static var limit: Int { 8 }
  @usableFromInline var ids = InlineArray<8, UInt32>(repeating: .max)
  @usableFromInline var stored: UInt8 = 0

  public init() {}

  public var count: Int { Int(stored) }

  public mutating func removeAll() { stored = 0 }

  public mutating func append(_ id: UInt32) {
    remove(id)
    if stored == TriedEndpoints.limit {
      for index in 1..<TriedEndpoints.limit { ids[index - 1] = ids[index] }
      stored -= 1
    }
    ids[Int(stored)] = id
    stored += 1
  }

  private mutating func remove(_ id: UInt32) {
    guard let place = (0..<Int(stored)).first(where: { ids[$0] == id }) else { return }
    for index in place + 1..<max(place + 1, Int(stored)) { ids[index - 1] = ids[index] }
    stored -= 1
  }

  /// Takes back the last one.
  public mutating func removeLast() { if stored > 0 { stored -= 1 } }

  @inline(__always)
  public func contains(_ id: UInt32) -> Bool {
    for index in 0..<Int(stored) where ids[index] == id { return true }
    return false
  }
}

/// The endpoints of one upstream that may be used at present, and how one is chosen.
public struct Balancer: ~Copyable {
  private var candidates: Stack<Candidate>
  /// The weights up to and with each candidate, together.
  private var sums: Stack<UInt64>
  private var isEven = true

  public init() {
    candidates = Stack(capacity: 1)
    sums = Stack(capacity: 1)
  }

  public var count: Int { candidates.count }

  /// The candidate at `index`, in the order in which they were given.
  public func candidate(_ index: Int) -> Candidate { candidates[index] }

  public mutating func removeAll() {
    candidates.removeAll()
    sums.removeAll()
    isEven = true
  }

  public mutating func append(_ candidate: Candidate) {
    if candidates.count > 0, candidates[0].weight != candidate.weight { isEven = false }
    sums.append((sums.count > 0 ? sums[sums.count - 1] : 0) + UInt64(candidate.weight))
    candidates.append(candidate)
  }

  // MARK: Choosing

  /// The candidate for a request; nil when there is none.
  /// - Parameter random: evenly distributed.
  public func choose<Loads: EndpointLoads & ~Copyable>(_ random: UInt64, without tried: TriedEndpoints, _ loads: borrowing Loads) -> UInt32? {
    guard candidates.count > 1 else { return candidates.count == 1 ? candidates[0].id : nil }
    return betterOfTwo(random, tried, loads)
  }

  /// Two are drawn, each as often as its weight says; the one with less in flight for its weight is taken, of equals the first. With little in
  /// flight this divides by weight; and nobody sends everything to the one that looks best at the moment.
  private func betterOfTwo<Loads: EndpointLoads & ~Copyable>(_ random: UInt64, _ tried: TriedEndpoints, _ loads: borrowing Loads) -> UInt32? {
    let first = untried(draw(random & 0xffff_ffff), tried)
    var second = draw(random >> 32)
    if second == first { second = second + 1 == candidates.count ? 0 : second + 1 }
    second = untried(second, tried)
    let a = candidates[first], b = candidates[second]
    if tried.count > 0, tried.contains(b.id) { return a.id }
    let isBetter = UInt64(loads.load(of: b.id)) * UInt64(a.weight) < UInt64(loads.load(of: a.id)) * UInt64(b.weight)
    return isBetter ? b.id : a.id
  }

  /// The index that a number below 2^32 falls on, by weight.
  private func draw(_ number: UInt64) -> Int {
    if isEven { return Int((number &* UInt64(candidates.count)) >> 32) }
    let total = sums[sums.count - 1]
    let target = min(total - 1, number.multipliedFullWidth(by: total).high << 32 | number.multipliedFullWidth(by: total).low >> 32)
    var low = 0, high = sums.count - 1
    while low < high {
      let middle = (low + high) / 2
      if sums[middle] > target { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// `index`, or the next that has not been tried; `index` where all have.
  private func untried(_ index: Int, _ tried: TriedEndpoints) -> Int {
    guard tried.count > 0 else { return index }
    var next = index
    for _ in 0..<candidates.count {
      if !tried.contains(candidates[next].id) { return next }
      next = next + 1 == candidates.count ? 0 : next + 1
    }
    return index
  }
}
