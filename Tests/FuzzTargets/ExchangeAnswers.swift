// ExchangeAnswers — what an HTTP/1.1 client makes of the bytes that it was sent, read the obvious way and as strictly as RFC 9112 says.

/// Reads the answers to `requests`, in order.
/// - Parameter hasEnded: the gateway has finished sending, in good order.
func readAnswers(_ bytes: [UInt8], to requests: [SentRequest], hasEnded: Bool) throws(Violation) -> [Int: Answer] {
  var answers: [Int: Answer] = [:]
  var position = 0
  var isOver = false
  for request in requests {
    if position == bytes.count { break }
    try require(!isOver, "bytes behind a response that ends the connection, to \(request.tag): \(text(bytes[position...].prefix(200)))")
    var answer = Answer()
    isOver = try readAnswer(bytes, &position, to: request, hasEnded: hasEnded, &answer)
    answers[request.tag] = answer
    if !answer.isWhole { break }
  }
  try require(position == bytes.count, "bytes that answer nothing: \(text(bytes[position...].prefix(200)))")
  return answers
}

/// Reads one answer; true when nothing may come behind it.
private func readAnswer(_ bytes: [UInt8], _ position: inout Int, to request: SentRequest, hasEnded: Bool, _ answer: inout Answer) throws(Violation) -> Bool {
  while true {
    guard let headEnd = bytes.position(of: lineEnd + lineEnd, from: position) else {
      // What has come of a head is the beginning of one.
      let begin = Array("HTTP/1.\(request.step.isVersion10 ? 0 : 1) ".utf8)
      let piece = bytes[position...]
      try require(piece.prefix(begin.count).elementsEqual(begin.prefix(piece.count)), "not the beginning of a head: \(text(piece.prefix(200)))")
      position = bytes.count
      return true
    }
    let lines = Array(bytes[position..<headEnd]).pieces(between: lineEnd)
    position = headEnd + 4
    let line = text(lines[0])
    // Whoever asks in HTTP/1.0 is answered in it, unless it had not been said yet.
    guard line.hasPrefix("HTTP/1.\(request.step.isVersion10 ? 0 : 1) ") || line.hasPrefix("HTTP/1.1 408 "), line.utf8.count >= 12, let status = Int(line.dropFirst(9).prefix(3)), 100...599 ~= status else {
      throw Violation(description: "a status line: \(line)")
    }
    var fields: [(name: String, value: String)] = []
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: 0x3a), Array(line[..<colon]).isToken, Array(line[(colon + 1)...]).isFieldValue else {
        throw Violation(description: "a field line: \(text(line))")
      }
      fields.append((text(line[..<colon].lowercased), text(Array(line[(colon + 1)...]).trimmed)))
    }
    func values(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }
    if status < 200 {
      try require(!request.step.isVersion10 && status != 101, "an interim response to HTTP/1.0, or an upgrade: \(line)")
      try require(values("content-length").isEmpty && values("transfer-encoding").isEmpty, "an interim response with a length")
      continue
    }
    answer.status = status
    answer.response = values("x-response").first.flatMap { Int($0) }
    answer.responseTag = values("x-tag").first.flatMap { Int($0) }
    let isClosing = values("connection").contains { $0.lowercased() == "close" }
    let lengths = values("content-length"), codings = values("transfer-encoding")
    try require(lengths.count <= 1 && codings.count <= 1 && (lengths.isEmpty || codings.isEmpty), "two lengths")
    try require(values("date").count <= 1 && values("via").count <= 2, "fields that are repeated")
    // (A 408 is given before it is known what was asked.)
    if request.step.method == "HEAD" && status != 408 || status == 204 || status == 304 {
      try require(status != 204 || (lengths.isEmpty && codings.isEmpty), "204 with a length")
      answer.isWhole = true
      return isClosing
    }
    if let coding = codings.first {
      try require(coding == "chunked" && !request.step.isVersion10, "the coding \(coding)")
      answer.isWhole = try readChunks(bytes, &position, &answer.body)
      return isClosing || !answer.isWhole
    }
    if let length = lengths.first {
      guard let count = Int(length), count >= 0 else { throw Violation(description: "the length \(length)") }
      let end = min(bytes.count, position + count)
      answer.body = Array(bytes[position..<end])
      answer.isWhole = end == position + count
      position = end
      return isClosing || !answer.isWhole
    }
    // Only the end of the connection ends it.
    try require(request.step.isVersion10, "a body without an end for HTTP/1.1")
    answer.body = Array(bytes[position...])
    answer.isWhole = hasEnded
    position = bytes.count
    return true
  }
}

/// Reads chunks (RFC 9112 §7.1) and the trailers behind them; true when they have an end.
private func readChunks(_ bytes: [UInt8], _ position: inout Int, _ body: inout [UInt8]) throws(Violation) -> Bool {
  while true {
    guard let lineBreak = bytes.position(of: lineEnd, from: position) else {
      try require(bytes.count - position < 20, "a chunk's size without an end")
      position = bytes.count
      return false
    }
    guard let size = Int(text(bytes[position..<lineBreak]), radix: 16), size >= 0 else {
      throw Violation(description: "the size of a chunk: \(text(bytes[position..<lineBreak]))")
    }
    position = lineBreak + 2
    guard size > 0 else { break }
    let end = min(bytes.count, position + size)
    body += bytes[position..<end]
    position = end
    guard end < bytes.count else { return false }
    try require(bytes[position...].prefix(2).elementsEqual(lineEnd.prefix(bytes.count - position)), "no line end behind a chunk")
    position = min(bytes.count, position + 2)
    if position == bytes.count { return false }
  }
  while true {
    guard let lineBreak = bytes.position(of: lineEnd, from: position) else {
      position = bytes.count
      return false
    }
    let line = Array(bytes[position..<lineBreak])
    position = lineBreak + 2
    if line.isEmpty { return true }
    try require(line.firstIndex(of: 0x3a).map { Array(line[..<$0]).isToken } == true, "a trailer: \(text(line))")
  }
}
