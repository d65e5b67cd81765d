// ClientAddress — the one place that says whom a request comes from, and whether that address is let in.
//
// A connection's peer is the client, unless it is a trusted proxy. Then the list to which trusted proxies append is read from its
// end: each address that is itself a trusted proxy's leads to the next, and the first other one is the client. What cannot be
// read ends the walk; nothing to the left of it is believed. `Client.address` is set here alone; whatever needs an address
// (rate limits, logs, header fields, lists of addresses) takes it from there.
// A peer that is not trusted costs its requests nothing: what can be said of it is said once, when it connects.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Wire

/// The lists of a plan that concern all requests, made ready.
struct AddressRules: ~Copyable {
  let trusted: AddressTable
  let source: ClientAddressPlan.Source
  /// Who is let in at all, and by listener.
  let everywhere: AddressTable
  private(set) var listeners = Stack<AddressTable>()
  /// Whether what requests say of their way is judged.
  let judges: Bool
  /// Which listeners require a header of the PROXY protocol.
  private(set) var announced: BoundedArray<Bool>
  /// From whom a header of the PROXY protocol is accepted, by listener.
  private(set) var announcers = Stack<AddressTable>()
  /// Whether there is anything to be asked of a new connection.
  let isActive: Bool

  init(_ plan: Plan) {
    trusted = AddressTable(allow: plan.clientAddress.trusted)
    source = plan.clientAddress.source
    everywhere = AddressTable(plan.access)
    judges = plan.clientAddress.isActive
    isActive = judges || !plan.access.isEmpty || plan.listeners.contains { !$0.access.isEmpty || $0.proxyProtocol }
    announced = BoundedArray(capacity: max(1, plan.listeners.count))
    for listener in plan.listeners {
      listeners.append(AddressTable(listener.access))
      _ = announced.append(listener.proxyProtocol)
      announcers.append(AddressTable(allow: listener.proxyProtocolSources))
    }
  }

  func permits(_ address: PeerAddress, listener: Int) -> Bool {
    everywhere.permits(address) && (listener >= listeners.count || listeners[listener].permits(address))
  }
}

extension PeerAddress {
  init(_ peer: PeerText) {
    if let number = peer.ipv4 {
      self.init(ipv4: number)
    } else if let number = peer.ipv6 {
      self.init(ipv6: number.high, number.low)
    } else {
      self = .unix
    }
  }
}

extension PeerText {
  /// - Precondition: the address is of a kind that has numbers.
  init(_ address: PeerAddress) {
    self.init(
      address.kind == .ipv4
        ? SocketAddress(ipv4: UInt32(truncatingIfNeeded: address.low), port: 0) : SocketAddress(ipv6: address.high, address.low, port: 0))
  }
}

extension Gateway {
  /// Notes what can be said of a new connection's peer.
  @inline(never)
  mutating func judgePeer(_ client: Handle, isNew: Bool) {
    let peer = clients[client].peer, listener = Int(clients[client].listener)
    clients[client].flags.remove(.screened)
    if isNew, listener < addresses.announced.count, addresses.announced.span[listener] { return expectAnnouncement(client, listener) }
    if addresses.trusted.contains(peer) {
      clients[client].flags.insert(.trusted)
    } else if !addresses.permits(peer, listener: listener) {
      clients[client].flags.insert(.barred)
    }
  }

  /// Finds whom the request in `services.head` comes from, where its peer does not say it all. False when that address is
  /// not let in, and the request has been answered.
  @inline(never)
  mutating func screen(_ client: Handle, _ length: Int, _ input: inout Buffer) -> Bool {
    if clients[client].flags.contains(.trusted) {
      findAddress(client, input.bytes)
      if addresses.permits(PeerAddress(clients[client].address), listener: Int(clients[client].listener)) { return true }
    }
    // Whoever waits for 100 Continue is told; what is too long is not read.
    if services.head.flags.contains(.expectsUnknown) || isBodyTooLong {
      refuse(client, .requestDenied, input, isScreened: true)
    } else {
      decline(client, .requestDenied, allow: nil, services.ids.make(services.head, input.bytes), length, &input)
    }
    return false
  }

  /// A request that is not even understood comes from its peer, whatever the one before has said.
  @inline(never)
  mutating func forgetAddress(_ client: Handle) {
    let peer = clients[client].peer
    clients[client].address = peer.width > 0 ? PeerText(peer) : PeerText.unix
    clients[client].flags.remove([.toldSecure, .toldPlain])
  }

  private mutating func findAddress(_ client: Handle, _ bytes: Span<UInt8>) {
    let peer = clients[client].peer
    var address = peer, isSecure: Bool?
    let name: HeaderName = addresses.source == .forwarded ? .forwarded : .forwardedFor
    if services.head.names.contains(name) {
      var index = services.head.fieldCount
      walk: while index > 0 {
        index -= 1
        let field = services.head.field(at: index)
        guard field.isNamed(name) else { continue }
        let value = field.value.text(in: bytes)
        var end = value.count
        while let hop = name == .forwarded ? value.forwarded(before: &end) : value.forwardedFor(before: &end) {
          guard hop.address != .none else { break walk }
          address = hop.address
          isSecure = hop.isSecure
          guard addresses.trusted.contains(address) else { break walk }
        }
      }
    }
    if addresses.source == .xForwardedFor { isSecure = schemeTold(bytes) }
    // The slot may hold what the request before has said.
    forgetAddress(client)
    if address != peer { clients[client].address = PeerText(address) }
    if let isSecure { clients[client].flags.insert(isSecure ? .toldSecure : .toldPlain) }
  }

  /// What X-Forwarded-Proto says, if it says one thing.
  private mutating func schemeTold(_ bytes: Span<UInt8>) -> Bool? {
    guard services.head.names.contains(.forwardedProto) else { return nil }
    var told: Bool?
    for index in 0..<services.head.fieldCount where services.head.field(at: index).isNamed(.forwardedProto) {
      let scheme = services.head.field(at: index).value.text(in: bytes).isSecureScheme
      guard scheme != nil, told == nil || told == scheme else { return nil }
      told = scheme
    }
    return told
  }

  /// Whether the client has made its request over TLS: to us, or to a trusted proxy that says so.
  @inline(__always)
  mutating func isSeenAsSecure(_ client: Handle) -> Bool {
    let flags = clients[client].flags
    if flags.isDisjoint(with: [.toldSecure, .toldPlain]) { return clients[connection(of: client)].flags.contains(.secure) }
    return flags.contains(.toldSecure)
  }
}
