// AddressTable — whether an address is in a list of ranges, decided by the longest range that it is in.
//
// Nested ranges are laid flat when the table is made: sorted boundaries, each with the verdict that holds from it to the next one.
// So a look-up is a binary search, whatever the ranges. IPv4 and IPv6 never meet: `::/0` says nothing of IPv4.

import HTTPModel
import Memory
import Plan

/// What holds from an address on, up to the next boundary. (Public for the compiler alone, which needs it where a table is stored.)
public struct AddressBoundary: BitwiseCopyable, Sendable {
  let high: UInt64
  let low: UInt64
  let verdict: AddressTable.Verdict
}

/// Verdicts on addresses.
public struct AddressTable: ~Copyable {
  /// What the longest range that an address is in is listed as.
  public enum Verdict: UInt8, Sendable, BitwiseCopyable { case unlisted, allowed, denied }

  private let ipv4: BoundedArray<AddressBoundary>
  private let ipv6: BoundedArray<AddressBoundary>
  private let unix: Verdict
  /// Addresses that no range has are denied: there is somebody who is allowed.
  private let isExclusive: Bool
  /// Nobody is listed.
  public let isEmpty: Bool

  /// - Parameters: ranges that are in both lists count as denied; the configuration refuses them.
  public init(allow: [AddressRange], deny: [AddressRange] = []) {
    let ranges = allow.map { ($0, Verdict.allowed) } + deny.map { ($0, Verdict.denied) }
    ipv4 = AddressTable.flatten(ranges, .ipv4)
    ipv6 = AddressTable.flatten(ranges, .ipv6)
    unix = ranges.last { $0.0.first.kind == .unix }?.1 ?? .unlisted
    isExclusive = !allow.isEmpty
    isEmpty = ranges.isEmpty
  }

  public init(_ plan: AddressRulePlan) { self.init(allow: plan.allow, deny: plan.deny) }

  /// Whether whoever has this address may pass.
  public func permits(_ address: PeerAddress) -> Bool {
    switch verdict(address) {
    case .allowed: true
    case .denied: false
    case .unlisted: !isExclusive
    }
  }

  /// Whether the address is listed as allowed.
  public func contains(_ address: PeerAddress) -> Bool { verdict(address) == .allowed }

  public func verdict(_ address: PeerAddress) -> Verdict {
    switch address.kind {
    case .ipv4: AddressTable.find(address, ipv4.span)
    case .ipv6: AddressTable.find(address, ipv6.span)
    case .unix: unix
    case .none: .unlisted
    }
  }

  private static func find(_ address: PeerAddress, _ boundaries: Span<AddressBoundary>) -> Verdict {
    var low = 0, high = boundaries.count
    while low < high {
      let middle = (low + high) / 2, boundary = boundaries[middle]
      if (boundary.high, boundary.low) <= (address.high, address.low) { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? .unlisted : boundaries[low - 1].verdict
  }

  private static func flatten(_ ranges: [(AddressRange, Verdict)], _ kind: PeerAddress.Kind) -> BoundedArray<AddressBoundary> {
    // Ranges contain each other or have nothing in common; so what is around a range comes before it.
    let sorted = ranges.filter { $0.0.first.kind == kind }.sorted { one, other in
      (one.0.first.high, one.0.first.low, one.0.length, one.1.rawValue) < (other.0.first.high, other.0.first.low, other.0.length, other.1.rawValue)
    }
    var boundaries: [AddressBoundary] = []
    // Those around the place at hand, the innermost last.
    var open: [(last: (high: UInt64, low: UInt64), verdict: Verdict)] = []
    func begin(_ high: UInt64, _ low: UInt64, _ verdict: Verdict) {
      if let last = boundaries.last, last.high == high, last.low == low { boundaries.removeLast() }
      boundaries.append(AddressBoundary(high: high, low: low, verdict: verdict))
    }
    func close() {
      let last = open.removeLast().last
      let (low, carry) = last.low.addingReportingOverflow(1)
      let (high, overflow) = last.high.addingReportingOverflow(carry ? 1 : 0)
      // Behind the last address of all there is none.
      if !overflow { begin(high, low, open.last?.verdict ?? .unlisted) }
    }
    for (range, verdict) in sorted {
      while let inner = open.last, inner.last < (range.first.high, range.first.low) { close() }
      begin(range.first.high, range.first.low, verdict)
      open.append((range.last, verdict))
    }
    while !open.isEmpty { close() }
    var flat = BoundedArray<AddressBoundary>(capacity: max(1, boundaries.count))
    for boundary in boundaries { _ = flat.append(boundary) }
    return flat
  }
}
