// Process — starting this program again as a worker, learning how a child ended, and small facts about oneself.
//
// Invariant: a child is only ever made by posix_spawn of our own image (a bare fork would copy a language
// runtime in an unknown state). The one exception is `Daemon`, before anything else has happened.

import CLinux

/// A process id.
public typealias ProcessID = Int32

/// How a child came to its end.
public enum ChildEnd: Equatable, Sendable {
  case exited(CInt)
  case killed(signal: CInt)

  /// "exit code 1", "killed by SIGSEGV".
  public var text: String {
    switch self {
    case .exited(let code): "exit code \(code)"
    case .killed(let signal): "killed by \(Signal.name(signal))"
    }
  }
}

public enum Process {
  /// The descriptor a worker finds its channel to the master on.
  public static let controlDescriptor: CInt = 3

  public static var id: ProcessID { getpid() }
  public static var parent: ProcessID { getppid() }
  public static var effectiveUser: UInt32 { geteuid() }
  public static var isRoot: Bool { geteuid() == 0 }
  /// The name of this machine; empty when it has none.
  public static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  /// Processors this process may run on, at least 1.
  public static var processors: Int { max(1, Int(clx_processors())) }

  /// Runs the image of this process again (`/proc/self/exe`: the very same file, even if it was replaced meanwhile).
  ///
  /// In the child `control` is descriptor 3, descriptors 0 to 2 are inherited, nothing else is. The signals by which
  /// a terminal or a supervisor addresses the whole process group (HUP, INT, QUIT, TERM, USR1, USR2) are blocked in
  /// the child: whether it goes is the master's to say.
  /// - Parameter arguments: `argv`, the first being the title that `ps` shows.
  public static func spawnSelf(_ arguments: [String], control: borrowing Descriptor) throws(Errno) -> ProcessID {
    var blocked: [CInt] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, 0]
    var vector = unsafe arguments.map { unsafe strdup($0) }
    defer { for unsafe argument in unsafe vector { unsafe free(argument) } }
    guard unsafe vector.allSatisfy({ unsafe $0 != nil }) else { throw .other(ENOMEM) }
    unsafe vector.append(nil)
    var pid: pid_t = 0
    let error = unsafe clx_spawn("/proc/self/exe", &vector, control.raw, -1, &blocked, &pid)
    guard error == 0 else { throw Errno(error) }
    return pid
  }

  /// The next child that has ended, without waiting; nil when there is none.
  public static func nextEnded() -> (id: ProcessID, end: ChildEnd)? {
    var status: CInt = 0
    let pid = unsafe waitpid(-1, &status, WNOHANG)
    guard pid > 0 else { return nil }
    let signal = status & 0x7f
    return (pid, signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal: signal))
  }

  /// Sends a signal. False when there is no such process or it is not ours to signal.
  @discardableResult
  public static func send(_ signal: CInt, to id: ProcessID) -> Bool { id > 0 && kill(id, signal) == 0 }

  /// Sends to all processes of the group that `id` leads.
  @discardableResult
  public static func send(_ signal: CInt, toGroup id: ProcessID) -> Bool { id > 1 && kill(-id, signal) == 0 }

  /// Whether there is such a process, whoever's it is.
  public static func exists(_ id: ProcessID) -> Bool { id > 0 && (kill(id, 0) == 0 || Errno.current == .other(EPERM)) }

  /// The name that `ps -o comm` and `top` show; at most 15 bytes count.
  public static func setName(_ name: String) { unsafe clx_set_name(name) }

  /// Takes code that has run out of this process's resident memory. What runs again comes back from the page cache, so that
  /// what only the start has needed no longer counts.
  public static func releaseCode() { clx_release_code() }

  public static func leave(_ code: CInt) -> Never { exit(code) }

  /// The value of an environment variable.
  public static func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// The whole environment.
  public static var environment: [String: String] {
    var all: [String: String] = [:]
    var index = 0
    while let entry = unsafe clx_environment(CInt(index)) {
      let text = unsafe String(cString: entry)
      index += 1
      guard let sign = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { continue }
      all[String(text[..<sign])] = String(text[text.utf8.index(after: sign)...])
    }
    return all
  }

  /// Raises the number of descriptors this process may open to what the system allows it.
  /// - Returns: the number now allowed.
  public static func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    guard unsafe getrlimit(clx_limit_files(), &limit) == 0 else { return 0 }
    if limit.rlim_cur < limit.rlim_max {
      var wanted = limit
      wanted.rlim_cur = limit.rlim_max
      if unsafe setrlimit(clx_limit_files(), &wanted) == 0 { limit = wanted }
    }
    return Int(clamping: limit.rlim_cur)
  }
}
