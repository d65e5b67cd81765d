// ExchangeRecords — what the far ends have sent and what they have got: the facts that a run is judged by.

import ScriptedNetwork

/// A request that a client has begun to send.
struct SentRequest {
  let tag: Int
  let client: Int
  var step: RequestStep
  /// Over HTTP/1.1, where its head ends in the client's bytes.
  var headEnd = 0

  /// Whether doing it twice does something twice (RFC 9110 §9.2.2).
  var hasSideEffects: Bool { step.method == "POST" }
}

/// A response that a backend has begun to send, to the request with `tag`; -1: nobody had asked.
struct SentResponse {
  let id: Int
  let tag: Int
  let backend: Int
  let status: Int
  /// Over HTTP/2, its stream.
  var stream = 0
  /// Over HTTP/1.1: where its head and all of it end in the backend's bytes.
  var headEnd = 0
  var end = 0
  /// Bytes of its body: over HTTP/1.1 those it is to have, over HTTP/2 those sent so far.
  var size = 0
  var endsByClosing = false
  /// Over HTTP/2: END_STREAM has been sent.
  var hasEnded = false
}

/// What a client has got in answer to one request.
struct Answer {
  /// The final status; 0: none.
  var status = 0
  var isWhole = false
  var body: [UInt8] = []
  /// The number of the backend's response, and the tag it was meant for; nil: the gateway's own answer.
  var response: Int?
  var responseTag: Int?
}

/// A line of the access log.
struct LoggedRequest {
  var status: Int
  var fault: String
  var attempts: Int
}

/// The byte at `position` of the body of response `id`: no two bodies are the same.
func patternByte(_ id: Int, _ position: Int) -> UInt8 { UInt8(0x61 + (position + id * 7) % 26) }

func pattern(_ id: Int, from start: Int, count: Int) -> [UInt8] { (start..<start + count).map { patternByte(id, $0) } }

/// The bytes that the gateway has sent on an end.
func sentBytes(_ end: Int) -> [UInt8] {
  var count = 0
  let start = unsafe scripted_sent(CInt(end), &count)
  return unsafe Array(UnsafeBufferPointer(start: start, count: count))
}

extension LoggedRequest {
  /// The lines of the log by tag; a tag may have several, which is what is looked for.
  static func readAll() throws(Violation) -> [Int: [LoggedRequest]] {
    var count = 0
    let start = unsafe scripted_logged(&count)
    let lines = unsafe text(UnsafeBufferPointer(start: start, count: count)).split(separator: "\n")
    var result: [Int: [LoggedRequest]] = [:]
    for line in lines {
      let parts = line.split(separator: " ")
      guard parts.count == 4, let status = Int(parts[1]), let attempts = Int(parts[3]) else { throw Violation(description: "a log line: \(line)") }
      guard let tag = tag(of: parts[0]) else { continue }
      result[tag, default: []].append(LoggedRequest(status: status, fault: String(parts[2]), attempts: attempts))
    }
    return result
  }
}

/// The tag in a path: `/2/t17` and, where the prefix is stripped, `/t17`.
func tag(of path: some StringProtocol) -> Int? {
  guard let last = path.split(separator: "/").last, last.first == "t" else { return nil }
  return Int(last.dropFirst())
}
