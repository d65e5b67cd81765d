// SecureSending — plaintext of secure clients on its way out: encrypted, written, and the farewell of TLS.
//
// Invariant: the backlog of a secure client holds ciphertext, except while `.holding`.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Telemetry

extension Gateway {
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
      sendClientCiphertext(client)
    }
  }

  /// Sends the shared ciphertext; what the kernel does not take waits in the backlog.
  mutating func sendClientCiphertext(_ client: Handle) {
    var sent = 0
    if clients[client].backlog.isEmpty {
      switch clients[client].socket.send(ciphertext.output.bytes) {
      case .moved(let count): sent = count
      case .blocked: break
      case .ended, .failed:
        clients[client].backlog.append(copying: ciphertext.output, from: 0, &services.large)
        return doom(client)
      }
      counters.add(.bytesSent, UInt64(sent))
      if sent == ciphertext.output.count { return }
      beginWaiting(client)
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
      if !ciphertext.output.isEmpty { sendClientCiphertext(client) }
    }
    return clients[client].backlog.isEmpty && !clients[client].flags.contains(.doomed)
  }
}
