// BalancerTests — who is chosen among several endpoints.

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
  private func shares(_ weights: [UInt32], _ loads: FixedLoads = FixedLoads(), tried: [UInt32] = [], draws: Int = 20_000) -> [Double] {
    var balancer = Balancer()
    for (index, weight) in weights.enumerated() { balancer.append(Candidate(id: UInt32(index), weight: weight)) }
    var random = SplitMix(state: 7)
    var triedOnes = TriedEndpoints()
    for one in tried { triedOnes.append(one) }
    var counts = [Int](repeating: 0, count: weights.count)
    for _ in 0..<draws {
      if let chosen = balancer.choose(random.next(), without: triedOnes, loads) { counts[Int(chosen)] += 1 }
    }
    return counts.map { Double($0) / Double(draws) }
  }

  @Test func nobodyIsChosenOfNone() {
    let balancer = Balancer()
    let chosen = balancer.choose(1, without: TriedEndpoints(), FixedLoads())
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
}
