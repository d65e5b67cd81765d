// OutlierDetectionTests — who is ejected, for how long, and how many at a time.

import Plan
import Testing

@testable import Policy

@Suite struct OutlierDetectionTests {
  private func sample(_ requests: UInt64, _ failures: UInt64 = 0, milliseconds: UInt64 = 10) -> EndpointSample {
    EndpointSample(requests: requests, failures: failures, answers: requests, latency: requests * milliseconds * 1000)
  }

  private func outliers(_ samples: [EndpointSample], latency: Int = 0, gap: Int = 30) -> [Int] {
    var plan = OutlierPlan()
    plan.latencyFactor = latency
    plan.successGap = gap
    return OutlierDetection.outliers(samples, plan).map(\.index)
  }

  @Test func oneThatFailsAmongOthers() {
    #expect(outliers([sample(100), sample(100, 40), sample(100, 5)]) == [1])
    #expect(outliers([sample(100), sample(100, 25), sample(100, 5)]) == [])
    #expect(outliers([sample(100, 90), sample(100)]) == [0])
    // The worst first.
    #expect(outliers([sample(100), sample(100, 60), sample(100, 90), sample(100), sample(100)]) == [2, 1])
  }

  @Test func whenAllFailNobodyIsAnOutlier() {
    #expect(outliers([sample(100, 90), sample(100, 95), sample(100, 100)]) == [])
  }

  @Test func fewRequestsSayNothing() {
    #expect(outliers([sample(100), sample(19, 19), sample(100)]) == [])
    #expect(outliers([sample(100, 100), sample(5)]) == [])
    #expect(outliers([]) == [])
  }

  @Test func oneThatIsSlow() {
    #expect(outliers([sample(100), sample(100, milliseconds: 60), sample(100, milliseconds: 12)], latency: 5) == [1])
    #expect(outliers([sample(100), sample(100, milliseconds: 40), sample(100, milliseconds: 12)], latency: 5) == [])
    #expect(outliers([sample(100), sample(100, milliseconds: 60)], latency: 0) == [])
    // Times below a millisecond are no difference.
    #expect(outliers([sample(100, milliseconds: 0), sample(100, milliseconds: 4)], latency: 5) == [])
  }

  @Test func ejectionsGrowAndAreForgiven() {
    var plan = OutlierPlan()
    plan.baseEjection = 100
    plan.maxEjection = 250
    var ejection = Ejection(0)
    #expect(ejection.isOver(now: 0) && ejection.times == 0)
    ejection = ejection.next(plan, now: 1000)
    #expect(ejection.until == 1100 && ejection.times == 1 && !ejection.isOver(now: 1099) && ejection.isOver(now: 1100))
    #expect(Ejection(ejection.word).until == 1100)
    ejection = ejection.next(plan, now: 2000)
    #expect(ejection.until == 2200)
    ejection = ejection.next(plan, now: 3000)
    #expect(ejection.until == 3250 && ejection.times == 3)
    let kept = ejection.forgiven(plan, now: 3300)
    #expect(kept == nil)
    #expect(ejection.forgiven(plan, now: 3350)?.times == 2)
    let nothing = Ejection(0).forgiven(plan, now: 1_000_000)
    #expect(nothing == nil)
  }

  @Test func someMayAlwaysBeEjectedAndNeverAll() {
    var plan = OutlierPlan()
    let counts = [1, 2, 3, 4, 10].map { EjectionLimit.count(plan, of: $0) }
    #expect(counts == [0, 1, 1, 2, 5])
    plan.maxEjected = 100
    #expect(EjectionLimit.count(plan, of: 10) == 9)
    plan.maxEjected = 1
    #expect(EjectionLimit.count(plan, of: 10) == 1)
  }

  @Test func healthIsAWord() {
    let word = HealthWord(.unhealthy, since: 123_456_789)
    #expect(HealthWord(word.word).health == .unhealthy && word.since == 123_456_789)
    #expect(HealthWord(0).health == .unknown && HealthWord(0xff).health == .unknown)
  }

  @Test func keysAreRead() throws {
    #expect(try BalanceKey(parsing: "header:X-Account") == .header("x-account"))
    #expect(try BalanceKey(parsing: "cookie:A") == .cookie("A"))
    #expect(try BalanceKey(parsing: "param:id") == .parameter("id"))
    for text in ["", "header", "header:", "body:x", "client_ip ", "cookie:a b"] { #expect(throws: BalanceKeyError.self) { try BalanceKey(parsing: text) } }
    let nothing: [UInt8] = []
    #expect(BalanceKey.hash(nothing.span) == 0)
    let one = BalanceKey.binding(upstream: "u", endpoint: "e", secret: "")
    #expect(one == BalanceKey.binding(upstream: "u", endpoint: "e", secret: ""))
    #expect(Set([one, BalanceKey.binding(upstream: "u", endpoint: "f", secret: ""), BalanceKey.binding(upstream: "u", endpoint: "e", secret: "s")]).count == 3)
  }
}
