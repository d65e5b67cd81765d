// What a worker decides without asking: tokens are spent once and in time, refusals hold as long as the server has said.

import Testing

@testable import RateStore

@Suite struct HeldTokensTests {
  private static let refusal = StoreVerdict(taken: 0, remaining: 0, untilToken: 300_000, untilAdmitted: 400_000)

  @Test func tokensAreSpentOnce() {
    var held = HeldTokens(sets: 4)
    let outcome1 = held.decide(7, cost: 1, now: 0)
    #expect(outcome1 == .unknown(question: 0))
    held.keep(7, tokens: 3, remaining: 10, now: 0)
    let outcome2 = held.decide(7, cost: 2, now: 1)
    #expect(outcome2 == .admitted(remaining: 11))
    let outcome3 = held.decide(7, cost: 2, now: 2)
    #expect(outcome3 == .unknown(question: 0))
    let outcome4 = held.decide(7, cost: 1, now: 3)
    #expect(outcome4 == .admitted(remaining: 10))
    let outcome5 = held.decide(7, cost: 1, now: 4)
    #expect(outcome5 == .unknown(question: 0))
  }

  @Test func tokensAreLostAfterASecond() {
    var held = HeldTokens(sets: 4)
    held.keep(7, tokens: 3, remaining: 0, now: 0)
    let outcome6 = held.decide(7, cost: 1, now: HeldTokens.lifetime - 1)
    #expect(outcome6 == .admitted(remaining: 2))
    let outcome7 = held.decide(7, cost: 1, now: HeldTokens.lifetime)
    #expect(outcome7 == .unknown(question: 0))
    held.keep(7, tokens: 1, remaining: 0, now: HeldTokens.lifetime + 5)
    let outcome8 = held.decide(7, cost: 2, now: HeldTokens.lifetime + 6)
    #expect(outcome8 == .unknown(question: 0), "the lost ones do not come back")
  }

  @Test func refusalsHold() {
    var held = HeldTokens(sets: 4)
    held.refuse(7, cost: 2, Self.refusal, askedAt: 1000)
    let outcome9 = held.decide(7, cost: 2, now: 201_000)
    #expect(outcome9 == .refused(remaining: 0, untilToken: 100_000, untilAdmitted: 200_000))
    let outcome10 = held.decide(7, cost: 1, now: 201_000)
    #expect(outcome10 == .unknown(question: 0), "what costs less may be admitted")
    let outcome11 = held.decide(7, cost: 2, now: 401_000)
    #expect(outcome11 == .unknown(question: 0))
  }

  @Test func refusalsAreAskedAboutOnceASecond() {
    var held = HeldTokens(sets: 4)
    held.refuse(7, cost: 1, StoreVerdict(taken: 0, remaining: 0, untilToken: 1 << 60, untilAdmitted: .max), askedAt: 0)
    let outcome12 = held.decide(7, cost: 1, now: HeldTokens.lifetime - 1)
    #expect(outcome12 != .unknown(question: 0))
    let outcome13 = held.decide(7, cost: 1, now: HeldTokens.lifetime)
    #expect(outcome13 == .unknown(question: 0))
  }

  @Test func questionsAreJoinedAndNotPushedOut() {
    var held = HeldTokens(sets: 1)
    let outcome14 = held.begin(1, question: 11)
    #expect(outcome14 && held.begin(2, question: 12) && held.begin(3, question: 13) && held.begin(4, question: 14))
    let outcome15 = held.begin(5, question: 15)
    #expect(!outcome15)
    let outcome16 = held.decide(2, cost: 1, now: 0)
    #expect(outcome16 == .unknown(question: 12))
    held.end(2, question: 99)
    let outcome17 = held.decide(2, cost: 1, now: 0)
    #expect(outcome17 == .unknown(question: 12))
    held.end(2, question: 12)
    let outcome18 = held.decide(2, cost: 1, now: 0)
    #expect(outcome18 == .unknown(question: 0))
    let outcome19 = held.begin(5, question: 15)
    #expect(outcome19)
  }

  @Test func theLeastUsefulEntryGoes() {
    var held = HeldTokens(sets: 1)
    held.keep(1, tokens: 5, remaining: 0, now: 100)
    held.refuse(2, cost: 1, Self.refusal, askedAt: 100)
    held.keep(3, tokens: 5, remaining: 0, now: 300)
    held.keep(4, tokens: 5, remaining: 0, now: 400)
    held.keep(5, tokens: 5, remaining: 0, now: 500)
    let outcome20 = held.decide(2, cost: 1, now: 501)
    #expect(outcome20 == .unknown(question: 0))
    for key in [1, 3, 4, 5] as [UInt64] {
      let outcome = held.decide(key, cost: 1, now: 501)
      #expect(outcome == .admitted(remaining: 4))
    }
  }
}
