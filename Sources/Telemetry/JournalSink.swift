// JournalSink — events as entries of the systemd journal, with fields that can be searched for.
//
// Its native protocol: one datagram for each entry, of lines `FIELD=value`. Not by libsystemd, whose sending waits when the
// journal is slow: a worker must not. Invariant: no value has a line feed.

import Glibc
import Kernel
import Plan

/// The journal as one process writes to it.
struct JournalSink: ~Copyable {
  /// Where the journal listens.
  static var path: String { "/run/systemd/journal/socket" }

  private var socket: DatagramSocket
  /// The fields that are the same in every entry.
  private let common: [UInt8]

  /// - Parameters:
  ///   - worker: slot and generation, `0.7`; nil in the master.
  ///   - path: where the journal listens.
  init?(worker: String?, path: String = JournalSink.path) {
    guard let address = SocketAddress(unixPath: path) else { return nil }
    socket = DatagramSocket(to: address)
    var text = "SYSLOG_IDENTIFIER=gatewayd\n"
    if let worker {
      let parts = worker.split(separator: ".", maxSplits: 1)
      text += "GATEWAY_WORKER=\(parts.first ?? "")\n"
      if parts.count > 1 { text += "GATEWAY_GENERATION=\(parts[1])\n" }
    }
    common = Array(text.utf8)
  }

  /// Whether this descriptor is the stream that the service manager has connected to the journal: `$JOURNAL_STREAM` has its device and inode.
  static func isStream(_ raw: CInt, _ variable: String?) -> Bool {
    guard let variable else { return false }
    let numbers = variable.split(separator: ":").map { UInt64($0) }
    var status = stat()
    guard numbers.count == 2, unsafe fstat(raw, &status) == 0 else { return false }
    return numbers[0] == UInt64(status.st_dev) && numbers[1] == UInt64(status.st_ino)
  }

  /// - Parameters:
  ///   - message: without control characters.
  ///   - event: the kind of event, where it is one that comes often.
  /// Returns false when the journal has not taken it.
  mutating func send(_ level: LogPlan.Level, _ message: Span<UInt8>, event: String?) -> Bool {
    var entry = common
    entry += "PRIORITY=\(Syslog.severity(level))\n".utf8
    if let event { entry += "GATEWAY_EVENT=\(event)\n".utf8 }
    entry += "MESSAGE=".utf8
    for index in message.indices { entry.append(message[index]) }
    entry.append(UInt8(ascii: "\n"))
    return socket.send(entry.span)
  }
}
