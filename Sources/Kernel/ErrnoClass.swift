// ErrnoClass — what kind of trouble an error is, for those who must choose what to do.

import CLinux

extension Errno {
  public var isRefused: Bool { number == ECONNREFUSED }
  /// There is no way to the address.
  public var isUnreachable: Bool { number == ENETUNREACH || number == EHOSTUNREACH || number == EADDRNOTAVAIL }
  public var isTimeout: Bool { number == ETIMEDOUT }
  /// This process, or the system, has no descriptor or memory left for another one.
  public var isOutOfDescriptors: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(number) }
  /// An accept failed for a reason that lies in the connection that would have been accepted (accept(2)).
  public var concernsOneConnection: Bool {
    [ECONNABORTED, EINTR, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM].contains(number)
  }
}

extension Descriptor {
  /// An open descriptor of no use but to be closed when another is needed.
  public static func spare() throws(Errno) -> Descriptor {
    try Descriptor(owning: clx_open_null())
  }
}
