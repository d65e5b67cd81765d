// Made — certificates and OCSP responses made on the spot, for tests.

import TLSPeer

/// A certificate and its key, PEM.
public struct Made: Sendable {
  public let certificate: [UInt8]
  public let key: [UInt8]
}

public func make(
  _ names: String?, commonName: String = "test", curve: String? = "P-256", bits: Int32 = 2048, digest: String = "SHA256", from: Int = -3600,
  until: Int = 30 * 86_400, isAuthority: Bool = false, by issuer: Made? = nil, password: String? = nil
) -> Made {
  var issue = unsafe peer_issue()
  var certificate = unsafe peer_text(), key = unsafe peer_text()
  let made = unsafe withTexts(issuer?.certificate, issuer?.key) { issuerText, issuerKey in
    unsafe withStrings(names, commonName, curve, digest, password) { names, commonName, curve, digest, password in
      unsafe issue = peer_issue(
        names: names, common_name: commonName, curve: curve, bits: bits, digest: digest, from: from, until: until, is_authority: isAuthority,
        issuer: issuerText, issuer_key: issuerKey, password: password)
      return unsafe peer_make_certificate(&issue, &certificate, &key)
    }
  }
  precondition(made)
  return unsafe Made(certificate: take(certificate), key: take(key))
}

public func makeStaple(_ about: Made, by issuer: Made, until: Int = 3600) -> [UInt8] {
  var response = unsafe peer_text()
  let made = unsafe withTexts(about.certificate, nil) { certificate, _ in
    unsafe withTexts(issuer.certificate, issuer.key) { issuer, key in unsafe peer_make_ocsp(certificate, issuer, key, until, &response) }
  }
  precondition(made)
  return unsafe take(response)
}

public func take(_ text: peer_text) -> [UInt8] {
  defer { unsafe peer_text_free(text) }
  return unsafe Array(UnsafeBufferPointer(start: text.bytes, count: text.count))
}

public func withTexts<Result>(
  _ first: [UInt8]?, _ second: [UInt8]?, _ body: (UnsafePointer<peer_text>?, UnsafePointer<peer_text>?) -> Result
) -> Result {
  func lend(_ bytes: [UInt8]?, _ body: (UnsafePointer<peer_text>?) -> Result) -> Result {
    guard var bytes else { return body(nil) }
    return unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      var text = unsafe peer_text(bytes: buffer.baseAddress, count: buffer.count)
      return unsafe body(&text)
    }
  }
  return unsafe lend(first) { first in unsafe lend(second) { second in unsafe body(first, second) } }
}

public typealias CText = UnsafePointer<CChar>

public func withStrings<Result>(
  _ a: String?, _ b: String?, _ c: String?, _ d: String?, _ e: String?, _ body: (CText?, CText?, CText?, CText?, CText?) -> Result
) -> Result {
  func lend(_ text: String?, _ body: (CText?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return unsafe text.withCString { unsafe body($0) }
  }
  return unsafe lend(a) { a in
    unsafe lend(b) { b in unsafe lend(c) { c in unsafe lend(d) { d in unsafe lend(e) { e in unsafe body(a, b, c, d, e) } } } }
  }
}
