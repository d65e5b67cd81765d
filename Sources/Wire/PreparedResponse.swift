// PreparedResponse — a fixed response, composed once when the plan is loaded.
//
// Everything that never changes is text already; only the date, the request id and the connection option are added per
// request. Nearly every response goes on an HTTP/1.1 connection that stays open: then one copy and two replacements do.
//
// Invariant: `text` is the head up to "Date: ", a date, a line end and "X-Request-Id: ", an id as the gateway makes them, the
// empty line, and the body.

import HTTPModel
import Memory

/// A response whose status, fields and body are known in advance.
public struct PreparedResponse: ~Copyable {
  /// Bytes of the ids that have their place kept.
  static var idLength: Int { 32 }

  /// Where the parts of a response begin.
  public struct Places: BitwiseCopyable {
    let date: UInt32
    let id: UInt32
    @usableFromInline let body: UInt32
  }

  /// The whole response with blanks for date and id.
  @usableFromInline let text: Buffer
  @usableFromInline let places: Places
  public let status: Status

  /// - Parameters:
  ///   - fields: complete field lines, each with its CRLF; framing fields are not among them.
  ///   - server: whether to say `Server: gateway`.
  public init(_ status: Status, fields: Span<UInt8>, body: Span<UInt8>, server: Bool) {
    var text = Buffer(capacity: 512 + fields.count + body.count)
    text.append("HTTP/1.1 ")
    text.append(decimal: Int(status.code))
    text.append(" ")
    text.append(status.reason)
    text.append("\r\n")
    if server { text.append("Server: gateway\r\n") }
    text.append(fields)
    // RFC 9110 §8.6: no Content-Length with 1xx and 204; RFC 9110 §15.3.6: 205 has an empty body.
    if !status.forbidsBody {
      text.append("Content-Length: ")
      text.append(decimal: status.code == 205 ? 0 : body.count)
      text.append("\r\n")
    }
    text.append("Date: ")
    let date = text.count
    text.append("                             \r\nX-Request-Id: ")
    let id = text.count
    text.append("                                \r\n\r\n")
    places = Places(date: UInt32(date), id: UInt32(id), body: UInt32(text.count))
    if Self.hasBody(status) { text.append(body) }
    self.text = text
    self.status = status
  }

  /// Whether a response with this status may have a body.
  public static func hasBody(_ status: Status) -> Bool { !status.forbidsBody && status.code != 205 }

  /// Bytes of the head, as it goes on an HTTP/1.1 connection that stays open.
  @inlinable
  public var headCount: Int { Int(places.body) }

  /// Bytes of the body.
  @inlinable
  public var bodyCount: Int { text.count &- Int(places.body) }

  /// Bytes of the whole response without the request id, at most.
  @inlinable
  public var byteCount: Int { text.count &+ 128 }
}
