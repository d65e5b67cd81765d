// TicketKeys — the keys that session tickets are encrypted with: given from outside, the same in every process.
//
// The newest encrypts; all decrypt, and a ticket made with an older one is replaced. So a client resumes wherever the
// keys are known, and a key that is dropped makes what it encrypted worthless.

import COpenSSL

/// The keys of all listeners of a process.
@safe
public final class TicketKeys {
  /// Bytes of one key: its name, and the keys for AES-256 and HMAC-SHA-256.
  public static let keySize = Int(COPENSSL_TICKET_KEY_SIZE)
  public static let most = Int(COPENSSL_MOST_TICKET_KEYS)

  let keys: OpaquePointer

  public init() throws(TLSError) {
    guard let keys = unsafe copenssl_ticket_keys_make() else { throw TLSError("no memory for session-ticket keys") }
    unsafe self.keys = keys
  }

  deinit { unsafe copenssl_ticket_keys_free(keys) }

  /// Replaces the keys.
  /// - Parameter bytes: keys of `keySize` bytes one behind the other, the newest first; at most `most`.
  public func replace(_ bytes: [UInt8]) { unsafe copenssl_ticket_keys_set(keys, bytes, bytes.count / TicketKeys.keySize) }

  /// A new key.
  public static func make() throws(TLSError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: keySize)
    guard unsafe copenssl_random(&bytes, bytes.count) else { throw TLSError("no random bytes for a session-ticket key") }
    return bytes
  }
}

/// Why something of TLS could not be made.
public struct TLSError: Error, Equatable, Sendable {
  public let reason: String

  init(_ reason: String) { self.reason = reason }
}
