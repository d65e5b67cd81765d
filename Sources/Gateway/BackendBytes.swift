// BackendBytes — the bytes of backends on the way between plaintext and socket, whatever carries them.
//
// To the other rooms every backend is alike: `receive(from:into:)` and `send(_:to:)` behave as those of a socket do.
// Invariants: a connection's backlog holds plaintext. Ciphertext that the kernel has not taken waits in `unsent`; as long as any
// of it stands for plaintext, the last byte of that counts as not taken, so that a backlog is empty only when everything has
// gone. Ciphertext that was read and could not be decrypted for want of room stays in `rest`.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Upstream

extension Gateway {
  // MARK: Bytes

  /// Reads from a backend. Brings less than there is room for only when nothing is left to be read.
  @inline(__always)
  mutating func receive(from backend: Handle, into buffer: inout Buffer) -> Transfer { unsafe receive(from: backends.connections.pin(backend), into: &buffer) }

  @inline(__always)
  mutating func receive(from backend: Pin<BackendConnection>, into buffer: inout Buffer) -> Transfer {
    guard backends.connections[backend].carriage == .plain else { return receive(carried: backend.handle, into: &buffer) }
    return buffer.fill { backends.connections[backend].socket.receive(into: &$0) }
  }

  /// Sends to a backend, from the front of `bytes`, as much as it takes.
  @inline(__always)
  mutating func send(_ bytes: Span<UInt8>, to backend: Handle) -> Transfer {
    guard backends.connections[backend].carriage == .plain else { return send(carried: bytes, to: backend) }
    return backends.connections[backend].socket.send(bytes)
  }

  /// Sends what has been composed for a backend.
  @inline(__always)
  mutating func sendRequestBytes(to backend: Pin<BackendConnection>) -> Transfer {
    guard backends.connections[backend].carriage == .plain else {
      var request = Buffer.absent
      swap(&request, &services.request)
      let outcome = send(carried: request.bytes, to: backend.handle)
      swap(&request, &services.request)
      return outcome
    }
    return backends.connections[backend].socket.send(services.request.bytes)
  }

  /// Sends the front of what waits for a backend.
  @inline(__always)
  mutating func sendBacklog(to backend: Handle) -> Transfer {
    guard backends.connections[backend].carriage == .plain else {
      // What waits on a stream is taken by its session.
      if backends.connections[backend].carriage == .stream { return .blocked }
      var backlog = BufferChain()
      swap(&backlog, &backends.connections[backend].backlog)
      let outcome = backlog.withFront { send(carried: $0, to: backend) }
      swap(&backlog, &backends.connections[backend].backlog)
      return outcome
    }
    return backends.connections[backend].backlog.withFront { backends.connections[backend].socket.send($0) }
  }

  @inline(never)
  private mutating func receive(carried backend: Handle, into buffer: inout Buffer) -> Transfer {
    switch backends.connections[backend].carriage {
    case .plain: buffer.fill { backends.connections[backend].socket.receive(into: &$0) }
    case .secure: receiveSecurely(from: backend, into: &buffer)
    case .stream: .blocked  // its session's connection is read for it
    }
  }

  @inline(never)
  private mutating func send(carried bytes: Span<UInt8>, to backend: Handle) -> Transfer {
    switch backends.connections[backend].carriage {
    case .plain: backends.connections[backend].socket.send(bytes)
    case .secure: sendSecurely(bytes, to: backend)
    case .stream: sendOnStream(bytes, to: backend)
    }
  }

  // MARK: Receiving

  private mutating func receiveSecurely(from backend: Handle, into plain: inout Buffer) -> Transfer {
    let isLarge = plain.freeCapacity > ciphertext.small.capacity
    var cipher = Buffer.absent
    if isLarge { swap(&cipher, &ciphertext.large) } else { swap(&cipher, &ciphertext.small) }
    let outcome = decrypt(backend, &cipher, into: &plain)
    cipher.removeAll()
    if isLarge { swap(&cipher, &ciphertext.large) } else { swap(&cipher, &ciphertext.small) }
    return outcome
  }

