// Shape — what the settings table says about a setting, apart from where its value is kept.
//
// Everything that describes settings to people and tools (schema, reference, suggestions) is made from shapes.

/// One row of the settings table.
struct SettingRow: Sendable {
  var key: String
  /// Former names that are still read.
  var aliases: [String] = []
  /// Names under which plain numbers are of another unit.
  var aliasUnits: [String: Unit] = [:]
  /// Names of environment variables, without their prefix.
  var variables: [String] = []
  var required = false
  /// Shown in the reference configuration instead of the default.
  var example: JSON?
  var since = "1.0"
  var sentence: String
  var shape: Shape

  /// Whether a configuration without it is another than one that gives what it shows.
  var isAbsentByDefault: Bool {
    switch shape {
    case .object(_, let optional): optional
    case .integer, .quantity: shape.defaultValue == nil && example == nil
    default: false
    }
  }
}

indirect enum Shape: Sendable {
  /// A key of the specification whose feature does not exist yet; refused by name.
  case later
  /// Text that is read and ignored.
  case annotation
  case boolean(default: Bool)
  /// `zero`: what 0 means, where it does not mean itself; it is accepted even outside the range.
  case integer(ClosedRange<Int>, zero: String?, default: Int?)
  /// A number with up to three decimals; range and default in thousandths.
  case decimal(ClosedRange<Int>, default: Int)
  /// One of a few numbers.
  case numbers([Int], default: Int)
  /// Range and default in milliseconds or bytes.
  case quantity(Unit, ClosedRange<Int>, zero: String?, default: Int?)
  /// `mayBeEmpty`: empty text stands for none.
  case text(TextRule, mayBeEmpty: Bool, default: String)
  case choice([String], default: String)
  /// A list of different texts.
  case texts(TextRule)
  /// A list of different numbers.
  case integers(ClosedRange<Int>)
  /// An object of header names, each with a text or a list of texts.
  case headers
  case object([SettingRow], optional: Bool)
  case objects([SettingRow])

  /// What the reference says the type is.
  var type: String {
    switch self {
    case .later, .annotation: "text"
    case .boolean: "true or false"
    case .integer, .numbers: "integer"
    case .decimal: "number"
    case .quantity(.bytes, _, _, _): "size in bytes"
    case .quantity(let unit, _, _, _): "duration in \(unit.name)"
    case .text(let rule, _, _): rule.description
    case .choice(let names, _): names.map(JSON.quoted).joined(separator: ", ")
    case .texts(let rule): "list of " + rule.description
    case .integers: "list of integers"
    case .headers: "object of header fields"
    case .object: "object"
    case .objects: "list of objects"
    }
  }

  /// The bounds for people; empty when there are none.
  var bounds: String {
    switch self {
    case .integer(let range, let zero, _):
      "\(range.lowerBound) to \(range.upperBound)" + Shape.zeroText(zero)
    case .numbers(let numbers, _): numbers.map(String.init).joined(separator: ", ")
    case .integers(let range): "\(range.lowerBound) to \(range.upperBound) each"
    case .decimal(let range, _): "\(JSON.decimalText(range.lowerBound)) to \(JSON.decimalText(range.upperBound))"
    case .quantity(let unit, let range, let zero, _):
      "\(unit.text(range.lowerBound)) to \(unit.text(range.upperBound))" + Shape.zeroText(zero)
    case .later, .annotation, .boolean, .text, .choice, .texts, .headers, .object, .objects: ""
    }
  }

  private static func zeroText(_ zero: String?) -> String { zero.map { "; 0: \($0)" } ?? "" }

  /// The value without any configuration; nil where there is none.
  var defaultValue: JSON? {
    switch self {
    case .later, .annotation: nil
    case .boolean(let value): .bool(value)
    case .integer(_, _, let value): value.map(JSON.integer)
    case .numbers(_, let value): .integer(value)
    case .decimal(_, let value): .decimal(value)
    case .quantity(let unit, _, _, let value): value.map(unit.json)
    case .text(_, _, let value), .choice(_, let value): .string(value)
    case .texts, .objects, .integers: .array([])
    case .headers: .object([])
    case .object: nil
    }
  }

  /// The smallest value of a number.
  var smallest: JSON? {
    switch self {
    case .integer(let range, _, _): .integer(range.lowerBound)
    case .quantity(let unit, let range, _, _): unit.json(range.lowerBound)
    default: nil
    }
  }

  /// The shape with plain numbers in `unit`.
  func inUnit(_ unit: Unit) -> Shape {
    guard case .quantity(_, let range, let zero, let value) = self else { return self }
    return .quantity(unit, range, zero: zero, default: value)
  }

  var children: [SettingRow] {
    switch self {
    case .object(let rows, _), .objects(let rows): rows
    default: []
    }
  }
}
