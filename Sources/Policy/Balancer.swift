// Balancer — which of an upstream's endpoints a request goes to: a decision over candidates, loads, a key and a random number.
//
// Candidates are those that may be used at present; whoever keeps the balancer replaces them when that changes. What is in flight on an endpoint
// is asked of `EndpointLoads` at each choice. Endpoints that the request has been sent to already are chosen only when there is no other.
//
// Every policy looks at a candidate's weight: two with the weights 2 and 1 get requests 2:1, or bear twice the load, or have twice the keys.

import Memory
import Plan

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
  /// Stands for the endpoint where keys are hashed: the same in all processes, and after restarts.
  public let hash: UInt64

  public init(id: UInt32, weight: UInt32, hash: UInt64 = 0) {
    self.id = id
    self.weight = max(1, weight)
    self.hash = hash
  }
}

/// The endpoints that a request has been sent to; the last eight of them.
public struct TriedEndpoints: BitwiseCopyable, Sendable {
  public static var limit: Int { 8 }
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

/// What is asked of a balancer.
public struct BalanceQuestion: BitwiseCopyable {
  /// A hash of what of the request `hash` goes by; 0: the request has no such thing, and goes wherever chance takes it.
  public var key: UInt64 = 0
  /// Evenly distributed.
  public var random: UInt64
  /// Where the request has been sent before.
  public var tried: TriedEndpoints

  public init(random: UInt64, key: UInt64 = 0, tried: TriedEndpoints = TriedEndpoints()) {
    self.key = key
    self.random = random
    self.tried = tried
  }
}

/// The endpoints of one upstream that may be used at present, and how one is chosen.
public struct Balancer: ~Copyable {
  private let policy: BalancePlan.Policy
  /// Percent of the average load that an endpoint may have before its keys go to others; 0: any.
  private let loadBound: UInt64
  private var candidates: Stack<Candidate>
  /// The weights up to and with each candidate, together.
  private var sums: Stack<UInt64>
  /// What each is owed, in turns; for `roundRobin`.
  private var owed: Stack<Int64>
  private var next = 0
  private var isEven = true

  public init(_ plan: BalancePlan = BalancePlan()) {
    policy = plan.policy
    loadBound = UInt64(clamping: plan.loadBound)
    candidates = Stack(capacity: 1)
    sums = Stack(capacity: 1)
    owed = Stack(capacity: 1)
  }

  public var count: Int { candidates.count }

  /// The candidate at `index`, in the order in which they were given.
  public func candidate(_ index: Int) -> Candidate { candidates[index] }

  /// Makes `list` the candidates. What those that stay are owed is kept.
  public mutating func replace(with list: [Candidate]) {
    var known: [UInt32: Int64] = [:]
    for index in 0..<candidates.count { known[candidates[index].id] = owed[index] }
    candidates.removeAll()
    sums.removeAll()
    owed.removeAll()
    isEven = true
    var sum: UInt64 = 0
    for candidate in list {
      sum += UInt64(candidate.weight)
      if candidate.weight != list[0].weight { isEven = false }
      candidates.append(candidate)
      sums.append(sum)
      owed.append(known[candidate.id] ?? 0)
    }
    if next >= list.count { next = 0 }
  }

  /// Begins the rounds somewhere else, so that workers do not all begin with the same endpoint.
  public mutating func begin(at random: UInt64) {
    if candidates.count > 0 { next = Int(random % UInt64(candidates.count)) }
  }

  // MARK: Choosing

  /// The candidate for a request; nil when there is none.
  public mutating func choose<Loads: EndpointLoads & ~Copyable>(_ question: BalanceQuestion, _ loads: borrowing Loads) -> UInt32? {
    guard candidates.count > 1 else { return candidates.count == 1 ? candidates[0].id : nil }
    let index =
      switch policy {
      case .powerOfTwo: betterOfTwo(question, loads)
      case .roundRobin: inTurn(question)
      case .leastRequests: leastLoaded(question, loads)
      case .hash: question.key == 0 ? betterOfTwo(question, loads) : byKey(question, loads)
      }
    return candidates[index].id
  }

  /// Two are drawn, each as often as its weight says; the one with less in flight for its weight is taken, of equals the first. With little in
  /// flight this divides by weight; and nobody sends everything to the one that looks best at the moment.
  private func betterOfTwo<Loads: EndpointLoads & ~Copyable>(_ question: BalanceQuestion, _ loads: borrowing Loads) -> Int {
    let first = untried(draw(question.random & 0xffff_ffff), question.tried)
    var second = draw(question.random >> 32)
    if second == first { second = second + 1 == candidates.count ? 0 : second + 1 }
    second = untried(second, question.tried)
    if question.tried.count > 0, question.tried.contains(candidates[second].id) { return first }
    return isLess(second, first, loads) ? second : first
  }

