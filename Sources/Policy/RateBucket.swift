// RateBucket — the arithmetic of a token bucket, as one point in time per key.
//
// Instead of a number of tokens and when it was counted, a key's state is the moment at which its bucket will be full
// again (the theoretical arrival time of ITU-T I.371, "GCRA"): each token taken moves it on by 1/rate. That is one number, and
// exact: nothing is rounded when a bucket refills. Time runs in units of 1/512 of a token's time (larger ones where
// the capacity is enormous) modulo 2^42.

import Plan

extension RateZonePlan {
  /// The zone's rate and capacity in shared memory: where its buckets are elsewhere, the share that holds without them.
  public var bucket: RateBucket {
    guard !backend.isEmpty || store >= 0 else { return RateBucket(rate: Double(rate) / 1000, capacity: Int64(capacity), delay: Int64(delay)) }
    let share = Double(min(max(fallbackShare, 1), 1000)) / 1000
    return RateBucket(rate: Double(rate) / 1000 * share, capacity: max(1, Int64(Double(capacity) * share)))
  }
}

/// A zone's rate and capacity.
public struct RateBucket: Equatable, Sendable, BitwiseCopyable {
  /// Bits of a moment.
  static let momentBits = 42
  static let momentMask: UInt64 = 1 << 42 - 1
  /// Farther in the past than this, a moment could be mistaken for one in the future.
  static let horizon: Int64 = 1 << 40

  /// Units of one token: a power of two.
  public let token: Int64
  /// Units of a full bucket.
  public let full: Int64
  /// Units that may be missing: those of a full bucket, and what may be owed.
  public let depth: Int64
  /// Tokens of a full bucket.
  public let capacity: Int64
  /// Tokens per second.
  public let rate: Double
  private let multiplier: UInt64
  private let shift: UInt64

  /// - Parameters:
  ///   - rate: tokens per second; 0.001 to 1e9.
  ///   - capacity: tokens that may be taken at once; 1 to 2^40.
  ///   - delay: tokens that may be owed beyond; 0 to 2^30.
  public init(rate: Double, capacity: Int64, delay: Int64 = 0) {
    self.rate = min(max(rate.isNaN ? 1 : rate, 0.001), 1e9)
    self.capacity = min(max(capacity, 1), 1 << 40)
    let deep = self.capacity + min(max(delay, 0), 1 << 30)
    var token: Int64 = 512
    while token > 1, deep > 1 << 40 / token { token /= 2 }
    self.token = token
    full = self.capacity * token
    depth = deep * token
    // units per microsecond = multiplier / 2^shift, the multiplier as long as it can be.
    var scaled = self.rate * Double(token) / 1e6
    var shift: UInt64 = 0
    while scaled < 0x1p61, shift < 100 {
      scaled *= 2
      shift += 1
    }
    multiplier = UInt64(scaled)
    self.shift = shift
  }

  /// The moment `microseconds` of the monotonic clock is.
  @inline(__always)
  func moment(_ microseconds: Int64) -> UInt64 {
    let product = multiplier.multipliedFullWidth(by: UInt64(clamping: microseconds))
    let units = shift >= 64 ? product.high >> (shift - 64) : shift == 0 ? product.low : product.high << (64 - shift) | product.low >> shift
    return units & Self.momentMask
  }

  /// Units from `now` to `moment`: negative when it has passed.
  @inline(__always)
  static func distance(_ moment: UInt64, from now: UInt64) -> Int64 {
    let difference = (moment &- now) & momentMask
    return Int64(bitPattern: difference << (64 - UInt64(momentBits))) >> (64 - Int64(momentBits))
  }

  /// Whole tokens left with `debt` units missing.
  @inline(__always)
  func tokens(debt: Int64) -> Int64 { max(0, full &- max(0, debt)) >> Int64(token.trailingZeroBitCount) }

  /// Microseconds until `units` have passed, rounded up.
  func microseconds(_ units: Int64) -> Int64 {
    units <= 0 ? 0 : Int64((Double(units) / (rate * Double(token) / 1e6)).rounded(.up))
  }

  /// Microseconds after which all of a table should be looked through once, lest old moments seem new.
  public var sweepInterval: Int64 { max(1_000, min(3_600_000_000, microseconds(Self.horizon) / 2)) }
}
