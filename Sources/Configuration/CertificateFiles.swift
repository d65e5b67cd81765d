// CertificateFiles — reading the files of TLS, and judging what is in them: when a configuration is loaded, and when one
// of them has changed on disk.
//
// What cannot be served is an error; what will not be served for long, or not to everyone, is a warning.

import Plan
import TLS

/// What is said of the files of a listener or an upstream.
public struct CertificateRemark: Equatable, Sendable {
  /// The setting within its `tls`, such as `certificates[0].key_file`.
  public let setting: String
  /// What follows the name of the setting.
  public let message: String
  public let isError: Bool
}

/// Reads and judges the files that plans name.
public struct CertificateFiles {
  /// Days before its end from which a certificate is warned of.
  public static let warningDays: Int64 = 14

  private let surroundings: Surroundings
  private let now: Int64
  public private(set) var remarks: [CertificateRemark] = []

  public init(_ surroundings: Surroundings = .machine) {
    self.surroundings = surroundings
    now = surroundings.now()
  }

  /// Reads everything that `tls` names into it. It is fit for use unless a remark is an error.
  public mutating func load(_ tls: inout TLSPlan) {
    for index in tls.certificates.indices { load(&tls.certificates[index], "certificates[\(index)].") }
    guard tls.clientCertificates != .off, let bytes = read(tls.clientCAFile, "client_ca_file") else { return }
    tls.clientCA = bytes
    if Certificate.count(in: bytes) == nil { reject("client_ca_file", "\(quoted(tls.clientCAFile)) has no certificate that can be read") }
  }

  /// Reads everything that the TLS of an upstream names into it, but for its authorities.
  public mutating func load(_ tls: inout UpstreamTLSPlan) {
    guard var certificate = tls.certificate else { return }
    load(&certificate, "", isServer: false)
    tls.certificate = certificate
  }

  /// Reads the authorities in `file` (nil: those that the system trusts) and what they have revoked (empty: nothing is read). What is
  /// among `known` is not read again.
  public mutating func authority(_ file: String?, revocationFile: String = "", known: [AuthorityPlan] = []) -> AuthorityPlan? {
    guard var authority = authority(file, among: known.filter { $0.revocationFile == revocationFile }) else { return nil }
    if authority.revocationFile == revocationFile { return authority }
    authority.revocationFile = revocationFile
    switch surroundings.read(revocationFile) {
    case .unknown: return authority
    case .failed(let reason): reject("crl_file", "\(quoted(revocationFile)) cannot be read: \(reason)")
    case .bytes(let bytes):
      authority.revocations = bytes
      if let time = Certificate.nextUpdate(ofLists: bytes) {
        if time <= now { warn("crl_file", "\(quoted(revocationFile)) should have been replaced on \(UTC.text(time)): no certificate is accepted") }
        return authority
      }
      reject("crl_file", "\(quoted(revocationFile)) has no revocation list that can be read (PEM is expected)")
    }
    return nil
  }

  private mutating func authority(_ file: String?, among known: [AuthorityPlan]) -> AuthorityPlan? {
    if let file {
      if let authority = known.first(where: { $0.file == file }) { return authority }
      return read(file, "ca_file").flatMap { judge(AuthorityPlan(file: file, certificates: $0)) }
    }
    for candidate in surroundings.systemAuthorities() {
      if let authority = known.first(where: { $0.file == candidate }) { return authority }
      switch surroundings.read(candidate) {
      case .bytes(let bytes): return judge(AuthorityPlan(file: candidate, certificates: bytes))
      case .unknown: return AuthorityPlan(file: candidate)
      case .failed: continue
      }
    }
    reject("ca_file", "is not given, and nothing is found of what the system trusts (looked for \(surroundings.systemAuthorities().joined(separator: ", ")))")
    return nil
  }

  private mutating func judge(_ authority: AuthorityPlan) -> AuthorityPlan? {
    if Certificate.count(in: authority.certificates) != nil { return authority }
    reject("ca_file", "\(quoted(authority.file)) has no certificate that can be read (PEM is expected)")
    return nil
  }

  /// Whether the files still hold what `tls` has of them.
  public func isUnchanged(_ tls: UpstreamTLSPlan) -> Bool {
    guard let certificate = tls.certificate else { return true }
    return surroundings.read(certificate.certificateFile) == .bytes(certificate.chain) && surroundings.read(certificate.keyFile) == .bytes(certificate.key)
  }
  public func isUnchanged(_ authority: AuthorityPlan) -> Bool {
    surroundings.read(authority.file) == .bytes(authority.certificates)
      && (authority.revocationFile.isEmpty || surroundings.read(authority.revocationFile) == .bytes(authority.revocations))
  }

  /// Whether the files still hold what `tls` has of them. Cheaper than `load`: nothing is judged.
  public func isUnchanged(_ tls: TLSPlan) -> Bool {
    func holds(_ path: String, _ bytes: [UInt8]) -> Bool { path.isEmpty || surroundings.read(path) == .bytes(bytes) }
    return tls.certificates.allSatisfy {
      holds($0.certificateFile, $0.chain) && holds($0.keyFile, $0.key) && holds($0.ocspFile, $0.ocsp)
    } && holds(tls.clientCAFile, tls.clientCA)
  }

