// MethodTests — methods and sets of them.

import Testing

@testable import HTTPModel

@Suite struct MethodTests {
  @Test func namesAndTokensAgree() {
    for method in Method.allCases where method != .other {
      #expect(holds(Method(bytes("\(method.name)").span) == method))
    }
    #expect("\(Method.other.name)" == "")
  }

  @Test(arguments: ["", "get", "Get", "GETS", "GE", "GOT", "PUTT", "HEAR", "PASTE", "TRACK", "DELETED", "OPTIONZ", "M-SEARCH", "PROPFIND"])
  func otherTokens(_ text: String) {
    #expect(holds(Method(bytes(text).span) == .other))
  }

  @Test func idempotence() {
    let idempotent: Set<Method> = [.get, .head, .put, .delete, .options, .trace]
    for method in Method.allCases { #expect(method.isIdempotent == idempotent.contains(method)) }
  }

  @Test func anyIsAllButConnect() {
    for method in Method.allCases { #expect(MethodSet.any.contains(method) == (method != .connect)) }
    for method in Method.allCases { #expect(Method.allCases.filter { MethodSet(method).contains($0) } == [method]) }
  }
}
