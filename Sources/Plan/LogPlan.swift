// LogPlan — what is written about requests and about the gateway itself, and where it goes.

/// The error log.
public struct LogPlan: Equatable, Sendable {
  public enum Level: UInt8, Comparable, Sendable, CaseIterable {
    case trace, debug, info, warn, error, critical
    public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
  }

  public var level = Level.info
  /// An absolute path, or empty for standard output.
  public var file = ""
  /// Bytes after which a new file is begun (only when `maxFiles` is above 1).
  public var maxFileSize = 10_485_760
  /// Files kept. 1: `file` itself is written and rotation is left to others.
  public var maxFiles = 3
  /// Nil: no syslog. It takes the place of the file.
  public var syslog: SyslogPlan?

  public init() {}
}

/// The access log.
public struct AccessLogPlan: Equatable, Sendable {
  public var enabled = false
  /// An absolute path, or empty for standard output.
  public var file = ""
  /// Nil: no syslog. It takes the place of the file.
  public var syslog: SyslogPlan?
  /// `json`, `combined`, or a format with variables such as `$status`.
  public var format = "json"
  /// Bytes a worker collects before it writes.
  public var bufferSize = 65_536
  /// Milliseconds after which a collected line is written in any case.
  public var flushInterval = 1_000
  /// Thousandths of a percent of the requests that get a line.
  public var samplePercent = 100_000
  /// Requests with this status or a higher one get one in any case; 0: none does.
  public var alwaysFromStatus = 500
  /// …and those that have taken as many milliseconds; 0: none does.
  public var alwaysAfter = 0

  public init() {}
}

/// The access log's lines of one route.
public struct RouteLogPlan: Equatable, Sendable {
  /// Whether there are any at all.
  public var enabled = true
  /// Thousandths of a percent, instead of the access log's own.
  public var samplePercent = 100_000

  public init() {}
}

/// A syslog daemon.
public struct SyslogPlan: Equatable, Sendable {
  /// RFC 5424, section 6.2.1.
  public enum Facility: UInt8, Equatable, Sendable, CaseIterable {
    case user = 1, daemon = 3, auth = 4, syslog, lpr, news
    case local0 = 16, local1, local2, local3, local4, local5, local6, local7
  }

  /// `unix:/dev/log`, or `udp:` with an address and a port.
  public var server = "unix:/dev/log"
  public var facility = Facility.daemon
  /// The name of the program.
  public var tag = "gatewayd"

  public init() {}
}
