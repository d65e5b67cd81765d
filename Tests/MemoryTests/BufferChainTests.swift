// BufferChainTests — a chain beside a list of byte arrays, with buffers from a pool and from elsewhere.

import Testing

@testable import Memory

@Suite struct BufferChainTests {
  @Test(arguments: 1...40)
  func behavesLikeAQueueOfBytes(_ seed: UInt64) {
    var dice = Dice(seed)
    let size = 1 + dice.roll(40)
    var pool = BufferPool(bufferCapacity: size, limit: 4)
    var chain = BufferChain()
    var model: [UInt8] = []
    for _ in 0..<400 {
      switch dice.roll(8) {
      case 0, 1:
        let added = dice.bytes(dice.roll(4 * size))
        chain.append(added.span, &pool)
        model += added
      case 2:
        let added = dice.bytes(dice.roll(30))
        chain.append(buffer(added, capacity: 30), &pool)
        model += added
      case 3:
        let added = dice.bytes(dice.roll(30))
        chain.prepend(buffer(added, capacity: 30), &pool)
        model = added + model
      case 4:
        let added = dice.bytes(dice.roll(30))
        let start = dice.roll(added.count + 1)
        chain.append(copying: buffer(added, capacity: 30), from: start, &pool)
        model += added[start...]
      case 5, 6:
        let amount = dice.roll(chain.frontCount + 1)
        chain.consume(amount, &pool)
        model.removeFirst(amount)
      default:
        guard let first = chain.popFirst() else { continue }
        let taken = array(first.bytes)
        #expect(!taken.isEmpty && model.starts(with: taken))
        model.removeFirst(taken.count)
      }
      #expect(chain.count == model.count)
      #expect(chain.isEmpty == model.isEmpty)
      #expect((chain.frontCount > 0) == !model.isEmpty)
      let front = chain.withFront { array($0) }
      #expect(front.count == chain.frontCount && model.starts(with: front))
    }
    #expect(holds(drained(&chain) == model))
    #expect(holds(chain.isEmpty))
  }

  @Test func removeAllLeavesAnEmptyChain() {
    var pool = BufferPool(bufferCapacity: 4, limit: 8)
    var chain = BufferChain()
    chain.append([UInt8](repeating: 1, count: 50).span, &pool)
    chain.removeAll(&pool)
    #expect(chain.isEmpty && chain.count == 0 && chain.frontCount == 0)
    chain.append([9].span, &pool)
    #expect(holds(drained(&chain) == [9]))
  }

  @Test func appendingFillsTheLastBufferFirst() {
    var pool = BufferPool(bufferCapacity: 8, limit: 8)
    var chain = BufferChain()
    chain.append([1, 2, 3].span, &pool)
    chain.append([4, 5].span, &pool)
    #expect(chain.frontCount == 5)
    chain.append([UInt8](repeating: 6, count: 4).span, &pool)
    #expect(chain.frontCount == 8 && chain.count == 9)
  }

  @Test func nothingAppendedIsNoBuffer() {
    var pool = BufferPool(bufferCapacity: 8, limit: 8)
    var chain = BufferChain()
    chain.append(Span<UInt8>(), &pool)
    chain.append(Buffer(capacity: 8), &pool)
    chain.prepend(Buffer(capacity: 8), &pool)
    chain.append(copying: buffer([1], capacity: 1), from: 1, &pool)
    #expect(holds(chain.isEmpty && chain.popFirst() == nil))
  }

  @Test func consumingAnEmptyChainDoesNothing() {
    var pool = BufferPool(bufferCapacity: 8, limit: 8)
    var chain = BufferChain()
    chain.consume(0, &pool)
    #expect(holds(chain.isEmpty))
  }

  @Test func manyBuffersKeepTheirOrder() {
    var pool = BufferPool(bufferCapacity: 1, limit: 2)
    var chain = BufferChain()
    let all = (0..<300).map { UInt8(truncatingIfNeeded: $0) }
    for byte in all { chain.append([byte].span, &pool) }
    for round in 0..<100 {
      #expect(holds(chain.withFront { array($0) } == [all[round]]))
      chain.consume(1, &pool)
    }
    for byte in all { chain.append([byte].span, &pool) }
    #expect(holds(drained(&chain) == Array(all[100...]) + all))
  }

  private func drained(_ chain: inout BufferChain) -> [UInt8] {
    var bytes: [UInt8] = []
    while let buffer = chain.popFirst() { bytes += array(buffer.bytes) }
    return bytes
  }
}

@Suite struct BufferPoolTests {
  @Test func recycledBuffersComeBackEmpty() {
    var pool = BufferPool(bufferCapacity: 8, limit: 2)
    for _ in 0..<5 {
      var first = pool.take(), second = pool.take(), third = pool.take()
      #expect(first.isEmpty && second.isEmpty && third.isEmpty)
      #expect(first.capacity == 8 && first.freeCapacity == 8 && third.freeCapacity == 8)
      first.append(1)
      second.append(2)
      second.consume(1)
      third.append(3)
      pool.recycle(first)
      pool.recycle(second)
      pool.recycle(third)
    }
    #expect(pool.idleCount == 2)
  }

  @Test func buffersOfAnotherSizeAreNotKept() {
    var pool = BufferPool(bufferCapacity: 8, limit: 2)
    pool.recycle(Buffer(capacity: 9))
    pool.recycle(Buffer.absent)
    #expect(pool.idleCount == 0)
    #expect(holds(pool.take().capacity == 8))
  }
}
