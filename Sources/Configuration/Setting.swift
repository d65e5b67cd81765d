// Setting — a typed row of the settings table: how the value is described, read, and written.
//
// A row is made by one of the functions below from a key path, bounds and a sentence; the default is the value
// that a freshly made owner has at that key path. Readers check, complain with the position, and leave the
// default in place of a value that is not good, so that all errors of a file are found at once.

/// A row of the table of `Owner`.
struct Setting<Owner>: Sendable {
  /// A key path to where the value is kept.
  typealias Place<Value> = WritableKeyPath<Owner, Value> & Sendable

  private var row: SettingRow
  private let shape: @Sendable (Owner) -> Shape
  let read: @Sendable (Node, String, inout Owner, inout Reading) -> Void
  /// Nil: not to be written.
  let write: @Sendable (Owner) -> JSON?

  var key: String { row.key }

  private init(
    _ key: String, _ sentence: String, shape: @escaping @Sendable (Owner) -> Shape,
    read: @escaping @Sendable (Node, String, inout Owner, inout Reading) -> Void, write: @escaping @Sendable (Owner) -> JSON?
  ) {
    row = SettingRow(key: key, sentence: sentence, shape: .later)
    self.shape = shape
    self.read = read
    self.write = write
  }

  /// A row of a kind of its own.
  init(
    custom key: String, _ sentence: String, shape: Shape,
    read: @escaping @Sendable (Node, String, inout Owner, inout Reading) -> Void, write: @escaping @Sendable (Owner) -> JSON?
  ) {
    self.init(key, sentence, shape: { _ in shape }, read: read, write: write)
  }

  /// The row without types, its defaults taken from `fresh`.
  func description(_ fresh: Owner) -> SettingRow {
    var row = row
    row.shape = shape(fresh)
    return row
  }

  // What may be added to a row.

  func variable(_ names: String...) -> Self {
    var copy = self
    copy.row.variables += names
    return copy
  }

  func alias(_ name: String) -> Self {
    var copy = self
    copy.row.aliases.append(name)
    return copy
  }

  /// Another name, under which plain numbers are of `unit`.
  func alias(_ name: String, _ unit: Unit) -> Self {
    var copy = alias(name)
    copy.row.aliasUnits[name] = unit
    return copy
  }

  func required(example: JSON) -> Self {
    var copy = self
    copy.row.required = true
    copy.row.example = example
    return copy
  }

  func example(_ example: JSON) -> Self {
    var copy = self
    copy.row.example = example
    return copy
  }

  /// The same row for an owner that holds this one's at `place`.
  func lifted<Outer>(_ place: Setting<Outer>.Place<Owner>) -> Setting<Outer> {
    let shape = shape, read = read, write = write
    var lifted = Setting<Outer>(
      row.key, row.sentence, shape: { shape($0[keyPath: place]) },
      read: { node, path, owner, reading in read(node, path, &owner[keyPath: place], &reading) },
      write: { write($0[keyPath: place]) })
    lifted.row = row
    return lifted
  }
}

// Scalars.

extension Setting {
  static func later(_ key: String) -> Self {
    Setting(
      key, "", shape: { _ in .later },
      read: { node, path, _, reading in reading.reject(node.origin, path, "\(JSON.quoted(key)) is not available yet") }, write: { _ in nil })
  }

  static func annotation(_ key: String, _ sentence: String) -> Self {
    Setting(key, sentence, shape: { _ in .annotation }, read: { _, _, _, _ in }, write: { _ in nil })
  }

