// TLSServer — what the connections of one listener share: certificates by name, versions, ciphers, resumption.
//
// Invariants: there is one context for each set of certificates that can serve a
// name, the first for clients that name nothing known; `self` outlives all sessions (each holds a reference), so the
// unretained reference that OpenSSL hands back is good. A server and its sessions belong to one thread.

import COpenSSL
import Memory

/// A certificate with its chain and key.
public struct Credential: Equatable, Sendable {
  /// PEM, the leaf first.
  public var chain: [UInt8]
  /// PEM.
  public var key: [UInt8]
  /// An OCSP response to staple, DER; empty for none.
  public var ocsp: [UInt8]

  public init(chain: [UInt8], key: [UInt8], ocsp: [UInt8] = []) {
    self.chain = chain
    self.key = key
    self.ocsp = ocsp
  }
}

/// How a listener speaks TLS.
public struct TLSServerSettings: Sendable {
  public enum ClientCertificates: Sendable { case off, request, require }

  public var credentials: [Credential]
  public var only13 = false
  /// For TLS 1.2, in OpenSSL's syntax, in order of preference.
  public var ciphers = TLSServerSettings.modernCiphers
  /// For TLS 1.3.
  public var cipherSuites = TLSServerSettings.modernSuites
  public var groups = TLSServerSettings.modernGroups
  public var clientCertificates = ClientCertificates.off
  /// PEM; not empty unless `clientCertificates` is `.off`.
  public var clientCA: [UInt8] = []
  public var offersHTTP2 = false
  /// Seconds that a ticket is good for.
  public var ticketLifetime = 86_400

  /// Forward secrecy and authenticated encryption only.
  public static let modernCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
  public static let modernSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  public static let modernGroups = "X25519:P-256:P-384"

  public init(credentials: [Credential]) { self.credentials = credentials }
}

/// An SSL_CTX.
@safe
final class TLSContext {
  let pointer: OpaquePointer

  init() throws(TLSError) {
    guard let pointer = unsafe copenssl_context_make() else { throw TLSError("no memory for a TLS context") }
    unsafe self.pointer = pointer
  }

  init(owning pointer: OpaquePointer) { unsafe self.pointer = pointer }

  deinit { unsafe copenssl_context_free(pointer) }
}

/// Where sessions find what is lent to them.
@safe
final class TLSPort {
  let pointer: OpaquePointer

  init() throws(TLSError) {
    guard let pointer = unsafe copenssl_port_make() else { throw TLSError("no memory for a TLS port") }
    unsafe self.pointer = pointer
  }

  deinit { unsafe copenssl_port_free(pointer) }
}

/// The server side of TLS for one listener.
public final class TLSServer {
  private let names: ServerNames
  /// In the order of `names.sets`.
  private let contexts: [TLSContext]
  private let tickets: TicketKeys?
  let port: TLSPort

