// ScriptedServer — a DNS server on loopback that answers as a test says, in the test's own thread.

import Glibc
import Kernel

final class ScriptedServer {
  struct Question: Hashable {
    var name: String
    var type: UInt16
  }

  enum Record {
    case a(String, UInt32)
    case aaaa(String, UInt32)
    case alias(String, UInt32)
    case service(UInt16, UInt16, UInt16, String, UInt32)
  }

  enum Answer {
    case records([Record])
    case code(UInt8)
    case bytes([UInt8])
    case silence
  }

  let port: UInt16
  private let socket: CInt
  var answers: [Question: Answer] = [:]
  var asked: [Question] = []

  init() {
    socket = Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let socket = socket
    unsafe withUnsafeMutablePointer(to: &address) { pointer in
      let generic = unsafe UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
      unsafe _ = bind(socket, generic, length)
      unsafe _ = getsockname(socket, generic, &length)
    }
    port = UInt16(bigEndian: address.sin_port)
  }

  deinit { close(socket) }

  /// Answers what has come.
  func proceed() {
    while true {
      var bytes = [UInt8](repeating: 0, count: 4096)
      var address = sockaddr_in()
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let count = unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe recvfrom(socket, &bytes, bytes.count, 0, UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), &length)
      }
      guard count > 12 else { return }
      guard let reply = reply(to: Array(bytes.prefix(count))) else { continue }
      unsafe _ = withUnsafeMutablePointer(to: &address) { pointer in
        unsafe sendto(socket, reply, reply.count, 0, UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), length)
      }
    }
  }

  private func reply(to query: [UInt8]) -> [UInt8]? {
    var labels: [String] = []
    var position = 12
    while position < query.count, query[position] != 0 {
      let end = position + 1 + Int(query[position])
      labels.append(String(decoding: query[(position + 1)..<min(end, query.count)], as: UTF8.self))
      position = end
    }
    guard position + 5 <= query.count else { return nil }
    let question = Question(name: labels.joined(separator: ".").lowercased(), type: UInt16(query[position + 1]) << 8 | UInt16(query[position + 2]))
    asked.append(question)
    var head: [UInt8] = [query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]
    let body = Array(query[12..<(position + 5)])
    switch answers[question] ?? .code(3) {
    case .silence: return nil
    case .bytes(let bytes): return [query[0], query[1]] + bytes
    case .code(let code):
      head[3] |= code
      return head + body
    case .records(let records):
      head[6] = UInt8(records.count >> 8)
      head[7] = UInt8(records.count & 0xff)
      return head + body + records.flatMap(Self.encode)
    }
  }

  private static func encode(_ record: Record) -> [UInt8] {
    func words(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
    func frame(_ type: UInt16, _ seconds: UInt32, _ data: [UInt8]) -> [UInt8] {
      [0xc0, 12] + words(type) + [0, 1] + words(UInt16(seconds >> 16)) + words(UInt16(seconds & 0xffff)) + words(UInt16(data.count)) + data
    }
    func name(_ text: String) -> [UInt8] { text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0] }
    switch record {
    case .a(let text, let seconds):
      let low = IPAddress(text)!.low
      return frame(1, seconds, [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: low >> $0) })
    case .aaaa(let text, let seconds):
      let address = IPAddress(text)!
      return frame(28, seconds, [address.high, address.low].flatMap { word in stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> UInt64($0)) } })
    case .alias(let to, let seconds): return frame(5, seconds, name(to))
    case .service(let priority, let weight, let port, let target, let seconds):
      return frame(33, seconds, words(priority) + words(weight) + words(port) + name(target))
    }
  }
}
