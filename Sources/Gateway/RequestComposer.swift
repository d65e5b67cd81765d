// RequestComposer — the head of a request as the backend gets it (RFC 9110 §7.6, RFC 9112 §3).
//
// Everything is written anew from parsed parts: method, the normalised path, the fields that are for the backend, in
// their order and with their duplicates, and the fields that say where the request came from.

import HTTPModel
import Memory
import Plan
import Wire

enum RequestComposer {
  /// Appends the head, without the empty line that ends it. `output` has room for four times the received head and 1 KiB.
  @inline(__always)
  static func compose(
    _ exchange: inout Exchange, _ rule: ForwardRule, host: borrowing Buffer, peer: Span<UInt8>, isSecure: Bool,
    ids: inout RequestIDs, into output: inout Buffer
  ) {
    let bytes = exchange.bytes.bytes
    startLine(exchange, rule.plan, bytes, &output)

    output.append("Host: ")
    if rule.plan.rewriteHost || exchange.head.host.isEmpty {
      output.append(host.bytes)
    } else {
      output.append(exchange.head.host.text(in: bytes))
    }
    output.append("\r\n")

    var dropped = rule.dropped
    let isCollected = exchange.flags.contains(.collected)
    // Request trailers follow a chunked body, and what announces them goes along.
    if exchange.head.body == .chunked, !isCollected { dropped.remove(HeaderNameSet(.trailer)) }
    let isOdd = exchange.head.flags.contains(.oddLength)
    if isOdd { dropped.insert(HeaderNameSet(.contentLength)) }
    output.append(
      fields: exchange.head.records, of: bytes, without: dropped, connection: exchange.head.flags.contains(.namesConnectionFields))
    if isCollected, exchange.head.body == .chunked {
      append(length: exchange.requestBody.count, &output)
    } else if isOdd, case .length(let length) = exchange.head.body {
      append(length: length, &output)
    } else if exchange.head.body == .chunked {
      output.append("Transfer-Encoding: chunked\r\n")
    }
    if exchange.flags.contains(.upgrading) {
      append(upgradeOf: exchange, &output)
    } else if rule.plan.forwardTrailers, exchange.head.flags.contains(.acceptsTrailers) {
      output.append("TE: trailers\r\nConnection: TE\r\n")
    }
    provenance(exchange, rule.plan, bytes, peer, isSecure, &output)
    output.append("X-Request-Id: ")
    switch exchange.requestID {
    case .generated:
      ids.show(exchange.requestID)
      output.append(ids.generated)
    case .received(let text): output.append(text.text(in: bytes))
    }
    output.append("\r\n")
  }

  @inline(never)
  private static func append(upgradeOf exchange: borrowing Exchange, _ output: inout Buffer) {
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

  @inline(__always)
  private static func startLine(_ exchange: borrowing Exchange, _ plan: ForwardPlan, _ bytes: Span<UInt8>, _ output: inout Buffer) {
    output.append(exchange.head.methodText.text(in: bytes))
    output.append(" ")
    if plan.originalPath {
      output.append(exchange.head.path.isEmpty ? "/" : "")
      output.append(exchange.head.path.text(in: bytes))
    } else {
      path(exchange, bytes, &output)
    }
    if exchange.head.hasQuery {
      output.append("?")
      output.append(exchange.head.query.text(in: bytes))
    }
    output.append(" HTTP/1.1\r\n")
  }

  @inline(__always)
  private static func path(_ exchange: borrowing Exchange, _ bytes: Span<UInt8>, _ output: inout Buffer) {
    switch exchange.path {
    case .some(let path): append(path.bytes, from: Int(exchange.pathStart), &output)
    case .none: append(exchange.head.path.text(in: bytes), from: Int(exchange.pathStart), &output)
    }
  }

  /// Appends `path` from its byte `start` on; past its end, nothing is left of it but the root.
  @inline(__always)
  private static func append(_ path: Span<UInt8>, from start: Int, _ output: inout Buffer) {
    if start < path.count { output.append(path.extracting(droppingFirst: start)) } else { output.append("/") }
  }

  /// Says through whom the request came.
  @inline(__always)
  private static func provenance(
    _ exchange: borrowing Exchange, _ plan: ForwardPlan, _ bytes: Span<UInt8>, _ peer: Span<UInt8>, _ isSecure: Bool, _ output: inout Buffer
  ) {
    let names = exchange.head.names
    if plan.setForwardedFor {
      output.append("X-Forwarded-For: ")
      if names.contains(.forwardedFor) { output.append(listOf: .forwardedFor, exchange.head.records, bytes) }
      output.append(peer)
      output.append("\r\n")
    }
    if plan.setForwardedProto {
      if isSecure { output.append("X-Forwarded-Proto: https\r\n") } else { output.append("X-Forwarded-Proto: http\r\n") }
    }
    if plan.setForwardedHost, !exchange.head.host.isEmpty {
      output.append("X-Forwarded-Host: ")
      output.append(exchange.head.host.text(in: bytes))
      output.append("\r\n")
    }
    if plan.setVia {
      output.append("Via: ")
      if names.contains(.via) { output.append(viaOf: exchange.head.records, bytes) }
      let flags = exchange.head.flags
      output.append(flags.contains(.version2) ? "2.0 gateway\r\n" : flags.contains(.version11) ? "1.1 gateway\r\n" : "1.0 gateway\r\n")
    }
  }
}
