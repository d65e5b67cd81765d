// ConnectionFacts — what the access log says of a client's TLS connection: texts, put together for one line.

import HTTPModel
import Memory

/// TLS of the connection that the next line is about.
public struct ConnectionFacts: ~Copyable {
  /// The texts, one behind the other. Whoever fills it in notes where each begins and ends.
  public var text: Buffer
  /// `TLSv1.3`
  public var version = Extent.none
  public var cipher = Extent.none
  /// The name the client has asked for.
  public var serverName = Extent.none
  /// Subject of the client's verified certificate, and its SHA-256 fingerprint.
  public var subject = Extent.none
  public var fingerprint = Extent.none
  public var isSecure = false
  public var isResumed = false

  /// Room for everything that can be said.
  static var capacity: Int { 2048 }

  init() { text = Buffer(capacity: ConnectionFacts.capacity) }

  private init(_ text: consuming Buffer) { self.text = text }

  /// Facts without memory, to stand where others were taken from.
  public static var absent: ConnectionFacts { ConnectionFacts(Buffer.absent) }

  /// Says that the connection is in the clear.
  public mutating func clear() {
    text.removeAll()
    version = .none
    cipher = .none
    serverName = .none
    subject = .none
    fingerprint = .none
    isSecure = false
    isResumed = false
  }
}
