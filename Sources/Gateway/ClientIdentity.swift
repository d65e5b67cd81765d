// ClientIdentity — what TLS says of a client to others: fields of the forwarded request, and the access log.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Telemetry

extension Gateway {
  /// Whether the request in `services.head`, of which `input` holds the text, is for a host whose certificate is another than that
  /// of the name its connection was opened for (RFC 9110 §7.4).
  @inline(never)
  mutating func isMisdirected(_ client: Handle, _ input: borrowing Buffer) -> Bool {
    let connection = connection(of: client)
    guard clients[connection].flags.contains(.secure), let server = server(of: Int(clients[connection].listener)), server.isDivided else { return false }
    let host = services.head.host.text(in: input.bytes)
    return server.isMisdirected(secured[clients[connection].carrier].session, host: host.withoutPort)
  }

  /// Adds to the request being composed who the client is, if it has shown a certificate.
  mutating func composeIdentity(_ client: Handle) {
    let client = connection(of: client)
    let handle = clients[client].carrier
    guard !secured[handle].identity.isEmpty else { return }
    var identity = Buffer.absent
    swap(&identity, &secured[handle].identity)
    let length = secured[handle].subjectLength
    services.request.append("X-Client-Cert-Subject: ")
    services.request.append(identity.bytes.extracting(first: length))
    services.request.append("\r\nX-Client-Cert-Fingerprint: ")
    services.request.append(identity.bytes.extracting(droppingFirst: length))
    services.request.append("\r\n")
    swap(&identity, &secured[handle].identity)
  }

  /// Tells the access log about the connection of its next line.
  @inline(__always)
  mutating func describeConnection(_ client: Handle) {
    let client = connection(of: client)
    let isSecure = clients[client].flags.contains(.secure)
    if isSecure || accessLog?.isSecure == true { describeConnection(client, isSecure) }
  }

  @inline(never)
  private mutating func describeConnection(_ client: Handle, _ isSecure: Bool) {
    var facts = ConnectionFacts.absent
    accessLog?.exchange(connection: &facts)
    facts.clear()
    if isSecure { describe(clients[client].carrier, &facts) }
    accessLog?.exchange(connection: &facts)
  }

  private mutating func describe(_ handle: Handle, _ facts: inout ConnectionFacts) {
    facts.isSecure = true
    facts.isResumed = secured[handle].session.isResumed
    secured[handle].session.appendVersion(to: &facts.text)
    facts.version = Extent(0..<facts.text.count)
    secured[handle].session.appendCipher(to: &facts.text)
    facts.cipher = Extent(facts.version.upper..<facts.text.count)
    secured[handle].session.appendServerName(to: &facts.text)
    facts.serverName = Extent(facts.cipher.upper..<facts.text.count)
    guard !secured[handle].identity.isEmpty else { return }
    var identity = Buffer.absent
    swap(&identity, &secured[handle].identity)
    let start = facts.text.count, middle = start + secured[handle].subjectLength
    if facts.text.freeCapacity >= identity.count {
      facts.text.append(identity.bytes)
      facts.subject = Extent(start..<middle)
      facts.fingerprint = Extent(middle..<facts.text.count)
    }
    swap(&identity, &secured[handle].identity)
  }
}
