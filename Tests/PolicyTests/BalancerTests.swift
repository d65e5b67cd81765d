// BalancerTests — who is chosen among several endpoints.

import Plan
import Testing

@testable import Policy

/// Loads by id.
struct FixedLoads: EndpointLoads {
  var loads: [UInt32: UInt32] = [:]
  func load(of id: UInt32) -> UInt32 { loads[id] ?? 0 }
}

/// A generator whose numbers are the same each time.
struct SplitMix {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &+ 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }
}

@Suite struct BalancerTests {
  private func shares(_ weights: [UInt32], _ loads: FixedLoads = FixedLoads(), tried: [UInt32] = [], draws: Int = 20_000, policy: BalancePlan.Policy = .powerOfTwo) -> [Double] {
    var plan = BalancePlan()
    plan.policy = policy
    var balancer = Balancer(plan)
    balancer.replace(with: weights.enumerated().map { Candidate(id: UInt32($0.offset), weight: $0.element) })
    var random = SplitMix(state: 7)
    var triedOnes = TriedEndpoints()
    for one in tried { triedOnes.append(one) }
    var counts = [Int](repeating: 0, count: weights.count)
    for _ in 0..<draws {
      if let chosen = balancer.choose(BalanceQuestion(random: random.next(), tried: triedOnes), loads) { counts[Int(chosen)] += 1 }
    }
    return counts.map { Double($0) / Double(draws) }
  }

  @Test func nobodyIsChosenOfNone() {
    var balancer = Balancer()
    let chosen = balancer.choose(BalanceQuestion(random: 1), FixedLoads())
    #expect(chosen == nil)
  }

