// Certificate — what is to be known of a certificate and its key before they are used, and said of them in a status.

import COpenSSL

/// What is wrong with a certificate or its key.
public enum CertificateFault: Error, Equatable, Sendable {
  case chainUnreadable
  case keyUnreadable
  /// The key asks for a password, and there is nobody to give it.
  case keyProtected
  case keyMismatch
  /// A key of fewer than 112 bits of strength: RSA below 2048 bits, for one.
  case weakKey(String)
  /// Signed with SHA-1 or worse.
  case weakSignature
  /// Seconds since the epoch.
  case notYetValid(from: Int64)
  case expired(at: Int64)
}

/// What is wrong with a response to be stapled.
public enum StapleFault: Error, Equatable, Sendable {
  case unreadable, foreign, revoked
  case expired(at: Int64)
}

/// A certificate, as far as it is looked at.
@safe
public struct Certificate: Equatable, Sendable {
  /// The names it is good for: its alternative names, or else its common name.
  public let names: [String]
  public let subject: String
  public let issuer: String
  /// Seconds since the epoch.
  public let notBefore: Int64
  public let notAfter: Int64
  /// `RSA 2048`, `EC 256`.
  public let key: String
  /// SHA-256, lower-case hexadecimal digits.
  public let fingerprint: String
  /// A certificate in the chain did not issue the one before it, which some clients mind.
  public let isChainBroken: Bool
  /// Equal for keys of which a name can have only one.
  let keyKind: Int

  /// Reads the first certificate of a PEM text; nil when the text cannot be read.
  public init?(chain: [UInt8]) {
    guard let result = try? Certificate.inspect(chain, nil) else { return nil }
    self = result
  }

  /// Reads a chain, and judges it together with its key as to be used at `now`, in seconds since the epoch.
  public init(chain: [UInt8], key: [UInt8], now: Int64) throws(CertificateFault) {
    self = try Certificate.inspect(chain, key)
    if notBefore > now { throw .notYetValid(from: notBefore) }
    if notAfter <= now { throw .expired(at: notAfter) }
  }

  private init(_ facts: borrowing copenssl_facts, _ names: [String], isChainBroken: Bool) {
    self.names = names
    self.isChainBroken = isChainBroken
    notBefore = facts.not_before
    notAfter = facts.not_after
    keyKind = Int(facts.key_kind)
    subject = Certificate.text(facts.subject)
    issuer = Certificate.text(facts.issuer)
    key = "\(Certificate.text(facts.key_name)) \(facts.key_bits)"
    fingerprint = unsafe withUnsafeBytes(of: facts.fingerprint) { unsafe $0.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
  }

  private static func text<Characters>(_ characters: Characters) -> String {
    unsafe withUnsafeBytes(of: characters) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  private static func inspect(_ chain: [UInt8], _ key: [UInt8]?) throws(CertificateFault) -> Certificate {
    var facts = copenssl_facts()
    var names: [String] = []
    let collect: copenssl_name = { context, name, size in
      guard let context = unsafe context, let name = unsafe name else { return }
      let text = unsafe String(decoding: UnsafeRawBufferPointer(start: name, count: size), as: UTF8.self).lowercased()
      // No name in the DNS has such characters; a text with them could deceive whoever reads a status.
      guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return }
      unsafe context.assumingMemoryBound(to: [String].self).pointee.append(text)
    }
    let outcome = unsafe withUnsafeMutablePointer(to: &names) { names in
      if let key { return unsafe copenssl_inspect(chain, chain.count, key, key.count, &facts, collect, names) }
      return unsafe copenssl_inspect(chain, chain.count, nil, 0, &facts, collect, names)
    }
    let certificate = Certificate(facts, names, isChainBroken: Int(outcome) == COPENSSL_CHAIN_BROKEN)
    switch Int(outcome) {
    case COPENSSL_CERTIFICATE_GOOD, COPENSSL_CHAIN_BROKEN: return certificate
    case COPENSSL_KEY_UNREADABLE: throw .keyUnreadable
    case COPENSSL_KEY_PROTECTED: throw .keyProtected
    case COPENSSL_KEY_MISMATCH: throw .keyMismatch
    case COPENSSL_WEAK_KEY:
      if key != nil { throw .weakKey(certificate.key) }
      return certificate
    case COPENSSL_WEAK_SIGNATURE:
      if key != nil { throw .weakSignature }
      return certificate
    default: throw .chainUnreadable
    }
  }

  /// Judges an OCSP response (DER) for the first certificate of `chain`.
  public static func check(response: [UInt8], about chain: [UInt8], now: Int64) throws(StapleFault) {
    var until: Int64 = 0
    switch Int(unsafe copenssl_inspect_ocsp(chain, chain.count, response, response.count, &until)) {
    case COPENSSL_OCSP_GOOD: if until <= now { throw .expired(at: until) }
    case COPENSSL_OCSP_FOREIGN: throw .foreign
    case COPENSSL_OCSP_REVOKED: throw .revoked
    default: throw .unreadable
    }
  }

  /// When a response expires, in seconds since the epoch.
  static func expiry(ofResponse response: [UInt8], about chain: [UInt8]) -> Int64 {
    var until: Int64 = 0
    let outcome = unsafe copenssl_inspect_ocsp(chain, chain.count, response, response.count, &until)
    return Int(outcome) == COPENSSL_OCSP_GOOD ? until : 0
  }

  /// The number of certificates in a PEM text; nil when there is none, or one cannot be read.
  public static func count(in text: [UInt8]) -> Int? {
    let count = unsafe copenssl_count_certificates(text, text.count)
    return count > 0 ? Int(count) : nil
  }

  /// When the first of the revocation lists in a PEM text wants to be replaced, in seconds since the epoch (`Int64.max`: never);
  /// nil when there is none, or one cannot be read.
  public static func nextUpdate(ofLists text: [UInt8]) -> Int64? {
    var time: Int64 = 0
    return unsafe copenssl_read_next_update(text, text.count, &time) ? time : nil
  }
}
