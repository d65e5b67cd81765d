// What an access-log line says of TLS, and that nothing of it is left for the next one.

import HTTPModel
import Testing

@testable import Telemetry

@Suite struct ConnectionFactsTests {
  private func lines(_ format: String, server: String = "site.test", subject: String = "CN=alice,O=\"A\"") throws -> [String] {
    let scratch = Scratch()
    let request = SampleRequest(target: [0x2f])
    var log = AccessLog(format: try AccessLogFormat(format), descriptor: try scratch.open("access.log"), bufferSize: 4096, worker: "2.9", routes: ["/"])
    var position = 0
    func add(_ text: String) -> Extent {
      for byte in text.utf8 { log.connection.text.append(byte) }
      defer { position += text.utf8.count }
      return Extent(position..<position + text.utf8.count)
    }
    log.connection.version = add("TLSv1.3")
    log.connection.cipher = add("TLS_AES_128_GCM_SHA256")
    log.connection.serverName = add(server)
    log.connection.subject = add(subject)
    log.connection.fingerprint = add(subject.isEmpty ? "" : "00ff")
    log.connection.isSecure = true
    log.connection.isResumed = true
    let client = Array("192.0.2.7".utf8), id = Array("r-1".utf8)
    log.append(sampleEntry, head: request.head, bytes: request.bytes.span, client: client.span, requestID: id.span)
    log.connection.clear()
    log.append(sampleEntry, head: request.head, bytes: request.bytes.span, client: client.span, requestID: id.span)
    log.flush()
    return scratch.lines("access.log")
  }

  @Test func variables() throws {
    let format = "$scheme $tls_version $tls_cipher $tls_server_name $tls_resumed [$tls_client_subject] $tls_client_fingerprint"
    #expect(
      try lines(format) == [
        #"https TLSv1.3 TLS_AES_128_GCM_SHA256 site.test 1 [CN=alice,O=\x22A\x22] 00ff"#, "http - - - 0 [-] -",
      ])
  }

  @Test func json() throws {
    let found = try lines("json")
    let secure = try #require(FlatJSON.parse(found[0])), plain = try #require(FlatJSON.parse(found[1]))
    #expect(secure["url.scheme"] == "https" && secure["tls.protocol.version"] == "1.3" && secure["tls.cipher"] == "TLS_AES_128_GCM_SHA256")
    #expect(secure["tls.resumed"] == "true" && secure["tls.client.server_name"] == "site.test")
    #expect(secure["tls.client.subject"] == "CN=alice,O=\"A\"" && secure["tls.client.hash.sha256"] == "00ff")
    #expect(plain.keys.allSatisfy { !$0.hasPrefix("tls.") })
    let anonymous = try #require(FlatJSON.parse(try lines("json", server: "", subject: "")[0]))
    #expect(anonymous["tls.client.subject"] == nil && anonymous["tls.client.server_name"] == nil)
  }
}
