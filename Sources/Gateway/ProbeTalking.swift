// ProbeTalking — what a check says once it is connected: a header of the PROXY protocol, TLS, and the conversation itself (HealthConversation).

import HTTPModel
import Kernel
import Memory
import Plan
import TLS
import Upstream

extension Gateway {
  mutating func probeIsConnected(_ probe: Handle) {
    let upstream = health.probes[probe].upstream
    // An endpoint that expects the PROXY protocol is told that the connection is the gateway's own.
    switch plan.upstreams[upstream].proxyProtocol {
    case .off: break
    case .v1:
      let line = Array("PROXY UNKNOWN\r\n".utf8)
      append(line.span, probe)
    case .v2:
      let head: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00]
      append(head.span, probe)
    }
    if let client = client(ofChecks: upstream) {
      health.probes[probe].state = .securing
      if health.cipher.capacity == 0 {
        health.cipher = Buffer(capacity: 20 << 10)
        health.plain = Buffer(capacity: 20 << 10)
      }
      health.probes[probe].session = TLSSession(client)
      return shakeHands(probe)
    }
    beginTalk(probe)
  }

  /// The TLS that an upstream's checks begin. One that speaks HTTP/1.1 must not agree on HTTP/2, though requests would.
  private mutating func client(ofChecks upstream: Int) -> TLSClient? {
    if plan.upstreams[upstream].health.check.kind == .http, let client = upgradingClients[upstream] { return client }
    return tlsClients[upstream]
  }

  private mutating func beginTalk(_ probe: Handle) {
    let upstream = health.probes[probe].upstream
    let check = plan.upstreams[upstream].health.check
    health.probes[probe].state = .talking
    if check.kind == .tcp { return conclude(probe, .passed) }
    let name = RouteActions.host(of: plan.upstreams[upstream])
    var host: [UInt8] = []
    for index in name.bytes.indices { host.append(name.bytes[index]) }
    send(probe, HealthConversation.request(check, host: String(decoding: host, as: UTF8.self), isSecure: tlsClients[upstream] != nil))
  }

  /// Sends plaintext, by way of TLS where there is any.
  private mutating func send(_ probe: Handle, _ bytes: [UInt8]) {
    guard var session = health.probes[probe].session.take() else {
      append(bytes.span, probe)
      return flush(probe)
    }
    health.cipher.removeAll()
    _ = session.encrypt(bytes.span, into: &health.cipher, now: services.now)
    health.probes[probe].session = consume session
    flushCipher(probe)
  }

  private mutating func append(_ bytes: Span<UInt8>, _ probe: Handle) {
    var old = Buffer.absent
    swap(&old, &health.probes[probe].output)
    var grown = Buffer(capacity: old.count + bytes.count + 1)
    grown.append(old.bytes)
    grown.append(bytes)
    health.probes[probe].output = consume grown
  }

  private mutating func flushCipher(_ probe: Handle) {
    var cipher = Buffer.absent
    swap(&cipher, &health.cipher)
    append(cipher.bytes, probe)
    cipher.removeAll()
    swap(&cipher, &health.cipher)
    flush(probe)
  }

  mutating func flush(_ probe: Handle) {
    guard health.probes.contains(probe), health.probes[probe].state != .connecting, !health.probes[probe].output.isEmpty else { return }
    var output = Buffer.absent
    swap(&output, &health.probes[probe].output)
    if case .moved(let count) = health.probes[probe].socket.send(output.bytes) { output.consume(count) }
    swap(&output, &health.probes[probe].output)
  }

  private mutating func shakeHands(_ probe: Handle) {
    let nothing: [UInt8] = []
    shakeHands(probe, nothing.span)
  }

  private mutating func shakeHands(_ probe: Handle, _ received: Span<UInt8>) {
    guard var session = health.probes[probe].session.take() else { return conclude(probe, .failed(.tls)) }
    health.cipher.removeAll()
    var used = 0, rest = 0
    var step = TLSSession.HandshakeStep.wantsInput
    repeat {
      step = session.handshake(received.extracting(droppingFirst: rest), used: &used, into: &health.cipher)
      rest += used
    } while step == .wantsRoom && health.cipher.freeCapacity > 0
    health.probes[probe].session = consume session
    flushCipher(probe)
    switch step {
    case .established:
      beginTalk(probe)
      if health.probes.contains(probe), rest < received.count { takeCipher(probe, received.extracting(droppingFirst: rest)) }
    case .wantsInput: break
    case .wantsRoom, .failed: conclude(probe, .failed(.tls))
    }
  }

  mutating func receive(_ probe: Handle) {
    var buffer = services.large.take()
    // A check's answer is short; one that is not has the next turn of the socket.
    for _ in 0..<4 {
      guard health.probes.contains(probe) else { break }
      buffer.removeAll()
      switch buffer.fill({ health.probes[probe].socket.receive(into: &$0) }) {
      case .moved: take(probe, buffer.bytes)
      case .blocked:
        services.large.recycle(buffer)
        return
      case .ended: conclude(probe, ended(probe))
      case .failed: conclude(probe, .failed(health.probes[probe].state == .securing ? .tls : .malformed))
      }
    }
    services.large.recycle(buffer)
    if health.probes.contains(probe) { conclude(probe, .failed(.malformed)) }
  }

  private mutating func ended(_ probe: Handle) -> HealthVerdict {
    health.probes[probe].state == .talking ? health.probes[probe].conversation.ended() : .failed(.tls)
  }

  private mutating func take(_ probe: Handle, _ bytes: Span<UInt8>) {
    switch health.probes[probe].state {
    case .connecting: break
    case .securing: shakeHands(probe, bytes)
    case .talking where tlsClients[health.probes[probe].upstream] != nil: takeCipher(probe, bytes)
    case .talking: if let verdict = health.probes[probe].conversation.receive(bytes) { conclude(probe, verdict) }
    }
  }

  private mutating func takeCipher(_ probe: Handle, _ bytes: Span<UInt8>) {
    guard var session = health.probes[probe].session.take() else { return conclude(probe, .failed(.tls)) }
    var rest = 0
    var verdict: HealthVerdict?
    loop: while verdict == nil {
      health.plain.removeAll()
      health.cipher.removeAll()
      var used = 0
      let outcome = session.decrypt(bytes.extracting(droppingFirst: rest), used: &used, into: &health.plain, replies: &health.cipher)
      rest += used
      if !health.plain.isEmpty {
        var plain = Buffer.absent
        swap(&plain, &health.plain)
        verdict = health.probes[probe].conversation.receive(plain.bytes)
        swap(&plain, &health.plain)
      }
      switch outcome {
      case .drained: break loop
      case .full: continue
      case .closed: if verdict == nil { verdict = health.probes[probe].conversation.ended() }
      case .failed: if verdict == nil { verdict = .failed(.tls) }
      }
    }
    health.probes[probe].session = consume session
    if let verdict { conclude(probe, verdict) }
  }
}
