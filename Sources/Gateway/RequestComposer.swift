// RequestComposer — the head of a request as the backend gets it (RFC 9110 §7.6, RFC 9112 §3).
//
// Everything is written anew from parsed parts: method, the normalised path, the fields that are for the backend, in
// their order and with their duplicates, and the fields that say where the request came from.

import HTTPModel
import Memory
import Plan
import Wire

/// What the settings of a forward rule say about the heads of its requests.
struct RequestStyle: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The path goes as the client wrote it.
  static var originalPath: RequestStyle { RequestStyle(rawValue: 1) }
  /// Host names the upstream, whatever the client asked for.
  static var upstreamHost: RequestStyle { RequestStyle(rawValue: 2) }
  /// Trailers of the response are wanted where the client wants them.
  static var trailers: RequestStyle { RequestStyle(rawValue: 4) }
  static var forwardedFor: RequestStyle { RequestStyle(rawValue: 8) }
  static var forwardedProto: RequestStyle { RequestStyle(rawValue: 16) }
  static var forwardedHost: RequestStyle { RequestStyle(rawValue: 32) }
  static var via: RequestStyle { RequestStyle(rawValue: 64) }

  init(_ plan: ForwardPlan) {
    self = []
    if plan.originalPath { insert(.originalPath) }
    if plan.rewriteHost { insert(.upstreamHost) }
    if plan.forwardTrailers { insert(.trailers) }
    if plan.setForwardedFor { insert(.forwardedFor) }
    if plan.setForwardedProto { insert(.forwardedProto) }
    if plan.setForwardedHost { insert(.forwardedHost) }
    if plan.setVia { insert(.via) }
  }
}

enum RequestComposer {
  /// Appends the head, without the empty line that ends it. `output` has room for four times the received head and 1 KiB.
  /// - Parameters:
  ///   - exchange: without its bytes, which are in `bytes`. Lent to be changed, though it is not: the compiler copies what is not.
  ///   - rule: names of fields that are left out.
  @inline(__always)
  static func compose(
    _ exchange: inout Exchange, _ bytes: Span<UInt8>, _ style: RequestStyle, without rule: HeaderNameSet, host: borrowing Buffer, peer: Span<UInt8>,
    isSecure: Bool, ids: inout RequestIDs, into output: inout Buffer
  ) {
    startLine(&exchange, bytes, style, &output)
    output.append(" HTTP/1.1\r\nHost: ")
    let asked = exchange.head.host
    if style.contains(.upstreamHost) || asked.isEmpty { output.append(host.bytes) } else { output.append(asked.text(in: bytes)) }
    output.append("\r\n")

    var dropped = rule
    let flags = exchange.head.flags
    let isCollected = exchange.flags.contains(.collected), isChunked = exchange.head.body == .chunked
    // Request trailers follow a chunked body, and what announces them goes along.
    if isChunked, !isCollected { dropped.remove(HeaderNameSet(.trailer)) }
    if flags.contains(.oddLength) { dropped.insert(HeaderNameSet(.contentLength)) }
    output.append(fields: exchange.head.records, of: bytes, without: dropped, connection: flags.contains(.namesConnectionFields))
    if isChunked || flags.contains(.oddLength) { framing(&exchange, isCollected: isCollected, &output) }
    if exchange.flags.contains(.upgrading) {
      upgrade(&exchange, &output)
    } else if style.contains(.trailers), flags.contains(.acceptsTrailers) {
      output.append("TE: trailers\r\nConnection: TE\r\n")
    }
    output.append("X-Request-Id: ")
    switch exchange.requestID {
    case .generated:
      ids.show(exchange.requestID)
      output.append(ids.generated)
    case .received(let text): output.append(text.text(in: bytes))
    }
    provenance(&exchange, bytes, style, peer, isSecure, &output)
  }

  /// How the end of the body is marked, where that is not as it was received.
  @inline(never)
  private static func framing(_ exchange: inout Exchange, isCollected: Bool, _ output: inout Buffer) {
    switch exchange.head.body {
    case .chunked where !isCollected: output.append("Transfer-Encoding: chunked\r\n")
    case .chunked: append(length: exchange.requestBody.count, &output)
    case .length(let length): append(length: length, &output)
    case .none, .untilClose: break
    }
  }

  @inline(never)
  private static func upgrade(_ exchange: inout Exchange, _ output: inout Buffer) {
    switch exchange.heldHead {
    case .some(let fields): output.append(fields.bytes)
    case .none: break
    }
  }

  private static func append(length: Int, _ output: inout Buffer) {
    output.append("Content-Length: ")
    output.append(decimal: length)
    output.append("\r\n")
  }

  /// The method and the target.
  @inline(__always)
  private static func startLine(_ exchange: inout Exchange, _ bytes: Span<UInt8>, _ style: RequestStyle, _ output: inout Buffer) {
    if exchange.head.method == .get {
      output.append("GET ")
    } else {
      output.append(exchange.head.methodText.text(in: bytes))
      output.append(" ")
    }
    let received = exchange.head.path
    if style.contains(.originalPath) {
      if received.isEmpty { output.append("/") } else { output.append(received.text(in: bytes)) }
    } else if exchange.path != nil {
      append(rewrittenPathOf: &exchange, &output)
    } else {
      append(received.text(in: bytes), from: Int(exchange.pathStart), &output)
    }
    if exchange.head.hasQuery {
      output.append("?")
      output.append(exchange.head.query.text(in: bytes))
    }
  }

  @inline(never)
  private static func append(rewrittenPathOf exchange: inout Exchange, _ output: inout Buffer) {
    switch exchange.path {
    case .some(let path): append(path.bytes, from: Int(exchange.pathStart), &output)
    case .none: break
    }
  }

  /// Appends `path` from its byte `start` on; past its end, nothing is left of it but the root.
  @inline(__always)
  private static func append(_ path: Span<UInt8>, from start: Int, _ output: inout Buffer) {
    if start < path.count { output.append(path.extracting(droppingFirst: start)) } else { output.append("/") }
  }

  /// Says through whom the request came; each line begins by ending the one before, and the last one ends itself.
  @inline(__always)
  private static func provenance(
    _ exchange: inout Exchange, _ bytes: Span<UInt8>, _ style: RequestStyle, _ peer: Span<UInt8>, _ isSecure: Bool, _ output: inout Buffer
  ) {
    let names = exchange.head.names, host = exchange.head.host
    if style.contains(.forwardedFor) {
      output.append("\r\nX-Forwarded-For: ")
      if names.contains(.forwardedFor) { output.append(listOf: .forwardedFor, exchange.head.records, bytes) }
      output.append(peer)
    }
    if style.contains(.forwardedProto) {
      if isSecure { output.append("\r\nX-Forwarded-Proto: https") } else { output.append("\r\nX-Forwarded-Proto: http") }
    }
    if style.contains(.forwardedHost), !host.isEmpty {
      output.append("\r\nX-Forwarded-Host: ")
      output.append(host.text(in: bytes))
    }
    if style.contains(.via) {
      let flags = exchange.head.flags
      if flags.isDisjoint(with: .version2), flags.contains(.version11), !names.contains(.via) { return output.append("\r\nVia: 1.1 gateway\r\n") }
      output.append("\r\nVia: ")
      if names.contains(.via) { output.append(viaOf: exchange.head.records, bytes) }
      output.append(flags.contains(.version2) ? "2.0 gateway" : flags.contains(.version11) ? "1.1 gateway" : "1.0 gateway")
    }
    output.append("\r\n")
  }
}