  static func boolean(_ key: String, _ place: Place<Bool>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { .boolean(default: $0[keyPath: place]) },
      read: { node, path, owner, reading in
        guard case .boolean(let value) = node.kind else {
          return reading.reject(node.origin, path, "\(path) must be true or false (\(node.found))")
        }
        owner[keyPath: place] = value
      },
      write: { .bool($0[keyPath: place]) })
  }

  static func integer<Value: FixedWidthInteger & SendableMetatype>(
    _ key: String, _ place: Place<Value>, _ range: ClosedRange<Int>, zero: String? = nil, _ sentence: String
  ) -> Self {
    Setting(
      key, sentence, shape: { .integer(range, zero: zero, default: Int($0[keyPath: place])) },
      read: { node, path, owner, reading in
        guard let value = wholeNumber(node, path, range, zero, &reading) else { return }
        owner[keyPath: place] = Value(value)
      },
      write: { .integer(Int($0[keyPath: place])) })
  }

  /// A number that need not be given and has no default.
  static func integer(_ key: String, _ place: Place<Int?>, _ range: ClosedRange<Int>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { _ in .integer(range, zero: nil, default: nil) },
      read: { node, path, owner, reading in
        guard let value = wholeNumber(node, path, range, nil, &reading) else { return }
        owner[keyPath: place] = value
      },
      write: { $0[keyPath: place].map(JSON.integer) })
  }

  static func numbers<Value: FixedWidthInteger & SendableMetatype>(_ key: String, _ place: Place<Value>, _ numbers: [Int], _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { .numbers(numbers, default: Int($0[keyPath: place])) },
      read: { node, path, owner, reading in
        guard case .integer(let value) = node.kind, numbers.contains(value) else {
          return reading.reject(node.origin, path, "\(path) must be one of \(numbers.map(String.init).joined(separator: ", ")) (\(node.found))")
        }
        owner[keyPath: place] = Value(value)
      },
      write: { .integer(Int($0[keyPath: place])) })
  }

  /// A number with up to three decimals. `range` and the value kept are in thousandths.
  static func decimal(_ key: String, _ place: Place<Int>, _ range: ClosedRange<Int>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { .decimal(range, default: $0[keyPath: place]) },
      read: { node, path, owner, reading in
        let value: Int?
        switch node.kind {
        case .integer, .fraction: value = node.thousandths
        case .hugeInteger: value = .max
        default: return reading.reject(node.origin, path, "\(path) must be a number (\(node.found))")
        }
        guard let value else { return reading.reject(node.origin, path, "\(path) must be a number with at most three decimals (\(node.found))") }
        guard range.contains(value) else {
          let bounds = "\(JSON.decimalText(range.lowerBound)) and \(JSON.decimalText(range.upperBound))"
          return reading.reject(node.origin, path, "\(path) must be between \(bounds) (\(node.found))")
        }
        owner[keyPath: place] = value
      },
      write: { .decimal($0[keyPath: place]) })
  }

  private static func wholeNumber(
    _ node: Node, _ path: String, _ range: ClosedRange<Int>, _ zero: String?, _ reading: inout Reading
  ) -> Int? {
    switch node.kind {
    case .integer(0) where zero != nil: return 0
    case .integer(let value) where range.contains(value): return value
    case .integer, .hugeInteger:
      let zero = zero == nil || range.contains(0) ? "" : "0 or "
      reading.reject(node.origin, path, "\(path) must be \(zero)between \(range.lowerBound) and \(range.upperBound) (\(node.found))")
    case .text(let text) where !text.isEmpty && text.utf8.allSatisfy(isDigit):
      reading.reject(node.origin, path, "\(path) must be a whole number, without quotes and leading zeros (\(node.found))")
    default: reading.reject(node.origin, path, "\(path) must be a whole number (\(node.found))")
    }
    return nil
  }

  /// A duration or size. `range` and the value kept are in milliseconds or bytes; 0 is accepted too when `zero` says what it means.
  static func quantity(
    _ key: String, _ place: Place<Int>, _ unit: Unit, _ range: ClosedRange<Int>, zero: String? = nil, _ sentence: String
  ) -> Self {
    Setting(
      key, sentence, shape: { .quantity(unit, range, zero: zero, default: $0[keyPath: place]) },
      read: { node, path, owner, reading in
        guard let value = amount(node, path, unit, range, zero, &reading) else { return }
        owner[keyPath: place] = value
      },
      write: { unit.json($0[keyPath: place]) })
  }

  /// A duration or size that need not be given and has no default.
  static func quantity(
    _ key: String, _ place: Place<Int?>, _ unit: Unit, _ range: ClosedRange<Int>, zero: String? = nil, _ sentence: String
  ) -> Self {
    Setting(
      key, sentence, shape: { _ in .quantity(unit, range, zero: zero, default: nil) },
      read: { node, path, owner, reading in
        guard let value = amount(node, path, unit, range, zero, &reading) else { return }
        owner[keyPath: place] = value
      },
      write: { $0[keyPath: place].map(unit.json) })
  }

  private static func amount(
    _ node: Node, _ path: String, _ unit: Unit, _ range: ClosedRange<Int>, _ zero: String?, _ reading: inout Reading
  ) -> Int? {
    let value: Int
    switch node.kind {
    case .integer(let number):
      let (product, overflow) = number.multipliedReportingOverflow(by: unit.scale)
      value = overflow ? .max : product
    case .hugeInteger: value = .max
    case .text(let text):
      guard let parsed = unit.parse(text) else { fallthrough }
      value = parsed
    default:
      reading.reject(node.origin, path, "\(path) must be \(unit.expectation) (\(node.found))")
      return nil
    }
    guard range.contains(value) || value == 0 && zero != nil else {
      let zero = zero == nil || range.contains(0) ? "" : "0 or "
      let bounds = "\(zero)between \(unit.text(range.lowerBound)) and \(unit.text(range.upperBound))"
      reading.reject(node.origin, path, "\(path) must be \(bounds) \(unit.name) (\(node.found))")
      return nil
    }
    return value
  }

  /// Text that keeps `rule`; with `mayBeEmpty`, empty text stands for "none" and is not judged.
  static func text(_ key: String, _ place: Place<String>, _ rule: TextRule, mayBeEmpty: Bool = false, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { .text(rule, mayBeEmpty: mayBeEmpty, default: $0[keyPath: place]) },
      read: { node, path, owner, reading in
        guard let text = plainText(node, path, &reading) else { return }
        let value = rule.normalise(text)
        if !(value.isEmpty && mayBeEmpty), let complaint = rule.complaint(value) {
          return reading.reject(node.origin, path, "\(path) \(complaint)")
        }
        owner[keyPath: place] = value
      },
      write: { .string($0[keyPath: place]) })
  }

  /// One of the cases of an enumeration, by name.
  static func choice<Value: Equatable & Sendable>(
    _ key: String, _ place: Place<Value>, _ choices: [(name: String, value: Value)], _ sentence: String
  ) -> Self {
    let names = choices.map(\.name)
    @Sendable func name(_ owner: Owner) -> String { choices.first { $0.value == owner[keyPath: place] }?.name ?? "" }
    return Setting(
      key, sentence, shape: { .choice(names, default: name($0)) },
      read: { node, path, owner, reading in
        guard case .text(let text) = node.kind, let choice = choices.first(where: { $0.name == text }) else {
          var suggestion: String?
          if case .text(let text) = node.kind { suggestion = Suggestion.nearest(to: text, among: names) }
          let list = names.map(JSON.quoted).joined(separator: ", ")
          return reading.reject(node.origin, path, "\(path) must be one of \(list) (\(node.found))", suggestion: suggestion)
        }
        owner[keyPath: place] = choice.value
      },
      write: { .string(name($0)) })
  }

  static func plainText(_ node: Node, _ path: String, _ reading: inout Reading) -> String? {
    switch node.kind {
    case .text(let text): return text
    case .null: reading.reject(node.origin, path, "\(path) must be text; write \"\" for none (\(node.found))")
    case .boolean, .integer, .hugeInteger, .fraction: reading.reject(node.origin, path, "\(path) must be text, in quotes (\(node.found))")
    case .mapping, .sequence: reading.reject(node.origin, path, "\(path) must be text (\(node.found))")
    }
    return nil
  }
}

