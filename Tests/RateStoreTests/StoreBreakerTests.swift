// When a server is given up, and when it is tried.

import Testing

@testable import RateStore

@Suite struct StoreBreakerTests {
  @Test func failuresInARowOpenIt() {
    var breaker = StoreBreaker(threshold: 3, retryInterval: 100)
    let outcome1 = breaker.failed(now: 0)
    #expect(!outcome1)
    let outcome2 = breaker.failed(now: 1)
    #expect(!outcome2)
    let outcome3 = breaker.succeeded()
    #expect(!outcome3)
    let outcome4 = breaker.failed(now: 2)
    #expect(!outcome4)
    let outcome5 = breaker.failed(now: 3)
    #expect(!outcome5)
    let isTried = breaker.mayTry(now: 1_000_000)
    #expect(!breaker.isOpen && !isTried)
    let outcome6 = breaker.failed(now: 4)
    #expect(outcome6)
    let isEarly = breaker.mayTry(now: 103), isDue = breaker.mayTry(now: 104)
    #expect(breaker.isOpen && !isEarly && isDue)
  }

  @Test func aTryThatFailsPutsTheNextOneOff() {
    var breaker = StoreBreaker(threshold: 1, retryInterval: 100)
    let outcome7 = breaker.failed(now: 0)
    #expect(outcome7)
    let outcome8 = breaker.failed(now: 100)
    #expect(!outcome8)
    let outcome9 = breaker.mayTry(now: 199)
    let isDue = breaker.mayTry(now: 200)
    #expect(!outcome9 && isDue)
    let outcome10 = breaker.succeeded()
    #expect(outcome10)
    #expect(!breaker.isOpen && breaker.failures == 0)
  }

  @Test func givingUpNeedsOneFailure() {
    var breaker = StoreBreaker(threshold: 1000, retryInterval: 100)
    breaker.giveUp()
    let outcome11 = breaker.failed(now: 0)
    #expect(outcome11)
  }
}
