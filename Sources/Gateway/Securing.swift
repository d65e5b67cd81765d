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

  mutating func count(_ failure: TLSFailure, _ handle: Handle) {
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
        guard shakeClientHands(client, handle, &cipher) else { return .blocked }
        // What comes next is not for whoever reads requests.
        guard clients[client].flags.isDisjoint(with: .multiplexed) else { break }
        continue
      }
      var used = 0
      ciphertext.output.removeAll()
      let outcome = secured[handle].session.decrypt(cipher.bytes, used: &used, into: &plain, replies: &ciphertext.output)
      cipher.consume(used)
      if !ciphertext.output.isEmpty, !sendClientReplies(client, handle) { return .failed(.protocolViolation) }
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
    if !cipher.isEmpty { keepClientRest(handle, cipher) }
    return plain.count > before ? moved(plain.count - before) : .blocked
  }

  /// Sends what the protocol has to answer. False when the client asks for more and more of it and takes none.
  @inline(never)
  mutating func sendClientReplies(_ client: Handle, _ handle: Handle) -> Bool {
    if clients[client].backlog.isEmpty { secured[handle].unread = 0 }
    secured[handle].unread += ciphertext.output.count
    sendClientCiphertext(client)
    return secured[handle].unread < Self.unreadLimit || clients[client].backlog.isEmpty
  }

  private static var unreadLimit: Int { 16 << 10 }

  /// The counter of bytes is of those on the wire: the caller adds what it is given.
  private mutating func moved(_ count: Int) -> Transfer {
    counters.subtract(.bytesReceived, UInt64(count))
    return .moved(count)
  }

  @inline(never)
  mutating func keepClientRest(_ handle: Handle, _ cipher: borrowing Buffer) {
    var rest = services.buffer(for: cipher.count)
    rest.append(cipher.bytes)
    secured[handle].rest = consume rest
  }

}
