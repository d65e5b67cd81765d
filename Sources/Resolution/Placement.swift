// Placement — from a name's addresses to the places that requests go to: families, priorities and weights.
//
// Each address of the preferred family is a place of its own. Those of the other family are not more places, for they lead to the same
// hosts; they are second addresses, for connections to the first that do not come about soon (RFC 8305).

import Kernel
import Plan

/// A place that requests go to.
public struct Place: Hashable, Sendable {
  public var address: IPAddress
  /// An address of the other family.
  public var alternative: IPAddress?
  public var port: UInt16
  /// At least 1.
  public var weight: Int
  /// Used only when none of the others can be.
  public var isBackup: Bool

  public init(address: IPAddress, alternative: IPAddress? = nil, port: UInt16, weight: Int, isBackup: Bool) {
    self.address = address
    self.alternative = alternative
    self.port = port
    self.weight = weight
    self.isBackup = isBackup
  }
}

public enum Placement {
  /// The places that `addresses` stand for.
  /// - Parameters:
  ///   - port, weight, isBackup: as configured. SRV records have a port of their own, and weights beside which `weight` is a factor; those of
  ///     other than the first priority are backups.
  ///   - maxWeight: the greatest weight of a place.
  public static func places(_ addresses: [ResolvedAddress], _ family: DNSPlan.Family, port: UInt16, weight: Int, isBackup: Bool, maxWeight: Int) -> [Place] {
    let prefersIPv6 = family == .v6Preferred || family == .v6Only
    let isAlone = family == .v4Only || family == .v6Only
    let first = addresses.map(\.priority).min() ?? 0
    var order: [UInt64] = []
    var groups: [UInt64: (preferred: [ResolvedAddress], other: [ResolvedAddress])] = [:]
    // What belongs together: all without SRV records, else one target on one port.
    for address in addresses {
      let group = UInt64(address.target) << 32 | UInt64(address.port) << 16 | UInt64(address.priority)
      if groups[group] == nil {
        groups[group] = ([], [])
        order.append(group)
      }
      if address.address.isIPv6 == prefersIPv6 { groups[group]?.preferred.append(address) } else { groups[group]?.other.append(address) }
    }
    // Weights of 0 get a very small share (RFC 2782), unless all are 0.
    let greatest = Int(addresses.map(\.weight).max() ?? 0)
    var places: [Place] = []
    for group in order {
      guard let (preferred, other) = groups[group] else { continue }
      let used = preferred.isEmpty ? (isAlone ? [] : other) : preferred
      let alternatives = preferred.isEmpty || isAlone ? [] : other
      for (position, entry) in used.enumerated() {
        var own = weight
        if entry.target != 0, greatest > 0 {
          // Each address of a target has its part of the target's weight.
          own = max(1, min(maxWeight, Int(entry.weight) * maxWeight / greatest / max(1, used.count)))
        }
        places.append(
          Place(
            address: entry.address, alternative: alternatives.isEmpty ? nil : alternatives[position % alternatives.count].address,
            port: entry.port == 0 ? port : entry.port, weight: max(1, min(maxWeight, own)), isBackup: isBackup || entry.priority != first))
      }
    }
    return places
  }
}
