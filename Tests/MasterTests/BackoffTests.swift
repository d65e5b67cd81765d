// How long a slot waits.

import Testing

@testable import Master

@Test func deathsInARowWaitLongerAndLonger() {
  var backoff = Backoff()
  let waits = (0..<12).map { _ in backoff.next(readyFor: 50) }
  #expect(waits == [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000])
  for _ in 0..<100 { #expect(backoff.next(readyFor: 0) == 10_000) }
}

@Test func healthForgives() {
  var backoff = Backoff()
  for _ in 0..<5 { _ = backoff.next(readyFor: 0) }
  #expect(backoff.next(readyFor: 30_000) == 0)
  #expect(backoff.next(readyFor: 29_999) == 100)
}
