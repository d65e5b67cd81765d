// FaultReference — the table of faults for people: docs/faults.md.

import HTTPModel

public enum FaultReference {
  /// The reference of all faults as Markdown.
  public static var markdown: String {
    var text = introduction
    for (side, title, sentence) in sides {
      text += "\n## \(title)\n\n\(sentence)\n\n"
      text += "| token | status | level | may be sent again | meaning |\n|---|---|---|---|---|\n"
      for row in FaultRow.table where row.fault != .none && row.side == side {
        text += "| `\(row.token)` | \(status(row)) | \(level(row)) | \(retry(row.retry)) | \(row.sentence) |\n"
      }
    }
    return text
  }

  private static let sides: [(side: FaultSide, title: String, sentence: String)] = [
    (.client, "The client's", "The request could not be served because of what the client sent, or because it went away."),
    (.gateway, "The gateway's", "The gateway would not or could not take the request on."),
    (.upstream, "The upstream's", "The backend could not be reached, or did not give a whole and well-formed response in time."),
  ]

  /// The status is sent only where no part of a response has been; then the connection is closed, or reset, instead.
  private static func status(_ row: FaultRow) -> String { row.status == 0 ? "–" : "\(row.status)" }

  static func level(_ row: FaultRow) -> String {
    switch row.severity {
    case 1: "debug"
    case 2: "info"
    case 3: "warn"
    default: "error"
    }
  }

  static func retry(_ retry: FaultRetry) -> String {
    switch retry {
    case .never: "no"
    case .always: "yes: no backend has seen it"
    case .ifIdempotent: "if the method is idempotent"
    case .onReusedConnection: "if the method is idempotent and the connection was a kept one"
    }
  }

  private static let introduction = """
    <!-- Generated from the table of faults (Sources/HTTPModel/Fault.swift). Do not edit. -->
    # Faults

    Every way in which a request can fail has a name, its token. The token stands in the access log (`error.type`, `$fault`), in the
    error log, in `/stats` under `faults`, and as `fault` in error bodies of type `application/problem+json`. Where RFC 9209 (Proxy-Status)
    knows an error type for it, that is the token.

    - **status** is what the client gets when no part of a response has been sent yet. When one has, the response is cut off instead:
      the connection is closed before the end that its framing promises, or reset where only the connection's end would mark it. Where there
      is no status (–), nobody is left to be answered; the access log then has the status of the response that had begun, or 499.
    - **level** is that of the line in the error log. Only requests that were forwarded and connections beyond `max_connections` have
      one; other failures are in the access log and the counters alone. Of each kind at most ten lines are written at once and
      then one a second, with the number of those left out.
    - **may be sent again** says when sending the request to a backend once more could do no harm. When a connection cannot be made, the
      backend's other addresses are tried before the request fails. Beyond that the gateway sends a request again where `proxy.retry` of its
      route asks for it, and in one case by itself: once, on a new connection, after `connection_terminated`, when the connection had
      served a request before, not a byte of a response had come, the method is idempotent (GET, HEAD, PUT, DELETE, OPTIONS, TRACE)
      and all of the request sent so far is still at hand.
    """
}
