// Support — what the tests of Memory share: bytes out of spans, and a repeatable source of randomness.

import Memory

func array(_ span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A small linear congruential generator: the same cases on every run.
struct Dice {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 2 &+ 1 }

  /// A number below `bound`.
  mutating func roll(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(roll(256)) } }
}

/// Counts how many of its elements are alive.
final class Census {
  private(set) var alive = 0

  struct Member: ~Copyable {
    let number: Int
    private let census: Census

    init(_ number: Int, _ census: Census) {
      self.number = number
      self.census = census
      census.alive += 1
    }

    deinit { census.alive -= 1 }
  }
}

/// A buffer of this capacity that holds `text`.
func buffer(_ text: [UInt8], capacity: Int) -> Buffer {
  var buffer = Buffer(capacity: capacity)
  buffer.append(text.span)
  return buffer
}

/// A condition as it is: `#expect` takes apart what it is given, which spans and noncopyable values do not bear.
func holds(_ condition: Bool) -> Bool { condition }
