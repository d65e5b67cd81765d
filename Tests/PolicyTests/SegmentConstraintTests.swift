// Tests of constraints: what is understood, what is refused and where, and agreement with an independent engine.

import Testing

@testable import Policy

@Suite struct SegmentConstraintTests {
  func matches(_ source: String, _ segment: String) throws -> Bool {
    try SegmentConstraint(source).accepts(segment)
  }

  @Test(arguments: [
    ("[0-9]+", ["1", "42"], ["", "a", "4a", "-1"]),
    ("\\d{4}", ["2024"], ["202", "20245"]),
    ("\\d{2,}", ["12", "123456"], ["1"]),
    ("\\d{2,3}", ["12", "123"], ["1", "1234"]),
    ("a{0}b", ["b"], ["ab"]),
    ("^[a-z]+$", ["abc"], ["abC", "^a"]),
    ("^a|b$", ["a", "b"], ["ab", "ac"]),
    ("^(a|bc)*$", ["a", "abca"], ["b"]),
    ("(?:en|de)(-[A-Z]{2})?", ["en", "de-AT"], ["fr", "en-"]),
    ("[^.]+\\.(jpg|png)", ["a.jpg"], ["a.gif", ".png"]),
    ("[\\w.-]+", ["a_b.c-d"], ["a b", "a%20"]),
    ("\\D\\W\\S", ["a-b"], ["1-b", "aab"]),
    ("[^/]+", ["a"], []),
    ("[-a]+", ["-a-"], ["b"]),
    ("[a-]", ["-"], ["b"]),
    ("[\\]\\-\\\\]", ["]", "-", "\\"], ["a"]),
    ("[\\dA-F]{2}", ["3F"], ["3f"]),
    (".", ["x"], ["xx"]),
    ("a\\+b\\$", ["a+b$"], ["aab"]),
    ("(a*)*b", ["b", "aaab"], ["a"]),
    ("(|a)b", ["b", "ab"], ["a"]),
    ("%C3%A9", ["%C3%A9"], ["e"]),
    ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
  ])
  func understands(_ source: String, _ accepted: [String], _ refused: [String]) throws {
    for segment in accepted { #expect(try matches(source, segment), "\(source) \(segment)") }
    for segment in refused { #expect(try !matches(source, segment), "\(source) \(segment)") }
  }

  @Test(arguments: [
    ("", 0, "empty"), ("(", 0, "without"), ("a)", 1, "without"), ("[", 0, "without"), ("[a", 0, "without"), ("[]", 0, "empty"), ("[^]", 0, "empty"),
    ("*a", 0, "nothing to repeat"), ("a**", 2, "cannot follow"), ("a+?", 2, "cannot follow"), ("a++", 2, "cannot follow"), ("a{2}{3}", 4, "cannot follow"),
    ("|*", 1, "nothing"), ("{2}", 0, "brace"), ("a}", 1, "brace"), ("a{", 1, "written"), ("a{x}", 1, "written"), ("a{,2}", 1, "written"), ("a{3,2}", 1, "order"),
    ("a{1001}", 2, "at most"), ("a{99999999999999999999}", 2, "at most"), ("\\", 0, "at the end"), ("(a)\\1", 3, "back-references"), ("\\b", 0, "not supported"),
    ("\\p{L}", 0, "not supported"), ("(?=a)", 0, "look-around"), ("(?!a)", 0, "look-around"), ("(?<n>a)", 0, "named groups"), ("(?i)a", 0, "options"),
    ("[[:alpha:]]", 1, "POSIX"), ("[z-a]", 1, "order"), ("[\\d-z]", 1, "order"), ("a^", 1, "start"), ("(^a)", 1, "start"), ("a$b", 1, "end"), ("(a$)", 2, "end"),
    ("é", 0, "ASCII"), ("[é]", 1, "ASCII"), ("a b", 1, "blanks"), ("]", 0, "literal"), ("/", 0, "no segment"), ("a/b", 0, "no segment"), ("a{0}", 0, "no segment"),
    ("(.*a.{20})", 0, "too complex"), ("((a{100}){100}){100}", 0, "too long"), ("(((((){1000}){1000}){1000}){1000})", 0, "too long"),
  ])
  func refuses(_ source: String, _ offset: Int, _ reason: String) {
    let error = #expect(throws: ConstraintError.self) { try SegmentConstraint(source) }
    #expect(error?.offset == offset, "\(source): \(error?.message ?? "")")
    #expect(error?.message.contains(reason) == true, "\(source): \(error?.message ?? "")")
  }

  @Test func boundsNesting() {
    let deep = String(repeating: "(", count: 40) + "a" + String(repeating: ")", count: 40)
    #expect(throws: ConstraintError.self) { try SegmentConstraint(deep) }
    let allowed = String(repeating: "(", count: 30) + "a" + String(repeating: ")", count: 30)
    #expect(throws: Never.self) { try SegmentConstraint(allowed) }
  }

  /// What ruins backtracking engines takes one step per byte here.
  @Test func isLinear() throws {
    let constraint = try SegmentConstraint("(a+)+b|(a|a)*c|(a|aa)+d")
    let segment = [UInt8](repeating: UInt8(ascii: "a"), count: 200_000)
    #expect(!constraint.accepts(segment))
  }

  @Test func agreesWithAnIndependentEngine() throws {
    var dice = Dice(3)
    var compared = 0
    for _ in 0..<1_500 {
      let source = expression(&dice, depth: 2)
      guard let constraint = try? SegmentConstraint(source) else { continue }
      let other = try Regex(source)
      for _ in 0..<12 {
        var segment = ""
        for _ in 0..<(1 + dice.roll(6)) { segment += dice.pick(["a", "b", "c", "-", "1"]) }
        let expected = try other.wholeMatch(in: segment) != nil
        #expect(constraint.accepts(segment) == expected, "\(source) \(segment)")
        compared += 1
      }
    }
    #expect(compared > 5_000)
  }

  /// Loops without end stay out of groups: the other engine backtracks, and would not come back.
  private func expression(_ dice: inout Dice, depth: Int) -> String {
    var result = ""
    for _ in 0..<(1 + dice.roll(3)) {
      let kind = dice.roll(depth > 0 ? 10 : 6)
      switch kind {
      case 0, 1, 2: result += dice.pick(["a", "b", "c", "\\-", "1"])
      case 3: result += dice.pick([".", "\\d", "\\w", "\\D", "\\W"])
      case 4, 5: result += dice.pick(["[ab]", "[^a]", "[a-c1]", "[^\\d]", "[\\w-]"])
      case 6, 7: result += "(" + expression(&dice, depth: depth - 1) + ")"
      case 8: result += "(?:" + expression(&dice, depth: depth - 1) + "|" + expression(&dice, depth: depth - 1) + ")"
      default: result += "(" + dice.pick(["a", "ab", "a|b", "ab|c", "a|ab", "a?b", "|a"]) + ")" + dice.pick(["*", "+", "{1,}"])
      }
      if kind < 6 { result += dice.pick(["", "", "", depth == 2 ? "*" : "?", depth == 2 ? "+" : "?", "?", "{2}", "{1,3}", "{0,2}"]) }
      else if kind < 9 { result += dice.pick(["", "?", "{2}", "{1,2}"]) }
    }
    return result
  }
}
