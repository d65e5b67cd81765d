// TLSSession — one TLS connection, of a client or to a backend, without I/O: ciphertext in, plaintext out, and back.
//
// Unsafe room: each call lends spans to OpenSSL for its duration (COpenSSL's session.c keeps no pointer).
// Invariants: the session is freed once, by `deinit`; its server or client, whose contexts and port it uses, lives at
// least as long. An idle session holds neither ciphertext nor plaintext but what an unfinished record has left in OpenSSL.

import COpenSSL
import Glibc
import Memory

/// Why a handshake, or a connection after it, has failed. The raw value is a position in the counters.
public enum TLSFailure: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  /// What came was not TLS.
  case notTLS
  /// No version in common.
  case version
  /// No cipher, group or signature algorithm in common.
  case cipher
  /// The client sent no certificate, and one is required.
  case noClientCertificate
  /// The peer's certificate cannot be verified.
  case badClientCertificate
  /// The client has sent an alert: it rejects what the server has offered, often its certificate.
  case alert
  /// The handshake was not over in time.
  case timeout
  /// The client has gone before the handshake was over.
  case abandoned
  /// Records or messages are not what the protocol allows.
  case protocolError
  /// OpenSSL itself has failed.
  case internalError

  public var name: StaticString {
    switch self {
    case .notTLS: "not_tls"
    case .version: "version"
    case .cipher: "cipher"
    case .noClientCertificate: "no_client_certificate"
    case .badClientCertificate: "bad_client_certificate"
    case .alert: "alert"
    case .timeout: "timeout"
    case .abandoned: "abandoned"
    case .protocolError: "protocol_error"
    case .internalError: "internal_error"
    }
  }
}

/// One TLS connection.
@safe
public struct TLSSession: ~Copyable {
  public enum HandshakeStep: Equatable {
    case established
    /// More ciphertext is needed.
    case wantsInput
    /// The output is full: to be sent, and the call repeated.
    case wantsRoom
    /// What the output holds (an alert) is the last thing to be sent.
    case failed(TLSFailure)
  }

  public enum Decryption: Equatable {
    /// All ciphertext has been used; more is needed.
    case drained
    /// There is no room for more plaintext.
    case full
    /// The peer has said that nothing more will come (close_notify).
    case closed
    /// What the replies hold (an alert) is the last thing to be sent.
    case failed(TLSFailure)
  }

  private let session: OpaquePointer
  private let port: TLSPort
  /// Kept alive, whichever side we are.
  private let server: TLSServer?
  private let client: TLSClient?
  /// Plaintext bytes sent since the last pause.
  private var burst = 0
  /// Milliseconds of the monotonic clock at the last write.
  private var lastWrite: Int64 = 0
  public private(set) var isEstablished = false
  private var hasFailed = false
  /// OpenSSL's words for the failure, which are valid for good.
  private var words: UnsafePointer<CChar>?

  /// A session of the server's side.
  /// - Returns: nil when there is no memory.
  public init?(_ server: TLSServer) {
    guard let session = unsafe copenssl_session_make(server.initialContext.pointer, server.port.pointer) else { return nil }
    unsafe self.session = session
    port = server.port
    self.server = server
    client = nil
  }

  /// A session of the client's side, which resumes an earlier one where it can.
  /// - Returns: nil when there is no memory.
  public init?(_ client: TLSClient) {
    let port = client.port
    let session = unsafe client.serverName.isEmpty
      ? copenssl_client_session_make(client.context.pointer, port.pointer, nil)
      : copenssl_client_session_make(client.context.pointer, port.pointer, client.serverName)
    guard let session = unsafe session else { return nil }
    unsafe self.session = session
    self.port = port
    server = nil
    self.client = client
  }

  deinit { unsafe copenssl_session_free(session) }

  // MARK: Handshake

  /// Goes on with the handshake.
  /// - Parameters:
  ///   - cipher: ciphertext that has come; its first `used` bytes are used when the call returns.
  ///   - output: takes what is to be sent.
  public mutating func handshake(_ cipher: Span<UInt8>, used: inout Int, into output: inout Buffer) -> HandshakeStep {
    guard !hasFailed else { return .failed(.protocolError) }
    let session = unsafe session, port = unsafe port.pointer
    var left = 0
    let outcome = unsafe TLSSession.lend(cipher, &left, &output) { unsafe copenssl_handshake(session, port, &$0) }
    used = cipher.count - left
    switch Int(outcome) {
    case COPENSSL_DONE:
      isEstablished = true
      if client != nil { unsafe copenssl_client_established(session) }
      return .established
    case COPENSSL_WANTS_INPUT: return .wantsInput
    case COPENSSL_WANTS_OUTPUT: return .wantsRoom
    case COPENSSL_CLOSED:
      hasFailed = true
      return .failed(.abandoned)
    default: return .failed(fail())
    }
  }

