// Trailers — fields after a chunked body: which of them may be passed on (RFC 9110 §6.5).

import HTTPModel
import Memory
import Wire

enum Trailers {
  /// Parses trailer lines and appends those that may be passed on.
  /// - Parameters:
  ///   - lines: whole lines with their ends, without the empty line, for which there is room behind them.
  ///   - announced: names that were announced, as a comma-separated list; nil: all count as announced.
  ///   - scratch: a head whose fields are free to use.
  /// - Returns: why the section must be refused, if it must.
  @inline(never)
  static func append(_ lines: inout Buffer, announcedIn announced: Span<UInt8>?, to output: inout Buffer, scratch: inout RequestHead) -> Fault? {
    lines.append("\r\n")
    guard output.freeCapacity >= 2 * lines.count + 16 else { return .headersTooLarge }
    switch TrailerParser.parse(lines.bytes, into: &scratch) {
    case .complete(lines.count): break
    case .rejected(let fault): return fault
    default: return .httpRequestError
    }
    let list = scratch.headers(in: lines.bytes)
    for index in 0..<list.count where isAllowed(list.records[index].name, list.name(at: index)) {
      if let announced, !announced.listContains(list.name(at: index)) { continue }
      output.append(field: list.name(at: index), list.value(at: index))
    }
    return nil
  }

  /// Fields that frame, route, or authenticate a message must stand before its body.
  private static func isAllowed(_ name: HeaderName, _ text: Span<UInt8>) -> Bool {
    switch name {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te, .contentLength, .host, .authorization, .contentType,
      .contentEncoding, .contentRange, .trailer, .proxyAuthenticate, .proxyAuthorization, .expect, .forwardedFor, .forwardedProto, .forwardedHost, .via, .requestID,
      .clientCertSubject, .clientCertFingerprint:
      return false
    default: return !text.equalsIgnoringCase("set-cookie") && !text.equalsIgnoringCase("cookie")
    }
  }
}
