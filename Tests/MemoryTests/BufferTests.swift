// BufferTests — a buffer beside an array that is treated the same way.

import Testing

@testable import Memory

@Suite struct BufferTests {
  @Test(arguments: 1...40)
  func behavesLikeAnArray(_ seed: UInt64) {
    var dice = Dice(seed)
    let capacity = 1 + dice.roll(300)
    var buffer = Buffer(capacity: capacity)
    var model: [UInt8] = []
    /// Bytes before the readable ones.
    var consumed = 0
    for _ in 0..<400 {
      let free = capacity - consumed - model.count
      #expect(buffer.freeCapacity == free)
      switch dice.roll(11) {
      case 0:
        guard free > 0 else { continue }
        let byte = UInt8(dice.roll(256))
        buffer.append(byte)
        model.append(byte)
      case 1, 2:
        let added = dice.bytes(dice.roll(free + 1))
        buffer.append(added.span)
        model += added
      case 3:
        guard free >= 19 else { continue }
        let number = dice.roll(1 << (1 + dice.roll(30)))
        buffer.append(decimal: number)
        model += bytes(String(number))
      case 4:
        guard free >= 16 else { continue }
        let number = UInt64(dice.roll(1 << (1 + dice.roll(30)))) << UInt64(dice.roll(34))
        buffer.append(hexadecimal: number)
        model += bytes(String(number, radix: 16))
      case 5, 6:
        let count = dice.roll(model.count + 1)
        buffer.consume(count)
        model.removeFirst(count)
        consumed = model.isEmpty ? 0 : consumed + count
      case 7:
        let count = dice.roll(model.count + 1)
        buffer.truncate(to: count)
        model = Array(model.prefix(count))
      case 8:
        buffer.compact()
        consumed = 0
      case 9:
        guard !model.isEmpty else { continue }
        let position = dice.roll(model.count), byte = UInt8(dice.roll(256))
        buffer.replace(byte, at: position)
        model[position] = byte
      default:
        let added = dice.bytes(dice.roll(free + 1))
        let room = buffer.fill { output in
          let room = output.freeCapacity
          for byte in added { output.append(byte) }
          return room
        }
        #expect(room == free)
        model += added
      }
      #expect(array(buffer.bytes) == model)
      #expect(buffer.count == model.count)
      #expect(buffer.isEmpty == model.isEmpty)
    }
    buffer.removeAll()
    #expect(buffer.isEmpty && buffer.freeCapacity == capacity)
  }

  @Test(arguments: [0, 1, 9, 10, 99, 100, 12_345, 999_999_999, 1_000_000_000, 99_999_999_999_999_999, 100_000_000_000_000_000, 999_999_999_999_999_999])
  func decimals(_ number: Int) {
    var buffer = Buffer(capacity: 18)
    buffer.append(decimal: number)
    #expect(array(buffer.bytes) == bytes(String(number)))
  }

  @Test(arguments: [0, 1, 9, 10, 15, 16, 0xff, 0x100, 0xabcdef, UInt64(Int64.max), .max])
  func hexadecimals(_ number: UInt64) {
    var buffer = Buffer(capacity: 16)
    buffer.append(hexadecimal: number)
    #expect(array(buffer.bytes) == bytes(String(number, radix: 16)))
  }

  @Test(arguments: 0...70)
  func everyLengthIsCopied(_ count: Int) {
    let text = (0..<count).map { UInt8($0 + 1) }
    var buffer = Buffer(capacity: count + 2)
    buffer.append(0xfe)
    buffer.append(text.span)
    buffer.append(0xff)
    #expect(array(buffer.bytes) == [0xfe] + text + [0xff])
  }

  @Test func literals() {
    var buffer = Buffer(capacity: 64)
    buffer.append("")
    buffer.append("GET ")
    buffer.append("X-Forwarded-For: a longer literal than a vector\r\n")
    #expect(array(buffer.bytes) == bytes("GET X-Forwarded-For: a longer literal than a vector\r\n"))
  }

  @Test func emptySpans() {
    var buffer = Buffer(capacity: 1)
    buffer.append(Span<UInt8>())
    #expect(holds(buffer.isEmpty))
    buffer.append(0x61)
    buffer.append(Span<UInt8>())
    #expect(array(buffer.bytes) == [0x61] && buffer.freeCapacity == 0)
  }

  @Test func anAbsentBufferHasNoRoom() {
    let buffer = Buffer.absent
    #expect(holds(buffer.isEmpty && buffer.freeCapacity == 0 && buffer.capacity == 0 && buffer.bytes.isEmpty))
  }

  @Test func noCapacityMeansNoMemory() {
    let buffer = Buffer(capacity: 0)
    #expect(holds(buffer.capacity == 0 && buffer.freeCapacity == 0 && buffer.bytes.isEmpty))
  }

  @Test func fillReturnsWhatTheBodyReturns() {
    var buffer = Buffer(capacity: 4)
    let result = buffer.fill { output in
      output.append(7)
      return "done"
    }
    #expect(result == "done")
    #expect(array(buffer.bytes) == [7])
  }

  @Test func appendPrefixTakesWhatFits() {
    var buffer = buffer([1, 2], capacity: 5)
    #expect(holds(buffer.appendPrefix(of: [3, 4, 5, 6, 7].span) == 3))
    #expect(array(buffer.bytes) == [1, 2, 3, 4, 5])
    #expect(holds(buffer.appendPrefix(of: [8].span) == 0))
  }
}
