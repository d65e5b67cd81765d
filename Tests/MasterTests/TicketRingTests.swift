// Ticket keys over time.

import Testing

@testable import Master

@Suite struct TicketRingTests {
  @Test func theNewestComesFirstAndTheOldestGoes() {
    var ring = TicketRing([1], now: 1_000)
    #expect(ring.bytes == [1] && ring.dueAt(rotation: 500) == 1_500)
    ring.rotate([2], keeping: 3, now: 1_500)
    ring.rotate([3], keeping: 3, now: 2_000)
    #expect(ring.bytes == [3, 2, 1] && ring.madeAt == 2_000)
    ring.rotate([4], keeping: 3, now: 2_500)
    #expect(ring.bytes == [4, 3, 2])
    // A reload may want fewer, but never none.
    ring.rotate([5], keeping: 0, now: 3_000)
    #expect(ring.bytes == [5])
  }
}