  /// Whether the candidate `a` has less in flight for its weight than `b`.
  private func isLess<Loads: EndpointLoads & ~Copyable>(_ a: Int, _ b: Int, _ loads: borrowing Loads) -> Bool {
    UInt64(loads.load(of: candidates[a].id)) * UInt64(candidates[b].weight) < UInt64(loads.load(of: candidates[b].id)) * UInt64(candidates[a].weight)
  }

  /// The one with the least in flight for its weight; of equals the one that comes first after a place that chance chooses, by weight.
  private func leastLoaded<Loads: EndpointLoads & ~Copyable>(_ question: BalanceQuestion, _ loads: borrowing Loads) -> Int {
    let start = untried(draw(question.random & 0xffff_ffff), question.tried)
    var best = start
    var load = UInt64(loads.load(of: candidates[best].id))
    var index = start
    for _ in 1..<candidates.count {
      index = index + 1 == candidates.count ? 0 : index + 1
      if question.tried.count > 0, question.tried.contains(candidates[index].id) { continue }
      let other = UInt64(loads.load(of: candidates[index].id))
      if other * UInt64(candidates[best].weight) < load * UInt64(candidates[index].weight) {
        best = index
        load = other
      }
    }
    return best
  }

  /// Smooth weighted round robin: in each turn everybody is owed its weight more, whoever is owed most is chosen and pays the sum of all.
  private mutating func inTurn(_ question: BalanceQuestion) -> Int {
    if isEven {
      let index = untried(next, question.tried)
      // One that was passed over because it had been tried keeps its turn.
      if index == next { next = next + 1 == candidates.count ? 0 : next + 1 }
      return index
    }
    var best = -1
    for index in 0..<candidates.count {
      owed[index] += Int64(candidates[index].weight)
      if question.tried.count > 0, question.tried.contains(candidates[index].id) { continue }
      if best < 0 || owed[index] > owed[best] { best = index }
    }
    if best < 0 { best = (0..<candidates.count).max { owed[$0] < owed[$1] } ?? 0 }
    owed[best] -= Int64(sums[sums.count - 1])
    return best
  }

  // MARK: Keys

  /// Rendezvous hashing: each candidate draws a lot from the key and its own hash, and the best lot wins. So one that leaves gives up only its own keys, to all
  /// others alike, and one that comes takes as many. Whoever has more than the bound allows is passed over, its keys going to their second best.
  private func byKey<Loads: EndpointLoads & ~Copyable>(_ question: BalanceQuestion, _ loads: borrowing Loads) -> Int {
    var total: UInt64 = 0
    if loadBound > 0 { for index in 0..<candidates.count { total += UInt64(loads.load(of: candidates[index].id)) } }
    let sum = sums[sums.count - 1]
    var best = -1, bestOfAll = 0
    var least = Double.infinity, leastOfAll = Double.infinity
    for index in 0..<candidates.count {
      let lot = Balancer.lot(question.key, candidates[index])
      if lot < leastOfAll {
        leastOfAll = lot
        bestOfAll = index
      }
      guard lot < least, !(question.tried.count > 0 && question.tried.contains(candidates[index].id)) else { continue }
      if loadBound > 0 {
        // The bound counts the request that is about to be sent, and is never less than one.
        let bound = ((total + 1) * loadBound * UInt64(candidates[index].weight) + 100 * sum - 1) / (100 * sum)
        if UInt64(loads.load(of: candidates[index].id)) >= max(1, bound) { continue }
      }
      least = lot
      best = index
    }
    return best < 0 ? bestOfAll : best
  }

  /// What a candidate draws for a key: exponentially distributed, with its weight as the rate. The smallest wins, as often as the weights say.
  @inline(__always)
  static func lot(_ key: UInt64, _ candidate: Candidate) -> Double {
    var word = key ^ candidate.hash
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    word ^= word >> 31
    return minusLog2(word) / Double(candidate.weight)
  }

  /// −log2 of a number as a fraction of 2^64, the same on every machine: the exponent exactly, the rest to a few millionths.
  static func minusLog2(_ word: UInt64) -> Double {
    let number = word | 1
    let zeros = number.leadingZeroBitCount
    // In [1, 2).
    let x = Double((number << UInt64(zeros)) >> 11) / 4_503_599_627_370_496
    let y = (x - 1) / (x + 1), square = y * y
    // log2(x) = 2/ln 2 · artanh(y)
    let log = 2.885_390_081_777_926_8 * y * (1 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + square / 11)))))
    return Double(zeros) + 1 - log
  }

  // MARK: Drawing

  /// The index that a number below 2^32 falls on, by weight.
  private func draw(_ number: UInt64) -> Int {
    if isEven { return Int((number &* UInt64(candidates.count)) >> 32) }
    // The sum of weights is below 2^31: a thousand endpoints of a thousand times a hundred.
    let target = min(sums[sums.count - 1] - 1, (number &* sums[sums.count - 1]) >> 32)
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
