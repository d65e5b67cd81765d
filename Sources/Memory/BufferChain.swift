// BufferChain — a queue of bytes in pooled buffers: what could not be sent yet.
//
// Invariants: no buffer in the chain is empty; `count` is the sum of their readable bytes. An empty chain holds
// no memory but its ring, which is made when a second buffer comes and kept from then on.

/// Bytes waiting to be sent, in order.
@safe
public struct BufferChain: ~Copyable {
  private var first: Buffer?
  /// The buffers behind the first, as a ring.
  private var ring: UnsafeMutablePointer<Buffer>?
  private var ringCapacity: UInt32 = 0
  private var ringStart: UInt32 = 0
  private var ringCount: UInt32 = 0
  /// Bytes in all.
  public private(set) var count = 0

  public init() {}

  deinit {
    guard let ring = unsafe ring else { return }
    for offset in 0..<ringCount { unsafe (ring + Int((ringStart + offset) % ringCapacity)).deinitialize(count: 1) }
    unsafe ring.deallocate()
  }

  public var isEmpty: Bool {
    @inline(__always) get { count == 0 }
  }

  /// Bytes in the first buffer.
  public var frontCount: Int {
    switch first {
    case .some(let buffer): buffer.count
    case .none: 0
    }
  }

  /// The size of the first buffer, which tells where it came from.
  public var frontCapacity: Int {
    switch first {
    case .some(let buffer): buffer.capacity
    case .none: 0
    }
  }

  /// Lends the bytes of the first buffer to `body`; none when the chain is empty.
  public func withFront<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    switch first {
    case .some(let buffer): body(buffer.bytes)
    case .none: body(Span())
    }
  }

  /// Takes the first buffer out.
  public mutating func popFirst() -> Buffer? {
    guard let buffer = first.take() else { return nil }
    count -= buffer.count
    first = popRing()
    return buffer
  }

  /// Appends a copy of `bytes`, filling the last buffer and taking more from `pool`.
  public mutating func append(_ bytes: Span<UInt8>, _ pool: inout BufferPool) {
    var rest = bytes
    while !rest.isEmpty {
      let moved = fillLast(rest)
      rest = rest.extracting(droppingFirst: moved)
      if !rest.isEmpty { push(pool.take()) }
    }
    count += bytes.count
    dropEmptyLast(&pool)
  }

  /// Appends a copy of what `buffer` holds, from its byte `start` on.
  public mutating func append(copying buffer: borrowing Buffer, from start: Int = 0, _ pool: inout BufferPool) {
    append(buffer.bytes.extracting(droppingFirst: start), &pool)
  }

  /// Appends `buffer` itself; an empty one goes back to `pool`.
  public mutating func append(_ buffer: consuming Buffer, _ pool: inout BufferPool) {
    guard !buffer.isEmpty else { return pool.recycle(buffer) }
    count += buffer.count
    push(buffer)
  }

  /// Moves everything in `other` to the end of this chain.
  public mutating func append(contentsOf other: inout BufferChain, _ pool: inout BufferPool) {
    while let buffer = other.popFirst() { append(buffer, &pool) }
  }

  /// Puts `buffer` before everything else.
  public mutating func prepend(_ buffer: consuming Buffer, _ pool: inout BufferPool) {
    guard !buffer.isEmpty else { return pool.recycle(buffer) }
    count += buffer.count
    guard let old = first.take() else {
      first = consume buffer
      return
    }
    first = consume buffer
    growRingIfFull()
    guard let ring = unsafe ring else { return }
    ringStart = (ringStart + ringCapacity - 1) % ringCapacity
    unsafe (ring + Int(ringStart)).initialize(to: old)
    ringCount += 1
  }

  /// Drops the first `amount` bytes, which lie in the first buffer.
  public mutating func consume(_ amount: Int, _ pool: inout BufferPool) {
    guard var buffer = first.take() else { return }
    count -= amount
    buffer.consume(amount)
    guard buffer.isEmpty else {
      first = consume buffer
      return
    }
    pool.recycle(buffer)
    first = popRing()
  }

  /// Drops everything.
  public mutating func removeAll(_ pool: inout BufferPool) {
    while let buffer = first.take() {
      pool.recycle(buffer)
      first = popRing()
    }
    count = 0
  }

  // MARK: The ring

  private mutating func fillLast(_ bytes: Span<UInt8>) -> Int {
    guard var buffer = first.take() else { return 0 }
    if ringCount == 0 {
      let moved = buffer.appendPrefix(of: bytes)
      first = consume buffer
      return moved
    }
    first = consume buffer
    guard let ring = unsafe ring else { return 0 }
    return unsafe ring[Int((ringStart + ringCount - 1) % ringCapacity)].appendPrefix(of: bytes)
  }

  private mutating func push(_ buffer: consuming Buffer) {
    guard first != nil else {
      first = consume buffer
      return
    }
    growRingIfFull()
    guard let ring = unsafe ring else { return }
    unsafe (ring + Int((ringStart + ringCount) % ringCapacity)).initialize(to: buffer)
    ringCount += 1
  }

  private mutating func popRing() -> Buffer? {
    guard ringCount > 0, let ring = unsafe ring else { return nil }
    let buffer = unsafe (ring + Int(ringStart)).move()
    ringStart = (ringStart + 1) % ringCapacity
    ringCount -= 1
    return buffer
  }

  /// An append of nothing may have left the only buffer empty.
  private mutating func dropEmptyLast(_ pool: inout BufferPool) {
    guard count == 0, let buffer = first.take() else { return }
    pool.recycle(buffer)
  }

  private mutating func growRingIfFull() {
    guard ringCount == ringCapacity else { return }
    let capacity = max(8, ringCapacity * 2)
    let larger = UnsafeMutablePointer<Buffer>.allocate(capacity: Int(capacity))
    if let old = unsafe ring {
      for offset in 0..<ringCount {
        unsafe (larger + Int(offset)).moveInitialize(from: old + Int((ringStart + offset) % ringCapacity), count: 1)
      }
      unsafe old.deallocate()
    }
    unsafe ring = larger
    ringCapacity = capacity
    ringStart = 0
  }
}

extension Buffer {
  /// Appends as much of `bytes` as there is room for; returns how much that was.
  public mutating func appendPrefix(of bytes: Span<UInt8>) -> Int {
    let moved = min(bytes.count, freeCapacity)
    append(bytes.extracting(first: moved))
    return moved
  }
}