  // MARK: Records

  /// Decrypts as much of `cipher` as `plain` has room for.
  /// - Parameters:
  ///   - used: how many bytes of `cipher` are used when the call returns.
  ///   - replies: takes what the protocol itself has to answer; at least 1 KiB of room.
  public mutating func decrypt(_ cipher: Span<UInt8>, used: inout Int, into plain: inout Buffer, replies: inout Buffer) -> Decryption {
    guard !hasFailed else { return .failed(.protocolError) }
    let session = unsafe session, port = unsafe port.pointer
    used = 0
    while plain.freeCapacity > 0 {
      var left = 0
      let outcome = unsafe TLSSession.lend(cipher.extracting(droppingFirst: used), &left, &replies) { lent in
        plain.fill { output in
          unsafe output.withUnsafeMutableBytes { storage, filled in
            var count = storage.count - filled
            let start = unsafe storage.baseAddress.map { unsafe $0 + filled }
            let outcome = unsafe copenssl_read(session, port, &lent, start?.assumingMemoryBound(to: UInt8.self), &count)
            filled += count
            return outcome
          }
        }
      }
      used = cipher.count - left
      switch Int(outcome) {
      case COPENSSL_DONE:
        // The next call would only find out that there is nothing.
        if left == 0, !(unsafe copenssl_has_pending(session)) { return plain.freeCapacity > 0 ? .drained : .full }
      case COPENSSL_WANTS_INPUT: return .drained
      case COPENSSL_CLOSED: return .closed
      // A reply that found no room: there is none left to speak of.
      default: return .failed(fail())
      }
    }
    return .full
  }

  /// Bytes that one record adds at most: header, nonce, content type, tag, and a key update that goes before.
  static var overhead: Int { 256 }
  private static var smallRecord: Int { 4_000 }
  private static var largeRecord: Int { 16_384 }
  /// Up to so many bytes records are small, so that a client can use each as soon as its few segments have come.
  private static var smallBurst: Int { 64 << 10 }
  /// Milliseconds after which a connection begins with small records again.
  private static var pause: Int64 { 1_000 }

  /// Room for ciphertext without which nothing can be encrypted.
  public static var leastRoom: Int { largeRecord + overhead }

  /// Encrypts from the front of `plain` as much as `output` has room for.
  /// - Parameter now: milliseconds of the monotonic clock.
  /// - Returns: how many bytes were encrypted; nil when the session has failed.
  public mutating func encrypt(_ plain: Span<UInt8>, into output: inout Buffer, now: Int64) -> Int? {
    guard isEstablished, !hasFailed else { return nil }
    let session = unsafe session, port = unsafe port.pointer
    if now - lastWrite >= TLSSession.pause { burst = 0 }
    lastWrite = now
    var done = 0
    while done < plain.count {
      let limit = client == nil && burst < TLSSession.smallBurst ? TLSSession.smallRecord : TLSSession.largeRecord
      let record = plain.extracting(done..<min(plain.count, done + limit))
      guard output.freeCapacity >= record.count + TLSSession.overhead else { break }
      var left = 0, count = record.count
      let outcome = unsafe TLSSession.lend(Span(), &left, &output) { lent in
        unsafe record.withUnsafeBufferPointer { unsafe copenssl_write(session, port, &lent, $0.baseAddress, &count) }
      }
      guard Int(outcome) == COPENSSL_DONE else {
        _ = fail()
        return nil
      }
      done += count
      burst += count
    }
    return done
  }

  /// Says that nothing more will be sent (close_notify). What the connection brings can still be decrypted.
  public mutating func close(into output: inout Buffer) {
    guard isEstablished, !hasFailed else { return }
    let session = unsafe session, port = unsafe port.pointer
    var left = 0
    if Int(unsafe TLSSession.lend(Span(), &left, &output, { unsafe copenssl_close(session, port, &$0) })) == COPENSSL_FAILED { _ = fail() }
  }

  // MARK: What was agreed on

  /// Whether decrypted bytes wait inside, for which there was no room.
  public var hasPending: Bool { unsafe copenssl_has_pending(session) }
  public var isHTTP2: Bool { unsafe copenssl_speaks_h2(session) }
  /// Whether the peer has chosen HTTP/1.1 by name (ALPN).
  public var isHTTP1: Bool { unsafe copenssl_speaks_http1(session) }
  public var isResumed: Bool { unsafe copenssl_was_resumed(session) }