  private mutating func decrypt(_ backend: Handle, _ cipher: inout Buffer, into plain: inout Buffer) -> Transfer {
    let handle = backends.connections[backend].carrier
    let before = plain.count
    if securedBackends[handle].hasEnded { return .ended }
    if securedBackends[handle].fault != .none { return .failed(.protocolViolation) }
    if var rest = securedBackends[handle].rest.take() {
      if rest.count <= cipher.capacity {
        cipher.append(rest.bytes)
        services.small.recycle(rest)
      } else {
        swap(&rest, &cipher)
      }
    }
    var isDrained = false
    loop: while plain.freeCapacity > 0 {
      if cipher.isEmpty, !securedBackends[handle].session.hasPending {
        if isDrained { break }
        cipher.removeAll()
        let room = cipher.freeCapacity
        switch cipher.fill({ backends.connections[backend].socket.receive(into: &$0) }) {
        case .moved(let count): isDrained = count < room && !backends.connections[backend].hasEnded
        case .blocked:
          isDrained = true
          continue
        case .ended:
          backends.connections[backend].hasEnded = true
          // Without a close_notify somebody else may have cut the connection off. A tunnel has an end of its own.
          if plain.count == before { return backends.connections[backend].state == .tunnelled ? .ended : .failed(.protocolViolation) }
          break loop
        case .failed(let error):
          backends.connections[backend].hasEnded = true
          if plain.count == before { return .failed(error) }
          break loop
        }
      }
      var used = 0
      ciphertext.output.removeAll()
      let outcome = securedBackends[handle].session.decrypt(cipher.bytes, used: &used, into: &plain, replies: &ciphertext.output)
      cipher.consume(used)
      if !ciphertext.output.isEmpty { sendReplies(backend, handle) }
      switch outcome {
      case .drained: continue
      case .full: break
      case .closed:
        // As good as a FIN; what comes behind it is not looked at.
        securedBackends[handle].hasEnded = true
        backends.connections[backend].hasEnded = true
        return plain.count > before ? .moved(plain.count - before) : .ended
      case .failed(let reason):
        explain(reason, handle)
        // What came before is still good.
        backends.connections[backend].hasEnded = true
        return plain.count > before ? .moved(plain.count - before) : .failed(.protocolViolation)
      }
    }
    if !cipher.isEmpty { keepRest(handle, cipher) }
    return plain.count > before ? .moved(plain.count - before) : .blocked
  }

  @inline(never)
  mutating func keepRest(_ handle: Handle, _ cipher: borrowing Buffer) {
    var rest = services.buffer(for: cipher.count)
    rest.append(cipher.bytes)
    securedBackends[handle].rest = consume rest
  }

  /// Sends what the protocol has to answer, behind what waits already.
  @inline(never)
  private mutating func sendReplies(_ backend: Handle, _ handle: Handle) {
    // A backend that asks for more and more, and takes none of it, gets no more.
    guard securedBackends[handle].unsent.count < Self.unsentLimit else { return }
    securedBackends[handle].unsent.append(copying: ciphertext.output, &services.large)
    _ = flushCiphertext(backend, handle)
  }

  private static var unsentLimit: Int { 256 << 10 }

  /// Whether nothing has come that was not handed on, so that the connection can serve again.
  @inline(__always)
  mutating func isQuiet(_ backend: Pin<BackendConnection>) -> Bool {
    backends.connections[backend].carriage == .plain || isQuiet(carrier: backends.connections[backend].carrier)
  }

  // Mutating, though it changes nothing: a call that borrows a struct of this size copies it.
  @inline(never)
  private mutating func isQuiet(carrier handle: Handle) -> Bool {
    if securedBackends[handle].hasEnded || securedBackends[handle].fault != .none || securedBackends[handle].session.hasPending { return false }
    switch securedBackends[handle].rest {
    case .some: return false
    case .none: return true
    }
  }

  /// Something has come on a connection that nobody uses. Only TLS itself may speak then.
  @inline(never)
  mutating func idleIsReadable(_ backend: Handle, _ readiness: Readiness) {
    guard backends.connections[backend].carriage == .secure, backends.connections[backend].state == .idle,
      readiness.isDisjoint(with: [.peerEnded, .broken])
    else {
      observeIdleClose(backend)
      return closeBackend(backend)
    }
    var surplus = services.small.take()
    let outcome = receiveSecurely(from: backend, into: &surplus)
    services.small.recycle(surplus)
    if case .blocked = outcome { return }
    observeIdleClose(backend)
    closeBackend(backend)
  }

  /// What the carrier of a connection knows about its end; nil: nothing.
  mutating func faultOfCarrier(_ backend: Handle) -> Fault? {
    guard backends.connections[backend].carriage == .secure else { return nil }
    let fault = securedBackends[backends.connections[backend].carrier].fault
    return fault == .none ? nil : fault
  }

