// SlabTests — handles find their element as long as it is there, and never another one.

import Testing

@testable import Memory

@Suite struct SlabTests {
  @Test func aHandleFindsItsElement() throws {
    var slab = Slab<Int>(capacity: 4)
    let a = try slab.store(10), b = try slab.store(20)
    #expect(holds(slab[a] == 10 && slab[b] == 20))
    slab[a] += 1
    #expect(holds(slab[a] == 11 && slab[b] == 20))
    #expect(holds(slab.remove(a) == 11))
    #expect(holds(!slab.contains(a) && slab.contains(b)))
  }

  @Test func aStaleHandleNeverMatchesAgain() throws {
    var slab = Slab<Int>(capacity: 1)
    var stale: [Handle] = []
    for value in 0..<100 {
      let handle = try slab.store(value)
      #expect(handle.index == 0)
      for old in stale { #expect(holds(!slab.contains(old))) }
      #expect(holds(slab[handle] == value))
      #expect(holds(slab.insert(-1) == nil))
      _ = slab.remove(handle)
      stale.append(handle)
    }
    #expect(holds(slab.handle(at: 0) == nil))
  }

  @Test func tokensCarryHandles() throws {
    for handle in [Handle(index: 0, generation: 1), Handle(index: .max, generation: .max), Handle(index: 7, generation: 0x8000_0001)] {
      #expect(Handle(token: handle.token) == handle)
    }
  }

  @Test func handlesOfNothing() {
    let slab = Slab<Int>(capacity: 4)
    #expect(holds(!slab.contains(Handle(index: 0, generation: 1))))
    #expect(holds(!slab.contains(Handle(index: 4, generation: 1))))
    #expect(holds(!slab.contains(Handle(index: .max, generation: 1))))
    #expect(holds(slab.handle(at: 0) == nil && slab.handle(at: .max) == nil && slab.nextHandle(from: 0) == nil))
  }

  @Test func aFullSlabDropsWhatIsOffered() {
    let census = Census()
    do {
      var slab = Slab<Census.Member>(capacity: 2)
      #expect(holds(slab.insert(Census.Member(1, census)) != nil))
      #expect(holds(slab.insert(Census.Member(2, census)) != nil))
      #expect(holds(slab.insert(Census.Member(3, census)) == nil))
      #expect(census.alive == 2)
    }
    #expect(census.alive == 0)
  }

  @Test func aParkedElementIsRevivedAsItWas() throws {
    let census = Census()
    do {
      var slab = Slab<Census.Member>(capacity: 4)
      #expect(holds(slab.revive() == nil))
      let inserted = slab.insert(Census.Member(7, census)), other = slab.insert(Census.Member(8, census))
      let first = try #require(inserted), second = try #require(other)
      slab.park(first)
      #expect(holds(!slab.contains(first) && slab.handle(at: first.index) == nil && slab.parkedCount == 1))
      #expect(holds(slab.nextHandle(from: 0) == second))
      #expect(census.alive == 2)
      let revived = slab.revive()
      let again = try #require(revived)
      #expect(again.index == first.index && again != first)
      #expect(holds(slab[again].number == 7 && slab.parkedCount == 0 && !slab.contains(first)))
    }
    #expect(census.alive == 0)
  }

  @Test func anotherElementTakesTheParkedOnesPlace() throws {
    let census = Census()
    do {
      var slab = Slab<Census.Member>(capacity: 2)
      let inserted = slab.insert(Census.Member(7, census))
      let first = try #require(inserted)
      let pin = unsafe slab.pin(first)
      slab.park(first)
      let isGone = unsafe slab.find(first) == nil
      #expect(isGone)
      // What is pinned is shown as long as it is parked.
      #expect(holds(slab[pin].number == 7))
      let second = slab.insert(Census.Member(8, census))
      #expect(second?.index == first.index && second != first)
      #expect(holds(slab[pin].number == 8 && slab.parkedCount == 0))
      #expect(census.alive == 1)
    }
    #expect(census.alive == 0)
  }

  @Test(arguments: 1...20)
  func behavesLikeADictionary(_ seed: UInt64) throws {
    var dice = Dice(seed)
    let census = Census()
    do {
      let capacity = 1 + dice.roll(20)
      var slab = Slab<Census.Member>(capacity: UInt32(capacity))
      var model: [UInt64: Int] = [:]
      var stale: [Handle] = []
      for number in 0..<500 {
        if dice.roll(2) == 0 {
          let handle = slab.insert(Census.Member(number, census))
          #expect((handle == nil) == (model.count == capacity))
          if let handle {
            #expect(model[handle.token] == nil && handle.index < capacity)
            model[handle.token] = number
          }
        } else if let token = model.keys.sorted().first(where: { _ in dice.roll(3) == 0 }) {
          let member = slab.remove(Handle(token: token))
          #expect(member.number == model[token])
          model[token] = nil
          stale.append(Handle(token: token))
        }
        #expect(census.alive == model.count)
        for (token, number) in model {
          #expect(holds(slab.contains(Handle(token: token)) && slab[Handle(token: token)].number == number))
          #expect(holds(slab.handle(at: Handle(token: token).index) == Handle(token: token)))
        }
        for handle in stale.suffix(30) { #expect(holds(!slab.contains(handle))) }
        // A walk over all meets each once.
        var met: [UInt64] = []
        var next = slab.nextHandle(from: 0)
        while let handle = next {
          met.append(handle.token)
          next = slab.nextHandle(from: handle.index + 1)
        }
        #expect(met.sorted() == model.keys.sorted())
      }
    }
    #expect(census.alive == 0)
  }
}

extension Slab<Int> {
  /// Inserts into a slab that has room.
  fileprivate mutating func store(_ value: Int) throws -> Handle {
    let handle = insert(value)
    return try #require(handle)
  }
}
