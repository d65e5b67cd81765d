// Splitting — which of a route's upstreams a request goes to: by what it says (a header field, a cookie), else by weight.
//
// With a key, the same key always goes the same way, in every worker and after every restart, because the choice is a hash of the key and of the route's
// pattern alone; arms keep their order, so that a change of weights moves no more keys than it must. The upstream is chosen once for each request: its
// retries stay there.

import HTTPModel
import Memory
import Plan
import Policy
import Wire

/// One of the upstreams.
private struct SplitArm: BitwiseCopyable {
  /// A forward rule.
  var rule: Int32
  /// The weights up to and with this one.
  var bound: UInt64
  var firstCondition: Int32
  var endOfConditions: Int32
}

/// What sends a request to an arm whatever the weights.
private struct SplitCondition: BitwiseCopyable {
  var isCookie: Bool
  var name: Extent
  var value: Extent
}

/// The arms of one route.
struct SplitRule: BitwiseCopyable {
  fileprivate var first: Int32
  fileprivate var end: Int32
  fileprivate var total: UInt64
  /// Of the route's pattern.
  fileprivate var seed: UInt64
  /// What requests are told apart by; meaningful with `hasKey`.
  let key: TemplatePlace
  let hasKey: Bool
}

/// The splits of all routes.
struct Splits: ~Copyable {
  private var arms: [SplitArm] = []
  private var conditions: [SplitCondition] = []
  private var text: [UInt8] = []
  private(set) var rules: [SplitRule] = []
  /// For requests without a key.
  private var state: UInt64

  init() {
    var random = SystemRandomNumberGenerator()
    state = random.next()
  }

  /// Adds the split of a route, and returns its number.
  /// - Parameter first: the forward rule of its first arm; those of the others follow.
  mutating func add(_ plan: SplitPlan, first: Int, route: String, key: TemplatePlace?, empty: TemplatePlace) -> Int {
    let start = arms.count
    var total: UInt64 = 0
    for (index, arm) in plan.arms.enumerated() {
      total += UInt64(max(0, arm.weight))
      let condition = conditions.count
      for when in arm.when {
        let isCookie = when.name.hasPrefix("cookie:")
        let name = place(isCookie ? String(when.name.dropFirst(7)) : when.name.dropFirst(7).lowercased())
        let value = place(when.value)
        conditions.append(SplitCondition(isCookie: isCookie, name: name, value: value))
      }
      arms.append(SplitArm(rule: Int32(first + index), bound: total, firstCondition: Int32(condition), endOfConditions: Int32(conditions.count)))
    }
    let pattern = Array(route.utf8)
    rules.append(
      SplitRule(
        first: Int32(start), end: Int32(arms.count), total: total, seed: Splits.hash(pattern.span, 0), key: key ?? empty, hasKey: key != nil))
    return rules.count - 1
  }

  private mutating func place(_ string: String) -> Extent {
    let start = text.count
    text += string.utf8
    return Extent(start..<text.count)
  }

  /// The forward rule of the first arm; all are alike but for their upstream.
  func firstRule(_ split: Int) -> Int { Int(arms[Int(rules[split].first)].rule) }

  /// The forward rule of the arm that one of its conditions sends the request to.
  func rule(_ split: SplitRule, demandedBy fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> Int? {
    for index in Int(split.first)..<Int(split.end) {
      let arm = arms[index]
      for position in Int(arm.firstCondition)..<Int(arm.endOfConditions) where holds(conditions[position], fields, bytes) { return Int(arm.rule) }
    }
    return nil
  }

  private func holds(_ condition: SplitCondition, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> Bool {
    let text = text.span
    let name = condition.name.text(in: text), value = condition.value.text(in: text)
    for index in fields.indices {
      let field = fields[index].nameText.text(in: bytes)
      if condition.isCookie {
        guard field.equalsIgnoringCase("cookie"), let place = fields[index].value.text(in: bytes).cookie(named: name) else { continue }
        return fields[index].value.text(in: bytes).extracting(place).isSame(as: value)
      }
      if field.equalsIgnoringCase(name), fields[index].value.text(in: bytes).isSame(as: value) { return true }
    }
    return false
  }

  /// The forward rule for a key.
  func rule(_ split: SplitRule, for key: Span<UInt8>) -> Int { rule(split, at: Splits.hash(key, split.seed)) }

  /// The forward rule for a request without one.
  mutating func rule(byChance split: SplitRule) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    return rule(split, at: Splits.mix(state))
  }

  /// Whether chance takes one of a hundred thousand, `share` of which it is to take.
  mutating func chance(thousandths share: Int) -> Bool {
    if share >= 100_000 { return true }
    state &+= 0x9e37_79b9_7f4a_7c15
    return Splits.mix(state).multipliedFullWidth(by: 100_000).high < UInt64(clamping: share)
  }

  private func rule(_ split: SplitRule, at point: UInt64) -> Int {
    let place = point.multipliedFullWidth(by: split.total).high
    for index in Int(split.first)..<Int(split.end) where place < arms[index].bound { return Int(arms[index].rule) }
    return Int(arms[Int(split.first)].rule)
  }

  /// FNV-1a, and a mix of the result: its high bits decide.
  private static func hash(_ bytes: Span<UInt8>, _ seed: UInt64) -> UInt64 {
    var hash = 0xcbf2_9ce4_8422_2325 ^ seed
    for index in bytes.indices { hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3 }
    return mix(hash)
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

extension Gateway {
  /// The forward rule for the request in `services.head`, whose route splits its requests.
  @inline(never)
  mutating func chooseArm(_ client: Handle, _ split: Int, isRewritten: Bool, _ id: RequestID, _ bytes: Span<UInt8>) -> Int {
    let rule = actions.splits.rules[split]
    if let demanded = actions.splits.rule(rule, demandedBy: services.head.records, bytes) { return demanded }
    guard rule.hasKey else { return actions.splits.rule(byChance: rule) }
    var key = Buffer.absent
    swap(&key, &services.editLines)
    key.removeAll()
    let isFilled = fill(rule.key, client, isRewritten: isRewritten, id, bytes, into: &key)
    let choice = isFilled && !key.isEmpty ? actions.splits.rule(rule, for: key.bytes) : actions.splits.rule(byChance: rule)
    swap(&key, &services.editLines)
    return choice
  }
}
