// ServiceNotice — what the service manager that started us is told (sd_notify(3)). Without one, nothing happens.
//
// Everything that belongs together is sent in one datagram: RELOADING=1 without its MONOTONIC_USEC beside it would be
// waited for in vain by a unit of Type=notify-reload.

import CSystemd
import Kernel

public enum ServiceNotice {
  /// Whether there is a service manager that listens.
  public static let isHeard = !(Process.environment("NOTIFY_SOCKET") ?? "").isEmpty

  /// Sends assignments, and a descriptor with them.
  static func send(_ assignments: [String], file: CInt? = nil) {
    guard isHeard else { return }
    let text = assignments.joined(separator: "\n")
    if let file {
      let files = [file]
      _ = unsafe files.withUnsafeBufferPointer { unsafe sd_pid_notify_with_fds(0, 0, text, $0.baseAddress, UInt32($0.count)) }
    } else {
      _ = unsafe sd_notify(0, text)
    }
  }

  static func status(_ text: String) -> String { "STATUS=" + text.split(whereSeparator: \.isNewline).joined(separator: "; ") }

  static func ready(_ status: String) { send(["READY=1", self.status(status)]) }

  static func reloading(_ status: String) {
    send(["RELOADING=1", "MONOTONIC_USEC=\(Clock().now)", self.status(status)])
  }

  static func stopping(_ status: String) { send(["STOPPING=1", self.status(status)]) }

  /// The start has failed.
  /// - Parameter error: the system's number for it.
  public static func failed(_ reason: String, _ error: CInt) { send([status(reason), "ERRNO=\(error)"]) }

  /// How often the service manager wants to be told that we live, in milliseconds; 0: it does not.
  static var watchdog: Int64 {
    var time: UInt64 = 0
    guard unsafe sd_watchdog_enabled(0, &time) > 0 else { return 0 }
    return Int64(clamping: time / 1000)
  }
}
