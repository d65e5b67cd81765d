// AccessLineJSON — the line of the built-in format `json`.
//
// The members have the attribute names of the OpenTelemetry semantic conventions where these know one, and
// `gateway.` in front where they do not; what is absent has no member. This line is written for most requests
// of most installations, so it is code rather than a table: its keys become a few wide stores each.

import HTTPModel
import Memory

extension AccessLine {
  /// Bytes of all keys and of the widest values, without those that count as values of unbounded length.
  static var widestJSON: Int { 1312 }

  /// Adds the line to `lines`, line feed included.
  @inline(__always)
  func writeJSON(
    _ entry: borrowing AccessEntry, _ head: borrowing RequestHead, _ program: borrowing AccessProgram, _ connection: borrowing ConnectionFacts,
    _ attempts: borrowing AttemptList, _ endpoint: borrowing Buffer, _ time: borrowing LogTime, into lines: inout LineBuffer
  ) {
    var line = lines.newLine(upTo: AccessProgram.lineLimit, reserve: program.reserve + attempts.text.count + 24)
    line.append("{\"time\":\"")
    AccessLine.put(time, microseconds, &line)
    line.append("\",\"client.address\":\"")
    line.append(text: client, style: .json)
    if !requestID.isEmpty {
      line.append("\",\"gateway.request_id\":\"")
      line.append(text: requestID, style: .json)
    }
    let isParsed = isParsed(head)
    if isParsed {
      line.append("\",\"http.request.method\":\"")
      line.append(text: text(head.methodText), style: .json)
      line.append("\",\"server.address\":\"")
      line.append(text: text(AccessLine.hostWithoutPort(head, bytes)), style: .json)
      line.append("\",\"url.path\":\"")
      line.append(text: text(head.path), style: .json)
      if !head.query.isEmpty {
        line.append("\",\"url.query\":\"")
        line.append(text: text(head.query), style: .json)
      }
    }
    switch entry.version {
    case .http11: line.append("\",\"network.protocol.version\":\"1.1\",\"http.response.status_code\":")
    case .http10: line.append("\",\"network.protocol.version\":\"1.0\",\"http.response.status_code\":")
    case .http2: line.append("\",\"network.protocol.version\":\"2\",\"http.response.status_code\":")
    }
    line.append(decimal: UInt64(entry.status))
    line.append(",\"http.request.size\":")
    line.append(decimal: entry.bytesReceived)
    line.append(",\"http.response.size\":")
    line.append(decimal: entry.bytesSent)
    line.append(",\"http.response.body.size\":")
    line.append(decimal: entry.bodyBytesSent)
    line.append(",\"http.server.request.duration\":")
    AccessLine.put(seconds: UInt64(max(0, entry.duration)), &line)
    if entry.route >= 0 {
      line.append(",\"http.route\":\"")
      AccessLine.put(name: program.routes[entry.route], .json, &line)
      line.append(UInt8(ascii: "\""))
    }
    if entry.upstream >= 0 { writeUpstream(entry, program, endpoint, &line) }
    if !attempts.isEmpty {
      line.append(",\"gateway.attempts\":[")
      line.append(attempts.text.bytes)
      line.append("]")
    }
    if entry.callStatus >= 0 {
      line.append(",\"rpc.grpc.status_code\":")
      line.append(decimal: UInt64(entry.callStatus))
    }
    if connection.isSecure { write(connection, &line) }
    if entry.fault != .none {
      line.append(",\"error.type\":\"")
      AccessLine.put(name: program.faults[Int32(entry.fault.rawValue)], .json, &line)
      line.append(UInt8(ascii: "\""))
    }
    if isParsed, head.names.contains(.userAgent) {
      line.append(",\"user_agent.original\":\"")
      line.append(text: text(AccessLine.value(of: .userAgent, head)), style: .json)
      line.append("\"}\n")
    } else {
      line.append("}\n")
    }
    let count = line.count
    lines.commit(count)
  }

  @inline(never)
  private func write(_ connection: borrowing ConnectionFacts, _ line: inout LineWriter) {
    let text = connection.text.bytes
    line.append(",\"url.scheme\":\"https\",\"tls.protocol.version\":\"")
    // Without "TLSv".
    line.append(text: text.extracting(min(connection.version.upper, connection.version.lower + 4)..<connection.version.upper), style: .json)
    line.append("\",\"tls.cipher\":\"")
    line.append(text: connection.cipher.text(in: text), style: .json)
    if connection.isResumed { line.append("\",\"tls.resumed\":true") } else { line.append("\",\"tls.resumed\":false") }
    if !connection.serverName.isEmpty {
      line.append(",\"tls.client.server_name\":\"")
      line.append(text: connection.serverName.text(in: text), style: .json)
      line.append(UInt8(ascii: "\""))
    }
    guard !connection.fingerprint.isEmpty else { return }
    line.append(",\"tls.client.subject\":\"")
    line.append(text: connection.subject.text(in: text), style: .json)
    line.append("\",\"tls.client.hash.sha256\":\"")
    line.append(text: connection.fingerprint.text(in: text), style: .json)
    line.append(UInt8(ascii: "\""))
  }

  @inline(__always)
  private func writeUpstream(_ entry: borrowing AccessEntry, _ program: borrowing AccessProgram, _ endpoint: borrowing Buffer, _ line: inout LineWriter) {
    line.append(",\"gateway.upstream\":\"")
    AccessLine.put(name: program.upstreams[entry.upstream], .json, &line)
    if !endpoint.isEmpty {
      line.append("\",\"gateway.upstream.endpoint\":\"")
      line.append(text: endpoint.bytes, style: .json)
    }
    line.append("\",\"gateway.upstream.attempts\":")
    line.append(decimal: UInt64(entry.attempts))
    if entry.upstreamConnect >= 0 {
      line.append(",\"gateway.upstream.connect_time\":")
      AccessLine.put(seconds: UInt64(entry.upstreamConnect), &line)
    }
    if entry.upstreamHeader >= 0 {
      line.append(",\"gateway.upstream.header_time\":")
      AccessLine.put(seconds: UInt64(entry.upstreamHeader), &line)
    }
  }
}
