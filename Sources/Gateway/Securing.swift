// Securing — clients that speak TLS: the handshake, and their bytes on the way between plaintext and socket.
//
// To the other rooms a secure client is like any: `receive` brings plaintext with the semantics of a socket's, `send` takes
// plaintext. Invariants: the backlog of a secure client holds ciphertext, except while `.holding`, when it holds the body
// being collected; so whatever waits there can be sent as it is. Ciphertext that has been read and could not be decrypted
// for want of room stays in `rest`; a client that is idle has none, and no buffer.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Telemetry

/// TLS of one client.
struct SecuredClient: ~Copyable {
  var session: TLSSession
  /// Ciphertext that was read and is not decrypted yet.
  var rest: Buffer?
  /// Subject and, behind it, fingerprint of the client's certificate; empty when it has shown none.
  var identity = Buffer.absent
  var subjectLength = 0
  /// Bytes that the protocol itself has answered while the client took nothing.
  var unread = 0
  /// The first byte has been looked at.
  var hasBegun = false
  /// The handshake's outcome is in the counters.
  var isCounted = false
  /// The client's close_notify has come.
  var hasEnded = false
  /// close_notify is sent, or queued.
  var hasSaidGoodbye = false

  init(_ session: consuming TLSSession) { self.session = session }
}

/// Where ciphertext of all clients passes through.
struct Ciphertext: ~Copyable {
  /// For reading heads, and for reading bodies.
  var small = Buffer.absent
  var large = Buffer.absent
  var output = Buffer.absent

  /// Makes room, when the first client comes.
  mutating func prepare(small smallSize: Int, large largeSize: Int) {
    guard output.capacity == 0 else { return }
    small = Buffer(capacity: smallSize)
    large = Buffer(capacity: largeSize)
    output = Buffer(capacity: 72 << 10)
  }
}

extension TLSFailure {
  var counter: Counter { Counter(rawValue: Counter.tlsNotTLS.rawValue + Int(rawValue)) ?? .tlsInternalError }
}

extension Gateway {
  // MARK: Servers

  static func makeTickets(_ plan: Plan, _ keys: [UInt8]) throws(GatewayFailure) -> TicketKeys? {
    guard plan.listeners.contains(where: { $0.tls != nil }) else { return nil }
    do throws(TLSError) {
      let tickets = try TicketKeys()
      tickets.replace(keys)
      return tickets
    } catch {
      throw GatewayFailure("TLS: \(error.reason)")
    }
  }

  static func makeServers(_ plan: Plan, _ tickets: TicketKeys?) throws(GatewayFailure) -> [TLSServer?] {
    var servers: [TLSServer?] = []
    for (index, listener) in plan.listeners.enumerated() {
      guard let tls = listener.tls else {
        servers.append(nil)
        continue
      }
      do throws(TLSError) {
        var settings = TLSServerSettings(tls, ticketLifetime: plan.tickets.lifetime)
        settings.offersHTTP2 = plan.http2.enabled && listener.http2
        servers.append(try TLSServer(settings, tickets: tls.sessionTickets ? tickets : nil))
      } catch {
        throw GatewayFailure("listeners[\(index)].tls: \(error.reason)")
      }
    }
    return servers
  }

  /// Uses the certificates of `plan` for connections from now on. Its listeners are those that are served, and its upstreams the same.
  /// - Returns: why that cannot be done; the old ones are kept then.
  public mutating func replaceCertificates(_ plan: Plan) -> String? {
    guard plan.listeners.count == servers.count, plan.upstreams.count == tlsClients.count else { return "the listeners or upstreams are others" }
    do throws(GatewayFailure) {
      let clients = try Self.makeClients(plan)
      servers = try Self.makeServers(plan, tickets)
      tlsClients = clients
      return nil
    } catch {
      return error.reason
    }
  }

  /// Uses other keys for session tickets.
  public func replaceTicketKeys(_ keys: [UInt8]) { tickets?.replace(keys) }

  func server(of listener: Int) -> TLSServer? { servers.indices.contains(listener) ? servers[listener] : nil }

  // MARK: Coming and going

  /// Gives a new client a session where its listener wants one; false when there is no room for it.
  mutating func secure(_ client: Handle, listener: Int) -> Bool {
    guard let server = server(of: listener) else { return true }
    guard let session = TLSSession(server), let handle = secured.insert(SecuredClient(session)) else { return false }
    ciphertext.prepare(small: services.small.bufferCapacity + 1024, large: services.large.bufferCapacity)
    clients[client].carrier = handle
    clients[client].flags.insert(.secure)
    return true
  }

