// A client in memory that speaks with a session.

import Memory
import TLSPeer
import TLSTestSupport
import Testing

@testable import TLS

extension Made {
  var credential: Credential { Credential(chain: certificate, key: key) }

  func credential(above: Made...) -> Credential { Credential(chain: above.reduce(certificate) { $0 + $1.certificate }, key: key) }
}

/// `#expect` for what cannot be copied into its message.
func check(_ condition: Bool, sourceLocation: SourceLocation = #_sourceLocation) { #expect(condition, sourceLocation: sourceLocation) }

/// What a client offers and expects.
struct ClientOptions {
  var serverName: String?
  var authority: Made?
  var identity: Made?
  var maxVersion: Int32 = 0
  var minVersion: Int32 = 0
  var ciphers: String?
  var groups: String?
  var signatures: String?
  var protocols: [String] = []
  var asksForOCSP = false
  var resumes: Client?
}

@safe
final class Client {
  let peer: OpaquePointer

  init(_ options: ClientOptions = ClientOptions()) {
    let protocols = options.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    unsafe peer = withTexts(options.identity?.certificate, options.identity?.key) { certificate, key in
      unsafe withTexts(options.authority?.certificate, nil) { authority, _ in
        unsafe withStrings(options.serverName, options.ciphers, options.groups, options.signatures, nil) { name, ciphers, groups, signatures, _ in
          unsafe protocols.withUnsafeBufferPointer { protocols in
            var all = unsafe peer_options(
              server_name: name, authority: authority, certificate: certificate, key: key, max_version: options.maxVersion,
              min_version: options.minVersion, ciphers: ciphers, groups: groups, signatures: signatures,
              protocols: protocols.isEmpty ? nil : protocols.baseAddress, protocols_size: protocols.count, asks_for_ocsp: options.asksForOCSP,
              resumes: options.resumes?.peer)
            return unsafe peer_make(&all)!
          }
        }
      }
    }
  }

  deinit { unsafe peer_free(peer) }

  func feed(_ bytes: [UInt8]) { unsafe peer_feed(peer, bytes, bytes.count) }
  func take() -> [UInt8] { unsafe TLSTestSupport.take(peer_take(peer)) }
  func handshake() -> Int { Int(unsafe peer_handshake(peer)) }
  func write(_ bytes: [UInt8]) { _ = unsafe peer_write(peer, bytes, bytes.count) }
  /// All that can be read; nil behind close_notify or a failure.
  func read() -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = unsafe peer_read(peer, &chunk, chunk.count)
      if count < 0 { return bytes.isEmpty ? nil : bytes }
      if count == 0 { return bytes }
      bytes += chunk.prefix(Int(count))
    }
  }
  func close() { unsafe peer_close(peer) }
  func updateKeys() { _ = unsafe peer_update_keys(peer) }
  var wasResumed: Bool { unsafe peer_was_resumed(peer) }
  var version: Int { Int(unsafe peer_version(peer)) }
  var chainLength: Int { Int(unsafe peer_chain_length(peer)) }
  var serverKeyIsEC: Bool { unsafe peer_server_key_is_ec(peer) }
  var stapleSize: Int { unsafe peer_ocsp_size(peer) }
  var applicationProtocol: String {
    var name = [CChar](repeating: 0, count: 16)
    let count = unsafe peer_protocol(peer, &name)
    return String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  var certificateName: String {
    var name = [CChar](repeating: 0, count: 256)
    let count = unsafe peer_certificate_name(peer, &name, name.count)
    return String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A session and a client, back to back.
struct Pair: ~Copyable {
  var session: TLSSession
  let client: Client
  /// Why the session has failed.
  var failure: TLSFailure?
  var now: Int64 = 10_000

  init(_ server: TLSServer, _ options: ClientOptions = ClientOptions()) {
    session = TLSSession(server)!
    client = Client(options)
  }

  /// Hands bytes to and fro until neither side gets on, in pieces of `step` bytes. True when both have finished.
  mutating func handshake(step: Int = .max, room: Int = 65_536) -> Bool {
    var clientDone = false
    for _ in 0..<10_000 {
      clientDone = client.handshake() == 1
      let sent = client.take()
      var isStuck = sent.isEmpty
      var rest = sent[...]
      while failure == nil, !session.isEstablished, !rest.isEmpty {
        let piece = Array(rest.prefix(step))
        rest = rest.dropFirst(piece.count)
        if !feed(piece, room) { break }
      }
      if !rest.isEmpty, session.isEstablished { precondition(decrypt(Array(rest)).isEmpty) }
      if failure != nil { return false }
      if clientDone, session.isEstablished {
        _ = client.read()
        return true
      }
      if isStuck { isStuck = client.handshake() == 0 && client.take().isEmpty }
      if isStuck { return false }
    }
    return false
  }

  private mutating func feed(_ bytes: [UInt8], _ room: Int) -> Bool {
    var done = 0
    while true {
      var output = Buffer(capacity: room)
      var used = 0
      let step = session.handshake(bytes.span.extracting(droppingFirst: done), used: &used, into: &output)
      done += used
      client.feed(Array(output))
      switch step {
      case .wantsRoom: continue
      case .wantsInput: return true
      case .failed(let reason):
        failure = reason
        return false
      case .established: return true
      }
    }
  }

  mutating func encrypt(_ bytes: [UInt8]) -> [UInt8] {
    var output = Buffer(capacity: 1 << 20), result: [UInt8] = []
    var done = 0
    while done < bytes.count, let count = session.encrypt(bytes.span.extracting(droppingFirst: done), into: &output, now: now) {
      done += count
      result += Array(output)
      output.removeAll()
    }
    return result
  }

  /// Decrypts everything, through plaintext buffers of `room` bytes.
  mutating func decrypt(_ cipher: [UInt8], room: Int = 4096, outcome: inout TLSSession.Decryption) -> [UInt8] {
    var result: [UInt8] = [], done = 0
    while true {
      var plain = Buffer(capacity: room), replies = Buffer(capacity: 4096)
      var used = 0
      outcome = session.decrypt(cipher.span.extracting(droppingFirst: done), used: &used, into: &plain, replies: &replies)
      done += used
      result += Array(plain)
      client.feed(Array(replies))
      if outcome != .full { return result }
    }
  }

  mutating func decrypt(_ cipher: [UInt8], room: Int = 4096) -> [UInt8] {
    var outcome = TLSSession.Decryption.drained
    return decrypt(cipher, room: room, outcome: &outcome)
  }
}

extension Array<UInt8> {
  init(_ buffer: borrowing Buffer) {
    self = []
    let bytes = buffer.bytes
    for index in bytes.indices { append(bytes[index]) }
  }
}

/// Lengths of the records in `cipher`, header excluded.
func records(_ cipher: [UInt8]) -> [Int] {
  var lengths: [Int] = [], position = 0
  while position + 5 <= cipher.count {
    lengths.append(Int(cipher[position + 3]) << 8 | Int(cipher[position + 4]))
    position += 5 + lengths[lengths.count - 1]
  }
  return lengths
}

/// Certificates that several tests use.
enum Shared {
  static let authority = make(nil, commonName: "Test Authority", isAuthority: true)
  static let intermediate = make(nil, commonName: "Test Intermediate", isAuthority: true, by: authority)
  static let ec = make("example.com,www.example.com", commonName: "ec", by: authority)
  static let rsa = make("example.com,www.example.com", commonName: "rsa", curve: nil, by: authority)
  static let wildcard = make("*.example.com", commonName: "wildcard", by: authority)
  static let other = make("other.test", commonName: "other", by: authority)

  static func server(_ credentials: [Credential], tickets: TicketKeys? = nil, _ change: (inout TLSServerSettings) -> Void = { _ in }) throws -> TLSServer {
    var settings = TLSServerSettings(credentials: credentials)
    change(&settings)
    return try TLSServer(settings, tickets: tickets)
  }
}
