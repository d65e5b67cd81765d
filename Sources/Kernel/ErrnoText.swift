// ErrnoText — what an operating-system error is called, for messages that a person reads.

import CLinux

extension Errno {
  /// The number, as errno has it. `connectionReset` stands for EPIPE too.
  public var number: CInt {
    switch self {
    case .wouldBlock: EAGAIN
    case .interrupted: EINTR
    case .connectionReset: ECONNRESET
    case .other(let code): code
    }
  }

  /// The system's sentence for it, such as "Permission denied".
  public var text: String {
    var space = [CChar](repeating: 0, count: 256)
    return unsafe space.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return "error \(number)" }
      unsafe clx_error_text(number, base, buffer.count)
      return unsafe String(cString: base)
    }
  }

  public static let noSuchFile = Errno.other(ENOENT)
  public static let exists = Errno.other(EEXIST)
  public static let addressInUse = Errno.other(EADDRINUSE)
  public static let protocolViolation = Errno.other(EPROTO)
  public static let inputOutput = Errno.other(EIO)
  public static let invalidArgument = Errno.other(EINVAL)
  public static let permissionDenied = Errno.other(EACCES)
}
