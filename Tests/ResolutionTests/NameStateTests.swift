// What is kept of answers, for how long, and when a name is asked for again: with a made-up clock.

import Kernel
import Plan
import Testing

@testable import Resolution

private func v4(_ last: UInt32) -> ResolvedAddress { ResolvedAddress(IPAddress(v4: 0x0a00_0000 + last)) }
private func v6(_ last: UInt64) -> ResolvedAddress { ResolvedAddress(IPAddress(isIPv6: true, high: 0xfd00 << 48, low: last)) }
private let key4 = PartKey(isIPv6: false), key6 = PartKey(isIPv6: true)
private func found(_ addresses: [ResolvedAddress], _ seconds: Int) -> PartOutcome { .addresses(addresses, seconds: seconds) }

/// A state that is changed in place.
@dynamicMemberLookup
private final class Subject {
  var state = NameState()

  subscript<Value>(dynamicMember path: KeyPath<NameState, Value>) -> Value { state[keyPath: path] }
  func isStale(now: Int64) -> Bool { state.isStale(now: now) }
  func ended(_ parts: [AnswerPart], _ plan: DNSPlan, now: Int64, random: UInt64) -> Bool { state.ended(parts, plan, now: now, random: random) }
  func age(_ plan: DNSPlan, now: Int64) -> Bool { state.age(plan, now: now) }
  func adopt(_ other: Subject, _ plan: DNSPlan, now: Int64, random: UInt64) -> Bool { state.adopt(other.state, plan, now: now, random: random) }
}

@Suite struct NameStateTests {
  private var plan: DNSPlan {
    var plan = DNSPlan()
    plan.minTTL = 2_000
    plan.maxTTL = 60_000
    plan.negativeTTL = 5_000
    plan.staleLimit = 100_000
    return plan
  }

  private func resolved(_ seconds: Int = 10, now: Int64 = 1_000) -> Subject {
    let state = Subject()
    _ = state.ended([AnswerPart(key4, found([v4(1), v4(2)], seconds)), AnswerPart(key6, .problem(.noRecords))], plan, now: now, random: 0)
    return state
  }

  @Test func takesAnAnswerInAnOrderOfItsOwn() {
    let state = Subject()
    #expect(!state.isSettled)
    #expect(state.ended([AnswerPart(key6, found([v6(1)], 30)), AnswerPart(key4, found([v4(2), v4(1), v4(2)], 20))], plan, now: 1_000, random: 0))
    #expect(state.addresses == [v4(1), v4(2), v6(1)])
    #expect(state.problem == .none && state.isSettled)
    // The shortest time of all counts.
    #expect(state.goodUntil == 21_000 && state.nextLookup == 21_000)
    #expect(!state.ended([AnswerPart(key4, found([v4(1), v4(2)], 20)), AnswerPart(key6, found([v6(1)], 20))], plan, now: 21_000, random: 0))
  }

  @Test func timesKeepToTheirBounds() {
    #expect(resolved(0).goodUntil == 3_000)
    #expect(resolved(1).nextLookup == 3_000)
    #expect(resolved(Int.max).goodUntil == 61_000)
    #expect(resolved(Int(Int32.max)).goodUntil == 61_000)
  }

  @Test func asksAgainBeforeTheTimeIsOver() {
    for random: UInt64 in [0, 1, 999, 1_000, .max] {
      let next = NameState.spread(10_000, random)
      #expect(next > 9_000 && next <= 10_000)
    }
    #expect(NameState.spread(1, .max) == 1)
  }

  @Test func keepsWhatIsStaleForAWhile() {
    let state = resolved()
    #expect(!state.ended([AnswerPart(key4, .problem(.timeout)), AnswerPart(key6, .problem(.timeout))], plan, now: 11_000, random: 0))
    #expect(state.addresses.count == 2 && state.problem == .timeout && state.isStale(now: 11_000))
    #expect(state.goodUntil == 11_000)
    #expect(!state.age(plan, now: 110_999))
    #expect(state.age(plan, now: 111_000))
    #expect(state.addresses.isEmpty)
    #expect(!state.age(plan, now: 112_000))
  }

