// Support — a repeatable source of randomness.

/// A small linear congruential generator: the same cases on every run.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 2 &+ 1 }

  /// A number below `bound`.
  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }
}
