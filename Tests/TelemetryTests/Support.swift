// Support — a scratch directory, requests made from text, and a strict reader of flat JSON lines.

import Glibc
import HTTPModel
import Kernel
import Memory
import Testing

@testable import Telemetry

/// A directory of its own, removed with its files.
final class Scratch {
  let path: String

  init() {
    var template = Array("/tmp/telemetry-XXXXXX".utf8CString)
    path = unsafe template.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "/tmp" }
      return unsafe String(cString: made)
    }
  }

  deinit {
    for file in files { unsafe _ = unlink("\(path)/\(file)") }
    unsafe _ = rmdir(path)
  }

  var files: [String] { LogDirectory.files(in: path + "/").map(\.name).sorted() }

  func read(_ name: String) -> String {
    let descriptor = open("\(path)/\(name)", O_RDONLY)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = unsafe Glibc.read(descriptor, &chunk, chunk.count)
      if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk[..<count]
    }
  }

  func lines(_ name: String) -> [String] { read(name).split(separator: "\n").map(String.init) }

  func write(_ name: String, _ text: String) {
    let descriptor = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o640)
    let bytes = Array(text.utf8)
    unsafe _ = Glibc.write(descriptor, bytes, bytes.count)
    close(descriptor)
  }

  func open(_ name: String) throws -> Descriptor { try LogDirectory.open("\(path)/\(name)") }

  private func open(_ path: String, _ flags: CInt, _ mode: mode_t = 0) -> CInt { unsafe Glibc.open(path, flags, mode) }
}

/// A request head as the parser would leave it, made from the text of a request.
struct SampleRequest: ~Copyable {
  let bytes: [UInt8]
  var head = RequestHead()

  init(method: String = "GET", target: [UInt8], fields: [(String, [UInt8])] = []) {
    var bytes = Array(method.utf8) + [0x20]
    head.method = Method(method.utf8Span.span)
    head.methodText = Extent(0..<method.utf8.count)
    head.target = Extent(bytes.count..<bytes.count + target.count)
    let mark = target.firstIndex(of: UInt8(ascii: "?"))
    head.path = Extent(bytes.count..<bytes.count + (mark ?? target.count))
    if let mark { head.query = Extent(bytes.count + mark + 1..<bytes.count + target.count) }
    bytes += target + Array(" HTTP/1.1\r\n".utf8)
    for (name, value) in fields {
      let nameText = Extent(bytes.count..<bytes.count + name.utf8.count)
      bytes += Array("\(name): ".utf8)
      let valueText = Extent(bytes.count..<bytes.count + value.count)
      bytes += value + [0x0d, 0x0a]
      let known = HeaderName(name.utf8Span.span)
      if known == .host { head.host = valueText }
      if known != .other { head.names.insert(HeaderNameSet(known)) }
      _ = head.append(HeaderField(name: known, nameText: nameText, value: valueText))
    }
    self.bytes = bytes
  }

  /// What a log with `format` writes for the request.
  func line(_ format: String, _ entry: AccessEntry = sampleEntry, client: String = "192.0.2.7", requestID: String = "r-1") throws -> String {
    let scratch = Scratch()
    var log = AccessLog(
      format: try AccessLogFormat(format), descriptor: try scratch.open("access.log"), bufferSize: 4096, worker: "2.9",
      routes: ["/a/*rest", "/\"quoted\""], upstreams: ["web"])
    log.append(entry, head: head, bytes: bytes.span, client: client.utf8Span.span, requestID: requestID.utf8Span.span)
    log.flush()
    return scratch.read("access.log")
  }
}

let sampleEntry: AccessEntry = {
  var entry = AccessEntry()
  entry.status = 200
  entry.method = .get
  entry.route = 0
  entry.upstream = 0
  entry.attempts = 1
  entry.bytesReceived = 512
  entry.bytesSent = 123_456_789_012
  entry.bodyBytesSent = 1200
  entry.startedAt = 1_769_903_999_120_456
  entry.duration = 3_000
  entry.upstreamConnect = 150
  entry.upstreamHeader = 12_000_601
  return entry
}()

/// Reads one JSON object without nesting, strictly after RFC 8259. Nil when it is none.
struct FlatJSON {
  private let text: [Unicode.Scalar]
  private var position = 0

  static func parse(_ line: String) -> [String: String]? {
    var parser = FlatJSON(text: Array(line.unicodeScalars))
    return parser.object()
  }

  private init(text: [Unicode.Scalar]) { self.text = text }

  private mutating func object() -> [String: String]? {
    guard skip("{") else { return nil }
    var members: [String: String] = [:]
    repeat {
      guard let key = string(), skip(":"), let value = value(), members[key] == nil else { return nil }
      members[key] = value
    } while skip(",")
    guard skip("}"), position == text.count else { return nil }
    return members
  }

  private mutating func value() -> String? {
    if position < text.count, text[position] == "\"" { return string() }
    let start = position
    while position < text.count, "0123456789.nultrefas".unicodeScalars.contains(text[position]) { position += 1 }
    let value = String(String.UnicodeScalarView(text[start..<position]))
    guard ["null", "true", "false"].contains(value) || Double(value) != nil else { return nil }
    if value.count > 1, value.first == "0", value.dropFirst().first != "." { return nil }
    return value
  }

  private mutating func string() -> String? {
    guard skip("\"") else { return nil }
    var value = String.UnicodeScalarView()
    while position < text.count {
      let scalar = text[position]
      position += 1
      if scalar == "\"" { return String(value) }
      guard scalar.value >= 0x20 else { return nil }
      guard scalar == "\\" else {
        value.append(scalar)
        continue
      }
      guard position < text.count else { return nil }
      let escape = text[position]
      position += 1
      switch escape {
      case "\"", "\\", "/": value.append(escape)
      case "n": value.append("\n")
      case "r": value.append("\r")
      case "t": value.append("\t")
      case "u":
        guard position + 4 <= text.count, let code = UInt32(String(String.UnicodeScalarView(text[position..<position + 4])), radix: 16),
          let decoded = Unicode.Scalar(code)
        else { return nil }
        value.append(decoded)
        position += 4
      default: return nil
      }
    }
    return nil
  }

  private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
    guard position < text.count, text[position] == scalar else { return false }
    position += 1
    return true
  }
}
