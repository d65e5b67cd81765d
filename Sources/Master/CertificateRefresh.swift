// CertificateRefresh — reads the certificate files of a plan again, and takes over what has changed and is good.

import Configuration
import Kernel
import Plan
import TLS

struct CertificateRefresh {
  /// Files whose content is new.
  private(set) var changed: [String] = []
  /// What is wrong with files, by setting: what the plan has of them stays.
  private(set) var problems: [String: String] = [:]

  /// The directories in which something happens when a file of `plan` changes.
  static func directories(of plan: Plan) -> Set<String> {
    var directories: Set<String> = []
    for tls in plan.listeners.compactMap(\.tls) {
      let files = tls.certificates.flatMap { [$0.certificateFile, $0.keyFile, $0.ocspFile] } + [tls.clientCAFile]
      for file in files where !file.isEmpty { directories.formUnion(Files.directories(onTheWayTo: file)) }
    }
    let revocationFiles = plan.authorities.map(\.revocationFile).filter { !$0.isEmpty }
    for file in plan.authorities.map(\.file) + revocationFiles + plan.upstreams.compactMap(\.tls?.certificate).flatMap({ [$0.certificateFile, $0.keyFile] }) {
      directories.formUnion(Files.directories(onTheWayTo: file))
    }
    return directories
  }

  /// Puts into `plan` what has changed.
  mutating func read(_ plan: inout Plan) {
    for index in plan.listeners.indices {
      guard let old = plan.listeners[index].tls else { continue }
      let path = "listeners[\(index)].tls"
      var files = CertificateFiles()
      if files.isUnchanged(old) { continue }
      var new = old
      for position in new.certificates.indices { new.certificates[position].ocsp = [] }
      files.load(&new)
      let errors = files.remarks.filter(\.isError)
      for error in errors { problems["\(path).\(error.setting)"] = error.message }
      guard errors.isEmpty, new != old else { continue }
      // What can be read may still be more than OpenSSL takes.
      do throws(TLSError) {
        _ = try TLSServer(TLSServerSettings(credentials: new.certificates.map { Credential(chain: $0.chain, key: $0.key, ocsp: $0.ocsp) }), tickets: nil)
      } catch {
        problems[path] = error.reason
        continue
      }
      plan.listeners[index].tls = new
      changed += zip(new.certificates, old.certificates).filter { $0 != $1 }.map { $0.0.certificateFile }
      if new.clientCA != old.clientCA { changed.append(new.clientCAFile) }
    }
    readUpstreams(&plan)
  }

  /// The same for the TLS of upstreams: authorities, and certificates that are shown to backends.
  private mutating func readUpstreams(_ plan: inout Plan) {
    for index in plan.authorities.indices {
      var files = CertificateFiles()
      let old = plan.authorities[index]
      if files.isUnchanged(old) { continue }
      let new = files.authority(old.file, revocationFile: old.revocationFile)
      for error in files.remarks where error.isError { problems[error.setting == "crl_file" ? old.revocationFile : old.file] = error.message }
      guard let new else { continue }
      do throws(TLSError) {
        _ = try TLSAuthorities(new.certificates, revocations: new.revocations)
      } catch {
        problems[old.file] = error.reason
        continue
      }
      plan.authorities[index] = new
      if new.certificates != old.certificates { changed.append(new.file) }
      if new.revocations != old.revocations { changed.append(new.revocationFile) }
    }
    for index in plan.upstreams.indices {
      guard let old = plan.upstreams[index].tls else { continue }
      let path = "upstreams[\(index)].tls"
      var files = CertificateFiles()
      if files.isUnchanged(old) { continue }
      var new = old
      files.load(&new)
      let errors = files.remarks.filter(\.isError)
      for error in errors { problems["\(path).\(error.setting)"] = error.message }
      guard errors.isEmpty, new != old, let certificate = new.certificate else { continue }
      do throws(TLSError) {
        var settings = TLSClientSettings()
        settings.credential = Credential(chain: certificate.chain, key: certificate.key)
        _ = try TLSClient(settings)
      } catch {
        problems[path] = error.reason
        continue
      }
      plan.upstreams[index].tls = new
      changed.append(certificate.certificateFile)
    }
  }
}