  // MARK: Sending

  private mutating func sendSecurely(_ bytes: Span<UInt8>, to backend: Handle) -> Transfer {
    let handle = backends.connections[backend].carrier
    var done = 0
    if securedBackends[handle].owesByte, !bytes.isEmpty {
      guard flushCiphertext(backend, handle) else { return .failed(.protocolViolation) }
      guard securedBackends[handle].unsent.isEmpty else { return .blocked }
      securedBackends[handle].owesByte = false
      done = 1
    }
    ciphertext.output.removeAll()
    // The last flight of a handshake, and answers of the protocol, go along.
    if !securedBackends[handle].unsent.isEmpty { takeUnsent(handle) }
    while done < bytes.count {
      guard
        let count = securedBackends[handle].session.encrypt(bytes.extracting(droppingFirst: done), into: &ciphertext.output, now: services.now), count > 0
      else { return .failed(.protocolViolation) }
      done += count
      var sent = 0
      if securedBackends[handle].unsent.isEmpty {
        switch backends.connections[backend].socket.send(ciphertext.output.bytes) {
        case .moved(let count): sent = count
        case .blocked: break
        case .ended: return .ended
        case .failed(let error): return .failed(error)
        }
      }
      if sent < ciphertext.output.count {
        securedBackends[handle].unsent.append(copying: ciphertext.output, from: sent, &services.large)
        securedBackends[handle].owesByte = true
        return done > 1 ? .moved(done - 1) : .blocked
      }
      ciphertext.output.removeAll()
    }
    return .moved(done)
  }

  /// Moves what is unsent to the front of the next write, if it is not much.
  private mutating func takeUnsent(_ handle: Handle) {
    guard securedBackends[handle].unsent.frontCount == securedBackends[handle].unsent.count,
      ciphertext.output.freeCapacity - securedBackends[handle].unsent.count >= TLSSession.leastRoom
    else { return }
    securedBackends[handle].unsent.withFront { ciphertext.output.append($0) }
    securedBackends[handle].unsent.removeAll(&services.large)
  }

  /// Sends ciphertext that waits; false when the connection is broken.
  mutating func flushCiphertext(_ backend: Handle, _ handle: Handle) -> Bool {
    while !securedBackends[handle].unsent.isEmpty {
      let count = securedBackends[handle].unsent.frontCount
      switch securedBackends[handle].unsent.withFront({ backends.connections[backend].socket.send($0) }) {
      case .moved(let sent):
        securedBackends[handle].unsent.consume(sent, &services.large)
        if sent < count { return true }
      case .blocked: return true
      case .ended, .failed: return false
      }
    }
    if securedBackends[handle].endsSending { backends.connections[backend].socket.endSending() }
    return true
  }

  /// The kernel takes bytes again, and only the protocol itself has any.
  @inline(never)
  mutating func flushReplies(_ backend: Handle) {
    guard backends.connections[backend].carriage == .secure else { return }
    _ = flushCiphertext(backend, backends.connections[backend].carrier)
  }

  /// Tells a backend that nothing more will be sent. Its backlog is empty.
  mutating func endSending(to backend: Handle) {
    guard backends.connections[backend].carriage == .secure else { return backends.connections[backend].socket.endSending() }
    let handle = backends.connections[backend].carrier
    securedBackends[handle].endsSending = true
    sayGoodbye(backend, handle)
  }

  mutating func sayGoodbye(_ backend: Handle, _ handle: Handle) {
    ciphertext.output.removeAll()
    securedBackends[handle].session.close(into: &ciphertext.output)
    securedBackends[handle].unsent.append(copying: ciphertext.output, &services.large)
    _ = flushCiphertext(backend, handle)
  }

  /// The connection is being closed: so is what carries it.
  @inline(never)
  mutating func closeCarrier(_ backend: Handle) {
    guard backends.connections[backend].carriage == .secure else {
      if backends.connections[backend].carriage == .stream { removeBackendStream(backend) }
      return
    }
    let handle = backends.connections[backend].carrier
    // Only what is complete is ended in good order.
    if securedBackends[handle].session.isEstablished, !securedBackends[handle].endsSending, backends.connections[backend].backlog.isEmpty {
      sayGoodbye(backend, handle)
    }
    var gone = securedBackends.remove(handle)
    gone.unsent.removeAll(&services.large)
    if let rest = gone.rest.take() { services.small.recycle(rest) }
    backends.connections[backend].carriage = .plain
  }
}