// Lists and objects.

extension Setting {
  /// A list of texts, all different.
  static func texts(_ key: String, _ place: Place<[String]>, _ rule: TextRule, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { _ in .texts(rule) },
      read: { node, path, owner, reading in
        guard case .sequence(let nodes) = node.content else {
          return reading.reject(node.origin, path, "\(path) must be a list of texts (\(node.found))")
        }
        var values: [String] = [], seen: Set<String> = []
        for (index, element) in nodes.enumerated() {
          let path = "\(path)[\(index)]"
          reading.origins[path] = element.origin
          guard let text = plainText(element, path, &reading) else { continue }
          let value = rule.normalise(text)
          if let complaint = rule.complaint(value) {
            reading.reject(element.origin, path, "\(path) \(complaint)")
          } else if !seen.insert(value.lowercased()).inserted {
            reading.reject(element.origin, path, "\(path) repeats \(JSON.quoted(value))")
          } else {
            values.append(value)
          }
        }
        owner[keyPath: place] = values
      },
      write: { .array($0[keyPath: place].map(JSON.string)) })
  }

  /// An object that is always there.
  static func section<Part>(_ key: String, _ place: Place<Part>, _ table: SettingTable<Part>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { .object(table.rows(as: $0[keyPath: place]), optional: false) },
      read: { node, path, owner, reading in table.read(node, path, &owner[keyPath: place], &reading) },
      write: { table.write($0[keyPath: place]) })
  }

  /// An object that may be absent.
  static func optional<Part>(_ key: String, _ place: Place<Part?>, _ table: SettingTable<Part>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { _ in .object(table.rows, optional: true) },
      read: { node, path, owner, reading in
        var part = table.fresh
        table.read(node, path, &part, &reading)
        owner[keyPath: place] = part
      },
      write: { $0[keyPath: place].map(table.write) })
  }

  /// A list of objects.
  static func list<Part>(_ key: String, _ place: Place<[Part]>, _ table: SettingTable<Part>, _ sentence: String) -> Self {
    Setting(
      key, sentence, shape: { _ in .objects(table.rows) },
      read: { node, path, owner, reading in
        guard case .sequence(let nodes) = node.content else {
          return reading.reject(node.origin, path, "\(path) must be a list of objects (\(node.found))")
        }
        var parts: [Part] = []
        parts.reserveCapacity(nodes.count)
        for (index, element) in nodes.enumerated() {
          var part = table.fresh
          table.read(element, "\(path)[\(index)]", &part, &reading)
          parts.append(part)
        }
        owner[keyPath: place] = parts
      },
      write: { .array($0[keyPath: place].map(table.write)) })
  }
}
