// ProcessFiles — what /proc tells of other processes: their descriptors, and the TCP connections behind them.
//
// Nobody is asked: it works when the process in question does not answer.

import Glibc
import Kernel

/// A TCP connection as /proc/net/tcp has it.
struct KernelConnection: Equatable {
  let local: String
  let localPort: Int
  let remote: String
  let remotePort: Int
  /// `ESTABLISHED`, `CLOSE-WAIT`, …
  let state: String
  /// Bytes that wait to be sent, and to be read.
  let sending: Int
  let waiting: Int
}

enum ProcessFiles {
  /// The text of a small file; nil when it cannot be read.
  static func text(_ path: String, limit: Int = 64 << 20) -> String? {
    guard let file = try? Descriptor(owning: unsafe open(path, O_RDONLY | O_CLOEXEC)) else { return nil }
    var bytes: [UInt8] = []
    while bytes.count < limit, let part = Files.read(file.raw, limit: 1 << 16), !part.isEmpty { bytes += part }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The descriptors of a process and what each is, such as `socket:[4711]`.
  static func descriptors(of process: ProcessID) -> [(number: Int, target: String)] {
    guard let directory = unsafe opendir("/proc/\(process)/fd") else { return [] }
    defer { unsafe closedir(directory) }
    var found: [(Int, String)] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) } }
      guard let number = Int(name) else { continue }
      var space = [CChar](repeating: 0, count: Int(PATH_MAX))
      let count = unsafe readlink("/proc/\(process)/fd/\(number)", &space, space.count)
      if count > 0 { found.append((number, String(decoding: space[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self))) }
    }
    return found
  }

  /// The TCP connections of this network namespace, by the number of their socket; listening sockets excluded.
  static func connections() -> [Int: KernelConnection] {
    var found: [Int: KernelConnection] = [:]
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
      for line in (text(file) ?? "").split(separator: "\n").dropFirst() {
        guard let (number, connection) = parse(line) else { continue }
        found[number] = connection
      }
    }
    return found
  }

  /// One line of /proc/net/tcp or tcp6.
  static func parse(_ line: Substring) -> (number: Int, connection: KernelConnection)? {
    let words = line.split(separator: " ")
    guard words.count > 9, let number = Int(words[9]), number > 0, let (local, localPort) = endpoint(words[1]), let (remote, remotePort) = endpoint(words[2]),
      let code = Int(words[3], radix: 16), states.indices.contains(code), code != 10
    else { return nil }
    let queues = words[4].split(separator: ":").map { Int($0, radix: 16) ?? 0 }
    return (
      number,
      KernelConnection(
        local: local, localPort: localPort, remote: remote, remotePort: remotePort, state: states[code], sending: queues.first ?? 0, waiting: queues.last ?? 0)
    )
  }

  private static let states = ["?", "ESTABLISHED", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "NEW"]

  /// `0100007F:1F90`: each group of eight digits is a word in the machine's byte order.
  private static func endpoint(_ text: Substring) -> (String, Int)? {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let port = Int(parts[1], radix: 16), parts[0].count == 8 || parts[0].count == 32 else { return nil }
    var bytes: [UInt8] = []
    var rest = parts[0]
    while !rest.isEmpty {
      guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
      for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
      rest = rest.dropFirst(8)
    }
    if bytes.count == 16, bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] { bytes = Array(bytes.suffix(4)) }
    if bytes.count == 4 { return (bytes.map(String.init).joined(separator: "."), port) }
    let groups = stride(from: 0, to: 16, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }
    return ("[" + groups.joined(separator: ":") + "]", port)
  }
}
