// RuntimePaths — where the PID file and the control socket are when nobody says otherwise.
//
// Invariant: a directory that is made here belongs to us alone (mode 0700); one found under /tmp is used only
// if it already does, because anybody could have put it there.

import Kernel

public enum RuntimePaths {
  /// The directory for the files of a running gateway: `/run/gateway` for root, else
  /// `$XDG_RUNTIME_DIR/gateway`, else `/tmp/gateway-<uid>`.
  public static var directory: String {
    if Process.isRoot { return "/run/gateway" }
    if let runtime = Process.environment("XDG_RUNTIME_DIR"), runtime.hasPrefix("/") { return runtime + "/gateway" }
    return "/tmp/gateway-\(Process.effectiveUser)"
  }

  public static var pidFile: String { directory + "/gatewayd.pid" }

  /// Makes `directory` if it is not there. Returns what is wrong with it, or nil.
  public static func prepare() -> String? {
    let directory = directory
    do {
      try Files.makeDirectory(directory, mode: 0o700)
    } catch {
      guard error == .exists else { return "cannot create \(directory): \(error.text)" }
    }
    guard let facts = FileFacts(path: directory) else { return "cannot examine \(directory)" }
    guard facts.kind == .directory else { return "\(directory) is not a directory" }
    if directory.hasPrefix("/tmp/"), facts.owner != Process.effectiveUser || facts.permissions & 0o077 != 0 {
      return "\(directory) must belong to us alone (mode 0700)"
    }
    return nil
  }

  /// The control sockets that belong to the PID file at `path`, in order of preference: the second is used when
  /// another gateway, with its PID file in the same directory, has the first.
  public static func controlSockets(pidFile path: String) -> [String] {
    let directory = Files.directory(of: path)
    return [(directory == "/" ? "" : directory) + "/control.sock", path + ".sock"]
  }
}
