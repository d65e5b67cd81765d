// SecuringBackends — backends that speak TLS: who they must be, the handshake, and what is known when it fails.
//
// How the bytes get through once the handshake is over is BackendBytes' subject. Invariants: nothing of a request is encrypted
// before the backend's certificate has been verified; a connection whose handshake fails says why in `fault` and `detail`.

import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import TLS
import Telemetry
import Upstream

/// TLS of one connection to a backend.
struct SecuredBackend: ~Copyable {
  var session: TLSSession
  /// Ciphertext that was read and is not decrypted yet.
  var rest: Buffer?
  /// Ciphertext that the kernel has not taken yet.
  var unsent = BufferChain()
  /// The first byte that is sent next has been encrypted already.
  var owesByte = false
  /// The first byte of the backend has been looked at.
  var hasBegun = false
  /// The backend's close_notify has come.
  var hasEnded = false
  /// No byte is to follow what is unsent.
  var endsSending = false
  /// Why the connection is of no more use, and what is known about it.
  var fault = Fault.none
  var detail = ""

  init(_ session: consuming TLSSession) { self.session = session }
}

/// How far a handshake with a backend has come.
private enum HandshakeProgress {
  case waiting, established
  /// The record says why.
  case failed
}

extension Gateway {
  // MARK: Clients

  /// The client's side of TLS for each upstream that speaks it; where `upgrading`, for each at which WebSockets need another one,
  /// because the other asks for HTTP/2.
  static func makeClients(_ plan: Plan, upgrading: Bool = false) throws(GatewayFailure) -> [TLSClient?] {
    var authorities = [TLSAuthorities?](repeating: nil, count: plan.authorities.count)
    var clients: [TLSClient?] = []
    for upstream in plan.upstreams {
      guard let tls = upstream.tls, !upgrading || PoolProtocol(upstream.http2) == .either else {
        clients.append(nil)
        continue
      }
      if tls.verifies, !plan.authorities.indices.contains(tls.authority) { throw GatewayFailure("upstream \(upstream.name): tls: no authorities") }
      do throws(TLSError) {
        var settings = TLSClientSettings(tls)
        settings.offersHTTP2 = !upgrading && PoolProtocol(upstream.http2) != .http1
        if tls.verifies {
          if authorities[tls.authority] == nil {
            authorities[tls.authority] = try TLSAuthorities(plan.authorities[tls.authority].certificates, revocations: plan.authorities[tls.authority].revocations)
          }
          settings.authorities = authorities[tls.authority]
        }
        clients.append(try TLSClient(settings))
      } catch {
        throw GatewayFailure("upstream \(upstream.name): tls: \(error.reason)")
      }
    }
    return clients
  }

  // MARK: The handshake

  /// Begins TLS on a new connection. Without an exchange it is opened ahead of need.
  @inline(never)
  mutating func secure(_ backend: Handle, _ exchange: Handle?, _ client: TLSClient) {
    guard let session = TLSSession(client), let handle = securedBackends.insert(SecuredBackend(session)) else {
      return connectFailed(backend, exchange, .proxyInternalError)
    }
    backends.secure(backend, carrier: handle)
    let upstream = Int(backends.connections[backend].upstream)
    var limit = backends.pools[Int(backends.connections[backend].pool)].connectTimeout - (services.now - backends.connections[backend].createdAt)
    if let own = plan.upstreams[upstream].tls?.handshakeTimeout, own > 0 { limit = min(limit, Int64(own)) }
    setBackendTimer(backend, .handshake, max(1, limit))
    shakeHands(backend, exchange, handle)
  }

  /// The socket of a backend has become ready during the handshake.
  @inline(never)
  mutating func securingIsReady(_ backend: Handle, _ exchange: Handle?, _ readiness: Readiness) {
    let handle = backends.connections[backend].carrier
    if !readiness.isDisjoint(with: [.peerEnded, .broken]) { backends.connections[backend].hasEnded = true }
    // What is said before a connection breaks is read all the same.
    _ = flushCiphertext(backend, handle)
    if !readiness.isDisjoint(with: .readable) { shakeHands(backend, exchange, handle) }
  }

  private mutating func shakeHands(_ backend: Handle, _ exchange: Handle?, _ handle: Handle) {
    var cipher = Buffer.absent
    swap(&cipher, &ciphertext.small)
    let progress = shakeHands(backend, handle, &cipher)
    cipher.removeAll()
    swap(&cipher, &ciphertext.small)
    switch progress {
    case .waiting: return
    case .established:
      counters.add(.upstreamTLSHandshakes)
      if securedBackends[handle].session.isResumed { counters.add(.upstreamTLSResumptions) }
      backends.connections[backend].waiting = .nothing
      let session = (isHTTP2: securedBackends[handle].session.isHTTP2, isHTTP1: securedBackends[handle].session.isHTTP1)
      isReady(backend, exchange, session.isHTTP2 ? .h2 : session.isHTTP1 ? .http11 : .none)
    case .failed: securingFailed(backend, exchange, securedBackends[handle].fault)
    }
  }