  mutating func removeSession(_ handle: Handle) {
    var gone = secured.remove(handle)
    if !gone.isCounted { counters.add(TLSFailure.abandoned.counter) }
    if let rest = gone.rest.take() { services.small.recycle(rest) }
  }

  /// A client that takes too long for its handshake is told apart from one that is idle.
  mutating func noteHandshakeTimeout(_ client: Handle) {
    guard clients[client].flags.contains(.secure) else { return }
    count(.timeout, clients[client].carrier)
  }

  private mutating func count(_ failure: TLSFailure, _ handle: Handle) {
    guard !secured[handle].isCounted else { return }
    secured[handle].isCounted = true
    counters.add(failure.counter)
  }

  // MARK: Receiving

  /// Reads and decrypts. Brings less than there is room for only when nothing is left to be read.
  @inline(never)
  mutating func receiveSecurely(_ client: Handle, into plain: inout Buffer) -> Transfer {
    let isLarge = plain.freeCapacity > ciphertext.small.capacity
    var cipher = Buffer.absent
    if isLarge { swap(&cipher, &ciphertext.large) } else { swap(&cipher, &ciphertext.small) }
    let outcome = receive(client, &cipher, into: &plain)
    cipher.removeAll()
    if isLarge { swap(&cipher, &ciphertext.large) } else { swap(&cipher, &ciphertext.small) }
    return outcome
  }

  private mutating func receive(_ client: Handle, _ cipher: inout Buffer, into plain: inout Buffer) -> Transfer {
    let handle = clients[client].carrier
    let before = plain.count
    if secured[handle].hasEnded { return .ended }
    if var rest = secured[handle].rest.take() {
      if rest.count <= cipher.capacity {
        cipher.append(rest.bytes)
        services.small.recycle(rest)
      } else {
        swap(&rest, &cipher)
      }
    }
    var isDrained = false
    while plain.freeCapacity > 0 {
      if cipher.isEmpty, !secured[handle].session.hasPending {
        if isDrained { break }
        cipher.removeAll()
        let room = cipher.freeCapacity
        switch cipher.fill({ clients[client].socket.receive(into: &$0) }) {
        case .moved(let count):
          counters.add(.bytesReceived, UInt64(count))
          // The peer's end, once it is known to have come, is still to be read.
          isDrained = count < room && !clients[client].flags.contains(.ended)
        case .blocked:
          isDrained = true
          continue
        case .ended: return plain.count > before ? moved(plain.count - before) : .ended
        case .failed(let error): return .failed(error)
        }
      }
      guard secured[handle].session.isEstablished else {
        guard shakeHands(client, handle, &cipher) else { return .blocked }
        // What comes next is not for whoever reads requests.
        guard clients[client].flags.isDisjoint(with: .multiplexed) else { break }
        continue
      }
      var used = 0
      ciphertext.output.removeAll()
      let outcome = secured[handle].session.decrypt(cipher.bytes, used: &used, into: &plain, replies: &ciphertext.output)
      cipher.consume(used)
      if !ciphertext.output.isEmpty, !sendReplies(client, handle) { return .failed(.protocolViolation) }
      switch outcome {
      case .drained: continue
      case .full: break
      case .closed:
        // As good as a FIN; what comes behind it is not looked at.
        secured[handle].hasEnded = true
        clients[client].flags.insert(.ended)
        return plain.count > before ? moved(plain.count - before) : .ended
      case .failed: return .failed(.protocolViolation)
      }
    }
    if !cipher.isEmpty { keepRest(handle, cipher) }
    return plain.count > before ? moved(plain.count - before) : .blocked
  }

  /// Sends what the protocol has to answer. False when the client asks for more and more of it and takes none.
  @inline(never)
  private mutating func sendReplies(_ client: Handle, _ handle: Handle) -> Bool {
    if clients[client].backlog.isEmpty { secured[handle].unread = 0 }
    secured[handle].unread += ciphertext.output.count
    sendCiphertext(client)
    return secured[handle].unread < Self.unreadLimit || clients[client].backlog.isEmpty
  }

  private static var unreadLimit: Int { 16 << 10 }

  /// The counter of bytes is of those on the wire: the caller adds what it is given.
  private func moved(_ count: Int) -> Transfer {
    counters.subtract(.bytesReceived, UInt64(count))
    return .moved(count)
  }

  @inline(never)
  private mutating func keepRest(_ handle: Handle, _ cipher: borrowing Buffer) {
    var rest = cipher.count <= services.small.bufferCapacity ? services.small.take() : Buffer(capacity: cipher.count)
    rest.append(cipher.bytes)
    secured[handle].rest = consume rest
  }

  // MARK: The handshake

