// Announcing — the PROXY protocol: whose connection it is, said before its first byte; by proxies to us, and by us to backends.
//
// A listener requires the header or knows nothing of it: where it is only looked for, clients could bring one of their own. Invariant: a
// client with `.unannounced` has had no byte read; the header is looked at where it lies and taken off the socket when it is whole,
// so that what comes next, TLS or a request, is read as ever.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Telemetry
import Wire

extension Gateway {
  // MARK: From proxies

  /// A new connection must begin with a header; it goes at once where its peer may not say whose it is. Whether the client is let in is
  /// asked when it is known.
  @inline(never)
  mutating func expectAnnouncement(_ client: Handle, _ listener: Int) {
    clients[client].flags.insert(.unannounced)
    guard addresses.announcers[listener].permits(clients[client].peer) else {
      report(client, announcement: .proxyHeaderRefused)
      return doom(client)
    }
  }

  /// Takes the header off the socket. `moved`: it was there, and the client is whom it names.
  @inline(never)
  mutating func takeAnnouncement(_ client: Handle) -> Transfer {
    guard clients[client].flags.isDisjoint(with: .doomed) else { return .failed(.protocolViolation) }
    var bytes = services.small.take()
    let outcome = takeAnnouncement(client, &bytes)
    services.small.recycle(bytes)
    return outcome
  }

  private mutating func takeAnnouncement(_ client: Handle, _ bytes: inout Buffer) -> Transfer {
    switch bytes.fill({ clients[client].socket.peek(into: &$0) }) {
    case .moved: break
    case .ended:
      // Whoever only looks whether somebody listens says nothing.
      return .ended
    case let other: return other
    }
    switch ProxyHeader.parse(bytes.bytes) {
    case .complete(let header, let length):
      guard clients[client].socket.drop(length) else { return .failed(.protocolViolation) }
      counters.add(.proxyHeadersReceived)
      counters.add(.bytesReceived, UInt64(length))
      clients[client].flags.remove(.unannounced)
      if header.source != .none {
        clients[client].peer = header.source
        clients[client].peerPort = header.sourcePort
        forgetAddress(client)
      }
      if addresses.isActive { judgePeer(client, isNew: false) }
      if limits.countsConnections, !enterAnnounced(client) {
        counters.add(.connectionsRefused)
        counters.count(fault: Fault.clientConnectionLimit.rawValue)
        return .failed(.protocolViolation)
      }
      // From here on it is like any other.
      setClientTimer(client, .firstByte, plan.timeouts.request)
      return .moved(length)
    case .incomplete where !clients[client].flags.contains(.ended): return .blocked
    case .incomplete, .malformed:
      report(client, announcement: .proxyHeaderError)
      return .failed(.protocolViolation)
    }
  }

  private mutating func report(_ client: Handle, announcement fault: Fault) {
    counters.count(fault: fault.rawValue)
    guard .warn >= log.level else { return }
    let peer = clients[client].address
    log.write(.warn, key: EventKey("proxy protocol", Int(fault.rawValue)), "client \(peer): \(fault.row.token): \(fault.row.sentence)")
  }

  // MARK: To backends

  /// Tells a backend whose request comes over the new connection; false when it does not take that.
  @inline(never)
  mutating func announce(_ backend: Handle, _ exchange: Handle) -> Bool {
    let version = plan.upstreams[Int(backends.connections[backend].upstream)].proxyProtocol
    let client = exchanges[exchange].client
    let connection = connection(of: client)
    var header = ProxyHeader()
    header.source = PeerAddress(clients[client].address)
    // The port is that of the connection to us, and nobody else's.
    if header.source == clients[client].peer { header.sourcePort = clients[client].peerPort }
    if let local = clients[connection].socket.localAddress {
      header.destination = PeerAddress(PeerText(local))
      header.destinationPort = local.port
    }
    var output = Buffer(capacity: 256)
    header.append(version == .v1 ? .v1 : .v2, to: &output)
    // A new connection takes that much at once.
    guard case .moved(let count) = backends.connections[backend].socket.send(output.bytes), count == output.count else { return false }
    counters.add(.proxyHeadersSent)
    return true
  }
}
