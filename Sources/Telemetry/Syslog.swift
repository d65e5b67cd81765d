// Syslog — log lines as datagrams to a syslog daemon: its local socket, or UDP (RFC 5426).
//
// A local socket gets the form that the C library's syslog() writes and every local daemon reads; over UDP it is
// RFC 5424. Invariants: one datagram for each line; sending never waits; a daemon that is away costs lines, not time.

import Kernel
import Memory
import Plan

/// Where one process's lines of one log go.
struct SyslogSink: ~Copyable {
  private var socket: DatagramSocket
  private let isLocal: Bool
  private let facility: Int
  /// ` HOST TAG PID MSGID - `, or ` TAG[PID]: ` for a local socket.
  private let origin: [UInt8]
  private var datagram = Buffer(capacity: 512 + AccessProgram.lineLimit)
  /// Bytes of `datagram` before the line.
  private var start = 0

  /// - Parameter name: of the log: the message id.
  /// Nil when the plan's server is none.
  init?(_ plan: SyslogPlan, name: String) {
    guard let address = SyslogAddress.parse(plan.server) else { return nil }
    socket = DatagramSocket(to: address)
    isLocal = address.isUnix
    facility = Int(plan.facility.rawValue)
    let host = isLocal ? "" : Process.hostName
    origin = Array((isLocal ? " \(plan.tag)[\(Process.id)]: " : " \(host.isEmpty ? "-" : host) \(plan.tag) \(Process.id) \(name) - ").utf8)
  }

  /// Composes what stands before lines of this time and severity.
  /// - Parameter time: microseconds since the epoch.
  mutating func begin(_ severity: LogPlan.Level, at time: Int64) {
    datagram.removeAll()
    datagram.append("<")
    datagram.append(decimal: facility << 3 | Syslog.severity(severity))
    datagram.append(">")
    let stamp = isLocal ? Syslog.localStamp(time) : Syslog.stamp(time)
    datagram.append(stamp.utf8Span.span)
    let origin = origin
    datagram.append(origin.span)
    start = datagram.count
  }

  /// Sends one line, given without its line feed, behind what `begin` has composed. False: it is lost.
  mutating func send(_ line: Span<UInt8>) -> Bool {
    datagram.truncate(to: start)
    datagram.append(line.extracting(first: min(line.count, AccessProgram.lineLimit)))
    var bytes = Buffer.absent
    swap(&bytes, &datagram)
    let isTaken = socket.send(bytes.bytes)
    swap(&bytes, &datagram)
    return isTaken
  }
}

/// The address of a syslog daemon as it is configured.
public enum SyslogAddress {
  /// `unix:/dev/log`, `udp:192.0.2.1:514`, `udp:[2001:db8::1]:514`; nil when it is none of these.
  public static func parse(_ text: String) -> SocketAddress? {
    if text.hasPrefix("unix:/") { return SocketAddress(unixPath: String(text.dropFirst(5))) }
    guard text.hasPrefix("udp:") else { return nil }
    let rest = text.dropFirst(4)
    guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0 else { return nil }
    var host = String(rest[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) } else if host.contains(":") { return nil }
    return SocketAddress(host: host, port: port)
  }
}

enum Syslog {
  /// RFC 5424, section 6.2.1.
  static func severity(_ level: LogPlan.Level) -> Int {
    switch level {
    case .critical: 2
    case .error: 3
    case .warn: 4
    case .info: 6
    case .trace, .debug: 7
    }
  }

  /// `1 2026-01-31T23:59:59.123456Z`: the version of the form, and the time (RFC 5424, sections 6.2.2 and 6.2.3).
  static func stamp(_ time: Int64) -> String {
    let civil = CivilTime(utc: Int(time / 1_000_000))
    let date = "\(EventLine.padded(civil.year, 4))-\(EventLine.padded(civil.month, 2))-\(EventLine.padded(civil.day, 2))"
    return "1 \(date)T\(clock(civil)).\(EventLine.padded(Int(time % 1_000_000), 6))Z"
  }

  /// `Jan  1 23:59:59`, local time (RFC 3164, section 4.1.2).
  static func localStamp(_ time: Int64) -> String {
    let civil = CivilTime(local: Int(time / 1_000_000))
    return "\(LogTime.months[civil.month - 1]) \(civil.day < 10 ? " " : "")\(civil.day) \(clock(civil))"
  }

  private static func clock(_ civil: CivilTime) -> String {
    "\(EventLine.padded(civil.hour, 2)):\(EventLine.padded(civil.minute, 2)):\(EventLine.padded(civil.second, 2))"
  }
}
