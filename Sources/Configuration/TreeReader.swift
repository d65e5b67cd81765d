// TreeReader — the text of a configuration file, JSON or YAML, to a tree of positioned nodes.
//
// Bounds: 16 MiB of text, 64 levels, one document. Anchors, aliases and tags are refused: they would let one
// place of the file stand for many, and an error point to the wrong one.

enum TreeReader {
  static let maxBytes = 16 << 20
  static let maxDepth = 64

  /// Reads `bytes`; complaints go to `reading`. Nil when there is no tree to go on with.
  static func read(_ bytes: [UInt8], _ reading: inout Reading) -> Node? {
    guard bytes.count <= maxBytes else {
      reading.reject(.wholeFile, "", "the file is larger than \(maxBytes >> 20) MiB")
      return nil
    }
    var text = bytes
    if text.starts(with: [0xef, 0xbb, 0xbf]) { text.removeFirst(3) }
    var repairs = SurrogateRepairs()
    while true {
      var attempt = reading
      do throws(YAMLProblem) {
        let root = try build(text, repairs, &attempt)
        reading = attempt
        return root
      } catch {
        if repairs.repair(&text, after: error) { continue }
        reading.reject(repairs.origin(error.mark), "", describe(error, repairs) + hint(bytes))
        return nil
      }
    }
  }

  /// What people who know other dialects may have meant.
  private static func hint(_ text: [UInt8]) -> String {
    let slashes = text.split(separator: 0x0a).contains { line in
      line.drop { $0 == 0x20 || $0 == 0x09 }.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")])
    }
    return slashes ? "; comments begin with \"#\", not with \"//\"" : ""
  }

  private static func describe(_ problem: YAMLProblem, _ repairs: SurrogateRepairs) -> String {
    var message = problem.message
    if message == SurrogateRepairs.problem { message = "a \\u escape that is half of a surrogate pair; write both halves, or the character itself" }
    if let context = problem.context, let mark = problem.contextMark, mark != problem.mark,
      case .file(let line, let column) = repairs.origin(mark)
    {
      message += " (\(context) that begins at line \(line), column \(column))"
    }
    return "not valid JSON or YAML: " + message
  }

  /// A mapping or sequence whose end has not been reached.
  private struct Frame {
    var isMapping: Bool
    var origin: Origin
    var entries: [Node.Entry] = []
    var elements: [Node] = []
    /// The key whose value comes next; `isRepeated` when the value is to be dropped.
    var key: (name: String, origin: Origin, isRepeated: Bool)?
    var seen: [String: Origin] = [:]

    var expectsKey: Bool { isMapping && key == nil }

    mutating func add(_ node: Node) {
      guard isMapping else { return elements.append(node) }
      if let key, !key.isRepeated { entries.append(Node.Entry(key: key.name, origin: key.origin, value: node)) }
      key = nil
    }

    mutating func take(key name: String, _ origin: Origin, _ reading: inout Reading) {
      let first = seen[name]
      key = (name, origin, first != nil)
      seen[name] = first ?? origin
      guard case .file(let line, let column) = first else { return }
      reading.reject(origin, "", "key \(JSON.quoted(name)) is given twice; the first is at line \(line), column \(column)")
    }

    var node: Node { Node(content: isMapping ? .mapping(entries) : .sequence(elements), origin: origin) }
  }

