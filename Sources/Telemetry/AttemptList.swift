// AttemptList — what the access log says of the attempts of one exchange: put together for one line, in the form that its format needs.

import HTTPModel
import Memory

/// The attempts of the exchange that the next line is about, where there was more than one.
struct AttemptList: ~Copyable {
  /// Objects of a JSON array, or plain text.
  private(set) var text = Buffer.absent
  private let isJSON: Bool

  /// Bytes at most; further attempts are left out.
  static var capacity: Int { 2048 }
  /// An attempt's bytes at most.
  private static var widest: Int { 192 }

  init(isJSON: Bool) { self.isJSON = isJSON }

  var isEmpty: Bool { text.isEmpty }

  mutating func clear() { text.removeAll() }

  /// Adds an attempt.
  /// - Parameters:
  ///   - endpoint: address and port; empty when there was none yet.
  ///   - status: of the response; 0 when `fault` says how it ended, or the attempt was cancelled.
  ///   - duration: microseconds.
  mutating func append(endpoint: Span<UInt8>, fault: Fault, status: UInt16, duration: Int64) {
    if text.capacity == 0 { text = Buffer(capacity: AttemptList.capacity) }
    guard text.freeCapacity >= AttemptList.widest, endpoint.count <= 64 else { return }
    if isJSON { appendObject(endpoint, fault, status, duration) } else { appendText(endpoint, fault, status, duration) }
  }

  private mutating func appendObject(_ endpoint: Span<UInt8>, _ fault: Fault, _ status: UInt16, _ duration: Int64) {
    text.append(text.isEmpty ? "{" : ",{")
    if !endpoint.isEmpty {
      text.append("\"endpoint\":\"")
      for index in endpoint.indices {
        // The path of a socket may have any byte.
        let byte = endpoint[index]
        text.append(byte < 0x20 || byte > 0x7e || byte == 0x22 || byte == 0x5c ? UInt8(ascii: "?") : byte)
      }
      text.append("\",")
    }
    if fault != .none {
      text.append("\"error.type\":\"")
      text.append(fault.row.token)
      text.append("\",")
    }
    if status == 0, fault == .none { text.append("\"cancelled\":true,") }
    if status > 0 {
      text.append("\"http.response.status_code\":")
      text.append(decimal: Int(status))
      text.append(",")
    }
    text.append("\"duration\":")
    append(seconds: duration)
    text.append("}")
  }

  private mutating func appendText(_ endpoint: Span<UInt8>, _ fault: Fault, _ status: UInt16, _ duration: Int64) {
    if !text.isEmpty { text.append(", ") }
    if endpoint.isEmpty { text.append("-") } else { text.append(endpoint) }
    text.append(" ")
    if fault != .none { text.append(fault.row.token) } else if status > 0 { text.append(decimal: Int(status)) } else { text.append("cancelled") }
    text.append(" ")
    append(seconds: duration)
  }

  private mutating func append(seconds duration: Int64) {
    let duration = max(0, duration)
    text.append(decimal: Int(duration / 1_000_000))
    text.append(".")
    var rest = duration % 1_000_000
    for _ in 0..<6 {
      text.append(UInt8(0x30 + rest / 100_000))
      rest = rest % 100_000 * 10
    }
  }
}