  @Test func keepsNothingStaleWhereThatIsNotWanted() {
    var plan = plan
    plan.staleOnError = false
    let state = resolved()
    // Before its time is over, an address is good, whatever happens.
    #expect(!state.ended([AnswerPart(key4, .problem(.serverFailure))], plan, now: 10_000, random: 0))
    #expect(!state.age(plan, now: 10_999))
    #expect(state.ended([AnswerPart(key4, .problem(.serverFailure))], plan, now: 11_000, random: 0))
    #expect(state.addresses.isEmpty && state.problem == .serverFailure)
  }

  @Test func staleWithoutLimit() {
    var plan = plan
    plan.staleLimit = 0
    let state = resolved()
    _ = state.ended([AnswerPart(key4, .problem(.timeout))], plan, now: 11_000, random: 0)
    #expect(!state.age(plan, now: 1 << 50))
  }

  @Test func asksLessAndLessOftenWhileItFails() {
    let state = resolved()
    var pauses: [Int64] = []
    for _ in 0..<6 {
      _ = state.ended([AnswerPart(key4, .problem(.timeout))], plan, now: 20_000, random: 0)
      pauses.append(state.nextLookup - 20_000)
    }
    #expect(pauses == [1_000, 2_000, 4_000, 5_000, 5_000, 5_000])
    _ = state.ended([AnswerPart(key4, found([v4(3)], 10)), AnswerPart(key6, .problem(.noRecords))], plan, now: 21_000, random: 0)
    #expect(state.addresses == [v4(3)] && state.problem == .none)
  }

  @Test func believesThatThereIsNothingTheThirdTime() {
    let state = resolved()
    let nothing = [AnswerPart(key4, .problem(.noSuchName)), AnswerPart(key6, .problem(.noSuchName))]
    #expect(!state.ended(nothing, plan, now: 11_000, random: 0))
    #expect(!state.ended(nothing, plan, now: 12_000, random: 0))
    #expect(state.addresses.count == 2)
    #expect(state.ended(nothing, plan, now: 14_000, random: 0))
    #expect(state.addresses.isEmpty && state.problem == .noSuchName)
  }

  @Test func anAnswerInBetweenBeginsTheCountAnew() {
    let state = resolved()
    let nothing = [AnswerPart(key4, .problem(.noRecords)), AnswerPart(key6, .problem(.noRecords))]
    for _ in 0..<3 {
      _ = state.ended(nothing, plan, now: 11_000, random: 0)
      _ = state.ended(nothing, plan, now: 11_500, random: 0)
      _ = state.ended([AnswerPart(key4, .problem(.timeout))], plan, now: 12_000, random: 0)
    }
    #expect(state.addresses.count == 2)
  }

  @Test func aFamilyThatWasNotAnsweredKeepsWhatItHad() {
    let state = Subject()
    _ = state.ended([AnswerPart(key4, found([v4(1)], 10)), AnswerPart(key6, found([v6(1)], 10))], plan, now: 1_000, random: 0)
    #expect(state.ended([AnswerPart(key4, found([v4(2)], 10)), AnswerPart(key6, .problem(.timeout))], plan, now: 11_000, random: 0))
    #expect(state.addresses == [v4(2), v6(1)] && state.problem == .timeout)
    // It is asked for again soon, not when the other family's time is over.
    #expect(state.nextLookup == 16_000)
    #expect(state.ended([AnswerPart(key4, found([v4(2)], 10)), AnswerPart(key6, .problem(.noRecords))], plan, now: 16_000, random: 0))
    #expect(state.addresses == [v4(2)] && state.problem == .none)
  }

  @Test func oneFamilyWithoutAnAnswerIsNoDenial() {
    let state = resolved()
    for _ in 0..<5 {
      #expect(!state.ended([AnswerPart(key4, .problem(.timeout)), AnswerPart(key6, .problem(.noRecords))], plan, now: 12_000, random: 0))
    }
    #expect(state.addresses.count == 2 && state.problem == .timeout)
  }

