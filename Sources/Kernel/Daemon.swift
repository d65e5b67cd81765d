// Daemon — leaving the terminal, and telling the shell that started us how it went.
//
// Invariant: `detach` is called once, before any thread exists and before anything is locked, bound or
// mapped: a fork copies only the calling thread, and a lock belongs to the process that took it.

import CLinux

/// What the process that ran in the foreground waits for: one report, success or a reason.
public struct LaunchReport: ~Copyable {
  private let pipe: Descriptor

  fileprivate init(_ pipe: consuming Descriptor) { self.pipe = pipe }

  /// The daemon serves: the launching command ends with exit code 0.
  public consuming func succeed() { Files.write("+", to: pipe.raw) }

  /// The daemon could not start: the launching command prints `reason` and ends with exit code 1.
  public consuming func fail(_ reason: String) { Files.write("-" + reason, to: pipe.raw) }
}

public enum Daemon {
  /// Forks twice, begins a session of its own, and returns in the grandchild only: directory `/`, file mode
  /// mask 027, descriptors 0, 1 and 2 on /dev/null. The original process waits for the report and exits.
  public static func detach() throws(Errno) -> LaunchReport {
    // Whatever the launching shell had open must not be held open by a daemon.
    clx_close_from(3)
    var ends: [CInt] = [-1, -1]
    guard unsafe clx_pipe(&ends) == 0 else { throw Errno.current }
    let child = clx_fork()
    guard child >= 0 else { throw Errno.current }
    if child > 0 {
      close(ends[1])
      wait(for: ends[0], child: child)
    }
    close(ends[0])
    setsid()
    // The second child is no session leader and can never acquire a terminal.
    let grandchild = clx_fork()
    if grandchild != 0 {
      // _exit: the parent's buffers and exit handlers are not ours to run.
      _exit(grandchild < 0 ? 1 : 0)
    }
    umask(0o027)
    unsafe chdir("/")
    let null = unsafe clx_open("/dev/null", O_RDWR, 0)
    if null >= 0 {
      for standard: CInt in 0...2 { dup2(null, standard) }
      if null > 2 { close(null) }
    }
    return LaunchReport(try Descriptor(owning: ends[1]))
  }

  private static func wait(for report: CInt, child: pid_t) -> Never {
    var status: CInt = 0
    unsafe waitpid(child, &status, 0)
    var bytes: [UInt8] = []
    while let part = Files.read(report, limit: 4096), !part.isEmpty { bytes += part }
    if bytes.first == UInt8(ascii: "+") { exit(0) }
    let reason = String(decoding: bytes.dropFirst(), as: UTF8.self)
    Files.complain("gatewayd: " + (reason.isEmpty ? "the daemon ended before it was ready" : reason))
    exit(1)
  }

  /// Writes a line to the system log, for a daemon that has no log of its own yet.
  public static func logToSystem(_ message: String) { unsafe clx_syslog("gatewayd", message) }
}
