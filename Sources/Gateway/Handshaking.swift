// Handshaking — the TLS handshake of a client, what comes instead of one, and what it leaves in counters and log.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Telemetry

extension Gateway {
  /// Goes on with the handshake; false when it is over for bad, or the client is not one for TLS.
  @inline(never)
  mutating func shakeClientHands(_ client: Handle, _ handle: Handle, _ cipher: inout Buffer) -> Bool {
    if !secured[handle].hasBegun, !cipher.isEmpty {
      secured[handle].hasBegun = true
      guard cipher.bytes[0] == TLSRecord.handshake else {
        refuseWithoutTLS(client, handle, cipher)
        return false
      }
    }
    while true {
      var used = 0
      ciphertext.output.removeAll()
      let step = secured[handle].session.handshake(cipher.bytes, used: &used, into: &ciphertext.output)
      cipher.consume(used)
      if !ciphertext.output.isEmpty { sendClientCiphertext(client) }
      switch step {
      case .wantsRoom: continue
      case .wantsInput: return true
      case .established:
        handshakeIsComplete(client, handle)
        return true
      case .failed(let reason):
        count(reason, handle)
        report(reason, client)
        // The alert is read only if no reset overtakes it.
        secured[handle].hasSaidGoodbye = true
        clients[client].flags.formUnion([.closing, .mustLinger])
        if clients[client].backlog.isEmpty { endClient(client) }
        return false
      }
    }
  }

  private mutating func handshakeIsComplete(_ client: Handle, _ handle: Handle) {
    secured[handle].isCounted = true
    counters.add(.tlsHandshakes)
    if secured[handle].session.isResumed { counters.add(.tlsResumptions) }
    if plan.listeners[Int(clients[client].listener)].tls?.clientCertificates != .off { noteIdentity(handle) }
    setClientTimer(client, .firstByte, plan.timeouts.request)
    if secured[handle].session.isHTTP2 { clientSpeaksHTTP2(client) }
  }

  private mutating func noteIdentity(_ handle: Handle) {
    var scratch = Buffer(capacity: TLSSession.identityRoom)
    guard let length = secured[handle].session.appendClientIdentity(to: &scratch) else { return }
    var identity = Buffer(capacity: scratch.count)
    identity.append(scratch.bytes)
    secured[handle].identity = consume identity
    secured[handle].subjectLength = length
  }

  /// What came is not TLS. A request in the clear is answered as such, so that people see what is wrong.
  mutating func refuseWithoutTLS(_ client: Handle, _ handle: Handle, _ bytes: borrowing Buffer) {
    count(.notTLS, handle)
    report(.notTLS, client)
    clients[client].flags.remove(.secure)
    removeSession(handle)
    let first = bytes.bytes[0]
    guard first >= UInt8(ascii: "A"), first <= UInt8(ascii: "Z") else { return doom(client) }
    services.head.reset()
    clients[client].headIsComplete(now: services.nowMicroseconds)
    refuse(client, .plainRequest, bytes)
    send(client)
  }

  mutating func report(_ failure: TLSFailure, _ client: Handle) {
    guard .info >= log.level else { return }
    let peer = clients[client].address, address = peer.span
    let text = String(decoding: address.indices.map { address[$0] }, as: UTF8.self)
    log.write(.info, key: EventKey("tls handshake", Int(failure.rawValue)), "TLS handshake with \(text) failed: \(failure.name)")
  }
}

/// Types of TLS records (RFC 8446 §5.1).
enum TLSRecord {
  static let alert: UInt8 = 21
  /// A record with a fatal alert: internal_error (RFC 8446 §6.2), there being none for a full house.
  static let refusal: InlineArray<7, UInt8> = [21, 3, 3, 0, 2, 2, 80]
  static let handshake: UInt8 = 22
}