  private mutating func shakeHands(_ backend: Handle, _ handle: Handle, _ cipher: inout Buffer) -> HandshakeProgress {
    while true {
      var used = 0
      ciphertext.output.removeAll()
      let step = securedBackends[handle].session.handshake(cipher.bytes, used: &used, into: &ciphertext.output)
      cipher.consume(used)
      securedBackends[handle].unsent.append(copying: ciphertext.output, &services.large)
      // The last flight waits for the request, and goes with it.
      if step == .established {
        if !cipher.isEmpty {
          keepRest(handle, cipher)
          backends.connections[backend].isReadable = true
        }
        return .established
      }
      let isWritable = flushCiphertext(backend, handle)
      switch step {
      case .established, .wantsRoom: continue
      case .failed(let reason):
        explain(reason, handle)
        return .failed
      case .wantsInput: break
      }
      cipher.removeAll()
      switch cipher.fill({ backends.connections[backend].socket.receive(into: &$0) }) {
      case .moved:
        guard securedBackends[handle].hasBegun || TLSRecord.isPlausible(cipher.bytes[0]) else {
          securedBackends[handle].detail = TLSRecord.excerpt(cipher.bytes)
          securedBackends[handle].fault = .tlsProtocolError
          return .failed
        }
        securedBackends[handle].hasBegun = true
      case .blocked where isWritable:
        backends.connections[backend].isReadable = false
        return .waiting
      case .blocked, .ended:
        securedBackends[handle].fault = .tlsHandshakeTerminated
        return .failed
      case .failed(let error):
        securedBackends[handle].detail = error.text
        securedBackends[handle].fault = .tlsHandshakeTerminated
        return .failed
      }
    }
  }

  /// Notes the fault for what TLS has failed of, and what is known about it.
  @inline(never)
  mutating func explain(_ reason: TLSFailure, _ handle: Handle) {
    securedBackends[handle].detail = securedBackends[handle].session.failureText
    switch reason {
    case .alert: securedBackends[handle].fault = .tlsAlertReceived
    case .abandoned: securedBackends[handle].fault = .tlsHandshakeTerminated
    case .badClientCertificate:
      securedBackends[handle].detail = securedBackends[handle].session.rejectionText
      securedBackends[handle].fault =
        switch securedBackends[handle].session.rejection {
        case .expired: .tlsCertificateExpired
        case .notYetValid: .tlsCertificateNotYetValid
        case .nameMismatch: .tlsCertificateNameMismatch
        case .unknownAuthority: .tlsCertificateUnknownCA
        case .revoked: .tlsCertificateRevoked
        case .other: .tlsCertificateError
        }
    default: securedBackends[handle].fault = .tlsProtocolError
    }
  }

  /// What is known of the end of an exchange's connection beyond its fault, in brackets; empty: nothing.
  mutating func detail(_ exchange: Handle) -> String {
    guard let backend = exchanges[exchange].backend, backends.connections.contains(backend) else { return "" }
    if backends.connections[backend].carriage == .stream { return detail(ofStream: backend) }
    guard backends.connections[backend].carriage == .secure else { return "" }
    let detail = securedBackends[backends.connections[backend].carrier].detail
    return detail.isEmpty ? "" : " (\(detail))"
  }

  /// The handshake has failed, or took too long.
  mutating func securingFailed(_ backend: Handle, _ exchange: Handle?, _ fault: Fault) {
    counters.add(.upstreamTLSFailures)
    let pool = Int(backends.connections[backend].pool)
    if let exchange, Int(backends.connections[backend].lastAddress) + 1 < backends.addressCount(of: pool) {
      // It must not go unnoticed that only some of the addresses can be used.
      report(exchange, fault)
    }
    connectFailed(backend, exchange, fault)
  }
}

extension TLSRecord {
  /// Whether a first byte can be that of a handshake: a handshake message, or an alert.
  static func isPlausible(_ byte: UInt8) -> Bool { byte == handshake || byte == alert }

  /// The beginning of what is not TLS, for people.
  static func excerpt(_ bytes: Span<UInt8>) -> String {
    var text = ""
    for index in 0..<min(40, bytes.count) {
      guard bytes[index] >= 0x20, bytes[index] < 0x7f else { break }
      text.unicodeScalars.append(Unicode.Scalar(bytes[index]))
    }
    return text.isEmpty ? "what it sent is not TLS" : "what it sent is not TLS, but begins with \"\(text)\""
  }
}

extension TLSClientSettings {
  /// The settings of an upstream's plan, but for whom it trusts.
  init(_ plan: UpstreamTLSPlan) {
    self.init()
    name = plan.serverName
    nameIsAddress = plan.serverNameIsAddress
    only13 = plan.minVersion == .tls13
    if let certificate = plan.certificate { credential = Credential(chain: certificate.chain, key: certificate.key) }
    resumes = plan.resumesSessions
  }
}
