// Families, priorities and weights: the places that addresses stand for.

import Kernel
import Plan
import Testing

@testable import Resolution

private func address(_ text: String, port: UInt16 = 0, weight: UInt16 = 0, priority: UInt16 = 0, target: UInt32 = 0) -> ResolvedAddress {
  ResolvedAddress(IPAddress(text)!, port: port, weight: weight, priority: priority, target: target)
}

@Suite struct PlacementTests {
  private func places(_ addresses: [ResolvedAddress], _ family: DNSPlan.Family, weight: Int = 3, isBackup: Bool = false) -> [String] {
    Placement.places(addresses, family, port: 80, weight: weight, isBackup: isBackup, maxWeight: 1000).map {
      "\($0.address.text)\($0.alternative.map { "|" + $0.text } ?? "") \($0.port) \($0.weight)\($0.isBackup ? " backup" : "")"
    }
  }

  @Test func theOtherFamilyIsSecond() {
    let both = [address("10.0.0.1"), address("10.0.0.2"), address("10.0.0.3"), address("fd00::1"), address("fd00::2")]
    #expect(places(both, .v4Preferred) == ["10.0.0.1|fd00::1 80 3", "10.0.0.2|fd00::2 80 3", "10.0.0.3|fd00::1 80 3"])
    #expect(places(both, .v6Preferred) == ["fd00::1|10.0.0.1 80 3", "fd00::2|10.0.0.2 80 3"])
    #expect(places(both, .v4Only) == ["10.0.0.1 80 3", "10.0.0.2 80 3", "10.0.0.3 80 3"])
    #expect(places(both, .v6Only) == ["fd00::1 80 3", "fd00::2 80 3"])
  }

  @Test func theOtherFamilyStandsInWhereThereIsNone() {
    #expect(places([address("fd00::1")], .v4Preferred) == ["fd00::1 80 3"])
    #expect(places([address("10.0.0.1")], .v6Preferred, isBackup: true) == ["10.0.0.1 80 3 backup"])
    #expect(places([address("fd00::1")], .v4Only).isEmpty)
    #expect(places([address("10.0.0.1")], .v6Only).isEmpty)
    #expect(places([], .v4Preferred).isEmpty)
  }

  @Test func servicesHavePortsWeightsAndPriorities() {
    let records = [
      address("10.0.0.1", port: 8001, weight: 10, priority: 1, target: 1), address("10.0.0.2", port: 8001, weight: 10, priority: 1, target: 1),
      address("10.0.0.3", port: 8003, weight: 40, priority: 1, target: 2), address("fd00::3", port: 8003, weight: 40, priority: 1, target: 2),
      address("10.0.0.4", port: 8004, weight: 0, priority: 7, target: 3),
    ]
    #expect(places(records, .v4Preferred) == [
      "10.0.0.1 8001 125", "10.0.0.2 8001 125", "10.0.0.3|fd00::3 8003 1000", "10.0.0.4 8004 1 backup",
    ])
    #expect(places(records, .v6Preferred)[2] == "fd00::3|10.0.0.3 8003 1000")
  }

  @Test func withoutAnyWeightsAllAreAlike() {
    let records = [address("10.0.0.1", port: 1, target: 1), address("10.0.0.2", port: 2, target: 2)]
    #expect(places(records, .v4Preferred, weight: 7) == ["10.0.0.1 1 7", "10.0.0.2 2 7"])
  }

  @Test func extremeWeightsKeepToTheBounds() {
    let records = [address("10.0.0.1", port: 1, weight: .max, target: 1), address("10.0.0.2", port: 2, weight: 1, target: 2)]
    #expect(places(records, .v4Preferred) == ["10.0.0.1 1 1000", "10.0.0.2 2 1"])
    #expect(places([address("10.0.0.1")], .v4Preferred, weight: 5_000) == ["10.0.0.1 80 1000"])
  }
}
