// FuzzTarget — the parsers, and the whole gateway, that are fed arbitrary bytes, each under the name of its program and its corpus.
//
// A check runs a parser on the bytes and throws when what came out contradicts itself; a trap in the parser counts as
// well. The programs in Tests/Fuzz get their bytes from libFuzzer, the ordinary tests from Tests/Fuzz/corpus.

import Configuration
import Kernel
import Policy

/// One parser under test. The raw value names the program `fuzz-…` and the folder of the corpus.
public enum FuzzTarget: String, CaseIterable, Sendable {
  case requestHead = "request-head"
  case responseHead = "response-head"
  case chunkedBody = "chunked-body"
  case requestTarget = "request-target"
  case routePattern = "route-pattern"
  case configuration
  case accessLog = "access-log"
  case serverName = "server-name"
  case webSocket = "web-socket"
  case deflate
  case http2Session = "http2-session"
  case http2Response = "http2-response"
  case exchangeHTTP1 = "exchange-http1"
  case exchangeHTTP2 = "exchange-http2"
  case clientAddress = "client-address"

  /// Runs the parser on `bytes`.
  public func check(_ bytes: [UInt8]) throws(Violation) {
    switch self {
    case .requestHead: try checkRequestHead(bytes)
    case .responseHead: try checkResponseHead(bytes)
    case .chunkedBody: try checkChunkedBody(bytes)
    case .requestTarget: try checkRequestTarget(bytes)
    case .routePattern: fuzzPattern(bytes.span)
    case .configuration: fuzzConfiguration(bytes)
    case .accessLog: try checkAccessLog(bytes)
    case .serverName: try checkServerName(bytes)
    case .webSocket: try checkWebSocket(bytes)
    case .deflate: try checkDeflate(bytes)
    case .http2Session: try checkHTTP2Session(bytes)
    case .http2Response: try checkHTTP2Response(bytes)
    case .exchangeHTTP1: try checkExchange(bytes, isHTTP2: false)
    case .exchangeHTTP2: try checkExchange(bytes, isHTTP2: true)
    case .clientAddress: try checkClientAddress(bytes)
    }
  }

  /// For libFuzzer: runs the parser on the `count` bytes at `start`, and stops the program when the check throws.
  public func run(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    do throws(Violation) {
      try check(unsafe Array(UnsafeBufferPointer(start: start, count: count)))
    } catch {
      Files.write("\(rawValue): \(error)\n", to: 2)
      preconditionFailure()
    }
    return 0
  }
}

/// What a check found to be wrong.
public struct Violation: Error, CustomStringConvertible {
  public let description: String
}

/// Throws when `condition` does not hold.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(Violation) {
  if !condition { throw Violation(description: message()) }
}