  @Test func withoutLoadSharesAreThoseOfTheWeights() {
    for weights: [UInt32] in [[1, 1, 1, 1], [3, 1], [1, 2, 3, 4], [1000, 1, 1]] {
      let total = Double(weights.reduce(0, +))
      for (share, weight) in zip(shares(weights), weights) { #expect(abs(share - Double(weight) / total) < 0.02, "\(weights)") }
    }
  }

  @Test func theBusierOfTwoIsPassedBy() {
    #expect(shares([1, 1], FixedLoads(loads: [0: 5, 1: 4])) == [0, 1])
    // Of four, the busiest gets nothing but where nobody else is drawn, which cannot be.
    #expect(shares([1, 1, 1, 1], FixedLoads(loads: [2: 1]))[2] == 0)
    // Twice the weight bears twice the load.
    #expect(shares([2, 1], FixedLoads(loads: [0: 9, 1: 5])) == [1, 0])
    #expect(shares([2, 1], FixedLoads(loads: [0: 11, 1: 5])) == [0, 1])
  }

  @Test func whoWasTriedIsLeftOut() {
    #expect(shares([1, 1, 1], tried: [1])[1] == 0)
    #expect(shares([1, 1, 1], tried: [0, 2]) == [0, 1, 0])
    // …even when everybody else is busy, but not when there is nobody else.
    #expect(shares([1, 1, 1], FixedLoads(loads: [0: 0, 1: 50, 2: 60]), tried: [0])[0] == 0)
    #expect(shares([1, 1], tried: [0, 1]).reduce(0, +) == 1)
  }

  @Test func theLastEightAreRemembered() {
    var tried = TriedEndpoints()
    for id in UInt32(0)..<12 { tried.append(id) }
    #expect(tried.count == 8 && !tried.contains(3) && tried.contains(4) && tried.contains(11))
    tried.append(5)
    #expect(tried.count == 8 && tried.contains(4))
    tried.removeLast()
    #expect(tried.count == 7 && !tried.contains(5) && tried.contains(6))
    tried.removeAll()
    #expect(tried.count == 0 && !tried.contains(6))
  }

  @Test func roundRobinIsExact() {
    for weights: [UInt32] in [[1, 1, 1], [5, 1, 1], [3, 2]] {
      let total = Double(weights.reduce(0, +))
      let found = shares(weights, draws: Int(total) * 100, policy: .roundRobin)
      #expect(found == weights.map { Double($0) / total })
    }
    #expect(shares([1, 1, 1], tried: [1], draws: 300, policy: .roundRobin)[1] == 0)
    #expect(shares([4, 1], tried: [0], draws: 100, policy: .roundRobin) == [0, 1])
  }

  @Test func theLeastLoadedOfAll() {
    #expect(shares([1, 1, 1, 1], FixedLoads(loads: [0: 3, 1: 2, 2: 1, 3: 2]), policy: .leastRequests) == [0, 0, 1, 0])
    #expect(shares([10, 1], FixedLoads(loads: [0: 9, 1: 1]), policy: .leastRequests) == [1, 0])
    for share in shares([1, 1, 1, 1], policy: .leastRequests) { #expect(abs(share - 0.25) < 0.02) }
  }

  // MARK: Keys

  private func balancer(_ ids: [UInt32], weights: [UInt32: UInt32] = [:], bound: Int = 0) -> Balancer {
    var plan = BalancePlan()
    plan.policy = .hash
    plan.loadBound = bound
    var balancer = Balancer(plan)
    balancer.replace(with: ids.map { Candidate(id: $0, weight: weights[$0] ?? 1, hash: UInt64($0 + 1) &* 0x9e37_79b9_7f4a_7c15) })
    return balancer
  }

  private func homes(_ balancer: inout Balancer, keys: Int, _ loads: FixedLoads = FixedLoads()) -> [UInt32] {
    (0..<keys).compactMap { key in
      var random = SplitMix(state: UInt64(key))
      return balancer.choose(BalanceQuestion(random: random.next(), key: random.next()), loads)
    }
  }

  @Test func keysAreDividedByWeight() {
    var even = balancer(Array(0..<10))
    let counts = Dictionary(grouping: homes(&even, keys: 50_000), by: { $0 }).mapValues(\.count)
    for count in counts.values { #expect(abs(count - 5_000) < 300) }
    var uneven = balancer([0, 1, 2], weights: [0: 300, 1: 200, 2: 100])
    let shares = Dictionary(grouping: homes(&uneven, keys: 60_000), by: { $0 }).mapValues(\.count)
    #expect(abs((shares[0] ?? 0) - 30_000) < 800 && abs((shares[1] ?? 0) - 20_000) < 800 && abs((shares[2] ?? 0) - 10_000) < 800)
  }

  /// One of N leaves: its keys move, and no other does.
  @Test func onlyTheKeysOfTheOneThatLeavesMove() {
    var all = balancer(Array(0..<8)), fewer = balancer([0, 1, 2, 4, 5, 6, 7])
    let before = homes(&all, keys: 20_000), after = homes(&fewer, keys: 20_000)
    var moved = 0
    for (old, new) in zip(before, after) where old != new {
      #expect(old == 3)
      moved += 1
    }
    #expect(moved == before.count { $0 == 3 } && abs(moved - 2_500) < 250)
  }

  @Test func theBoundPassesKeysOn() {
    // 10 in flight on 4 endpoints, 125 percent: ceil(11 * 1.25 / 4) = 4 at most.
    var balancer = balancer([0, 1, 2, 3], bound: 125)
    let found = Set(homes(&balancer, keys: 2_000, FixedLoads(loads: [0: 4, 1: 3, 2: 3])))
    #expect(found == [1, 2, 3])
    // When all have as much as they may, the key's own endpoint gets it.
    let full = Set(homes(&balancer, keys: 2_000, FixedLoads(loads: [0: 1000, 1: 1000, 2: 1000, 3: 1000])))
    #expect(full == [0, 1, 2, 3])
  }

  @Test func logarithmsAreGoodEnough() {
    // −log2 of 1/2, 1/4, 3/4.
    #expect(abs(Balancer.minusLog2(1 << 63) - 1) < 1e-6)
    #expect(abs(Balancer.minusLog2(1 << 62) - 2) < 1e-6)
    #expect(abs(Balancer.minusLog2(3 << 62) - 0.415_037_5) < 1e-5)
    #expect(Balancer.minusLog2(0).isFinite && Balancer.minusLog2(.max) >= 0)
  }
}