  /// Goes on with the handshake; false when it is over for bad, or the client is not one for TLS.
  @inline(never)
  private mutating func shakeHands(_ client: Handle, _ handle: Handle, _ cipher: inout Buffer) -> Bool {
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
      if !ciphertext.output.isEmpty { sendCiphertext(client) }
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
  private mutating func refuseWithoutTLS(_ client: Handle, _ handle: Handle, _ bytes: borrowing Buffer) {
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

  private func report(_ failure: TLSFailure, _ client: Handle) {
    guard .info >= log.level else { return }
    let peer = clients[client].peer, address = peer.span
    let text = String(decoding: address.indices.map { address[$0] }, as: UTF8.self)
    log.write(.info, key: EventKey("tls handshake", Int(failure.rawValue)), "TLS handshake with \(text) failed: \(failure.name)")
  }

  // MARK: Sending

  /// Sends what has been composed in the shared output.
  @inline(never)
  mutating func transmitSecurely(_ client: Handle) {
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    encrypt(client, output.bytes)
    swap(&output, &services.responses.output)
  }

  /// Sends the shared output and then `body`; as much of it as fits goes into one record with the head.
  @inline(never)
  mutating func sendSecurely(_ client: Handle, body: Span<UInt8>) {
    var taken = 0
    if !services.responses.output.isEmpty {
      taken = min(body.count, max(0, 16_384 - services.responses.output.count), services.responses.output.freeCapacity)
      services.responses.output.append(body.extracting(first: taken))
      transmitSecurely(client)
      services.responses.output.removeAll()
    }
    encrypt(client, body.extracting(droppingFirst: taken))
  }

  /// Encrypts `bytes`, sends what the kernel takes, and keeps the rest.
  mutating func encrypt(_ client: Handle, _ bytes: borrowing Buffer) { encrypt(client, bytes.bytes) }

  private mutating func encrypt(_ client: Handle, _ bytes: Span<UInt8>) {
    let flags = clients[client].flags
    guard !flags.contains(.doomed) else { return }
    if flags.contains(.holding) { return clients[client].backlog.append(bytes, &services.large) }
    let handle = clients[client].carrier
    var done = 0
    while done < bytes.count {
      ciphertext.output.removeAll()
      guard let count = secured[handle].session.encrypt(bytes.extracting(droppingFirst: done), into: &ciphertext.output, now: services.now), count > 0
      else { return doom(client) }
      done += count
      sendCiphertext(client)
    }
  }

  /// Sends the shared ciphertext; what the kernel does not take waits in the backlog.
  private mutating func sendCiphertext(_ client: Handle) {
    var sent = 0
    if clients[client].backlog.isEmpty {
      switch clients[client].socket.send(ciphertext.output.bytes) {
      case .moved(let count): sent = count
      case .blocked: break
      case .ended, .failed: return doom(client)
      }
      counters.add(.bytesSent, UInt64(sent))
      if sent == ciphertext.output.count { return }
      setClientTimer(client, .send, plan.timeouts.send)
    }
    clients[client].backlog.append(copying: ciphertext.output, from: sent, &services.large)
  }

  /// Tells a client that speaks TLS that nothing more will come (close_notify), once.
  /// - Returns: false while that, or something before it, waits to be sent.
  mutating func sayGoodbye(_ client: Handle) -> Bool {
    guard clients[client].flags.contains(.secure) else { return true }
    let handle = clients[client].carrier
    if !secured[handle].hasSaidGoodbye {
      secured[handle].hasSaidGoodbye = true
      ciphertext.output.removeAll()
      secured[handle].session.close(into: &ciphertext.output)
      if !ciphertext.output.isEmpty { sendCiphertext(client) }
    }
    return clients[client].backlog.isEmpty && !clients[client].flags.contains(.doomed)
  }

  // MARK: What others say of it

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

/// Types of TLS records (RFC 8446 §5.1).
enum TLSRecord {
  static let alert: UInt8 = 21
  static let handshake: UInt8 = 22
}

extension TLSServerSettings {
  /// The settings of a plan. `ticketLifetime` in seconds.
  init(_ plan: TLSPlan, ticketLifetime: Int) {
    self.init(credentials: plan.certificates.map { Credential(chain: $0.chain, key: $0.key, ocsp: $0.ocsp) })
    only13 = plan.minVersion == .tls13
    if !plan.ciphers.isEmpty { ciphers = plan.ciphers }
    if !plan.cipherSuites.isEmpty { cipherSuites = plan.cipherSuites }
    if !plan.groups.isEmpty { groups = plan.groups }
    clientCertificates =
      switch plan.clientCertificates {
      case .off: .off
      case .request: .request
      case .require: .require
      }
    clientCA = plan.clientCA
    self.ticketLifetime = ticketLifetime
  }
}
