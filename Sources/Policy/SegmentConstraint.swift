// SegmentConstraint — a constraint compiled to a deterministic automaton.
//
// tree -> Thompson automaton (bounded) -> subset construction (bounded). Matching is one table step per byte.
// Invariants: state 0 is dead; states at or above `firstAccepting` accept; states are stored multiplied by the
// number of byte classes; transitions.count <= tableLimit, so that every state fits 16 bits.

/// A regular expression that a whole, non-empty segment must match.
public struct SegmentConstraint: Equatable, Sendable {
  /// As written in the pattern, without the parentheses.
  public let source: String
  /// The class of each byte.
  let classes: [UInt8]
  let classCount: Int
  /// The next state by state and class.
  let transitions: [UInt16]
  let start: UInt16
  let firstAccepting: UInt16

  /// States times classes.
  static let tableLimit = 16_384

  public static func == (a: SegmentConstraint, b: SegmentConstraint) -> Bool { a.source == b.source }

  init(_ source: String) throws(ConstraintError) {
    let tree = try ConstraintParser.parse(Array(source.utf8))
    var program = ConstraintProgram()
    try program.compile(tree)
    let (classes, classCount) = program.byteClasses()
    guard let automaton = Determiniser.run(program, classes: classes, classCount: classCount, limit: Self.tableLimit / classCount) else {
      throw ConstraintError(offset: 0, message: "the constraint is too complex: its automaton has more than \(Self.tableLimit / classCount) states")
    }
    guard automaton.matchesSomething else { throw ConstraintError(offset: 0, message: "no segment can match the constraint") }
    self.source = source
    self.classes = classes
    self.classCount = classCount
    transitions = automaton.transitions
    start = automaton.start
    firstAccepting = automaton.firstAccepting
  }

  /// Whether all of `segment` matches.
  func matches(_ segment: Span<UInt8>) -> Bool {
    var state = Int(start)
    for index in segment.indices { state = Int(transitions[state + Int(classes[Int(segment[index])])]) }
    return state >= Int(firstAccepting)
  }
}

/// A Thompson automaton: instruction 0 is the start, and the program ends with `match`.
private struct ConstraintProgram {
  enum Instruction {
    case bytes(ByteSet)
    /// Goes on at both places; each may be anywhere.
    case split(Int, Int)
    case jump(Int)
    case match
  }

  /// Instructions, and steps of compiling (a repeated empty group has steps without instructions).
  static let sizeLimit = 2_000
  static let stepLimit = 20_000

  private(set) var instructions: [Instruction] = []
  private var steps = 0

  mutating func compile(_ tree: ConstraintTree) throws(ConstraintError) {
    try emit(tree)
    try append(.match)
  }

  @discardableResult
  private mutating func append(_ instruction: Instruction) throws(ConstraintError) -> Int {
    guard instructions.count < Self.sizeLimit else { throw tooLong }
    instructions.append(instruction)
    return instructions.count - 1
  }

  private var tooLong: ConstraintError {
    ConstraintError(offset: 0, message: "the constraint is too long once its repetitions are written out (more than \(Self.sizeLimit) steps)")
  }

  private mutating func emit(_ tree: ConstraintTree) throws(ConstraintError) {
    steps += 1
    guard steps <= Self.stepLimit else { throw tooLong }
    switch tree {
    case .bytes(let set): try append(.bytes(set))
    case .sequence(let parts):
      for part in parts { try emit(part) }
    case .alternatives(let branches):
      var exits: [Int] = []
      for (index, branch) in branches.enumerated() {
        guard index + 1 < branches.count else {
          try emit(branch)
          break
        }
        let split = try append(.match)
        try emit(branch)
        exits.append(try append(.match))
        instructions[split] = .split(split + 1, instructions.count)
      }
      for exit in exits { instructions[exit] = .jump(instructions.count) }
    case .repeated(let body, let least, let most):
      for _ in 0..<least { try emit(body) }
      if let most {
        var exits: [Int] = []
        for _ in least..<most {
          exits.append(try append(.match))
          try emit(body)
        }
        for exit in exits { instructions[exit] = .split(exit + 1, instructions.count) }
      } else {
        let split = try append(.match)
        try emit(body)
        try append(.jump(split))
        instructions[split] = .split(split + 1, instructions.count)
      }
    }
  }

