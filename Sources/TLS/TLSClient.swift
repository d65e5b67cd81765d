// TLSClient — what the connections to one upstream share: whom they trust, what they ask for, sessions to resume.
//
// Invariant: a client and its sessions belong to one thread. The sessions it keeps were made with its own settings,
// so what is resumed has been verified by the same rules.

import COpenSSL

/// How an upstream is spoken to in TLS.
public struct TLSClientSettings: Sendable {
  /// Whom the certificate must lead to; nil: nobody is verified.
  public var authorities: TLSAuthorities?
  /// The host name that is asked for (SNI), and the certificate must be good for; or an IP address, which is only verified.
  public var name = ""
  public var nameIsAddress = false
  public var only13 = false
  /// Shown to servers that ask for a certificate.
  public var credential: Credential?
  /// Application protocols to ask for (ALPN), HTTP/2 before HTTP/1.1.
  public var offersHTTP2 = false
  public var offersHTTP1 = true
  public var resumes = true

  public init() {}
}

/// Why the certificate of a server was rejected.
public enum CertificateRejection: Sendable, BitwiseCopyable {
  case expired, notYetValid, nameMismatch, unknownAuthority, revoked, other
}

/// Certificates that are trusted, and what has been revoked, to be shared by the clients that name the same.
@safe
public final class TLSAuthorities: @unchecked Sendable {
  let pointer: OpaquePointer

  /// - Parameters:
  ///   - text: PEM.
  ///   - revocations: revocation lists, PEM; empty: none are consulted. Else each certificate on the way to an authority must be
  ///     covered by a list, and not be in it.
  public init(_ text: [UInt8], revocations: [UInt8] = []) throws(TLSError) {
    guard let pointer = unsafe copenssl_store_make(text, text.count, revocations, revocations.count) else {
      throw TLSError("the certificates of the authorities\(revocations.isEmpty ? "" : ", or their revocation lists,") cannot be used")
    }
    unsafe self.pointer = pointer
  }

  deinit { unsafe copenssl_store_free(pointer) }
}

/// The client's side of TLS for one upstream.
public final class TLSClient {
  let context: TLSContext
  let port: TLSPort
  /// Empty: none is asked for.
  let serverName: String

  public init(_ settings: TLSClientSettings) throws(TLSError) {
    guard let pointer = unsafe copenssl_client_context_make() else { throw TLSError("no memory for a TLS context") }
    context = unsafe TLSContext(owning: pointer)
    port = try TLSPort()
    serverName = settings.nameIsAddress ? "" : settings.name
    guard unsafe copenssl_set_versions(pointer, settings.only13) else { throw TLSError("the minimum version is not supported") }
    if let authorities = settings.authorities {
      guard unsafe copenssl_trust(pointer, authorities.pointer) else { throw TLSError("the certificates of the authorities cannot be used") }
      let isExpected = unsafe settings.nameIsAddress ? copenssl_expect_address(pointer, settings.name) : copenssl_expect_name(pointer, settings.name)
      guard isExpected else { throw TLSError("\(settings.name) cannot be verified") }
    }
    if let credential = settings.credential {
      guard unsafe copenssl_add_certificate(pointer, credential.chain, credential.chain.count, credential.key, credential.key.count, nil, 0, 0) else {
        throw TLSError("the client certificate and its key cannot be used")
      }
    }
    guard unsafe copenssl_ask_protocols(pointer, settings.offersHTTP2, settings.offersHTTP1) else { throw TLSError("no memory for a TLS context") }
    if settings.resumes { unsafe copenssl_keep_sessions(pointer) }
  }
}
