// Judging certificates and keys, and choosing among them by name.

import TLSTestSupport
import Testing

@testable import TLS

@Suite struct CertificateTests {
  private let now: Int64 = 1_700_000_000

  @Test func factsAreRead() throws {
    let made = make("Example.com,*.example.com", commonName: "facts", by: Shared.authority)
    let certificate = try #require(Certificate(chain: made.certificate))
    #expect(certificate.names == ["example.com", "*.example.com"])
    #expect(certificate.subject == "CN=facts" && certificate.issuer == "CN=Test Authority")
    #expect(certificate.key == "EC 256")
    #expect(certificate.notAfter - certificate.notBefore == 30 * 86_400 + 3600)
    #expect(certificate.fingerprint.count == 64)
    #expect(Certificate(chain: make(nil, commonName: "common.test").certificate)?.names == ["common.test"])
    _ = try Certificate(chain: made.certificate, key: made.key, now: certificate.notBefore + 10)
  }

  private func fault(_ chain: [UInt8], _ key: [UInt8], at now: Int64) -> CertificateFault? {
    do throws(CertificateFault) {
      _ = try Certificate(chain: chain, key: key, now: now)
      return nil
    } catch {
      return error
    }
  }

  @Test func faultsAreNamed() throws {
    let good = Shared.ec
    let certificate = try #require(Certificate(chain: good.certificate))
    let now = certificate.notBefore + 10
    #expect(fault(good.certificate, good.key, at: now) == nil)
    #expect(fault(good.certificate, Shared.other.key, at: now) == .keyMismatch)
    #expect(fault(good.certificate, Shared.rsa.key, at: now) == .keyMismatch)
    #expect(fault(Array("nothing".utf8), good.key, at: now) == .chainUnreadable)
    #expect(fault([], good.key, at: now) == .chainUnreadable)
    #expect(fault(good.certificate, Array("nothing".utf8), at: now) == .keyUnreadable)
    #expect(fault(good.certificate.dropLast(40) + [], good.key, at: now) == .chainUnreadable)
    let locked = make("a.test", password: "secret")
    #expect(fault(locked.certificate, locked.key, at: now) == .keyProtected)
    #expect(fault(good.certificate, good.key, at: certificate.notBefore - 1) == .notYetValid(from: certificate.notBefore))
    #expect(fault(good.certificate, good.key, at: certificate.notAfter) == .expired(at: certificate.notAfter))
    let weak = make("a.test", curve: nil, bits: 1024)
    #expect(fault(weak.certificate, weak.key, at: now) == .weakKey("RSA 1024"))
    let sha1 = make("a.test", digest: "SHA1", by: Shared.authority)
    #expect(fault(sha1.certificate, sha1.key, at: now) == .weakSignature)
  }

  @Test func aChainOutOfOrderIsNoticed() throws {
    let leaf = make("chain.test", by: Shared.intermediate)
    let right = leaf.certificate + Shared.intermediate.certificate + Shared.authority.certificate
    let wrong = leaf.certificate + Shared.authority.certificate + Shared.intermediate.certificate
    #expect(Certificate(chain: right)?.isChainBroken == false)
    #expect(Certificate(chain: wrong)?.isChainBroken == true)
    #expect(Certificate.count(in: right) == 3)
    #expect(Certificate.count(in: []) == nil)
  }
}

@Suite struct ServerNamesTests {
  private let names = ServerNames([
    CertificateNames(names: ["example.com", "www.example.com"], keyKind: 1), CertificateNames(names: ["*.example.com"], keyKind: 1),
    CertificateNames(names: ["*.example.com", "example.com"], keyKind: 2), CertificateNames(names: ["example.com"], keyKind: 1),
  ])

  private func certificates(_ name: String) -> [Int] { names.sets[names.choose(Array(name.utf8).span)] }

  @Test func exactBeforeWildcardAndOneOfEachKind() {
    #expect(certificates("example.com") == [0, 2])
    #expect(certificates("EXAMPLE.COM.") == [0, 2])
    #expect(certificates("www.example.com") == [0, 2])
    #expect(certificates("mail.example.com") == [1, 2])
    #expect(certificates("a.b.example.com") == [0, 2])
    #expect(certificates(".example.com") == [0, 2])
    #expect(certificates("") == [0, 2] && certificates("com") == [0, 2])
    #expect(certificates(String(repeating: "a", count: 300) + ".example.com") == [0, 2])
  }

  @Test func arbitraryBytesChooseSomething() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<10_000 {
      let name = (0..<Int.random(in: 0...40, using: &generator)).map { _ in Bool.random() ? UInt8.random(in: 0...255) : [0x2a, 0x2e, 0x61].randomElement()! }
      #expect(names.sets.indices.contains(names.choose(name.span)))
    }
  }
}