  /// Divides the bytes into classes that no set of the program tells apart. A slash is in none of the sets: it ends a segment.
  func byteClasses() -> ([UInt8], Int) {
    var sets: [ByteSet] = [ByteSet(.slash)], seen: Set<ByteSet> = []
    for case .bytes(let set) in instructions where seen.insert(set).inserted { sets.append(set) }
    var classes = [Int](repeating: 0, count: 256), count = 1
    for set in sets where count < 256 {
      var split: [Int: Int] = [:], next = 0
      var refined = classes
      for byte in 0..<256 {
        let key = classes[byte] * 2 + (set.contains(UInt8(byte)) ? 1 : 0)
        if split[key] == nil {
          split[key] = next
          next += 1
        }
        refined[byte] = split[key] ?? 0
      }
      classes = refined
      count = next
    }
    return (classes.map { UInt8($0) }, count)
  }
}

/// Subset construction.
private struct Determiniser {
  private let instructions: [ConstraintProgram.Instruction]
  /// One byte of each class, by class.
  private var samples: [UInt8]
  private var mark: [Int]
  private var round = 0

  struct Automaton {
    var transitions: [UInt16]
    var start: UInt16
    var firstAccepting: UInt16
    var matchesSomething: Bool
  }

  /// Nil when there would be more than `limit` states.
  static func run(_ program: ConstraintProgram, classes: [UInt8], classCount: Int, limit: Int) -> Automaton? {
    var construction = Determiniser(program.instructions, classes, classCount)
    return construction.run(limit: limit)
  }

  private init(_ instructions: [ConstraintProgram.Instruction], _ classes: [UInt8], _ classCount: Int) {
    self.instructions = instructions
    samples = [UInt8](repeating: 0, count: classCount)
    mark = [Int](repeating: 0, count: instructions.count)
    for byte in 0..<256 { samples[Int(classes[byte])] = UInt8(byte) }
  }

  /// The byte-taking and matching instructions that can be reached from `roots` without taking a byte, in order.
  private mutating func closure(of roots: [Int]) -> [Int] {
    round += 1
    var pending = roots, reached: [Int] = []
    while let index = pending.popLast() {
      guard mark[index] != round else { continue }
      mark[index] = round
      switch instructions[index] {
      case .bytes, .match: reached.append(index)
      case .jump(let target): pending.append(target)
      case .split(let first, let second):
        pending.append(first)
        pending.append(second)
      }
    }
    return reached.sorted()
  }

  private func accepts(_ set: [Int]) -> Bool { set.last == instructions.count - 1 }

  private mutating func run(limit: Int) -> Automaton? {
    var sets: [[Int]] = [[], closure(of: [0])], numbers: [[Int]: Int] = [sets[0]: 0, sets[1]: 1]
    var steps: [[Int]] = [[Int](repeating: 0, count: samples.count)]
    var matchesSomething = false
    while steps.count < sets.count {
      let set = sets[steps.count]
      var row: [Int] = []
      for sample in samples {
        var moved: [Int] = []
        if sample != .slash {
          for index in set {
            if case .bytes(let bytes) = instructions[index], bytes.contains(sample) { moved.append(index + 1) }
          }
        }
        let target = moved.isEmpty ? [] : closure(of: moved)
        if accepts(target) { matchesSomething = true }
        if let number = numbers[target] {
          row.append(number)
        } else {
          guard sets.count < limit else { return nil }
          numbers[target] = sets.count
          row.append(sets.count)
          sets.append(target)
        }
      }
      steps.append(row)
    }
    return number(sets, steps, matchesSomething)
  }

  /// Puts the accepting states last and writes the table.
  private func number(_ sets: [[Int]], _ steps: [[Int]], _ matchesSomething: Bool) -> Automaton {
    let order = sets.indices.filter { !accepts(sets[$0]) } + sets.indices.filter { accepts(sets[$0]) }
    var rank = [Int](repeating: 0, count: order.count)
    for (position, state) in order.enumerated() { rank[state] = position }
    let firstAccepting = order.firstIndex { accepts(sets[$0]) } ?? order.count
    let scaled = { (state: Int) in UInt16(rank[state] * samples.count) }
    return Automaton(
      transitions: order.flatMap { steps[$0].map(scaled) }, start: scaled(1),
      firstAccepting: UInt16(firstAccepting * samples.count), matchesSomething: matchesSomething)
  }
}
