// AddressPlan — whose word on a client's address is taken, and which addresses may come in.

import HTTPModel

/// How the address of a client is found that comes through proxies.
public struct ClientAddressPlan: Equatable, Sendable {
  /// In which field trusted proxies say whom they forward for.
  public enum Source: UInt8, Equatable, Sendable { case xForwardedFor, forwarded }

  /// Peers whose word is taken; empty: nobody's.
  public var trusted: [AddressRange] = []
  public var source = Source.xForwardedFor

  public init() {}

  /// Whether what a request says of its way is judged at all.
  public var isActive: Bool { !trusted.isEmpty }
}

/// Which addresses are let in. The longest range decides that an address is in; where there is none it is let in
/// unless there are addresses that are allowed.
public struct AddressRulePlan: Equatable, Sendable {
  public var allow: [AddressRange] = []
  public var deny: [AddressRange] = []

  public init() {}

  public var isEmpty: Bool { allow.isEmpty && deny.isEmpty }
}
