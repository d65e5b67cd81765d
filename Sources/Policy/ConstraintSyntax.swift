// ConstraintSyntax — the regular expressions a route may put on a parameter, read into a tree.
//
// A subset that is regular in the strict sense, so that matching takes one step per byte whatever the expression:
// literals, `.`, classes, `\d \w \s \D \W \S`, groups, alternation, `* + ? {m} {m,} {m,n}`, and `^ $` at the ends, where they say
// what holds anyway: the whole segment must match. Segments are matched as normalised: bytes outside ASCII are escapes there.

/// Why a constraint was refused. `offset` counts bytes from its start.
struct ConstraintError: Error, Equatable {
  let offset: Int
  let message: String
}

/// A set of bytes.
struct ByteSet: Hashable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  init() {}
  init(_ byte: UInt8) { insert(byte) }
  init(_ range: ClosedRange<UInt8>) { for byte in range { insert(byte) } }

  mutating func insert(_ byte: UInt8) {
    let bit = UInt64(1) << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: words.0 |= bit
    case 1: words.1 |= bit
    case 2: words.2 |= bit
    default: words.3 |= bit
    }
  }

  func contains(_ byte: UInt8) -> Bool {
    let word = switch byte >> 6 {
    case 0: words.0
    case 1: words.1
    case 2: words.2
    default: words.3
    }
    return word >> UInt64(byte & 63) & 1 != 0
  }

  func union(_ other: ByteSet) -> ByteSet {
    var result = self
    result.words = (words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3)
    return result
  }

  var inverted: ByteSet {
    var result = self
    result.words = (~words.0, ~words.1, ~words.2, ~words.3)
    return result
  }

  static func == (a: ByteSet, b: ByteSet) -> Bool { a.words == b.words }

  func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
    hasher.combine(words.3)
  }

  static let any = ByteSet().inverted
  static let digits = ByteSet(0x30...0x39)
  static let wordCharacters = digits.union(ByteSet(0x41...0x5a)).union(ByteSet(0x61...0x7a)).union(ByteSet(0x5f))
  static let spaces = ByteSet(0x09...0x0d).union(ByteSet(0x20))
}

/// A parsed expression.
indirect enum ConstraintTree {
  case bytes(ByteSet)
  case sequence([ConstraintTree])
  case alternatives([ConstraintTree])
  /// `most` nil: without end.
  case repeated(ConstraintTree, least: Int, most: Int?)
}

/// Reads an expression by recursive descent; groups may be nested `depthLimit` deep.
struct ConstraintParser {
  static let depthLimit = 32
  static let repeatLimit = 1000

  private let source: [UInt8]
  private var position = 0
  private var depth = 0

  private init(_ source: [UInt8]) { self.source = source }

  static func parse(_ source: [UInt8]) throws(ConstraintError) -> ConstraintTree {
    var parser = ConstraintParser(source)
    guard !source.isEmpty else { throw parser.failure("the constraint is empty") }
    let tree = try parser.alternatives()
    // Alternatives end at the end or before a ")".
    guard parser.position == source.count else { throw parser.failure("\")\" without \"(\"") }
    return tree
  }

  private var next: UInt8? { position < source.count ? source[position] : nil }

  private func failure(_ message: String, at offset: Int? = nil) -> ConstraintError {
    ConstraintError(offset: offset ?? position, message: message)
  }

  private mutating func skip(_ character: Character) -> Bool {
    guard next == character.asciiValue else { return false }
    position += 1
    return true
  }

  private mutating func alternatives() throws(ConstraintError) -> ConstraintTree {
    var branches = [try sequence()]
    while skip("|") { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .alternatives(branches)
  }

  private mutating func sequence() throws(ConstraintError) -> ConstraintTree {
    if depth == 0 { _ = skip("^") }
    var parts: [ConstraintTree] = []
    while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
      if byte == UInt8(ascii: "$"), depth == 0, position + 1 == source.count || source[position + 1] == UInt8(ascii: "|") {
        position += 1
        break
      }
      let piece = try atom()
      parts.append(try quantified(piece))
    }
    return parts.count == 1 ? parts[0] : .sequence(parts)
  }

