// AccessLogCheck — access-log lines: whatever a client sent, a request is one line, and a JSON line is JSON.
//
// The first byte chooses the format; the next five are lengths of the parts that follow: target, host, user agent,
// referer, request id.

import CLinux
import HTTPModel
import Kernel
import Memory
import Telemetry

private let formats = [
  "json", "combined", #"$host "$http_x_other" $request_id $uri $query"#, #"{"t":"$request","h":"$http_user_agent","p":"$path"}"#,
]

func checkAccessLog(_ bytes: [UInt8]) throws(Violation) {
  let choice = Int(bytes.first ?? 0)
  var rest = bytes.dropFirst(6)
  var parts: [[UInt8]] = []
  for index in 1...5 {
    let size = index < bytes.count ? Int(bytes[index]) : 0
    // Long parts as well: the last quarter of the range counts sixty-four times.
    let part = rest.prefix(size < 192 ? size : (size - 192) * 64)
    parts.append(Array(part))
    rest = rest[part.endIndex...]
  }
  let format = formats[choice % formats.count]
  let line = try write(format, parts, status: UInt16(choice) * 4)
  try require(line.last == 0x0a && line.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7f }, "a request is not one line of text")
  try require(line.count <= 4096, "the line is too long")
  if format == "json" || format.hasPrefix("{") {
    try require(FlatJSON.accepts(line.dropLast()), "a JSON line is not JSON: \(text(line))")
  } else {
    try require(line.allSatisfy { $0 < 0x80 }, "a plain line is not ASCII")
  }
}

/// The line of a request with these parts, which need not be what a parser would let through.
private func write(_ format: String, _ parts: [[UInt8]], status: UInt16) throws(Violation) -> [UInt8] {
  var request: [UInt8] = Array("GET ".utf8)
  var head = RequestHead()
  head.method = .get
  head.methodText = Extent(0..<3)
  head.target = Extent(4..<4 + parts[0].count)
  let mark = parts[0].firstIndex(of: 0x3f) ?? parts[0].count
  head.path = Extent(4..<4 + mark)
  if mark < parts[0].count { head.query = Extent(5 + mark..<4 + parts[0].count) }
  request += parts[0]
  for (name, part) in zip(["Host", "User-Agent", "Referer"], parts[1...3]) {
    let start = request.count
    request += Array(name.utf8) + part
    let nameText = Extent(start..<start + name.utf8.count), value = Extent(start + name.utf8.count..<request.count)
    let known = HeaderName(name.utf8Span.span)
    if known == .host { head.host = value }
    head.names.insert(HeaderNameSet(known))
    _ = head.append(HeaderField(name: known, nameText: nameText, value: value))
  }
  var entry = AccessEntry()
  entry.status = status
  entry.method = .get
  entry.startedAt = 1_769_903_999_120_456
  entry.bytesSent = UInt64(request.count)
  do {
    let file = try Descriptor(owning: unsafe clx_memory_file("access-log"))
    var log = AccessLog(format: try AccessLogFormat(format), descriptor: try file.duplicate(), bufferSize: 4096)
    let client = Array("2001:db8::7".utf8), requestID = parts[4]
    log.append(entry, head: head, bytes: request.span, client: client.span, requestID: requestID.span)
    log.flush()
    try require(log.isEmpty && log.dropped == 0, "a line was lost")
    return contents(of: file)
  } catch let violation as Violation {
    throw violation
  } catch {
    throw Violation(description: "the log cannot be set up: \(error)")
  }
}

private func contents(of file: borrowing Descriptor) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: 16_384)
  let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(file.raw, $0.baseAddress, $0.count, 0) }
  return Array(bytes.prefix(max(0, count)))
}
