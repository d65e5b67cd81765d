// TokenQueue — a first-in, first-out queue of 64-bit tokens.
//
// Invariant: `count` tokens begin at `start` in the ring, whose capacity is a power of two.

/// Whose turn it is, in order.
@safe
public struct TokenQueue: ~Copyable {
  private var ring: UnsafeMutablePointer<UInt64>
  private var capacity: Int
  private var start = 0
  public private(set) var count = 0

  public init(capacity: Int = 1024) {
    self.capacity = max(16, capacity).nextPowerOfTwo
    unsafe ring = .allocate(capacity: self.capacity)
  }

  deinit { unsafe ring.deallocate() }

  public var isEmpty: Bool { count == 0 }

  public mutating func append(_ token: UInt64) {
    if count == capacity { grow() }
    unsafe ring[(start + count) & (capacity - 1)] = token
    count += 1
  }

  public mutating func popFirst() -> UInt64? {
    guard count > 0 else { return nil }
    let token = unsafe ring[start]
    start = (start + 1) & (capacity - 1)
    count -= 1
    return token
  }

  @inline(never)
  private mutating func grow() {
    let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity * 2)
    for offset in 0..<count { unsafe larger[offset] = ring[(start + offset) & (capacity - 1)] }
    unsafe ring.deallocate()
    unsafe ring = larger
    capacity *= 2
    start = 0
  }
}

extension Int {
  fileprivate var nextPowerOfTwo: Int {
    var power = 1
    while power < self { power *= 2 }
    return power
  }
}