  @Test func targetsComeAndGo() {
    func at(_ last: UInt32, _ target: UInt32) -> ResolvedAddress { ResolvedAddress(IPAddress(v4: last + 0x0a00_0000), port: 80, weight: 5, priority: 1, target: target) }
    let state = Subject()
    let a = PartKey(target: 1, isIPv6: false), b = PartKey(target: 2, isIPv6: false)
    _ = state.ended([AnswerPart(a, found([at(1, 1)], 10)), AnswerPart(b, found([at(2, 2)], 10))], plan, now: 1_000, random: 0)
    // b fails and stays, then is no target any more.
    _ = state.ended([AnswerPart(a, found([at(3, 1)], 10)), AnswerPart(b, .problem(.timeout))], plan, now: 11_000, random: 0)
    #expect(state.addresses == [at(2, 2), at(3, 1)])
    _ = state.ended([AnswerPart(a, found([at(3, 1)], 10))], plan, now: 16_000, random: 0)
    #expect(state.addresses == [at(3, 1)])
  }

  @Test func keepsABoundedNumber() {
    let state = Subject()
    let many = (1...5_000).map { v4(UInt32($0)) }
    _ = state.ended([AnswerPart(key4, found(many.shuffled(), 10))], plan, now: 1_000, random: 0)
    #expect(state.addresses == Array(many.prefix(NameState.addressLimit)))
    #expect(state.surplus == 5_000 - NameState.addressLimit)
    #expect(!state.ended([AnswerPart(key4, found(many.shuffled(), 10))], plan, now: 11_000, random: 0))
  }

  @Test func othersAnswersAreTakenOverIfTheyAreNewer() {
    let state = Subject()
    let other = resolved(10, now: 5_000)
    #expect(state.adopt(other, plan, now: 6_000, random: 0))
    #expect(state.addresses == other.addresses && state.isSettled && state.nextLookup == 15_000)
    #expect(!state.adopt(resolved(10, now: 4_000), plan, now: 6_000, random: 0))
    #expect(state.resolvedAt == 5_000)
    // From a clock that is ahead.
    #expect(!state.adopt(resolved(10, now: 9_000), plan, now: 6_000, random: 0))
    #expect(state.resolvedAt == 5_000)
    // What is over is used, and asked for at once.
    let late = Subject()
    #expect(late.adopt(other, plan, now: 90_000, random: 0))
    #expect(late.nextLookup == 90_000)
  }

  @Test func wordsSayTheSame() throws {
    let state = Subject()
    let many = (1...300).map { ResolvedAddress(IPAddress(v4: 0x0a00_0000 + $0), port: UInt16($0), weight: 7, priority: 9, target: 0xdead_beef) } + [v6(3)]
    _ = state.ended([AnswerPart(key4, found(many, 10)), AnswerPart(key6, .problem(.malformed))], plan, now: 1_000, random: 0)
    let words = state.words
    let read = try #require(NameState(words: words))
    #expect(read.addresses == state.addresses && read.resolvedAt == state.resolvedAt && read.goodUntil == state.goodUntil)
    #expect(read.problem == .malformed && read.surplus == state.surplus && read.checkedAt == state.checkedAt)
  }

  @Test func wordsOfOthersAreNotTrusted() {
    let good = resolved().words
    #expect(NameState(words: good) != nil)
    #expect(NameState(words: []) == nil)
    #expect(NameState(words: Array(good.dropLast())) == nil)
    #expect(NameState(words: good + [0]) == nil)
    for (position, value) in [(0, UInt64.max), (1, .max), (2, .max), (3, 200), (3, 256), (5, .max), (5, 1), (6 + 1, 0), (6 + 1, 0xffff_ffff)] {
      var words = good
      words[position] = value
      #expect(NameState(words: words) == nil, "word \(position)")
    }
    for _ in 0..<10_000 {
      var words = good
      words[Int.random(in: words.indices)] = UInt64.random(in: 0 ... .max)
      _ = NameState(words: words)
    }
  }
}
