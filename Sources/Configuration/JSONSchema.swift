// JSONSchema — the settings table as a JSON Schema (draft 2020-12), for editors and other tools.
//
// The schema accepts every configuration that is right, but not only those: rules between settings are checked by
// the gateway alone.

public enum JSONSchema {
  /// The schema as text.
  public static var text: String {
    var schema: [JSON.Member] = [
      .init(key: "$schema", value: "https://json-schema.org/draft/2020-12/schema"),
      .init(key: "title", value: "gateway configuration"),
    ]
    schema += object(SettingsTable.root.rows)
    return JSON.object(schema).pretty + "\n"
  }

  private static func object(_ rows: [SettingRow]) -> [JSON.Member] {
    var properties: [JSON.Member] = []
    for row in rows {
      if case .later = row.shape { continue }
      for (position, key) in ([row.key] + row.aliases).enumerated() {
        var members = [JSON.Member(key: "description", value: .string(row.sentence))]
        let unit = row.aliasUnits[key]
        members += type(unit.map(row.shape.inUnit) ?? row.shape)
        if unit != nil {
          // A name of its own right.
        } else if position > 0 {
          members.append(.init(key: "deprecated", value: true))
        } else if let value = row.shape.defaultValue, !row.required {
          members.append(.init(key: "default", value: value))
        }
        properties.append(.init(key: key, value: .object(members)))
      }
    }
    let required = rows.filter(\.required).map { JSON.string($0.key) }
    var members: [JSON.Member] = [.init(key: "type", value: "object"), .init(key: "properties", value: .object(properties))]
    if !required.isEmpty { members.append(.init(key: "required", value: .array(required))) }
    members.append(.init(key: "additionalProperties", value: false))
    return members
  }

  private static func type(_ shape: Shape) -> [JSON.Member] {
    switch shape {
    case .later: []
    case .annotation: [.init(key: "type", value: "string")]
    case .boolean: [.init(key: "type", value: "boolean")]
    case .integer(let range, let zero, _): alternatives(integer(range.lowerBound, range.upperBound, zero))
    case .numbers(let numbers, _): [.init(key: "enum", value: .array(numbers.map(JSON.integer)))]
    case .decimal(let range, _):
      [
        .init(key: "type", value: "number"), .init(key: "minimum", value: .decimal(range.lowerBound)),
        .init(key: "maximum", value: .decimal(range.upperBound)),
      ]
    case .quantity(let unit, let range, let zero, _):
      // A plain number is a multiple of the unit: the smallest is the first at or above the bound.
      alternatives(
        integer((range.lowerBound + unit.scale - 1) / unit.scale, range.upperBound / unit.scale, zero)
          + [["type": "string", "pattern": .string(unit.pattern)]])
    case .text(let rule, let mayBeEmpty, _): text(rule, mayBeEmpty: mayBeEmpty)
    case .choice(let names, _): [.init(key: "enum", value: .array(names.map(JSON.string)))]
    case .texts(let rule):
      [
        .init(key: "type", value: "array"), .init(key: "items", value: .object(text(rule, mayBeEmpty: false))),
        .init(key: "uniqueItems", value: true),
      ]
    case .integers(let range):
      [
        .init(key: "type", value: "array"),
        .init(key: "items", value: ["type": "integer", "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound)]),
        .init(key: "uniqueItems", value: true),
      ]
    case .headers:
      [
        .init(key: "type", value: "object"),
        .init(
          key: "additionalProperties",
          value: ["anyOf": [["type": "string"], ["type": "array", "items": ["type": "string"]]]]),
      ]
    case .object(let rows, _): object(rows)
    case .objects(let rows): [.init(key: "type", value: "array"), .init(key: "items", value: .object(object(rows)))]
    }
  }

  private static func integer(_ lowest: Int, _ highest: Int, _ zero: String?) -> [JSON] {
    var schemas: [JSON] = zero == nil || lowest <= 0 ? [] : [["const": 0]]
    // 0 and 1 and up is 0 and up.
    let from = lowest == 1 && zero != nil ? 0 : lowest
    if from == 0 { schemas = [] }
    return schemas + [["type": "integer", "minimum": .integer(from), "maximum": .integer(highest)]]
  }

  private static func alternatives(_ schemas: [JSON]) -> [JSON.Member] {
    if schemas.count == 1, case .object(let members) = schemas[0] { return members }
    return [.init(key: "anyOf", value: .array(schemas))]
  }

  private static func text(_ rule: TextRule, mayBeEmpty: Bool) -> [JSON.Member] {
    var members = [JSON.Member(key: "type", value: "string")]
    if let pattern = rule.pattern { members.append(.init(key: "pattern", value: .string(mayBeEmpty ? "^$|\(pattern)" : pattern))) }
    return members
  }
}