  private mutating func atom() throws(ConstraintError) -> ConstraintTree {
    let start = position
    guard let byte = next else { throw failure("the constraint ends early") }
    position += 1
    switch byte {
    case UInt8(ascii: "("): return try group(from: start)
    case UInt8(ascii: "["): return .bytes(try characterClass(from: start))
    case UInt8(ascii: "."): return .bytes(.any)
    case UInt8(ascii: "\\"): return .bytes(try escape(from: start).set)
    case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): throw failure("there is nothing to repeat before \"\(Character(Unicode.Scalar(byte)))\"", at: start)
    case UInt8(ascii: "{"), UInt8(ascii: "}"): throw failure("a literal brace is written \\\(Character(Unicode.Scalar(byte)))", at: start)
    case UInt8(ascii: "]"): throw failure("a literal \"]\" is written \\]", at: start)
    case UInt8(ascii: "^"): throw failure("\"^\" is allowed only at the start; a literal one is written \\^", at: start)
    case UInt8(ascii: "$"): throw failure("\"$\" is allowed only at the end; a literal one is written \\$", at: start)
    default:
      try check(literal: byte, at: start)
      return .bytes(ByteSet(byte))
    }
  }

  private func check(literal byte: UInt8, at offset: Int) throws(ConstraintError) {
    guard byte < 0x80 else { throw failure("characters outside ASCII are matched as escapes such as %C3%A9", at: offset) }
    guard byte > 0x20, byte != 0x7f else { throw failure("blanks and control characters cannot occur in a segment", at: offset) }
  }

  private mutating func group(from start: Int) throws(ConstraintError) -> ConstraintTree {
    if skip("?"), !skip(":") { throw failure("look-around, named groups and options are not supported; \"(?:\" and \"(\" are", at: start) }
    guard depth < Self.depthLimit else { throw failure("groups are nested more than \(Self.depthLimit) deep", at: start) }
    depth += 1
    let tree = try alternatives()
    depth -= 1
    guard skip(")") else { throw failure("\"(\" without \")\"", at: start) }
    return tree
  }

  /// An escape outside or inside a class: the set it stands for, and the one byte if it is a literal.
  private mutating func escape(from start: Int) throws(ConstraintError) -> (set: ByteSet, literal: UInt8?) {
    guard let byte = next else { throw failure("\"\\\" at the end of the constraint", at: start) }
    position += 1
    switch byte {
    case UInt8(ascii: "d"): return (.digits, nil)
    case UInt8(ascii: "w"): return (.wordCharacters, nil)
    case UInt8(ascii: "s"): return (.spaces, nil)
    case UInt8(ascii: "D"): return (ByteSet.digits.inverted, nil)
    case UInt8(ascii: "W"): return (ByteSet.wordCharacters.inverted, nil)
    case UInt8(ascii: "S"): return (ByteSet.spaces.inverted, nil)
    case 0x31...0x39: throw failure("back-references are not supported", at: start)
    case _ where byte.isLetter || byte.isDigit: throw failure("\"\\\(Character(Unicode.Scalar(byte)))\" is not supported", at: start)
    default:
      try check(literal: byte, at: start)
      return (ByteSet(byte), byte)
    }
  }

  private mutating func characterClass(from start: Int) throws(ConstraintError) -> ByteSet {
    let negated = skip("^")
    var set = ByteSet(), isEmpty = true
    while true {
      let memberStart = position
      guard let byte = next else { throw failure("\"[\" without \"]\"", at: start) }
      position += 1
      if byte == UInt8(ascii: "]") { break }
      if byte == UInt8(ascii: "["), let mark = next, ":.=".utf8.contains(mark) { throw failure("POSIX classes such as [:alpha:] are not supported", at: memberStart) }
      isEmpty = false
      let low = try classMember(byte, at: memberStart)
      guard next == UInt8(ascii: "-"), position + 1 < source.count, source[position + 1] != UInt8(ascii: "]") else {
        set = set.union(low.set)
        continue
      }
      position += 1
      let highStart = position
      guard let highByte = next else { throw failure("\"[\" without \"]\"", at: start) }
      position += 1
      let high = try classMember(highByte, at: highStart)
      guard let first = low.literal, let last = high.literal, first <= last else { throw failure("the range in the class is not in order", at: memberStart) }
      set = set.union(ByteSet(first...last))
    }
    guard !isEmpty else { throw failure("the class is empty; a literal \"]\" is written \\]", at: start) }
    return negated ? set.inverted : set
  }

  private mutating func classMember(_ byte: UInt8, at offset: Int) throws(ConstraintError) -> (set: ByteSet, literal: UInt8?) {
    guard byte != UInt8(ascii: "\\") else { return try escape(from: offset) }
    try check(literal: byte, at: offset)
    return (ByteSet(byte), byte)
  }

  private mutating func quantified(_ tree: ConstraintTree) throws(ConstraintError) -> ConstraintTree {
    let start = position
    let least: Int, most: Int?
    if skip("*") { (least, most) = (0, nil) }
    else if skip("+") { (least, most) = (1, nil) }
    else if skip("?") { (least, most) = (0, 1) }
    else if skip("{") { (least, most) = try bounds(from: start) }
    else { return tree }
    if let byte = next, "*+?{".utf8.contains(byte) {
      throw failure("a repetition cannot follow a repetition (lazy and possessive ones would mean nothing in a match of the whole segment)")
    }
    return .repeated(tree, least: least, most: most)
  }

  private mutating func bounds(from start: Int) throws(ConstraintError) -> (Int, Int?) {
    guard let least = try number() else { throw failure("a repetition is written {m}, {m,} or {m,n}; a literal brace \\{", at: start) }
    var most: Int? = least
    if skip(",") { most = try number() }
    guard skip("}") else { throw failure("a repetition is written {m}, {m,} or {m,n}; a literal brace \\{", at: start) }
    if let most, most < least { throw failure("the bounds of the repetition are not in order", at: start) }
    return (least, most)
  }

  private mutating func number() throws(ConstraintError) -> Int? {
    let start = position
    var value = 0
    while let byte = next, byte.isDigit {
      value = value * 10 + Int(byte - 0x30)
      guard value <= Self.repeatLimit else { throw failure("a repetition count is at most \(Self.repeatLimit)", at: start) }
      position += 1
    }
    return position == start ? nil : value
  }
}
