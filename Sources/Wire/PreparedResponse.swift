// PreparedResponse — a fixed response, composed once when the plan is loaded.
//
// Everything that never changes is text already; only the date, the request id and the connection option are
// added per request. Invariant: `head` begins with "HTTP/1.1 " and ends with "Date: ".

import HTTPModel
import Memory

/// A response whose status, fields and body are known in advance.
public struct PreparedResponse: ~Copyable {
  /// The head up to and including "Date: ".
  public let head: Buffer
  public let body: Buffer
  public let status: Status

  /// - Parameters:
  ///   - fields: complete field lines, each with its CRLF; framing fields are not among them.
  ///   - server: whether to say `Server: gateway`.
  public init(_ status: Status, fields: Span<UInt8>, body text: Span<UInt8>, server: Bool) {
    var head = Buffer(capacity: 256 + fields.count)
    head.append("HTTP/1.1 ")
    head.append(decimal: Int(status.code))
    head.append(" ")
    head.append(status.reason)
    head.append("\r\n")
    if server { head.append("Server: gateway\r\n") }
    head.append(fields)
    // RFC 9110 §8.6: no Content-Length with 1xx and 204; RFC 9110 §15.3.6: 205 has an empty body.
    if !status.forbidsBody {
      head.append("Content-Length: ")
      head.append(decimal: status.code == 205 ? 0 : text.count)
      head.append("\r\n")
    }
    head.append("Date: ")
    var body = Buffer(capacity: max(1, text.count))
    if !status.forbidsBody, status.code != 205 { body.append(text) }
    self.head = head
    self.body = body
    self.status = status
  }

  /// Bytes of the whole response, at most.
  public var byteCount: Int { head.count + body.count + 128 }
}