  private mutating func load(_ certificate: inout CertificatePlan, _ prefix: String, isServer: Bool = true) {
    let chain = read(certificate.certificateFile, prefix + "cert_file")
    let key = read(certificate.keyFile, prefix + "key_file")
    guard let chain, let key else { return }
    certificate.chain = chain
    certificate.key = key
    judge(certificate, prefix, isServer)
    guard !certificate.ocspFile.isEmpty, let response = read(certificate.ocspFile, prefix + "ocsp_file") else { return }
    certificate.ocsp = response
    judge(response: certificate, prefix + "ocsp_file")
  }

  private mutating func judge(_ plan: CertificatePlan, _ prefix: String, _ isServer: Bool) {
    let file = quoted(plan.certificateFile), keyFile = quoted(plan.keyFile)
    do throws(CertificateFault) {
      let certificate = try Certificate(chain: plan.chain, key: plan.key, now: now)
      if let remark = Self.remark(on: certificate, now: now) { warn(prefix + "cert_file", "\(file) \(remark)") }
      if certificate.isChainBroken { warn(prefix + "cert_file", "\(file): a certificate in it did not issue the one before it; some \(isServer ? "clients" : "backends") will refuse it") }
      if certificate.names.isEmpty, isServer { warn(prefix + "cert_file", "\(file) names no host: clients will refuse it") }
    } catch {
      switch error {
      case .chainUnreadable: reject(prefix + "cert_file", "\(file) has no certificate that can be read (PEM is expected)")
      case .keyUnreadable: reject(prefix + "key_file", "\(keyFile) has no private key that can be read (PEM is expected)")
      case .keyProtected: reject(prefix + "key_file", "\(keyFile) is protected by a password, which nobody can be asked for")
      case .keyMismatch: reject(prefix + "key_file", "\(keyFile) does not fit the certificate in \(file)")
      case .weakKey(let key): reject(prefix + "key_file", "\(keyFile) is too weak (\(key)): RSA with 2048 bits or EC with 224 is the least")
      case .weakSignature: reject(prefix + "cert_file", "\(file) is signed with SHA-1 or MD5, which \(isServer ? "clients" : "backends") refuse")
      case .notYetValid(let time): reject(prefix + "cert_file", "\(file) is not valid before \(UTC.text(time))")
      case .expired(let time): reject(prefix + "cert_file", "\(file) expired on \(UTC.text(time))")
      }
    }
  }

  private mutating func judge(response plan: CertificatePlan, _ setting: String) {
    do throws(StapleFault) {
      try Certificate.check(response: plan.ocsp, about: plan.chain, now: now)
    } catch {
      let file = quoted(plan.ocspFile)
      switch error {
      case .unreadable: reject(setting, "\(file) is not a successful OCSP response (DER is expected)")
      case .foreign: reject(setting, "\(file) is about another certificate than the one in \(quoted(plan.certificateFile))")
      case .revoked: warn(setting, "\(file) says that the certificate has been revoked")
      case .expired(let time): warn(setting, "\(file) expired on \(UTC.text(time)): nothing is stapled")
      }
    }
  }

  /// What is to be said of a certificate's age; nil when nothing is.
  public static func remark(on certificate: Certificate, now: Int64) -> String? {
    let left = certificate.notAfter - now
    if left <= 0 { return "expired on \(UTC.text(certificate.notAfter))" }
    guard left < warningDays * 86_400 else { return nil }
    let days = left / 86_400
    return "expires in \(days) \(days == 1 ? "day" : "days"), on \(UTC.text(certificate.notAfter))"
  }

  // MARK: Parts

  private mutating func read(_ path: String, _ setting: String) -> [UInt8]? {
    switch surroundings.read(path) {
    case .bytes(let bytes): return bytes
    case .failed(let reason): reject(setting, "\(quoted(path)) cannot be read: \(reason)")
    case .unknown: break
    }
    return nil
  }

  private mutating func reject(_ setting: String, _ message: String) { remarks.append(CertificateRemark(setting: setting, message: message, isError: true)) }
  private mutating func warn(_ setting: String, _ message: String) { remarks.append(CertificateRemark(setting: setting, message: message, isError: false)) }
  private func quoted(_ path: String) -> String { JSON.quoted(path) }
}

/// Points in time, for people.
public enum UTC {
  /// `2026-01-31 23:59:59 UTC` for seconds since the epoch.
  public static func text(_ seconds: Int64) -> String {
    // Days since 0000-03-01, so that a leap day is the last of its year (the proleptic Gregorian calendar).
    let seconds = max(-62_135_596_800, min(253_402_300_799, seconds))
    let day = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400, second = seconds - day * 86_400
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let part = (5 * dayOfYear + 2) / 153
    let month = part < 10 ? part + 3 : part - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let yearText = String(repeating: "0", count: max(0, 4 - "\(year)".count)) + "\(year)"
    let date = "\(yearText)-\(two(month))-\(two(dayOfYear - (153 * part + 2) / 5 + 1))"
    return "\(date) \(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60)) UTC"
  }
}