  /// Appends the protocol's version: `TLSv1.3`.
  public func appendVersion(to text: inout Buffer) { unsafe TLSSession.append(copenssl_version_name(session), &text) }
  /// Appends the name of the cipher suite, as OpenSSL calls it.
  public func appendCipher(to text: inout Buffer) { unsafe TLSSession.append(copenssl_cipher_name(session), &text) }
  /// Lends the server name the client has asked for; nil when it has not.
  func withServerName<Result>(_ body: (Span<UInt8>) -> Result) -> Result? {
    guard let name = unsafe copenssl_server_name(session) else { return nil }
    let length = unsafe strlen(name)
    return unsafe name.withMemoryRebound(to: UInt8.self, capacity: length) { unsafe body(Span(_unsafeStart: $0, count: length)) }
  }

  /// Appends the server name the client has asked for, if it has.
  public func appendServerName(to text: inout Buffer) { unsafe TLSSession.append(copenssl_server_name(session), &text) }

  /// Appends the subject of the client's verified certificate (RFC 4514) and then, in lower-case hexadecimal digits, its
  /// SHA-256 fingerprint. Needs `TLSSession.identityRoom` bytes.
  /// - Returns: the length of the subject; nil when there is no verified certificate.
  public func appendClientIdentity(to text: inout Buffer) -> Int? {
    var fingerprint = [UInt8](repeating: 0, count: 32)
    var subject = [CChar](repeating: 0, count: TLSSession.identityRoom - 64)
    guard unsafe copenssl_peer_certificate(session, &subject, subject.count, &fingerprint) == 1 else { return nil }
    let start = text.count
    for byte in subject where byte != 0 { text.append(UInt8(bitPattern: byte)) }
    let length = text.count - start
    for byte in fingerprint {
      if byte < 16 { text.append(UInt8(ascii: "0")) }
      text.append(hexadecimal: UInt64(byte))
    }
    return length
  }

  /// What `appendClientIdentity` appends at most.
  public static var identityRoom: Int { 1024 + 64 }

  private static func append(_ name: UnsafePointer<CChar>?, _ text: inout Buffer) {
    guard var next = unsafe name else { return }
    while unsafe next.pointee != 0, text.freeCapacity > 0 {
      text.append(UInt8(bitPattern: unsafe next.pointee))
      unsafe next += 1
    }
  }

  // MARK: What went wrong

  /// OpenSSL's words for the failure; empty when it has none.
  public var failureText: String {
    guard let words = unsafe words else { return "" }
    return unsafe String(cString: words)
  }

  /// Why the server's certificate was rejected.
  public var rejection: CertificateRejection {
    switch Int(unsafe copenssl_rejection_kind(session)) {
    case COPENSSL_REJECTED_EXPIRED: .expired
    case COPENSSL_REJECTED_EARLY: .notYetValid
    case COPENSSL_REJECTED_NAME: .nameMismatch
    case COPENSSL_REJECTED_ISSUER: .unknownAuthority
    case COPENSSL_REJECTED_REVOKED: .revoked
    default: .other
    }
  }

  /// …in words, with what is to be known of the certificate.
  public var rejectionText: String {
    var text = [CChar](repeating: 0, count: 1024)
    unsafe copenssl_rejection_text(session, &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  // MARK: Parts

  /// Notes that the session is of no more use.
  private mutating func fail() -> TLSFailure {
    hasFailed = true
    return switch Int(unsafe copenssl_failure(session, &words)) {
    case COPENSSL_REASON_NOT_TLS: .notTLS
    case COPENSSL_REASON_VERSION: .version
    case COPENSSL_REASON_CIPHER: .cipher
    case COPENSSL_REASON_NO_CERTIFICATE: .noClientCertificate
    case COPENSSL_REASON_BAD_CERTIFICATE: .badClientCertificate
    case COPENSSL_REASON_ALERT: .alert
    case COPENSSL_REASON_PROTOCOL: .protocolError
    default: .internalError
    }
  }

  /// Lends input and the free part of `output` to `body`, and notes what was used of both.
  @inline(__always)
  private static func lend(
    _ input: Span<UInt8>, _ left: inout Int, _ output: inout Buffer, _ body: (inout copenssl_lent) -> CInt
  ) -> CInt {
    unsafe input.withUnsafeBufferPointer { input in
      output.fill { free in
        unsafe free.withUnsafeMutableBytes { storage, filled in
          let room = storage.count - filled
          let start = unsafe storage.baseAddress.map { unsafe $0 + filled }
          var lent = unsafe copenssl_lent(
            input: input.baseAddress, input_count: input.count, output: start?.assumingMemoryBound(to: UInt8.self), output_count: room)
          let outcome = unsafe body(&lent)
          filled += unsafe room - lent.output_count
          left = unsafe lent.input_count
          return outcome
        }
      }
    }
  }
}
