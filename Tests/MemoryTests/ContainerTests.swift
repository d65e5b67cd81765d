// ContainerTests — the stack, the queue and the bounded array, each beside an array.

import Testing

@testable import Memory

@Suite struct StackTests {
  @Test(arguments: 1...10)
  func behavesLikeAnArray(_ seed: UInt64) {
    var dice = Dice(seed)
    let census = Census()
    do {
      var stack = Stack<Census.Member>(capacity: dice.roll(4))
      var model: [Int] = []
      for number in 0..<300 {
        if dice.roll(3) > 0 {
          stack.append(Census.Member(number, census))
          model.append(number)
        } else {
          let last = name(of: stack.popLast())
          #expect(last == model.popLast())
        }
        #expect(stack.count == model.count)
        for index in model.indices { #expect(holds(stack[index].number == model[index])) }
      }
      #expect(census.alive == model.count)
    }
    #expect(census.alive == 0)
  }

  @Test func elementsChangeInPlace() {
    var stack = Stack<Int>()
    stack.append(1)
    stack.append(2)
    stack[0] += 10
    #expect(holds(stack[0] == 11 && stack[1] == 2))
  }
}

private func name(of member: consuming Census.Member?) -> Int? {
  switch consume member {
  case .some(let member): member.number
  case .none: nil
  }
}

@Suite struct TokenQueueTests {
  @Test(arguments: 1...10)
  func behavesLikeAQueue(_ seed: UInt64) {
    var dice = Dice(seed)
    var queue = TokenQueue(capacity: dice.roll(40))
    var model: [UInt64] = []
    for number in 0..<2000 {
      // Phases of growing and of shrinking.
      if dice.roll(10) < (number / 200 % 2 == 0 ? 7 : 3) {
        let token = UInt64(number) << 33 | 1
        queue.append(token)
        model.append(token)
      } else {
        #expect(holds(queue.popFirst() == (model.isEmpty ? nil : model.removeFirst())))
      }
      #expect(queue.count == model.count)
      #expect(queue.isEmpty == model.isEmpty)
    }
    while let token = queue.popFirst() { #expect(token == model.removeFirst()) }
    #expect(model.isEmpty)
  }
}

@Suite struct BoundedArrayTests {
  @Test func holdsWhatFits() {
    var elements = BoundedArray<Int>(capacity: 3)
    #expect(holds(elements.append(1) && elements.append(2) && elements.append(3)))
    #expect(holds(!elements.append(4)))
    #expect(elements.count == 3 && elements.capacity == 3)
    elements[1] = 20
    #expect(elements[0] == 1 && elements[1] == 20 && elements[2] == 3)
    #expect(holds(elements.span.count == 3 && elements.span[1] == 20))
    elements.removeAll()
    #expect(holds(elements.count == 0 && elements.span.isEmpty))
    #expect(holds(elements.append(5) && elements[0] == 5))
  }

  @Test func mayHoldNothing() {
    var elements = BoundedArray<Int>(capacity: 0)
    #expect(holds(!elements.append(1) && elements.count == 0))
  }
}
