// LogTables — the settings of the logs, and the rules between them.

import Plan
import Telemetry

extension SettingsTable {
  static let log = SettingTable<LogPlan>(
    LogPlan(),
    [
      .choice("level", \.level, LogPlan.Level.allCases.map { ("\($0)", $0) }, "The least severe messages written.").variable("LOG_LEVEL"),
      .text("file", \.file, .logFile, mayBeEmpty: true, "File to write to; empty: standard output.").variable("LOG_FILE"),
      .quantity("max_file_size", \.maxFileSize, .bytes, 1...maxSize, "Size after which a new file is begun, when max_files is above 1."),
      .integer("max_files", \.maxFiles, 1...10_000, "Files kept; 1: the file is written as named and rotated by others."),
      .optional("syslog", \.syslog, syslog, "A syslog daemon to write to instead of a file."),
    ])

  static let accessLog = SettingTable<AccessLogPlan>(
    AccessLogPlan(),
    [
      .boolean("enabled", \.enabled, "Whether a line is written for each request.").variable("ACCESS_LOG"),
      .text("file", \.file, .logFile, mayBeEmpty: true, "File to write to; empty: standard output.").variable("ACCESS_LOG_FILE"),
      .optional("syslog", \.syslog, syslog, "A syslog daemon to write to instead of a file."),
      .text("format", \.format, .accessFormat, "Form of a line.").variable("ACCESS_LOG_FORMAT"),
      .quantity("buffer_size", \.bufferSize, .bytes, 4096...(1 << 20), "What a worker collects before it writes."),
      .quantity("flush_interval_ms", \.flushInterval, .milliseconds, 10...60_000, "Time after which a line is written in any case."),
      .decimal("sample_percent", \.samplePercent, 0...100_000, "How many of the requests get a line, of a hundred."),
      .integer("always_from_status", \.alwaysFromStatus, 100...599, zero: "none", "With sample_percent below 100: requests with this status or a higher one, or without a response, get a line all the same."),
      .quantity("always_after_ms", \.alwaysAfter, .milliseconds, 1...day, zero: "none", "…and those that have taken as long."),
    ])

  static let routeLog = SettingTable<RouteLogPlan>(
    RouteLogPlan(),
    [
      .boolean("enabled", \.enabled, "Whether its requests get lines at all."),
      .decimal("sample_percent", \.samplePercent, 0...100_000, "How many of them, of a hundred; access_log.always_from_status and always_after_ms hold."),
    ])

  private static let facilities: [(name: String, value: SyslogPlan.Facility)] = SyslogPlan.Facility.allCases.map { ("\($0)", $0) }

  private static let syslog = SettingTable<SyslogPlan>(
    SyslogPlan(),
    [
      .text("server", \.server, .syslogServer, "\"unix:\" and the path of a local daemon's socket, or \"udp:\" with an address and a port (RFC 5426)."),
      .choice("facility", \.facility, facilities, "What kind of program its lines are filed under."),
      .text("tag", \.tag, .syslogTag, "The name of the program in its lines."),
    ])
}

extension TextRule {
  static let syslogServer = TextRule(description: "address of a syslog daemon", pattern: "^(unix:/|udp:)") { text in
    if SyslogAddress.parse(text) != nil { return nil }
    if text.hasPrefix("unix:") { return "must have an absolute path of at most 107 bytes after \"unix:\" (found \(JSON.quoted(text)))" }
    return "must be \"unix:/dev/log\", or \"udp:\" with an address and a port, such as \"udp:192.0.2.1:514\" (found \(JSON.quoted(text)))"
  }

  /// RFC 5424, section 6.2.7, without what ends a tag in the form of local daemons.
  static let syslogTag = TextRule(description: "name of a program", pattern: "^[A-Za-z0-9._/-]{1,48}$") { text in
    let allowed = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
      case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "/"), UInt8(ascii: "-"): true
      default: false
      }
    }
    return allowed && (1...48).contains(text.utf8.count) ? nil : "must be 1 to 48 letters, digits, \".\", \"_\", \"/\" or \"-\" (found \(JSON.quoted(text)))"
  }
}

extension Settings {
  /// A log goes to one place.
  func checkLogs(_ reading: inout Reading) {
    if log.syslog != nil, !log.file.isEmpty { reading.reject("log.syslog", "log.syslog has no effect beside log.file: leave one of them out") }
    if accessLog.syslog != nil, !accessLog.file.isEmpty {
      reading.reject("access_log.syslog", "access_log.syslog has no effect beside access_log.file: leave one of them out")
    }
  }
}
