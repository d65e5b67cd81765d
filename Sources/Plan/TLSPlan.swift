// TLSPlan — how a listener, or the gateway to an upstream, speaks TLS, with the certificates and keys that the master has read while it had the right to.
//
// Bytes only: what they mean is for the TLS target to know. The names of the files are kept so that they can be watched
// and read again.

/// TLS on one listener.
public struct TLSPlan: Equatable, Sendable {
  public enum Version: UInt8, Equatable, Sendable { case tls12, tls13 }
  public enum ClientCertificates: UInt8, Equatable, Sendable {
    case off
    /// Asked for; one that is sent must be good.
    case request
    case require
  }

  /// At least one; the first is for clients that name nothing known.
  public var certificates: [CertificatePlan]
  public var minVersion = Version.tls12
  /// For TLS 1.2, in OpenSSL's syntax, in order of preference.
  public var ciphers = ""
  /// For TLS 1.3.
  public var cipherSuites = ""
  public var groups = ""
  public var clientCertificates = ClientCertificates.off
  /// Absolute, or empty.
  public var clientCAFile = ""
  /// PEM.
  public var clientCA: [UInt8] = []
  /// Whether clients are given tickets, with which they resume a session.
  public var sessionTickets = true

  public init(certificates: [CertificatePlan] = []) { self.certificates = certificates }
}

/// One certificate. Files are absolute paths.
public struct CertificatePlan: Equatable, Sendable {
  public var certificateFile: String
  public var keyFile: String
  /// Empty: nothing is stapled.
  public var ocspFile: String
  /// PEM, the certificate itself first, then those that lead to its issuer.
  public var chain: [UInt8] = []
  /// PEM.
  public var key: [UInt8] = []
  /// DER.
  public var ocsp: [UInt8] = []

  public init(certificateFile: String = "", keyFile: String = "", ocspFile: String = "") {
    self.certificateFile = certificateFile
    self.keyFile = keyFile
    self.ocspFile = ocspFile
  }
}

/// How an upstream is spoken to in TLS.
public struct UpstreamTLSPlan: Equatable, Sendable {
  /// Index into the plan's authorities; -1: the certificate is not verified.
  public var authority = -1
  public var verifies: Bool { authority >= 0 }
  /// Asked for and verified; an IP address is only verified.
  public var serverName = ""
  public var serverNameIsAddress = false
  public var minVersion = TLSPlan.Version.tls12
  /// Shown to backends that ask for one.
  public var certificate: CertificatePlan?
  /// Milliseconds; 0 means none but that for the whole connect.
  public var handshakeTimeout = 0
  public var resumesSessions = true

  public init() {}
}

/// Authorities that are trusted, and what they have revoked, shared by the upstreams that name the same files.
public struct AuthorityPlan: Equatable, Sendable {
  /// Absolute.
  public var file: String
  /// PEM.
  public var certificates: [UInt8]
  /// Absolute; empty: what has been revoked is not asked.
  public var revocationFile = ""
  /// PEM.
  public var revocations: [UInt8] = []

  public init(file: String = "", certificates: [UInt8] = []) {
    self.file = file
    self.certificates = certificates
  }
}

/// The keys that session tickets are encrypted with, the same for all listeners and workers.
public struct TicketPlan: Equatable, Sendable {
  /// Milliseconds after which a new key takes over.
  public var rotation = 43_200_000
  /// Keys known at one time: the one that encrypts, and those before it.
  public var keys = 3

  public init() {}

  /// Seconds that a ticket is good for: until its key may be forgotten, but no longer than RFC 8446 §4.6.1 allows.
  public var lifetime: Int { max(1, min(604_800, rotation / 1000 * max(1, keys - 1))) }
}

extension Plan {
  /// Whether TLS is spoken, to clients or backends.
  public var speaksTLS: Bool { listeners.contains { $0.tls != nil } || upstreams.contains { $0.tls != nil } }
}
