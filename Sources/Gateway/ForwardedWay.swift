// ForwardedWay — what a backend is told of a request's way where it depends on whom the request has come from.
//
// With trusted proxies configured, what others say of a request's way is dropped and not passed on; what trusted ones say is kept
// and continued. Without, everybody's X-Forwarded-For is continued (RequestComposer), and so is Forwarded where it is set.

import HTTPModel
import Kernel
import Memory
import Plan
import Wire

extension HeaderNameSet {
  /// Fields that say where a request has come from.
  static var way: HeaderNameSet {
    [
      HeaderNameSet(.forwarded), HeaderNameSet(.forwardedFor), HeaderNameSet(.forwardedProto), HeaderNameSet(.forwardedHost),
      HeaderNameSet(.forwardedPort), HeaderNameSet(.realIP),
    ]
  }
}

extension Gateway {
  /// Composes the head of `exchange`'s request, whose text is `bytes`, as RequestComposer does.
  @inline(never)
  mutating func composeTellingWay(_ exchange: Handle, _ bytes: Span<UInt8>) {
    let pinned = unsafe exchanges.pin(exchange)
    let rule = actions.forwards[Int(exchanges[pinned].rule)]
    let client = exchanges[pinned].client
    let isBelieved = !addresses.judges || clients[client].flags.contains(.trusted)
    let names = exchanges[pinned].head.names
    var dropped = isBelieved ? rule.dropped : rule.dropped.union(.way)
    // The host that the first proxy was asked for is not replaced by the one that the last has asked for.
    let keepsHost = isBelieved && addresses.judges && names.contains(.forwardedHost)
    if keepsHost { dropped.remove(HeaderNameSet(.forwardedHost)) }
    let address = clients[client].address
    let isSecure = clients[connection(of: client)].flags.contains(.secure)
    RequestComposer.compose(
      &exchanges[pinned], bytes, rule.style.subtracting([.forwardedFor, .forwardedProto, .forwardedHost]), without: dropped,
      host: actions.hosts[Int(exchanges[pinned].upstream)], peer: address.span, isSecure: isSecure, ids: &services.ids, into: &services.request)
    var output = Buffer.absent
    swap(&output, &services.request)
    // The last hop is ours to tell; those before have been told by others.
    let peer = clients[client].peer, text = peer.width > 0 ? PeerText(peer) : PeerText.unix
    if rule.style.contains(.forwardedFor) {
      output.append("X-Forwarded-For: ")
      if isBelieved { output.append(listOf: .forwardedFor, exchanges[pinned].head.records, bytes) }
      output.append(text.span)
      output.append("\r\n")
    }
    if rule.style.contains(.forwardedProto) {
      output.append(isSeenAsSecure(client) ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n")
    }
    let host = exchanges[pinned].head.host.text(in: bytes)
    if rule.style.contains(.forwardedHost), !host.isEmpty, !keepsHost {
      output.append("X-Forwarded-Host: ")
      output.append(host)
      output.append("\r\n")
    }
    if rule.plan.setForwarded {
      output.append("Forwarded: ")
      if isBelieved { output.append(listOf: .forwarded, exchanges[pinned].head.records, bytes) }
      output.append(forwardedFor: text.span, of: peer.kind, host: host, isSecure: isSecure)
      output.append("\r\n")
    }
    swap(&output, &services.request)
  }
}