  private static func build(_ text: [UInt8], _ repairs: SurrogateRepairs, _ reading: inout Reading) throws(YAMLProblem) -> Node? {
    var events = try YAMLEvents(text)
    var stack: [Frame] = []
    var root: Node?
    while true {
      let event = try events.next()
      let origin = repairs.origin(event.mark)
      if event.hasAnchor { throw YAMLProblem(message: "anchors are not supported", mark: event.mark) }
      if event.hasTag { throw YAMLProblem(message: "tags are not supported", mark: event.mark) }
      let expectsKey = stack.last?.expectsKey ?? false
      var finished: Node?
      switch event.content {
      case .other: break
      case .alias: throw YAMLProblem(message: "aliases are not supported", mark: event.mark)
      case .documentStart:
        if root != nil { throw YAMLProblem(message: "a second document; a configuration is one", mark: event.mark) }
      case .streamEnd:
        if root == nil { reading.reject(.file(line: 1, column: 1), "", "the file holds no configuration; {} stands for all defaults") }
        return root
      case .scalar(let value, let quoted):
        if expectsKey {
          stack[stack.count - 1].take(key: value, origin, &reading)
        } else {
          finished = Node(content: .scalar(value, quoted: quoted), origin: origin)
        }
      case .mappingStart, .sequenceStart:
        if expectsKey { throw YAMLProblem(message: "a key must be text", mark: event.mark) }
        guard stack.count < maxDepth else { throw YAMLProblem(message: "nested more than \(maxDepth) levels deep", mark: event.mark) }
        if case .mappingStart = event.content {
          stack.append(Frame(isMapping: true, origin: origin))
        } else {
          stack.append(Frame(isMapping: false, origin: origin))
        }
      case .mappingEnd, .sequenceEnd: finished = stack.popLast()?.node
      }
      guard let node = finished else { continue }
      if stack.isEmpty { root = node } else { stack[stack.count - 1].add(node) }
    }
  }
}

/// JSON writes characters above U+FFFF as two escapes, `\uD83D\uDE00`; YAML knows only `\U0001F600`.
///
/// When libyaml stumbles over the first kind, the double-quoted text it was reading is rewritten to the second
/// and the file read again. As that is two characters shorter, columns to its right are corrected.
struct SurrogateRepairs {
  static let problem = "found invalid Unicode character escape code"
  /// Bytes that may be read again in total: repairs are for a stray emoji, not for whole files of them.
  private var budget = 256 << 20
  /// Column after each shortened escape, in the rewritten text, by line.
  private var shortened: [Int: [Int]] = [:]

  func origin(_ mark: Mark) -> Origin {
    let shift = shortened[mark.line]?.count { $0 <= mark.column } ?? 0
    return .file(line: mark.line + 1, column: mark.column + 1 + 2 * shift)
  }

  /// Rewrites the text that could not be read; false when that is not what is wrong with it.
  mutating func repair(_ text: inout [UInt8], after problem: YAMLProblem) -> Bool {
    guard problem.message == Self.problem, let start = problem.contextMark, budget > text.count else { return false }
    budget -= text.count
    var at = 0, characters = 0
    while at < text.count, characters < start.index || text[at] & 0xc0 == 0x80 {
      if text[at] & 0xc0 != 0x80 { characters += 1 }
      at += 1
    }
    guard at < text.count, text[at] == 0x22 else { return false }
    var result = Array(text[...at])
    result.reserveCapacity(text.count)
    var line = start.line, column = start.column + 1
    var repaired = false
    at += 1
    while at < text.count, text[at] != 0x22 {
      if text[at] == 0x5c {
        if let scalar = Self.pair(text, at) {
          let digits = String(scalar, radix: 16)
          result += [0x5c, 0x55] + Array(repeating: 0x30, count: 8 - digits.utf8.count) + Array(digits.utf8)
          column += 10
          shortened[line, default: []].append(column)
          repaired = true
          at += 12
        } else {
          result.append(text[at])
          column += 1
          at += 1
          if at < text.count, text[at] != 0x0a { copy() }
        }
      } else {
        copy()
      }
    }
    result += text[at...]
    text = result
    return repaired

    func copy() {
      result.append(text[at])
      if text[at] == 0x0a {
        line += 1
        column = 0
      } else if text[at] & 0xc0 != 0x80 {
        column += 1
      }
      at += 1
    }
  }

  /// The character written as a pair of escapes at `at`.
  private static func pair(_ text: [UInt8], _ at: Int) -> UInt32? {
    guard let high = escape(text, at), let low = escape(text, at + 6), high >> 10 == 0x36, low >> 10 == 0x37 else { return nil }
    return 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff)
  }

  private static func escape(_ text: [UInt8], _ at: Int) -> UInt32? {
    guard at + 6 <= text.count, text[at] == 0x5c, text[at + 1] == 0x75 else { return nil }
    let digits = text[at + 2..<at + 6]
    guard digits.allSatisfy({ isDigit($0) || ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x66 }) else { return nil }
    return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
