// Signal — signals as ordinary input: blocked for the process, read from a descriptor one at a time.

import CLinux

public enum Signal {
  public static let hangUp = SIGHUP
  public static let interrupt = SIGINT
  public static let quit = SIGQUIT
  public static let terminate = SIGTERM
  public static let kill = SIGKILL
  public static let user1 = SIGUSR1
  public static let user2 = SIGUSR2
  public static let child = SIGCHLD
  public static let pipe = SIGPIPE
  /// A file would become longer than RLIMIT_FSIZE allows.
  public static let fileSize = SIGXFSZ

  /// "SIGTERM", or "signal 63".
  public static func name(_ number: CInt) -> String {
    guard let name = unsafe clx_signal_name(number) else { return "signal \(number)" }
    return unsafe String(cString: name)
  }

  /// Gives `number` its default effect again, whatever this process was started with.
  public static func restore(_ number: CInt) { clx_signal_restore(number) }

  /// Ignores `number` in this process.
  public static func ignore(_ number: CInt) { clx_signal_ignore(number) }
}

/// Signals that wait to be read.
public struct SignalDescriptor: ~Copyable {
  public let descriptor: Descriptor

  /// Blocks `signals` in the calling thread (the only one, at this point) and collects them.
  public init(_ signals: [CInt]) throws(Errno) {
    var list = signals + [0]
    descriptor = try Descriptor(owning: unsafe clx_signal_open(&list))
  }

  /// The next signal and, if a process sent it, which; nil when none waits.
  public func next() -> (number: CInt, sender: ProcessID)? {
    var sender: pid_t = 0
    let number = unsafe clx_signal_next(descriptor.raw, &sender)
    return number == 0 ? nil : (number, sender)
  }
}