  /// - Parameter tickets: nil: no sessions are resumed.
  public init(_ settings: TLSServerSettings, tickets: TicketKeys?) throws(TLSError) {
    var described: [CertificateNames] = []
    for credential in settings.credentials {
      guard let certificate = Certificate(chain: credential.chain) else { throw TLSError("a certificate cannot be read") }
      described.append(CertificateNames(names: certificate.names, keyKind: certificate.keyKind))
    }
    guard !described.isEmpty else { throw TLSError("there is no certificate") }
    let names = ServerNames(described)
    var contexts: [TLSContext] = []
    for set in names.sets {
      let context = try TLSContext()
      try TLSServer.equip(context, settings, set.map { settings.credentials[$0] }, tickets)
      contexts.append(context)
    }
    port = try TLSPort()
    self.names = names
    self.contexts = contexts
    self.tickets = tickets
    guard contexts.count > 1 else { return }
    unsafe copenssl_set_names(
      contexts[0].pointer,
      { owner, name, size in
        guard let owner = unsafe owner, let name = unsafe name else { return nil }
        let server = unsafe Unmanaged<TLSServer>.fromOpaque(owner).takeUnretainedValue()
        return unsafe name.withMemoryRebound(to: UInt8.self, capacity: size) { bytes in
          unsafe server.context(for: Span(_unsafeStart: bytes, count: size))?.pointer
        }
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  /// What a session begins with.
  var initialContext: TLSContext { contexts[0] }

  /// Whether there are certificates for different names, so that a request can be meant for another than its connection.
  public var isDivided: Bool { contexts.count > 1 }

  /// Whether a request for `host`, without a port, belongs to another certificate than what the session's client has asked for.
  /// A client that has named nothing may ask for anything.
  public func isMisdirected(_ session: borrowing TLSSession, host: Span<UInt8>) -> Bool {
    guard isDivided, !host.isEmpty else { return false }
    return session.withServerName { names.isElsewhere(host, than: $0) } ?? false
  }

  private func context(for name: Span<UInt8>) -> TLSContext? {
    let set = names.choose(name)
    return set == 0 ? nil : contexts[set]
  }

  private static func equip(
    _ context: TLSContext, _ settings: TLSServerSettings, _ credentials: [Credential], _ tickets: TicketKeys?
  ) throws(TLSError) {
    let context = unsafe context.pointer
    guard unsafe copenssl_set_versions(context, settings.only13) else { throw TLSError("the minimum version is not supported") }
    guard unsafe copenssl_set_ciphers(context, settings.ciphers) else { throw TLSError("no cipher of \(settings.ciphers) is supported") }
    guard unsafe copenssl_set_suites(context, settings.cipherSuites) else { throw TLSError("no cipher suite of \(settings.cipherSuites) is supported") }
    guard unsafe copenssl_set_groups(context, settings.groups) else { throw TLSError("a group of \(settings.groups) is not supported") }
    for credential in credentials {
      let until = credential.ocsp.isEmpty ? 0 : Certificate.expiry(ofResponse: credential.ocsp, about: credential.chain)
      guard
        unsafe copenssl_add_certificate(
          context, credential.chain, credential.chain.count, credential.key, credential.key.count, credential.ocsp, credential.ocsp.count, until)
      else { throw TLSError("a certificate and its key cannot be used") }
    }
    if settings.clientCertificates != .off {
      guard unsafe copenssl_set_client_ca(context, settings.clientCA, settings.clientCA.count, settings.clientCertificates == .require) else {
        throw TLSError("the certificates of client_ca_file cannot be used")
      }
    }
    guard unsafe copenssl_set_identity(context, identity(settings)) else { throw TLSError("no session identity") }
    unsafe copenssl_offer_h2(context, settings.offersHTTP2)
    unsafe copenssl_set_tickets(context, tickets?.keys, settings.ticketLifetime)
  }

  /// A session may be resumed only where its client would have been asked for the same.
  private static func identity(_ settings: TLSServerSettings) -> [UInt8] {
    let mode: [UInt8] =
      switch settings.clientCertificates {
      case .off: [0]
      case .request: [1]
      case .require: [2]
      }
    let text = mode + (mode == [0] ? [] : settings.clientCA)
    var digest = [UInt8](repeating: 0, count: 32)
    unsafe copenssl_digest(text, text.count, &digest)
    return digest
  }

  /// What is wrong with names of ciphers, suites or groups; nil when nothing is.
  public static func complaint(ciphers: String) -> String? {
    guard let context = try? TLSContext() else { return nil }
    return unsafe copenssl_set_ciphers(context.pointer, ciphers) ? nil : "has no cipher that TLS 1.2 knows"
  }
  public static func complaint(cipherSuites: String) -> String? {
    guard let context = try? TLSContext() else { return nil }
    return unsafe copenssl_set_suites(context.pointer, cipherSuites) ? nil : "has a cipher suite that TLS 1.3 does not know"
  }
  public static func complaint(groups: String) -> String? {
    guard let context = try? TLSContext() else { return nil }
    return unsafe copenssl_set_groups(context.pointer, groups) ? nil : "has a group that is not known"
  }

  /// The library that does the work, with its version.
  public static var library: String { unsafe String(cString: copenssl_library()) }
}
