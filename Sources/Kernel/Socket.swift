// Socket — a non-blocking stream socket.
//
// Reads fill the free part of an `OutputRawSpan`; writes take spans. No pointer leaves this file.

import CLinux

/// What one read or write achieved.
public enum Transfer {
  case moved(Int)
  case blocked
  case ended
  case failed(Errno)
}

/// How far a connection attempt has got.
public enum ConnectionAttempt: Equatable {
  case pending, connected
  case failed(Errno)
}

/// A connected, or connecting, non-blocking stream socket.
public struct Socket: ~Copyable {
  public let descriptor: Descriptor

  @inlinable
  public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// Starts to connect to `address`. `isConnected` tells whether that succeeded at once; otherwise the
  /// socket becomes writable when it has, or has failed (`connectError` says which).
  public static func connect(to address: SocketAddress, isConnected: inout Bool) throws(Errno) -> Socket {
    let descriptor = try Descriptor(owning: clx_socket(address.family))
    if !address.isUnix { clx_set_option(descriptor.raw, CInt(IPPROTO_TCP), TCP_NODELAY, 1) }
    let result = unsafe address.withSockaddr { unsafe CLinux.connect(descriptor.raw, $0, $1) }
    if result != 0 {
      let code = clx_errno()
      guard code == EINPROGRESS else { throw Errno(code) }
    }
    isConnected = result == 0
    return Socket(descriptor)
  }

  /// Reads once, appending what arrived to `output`.
  @inlinable
  public func receive(into output: inout OutputRawSpan) -> Transfer {
    unsafe output.withUnsafeMutableBytes { storage, filled in
      let count = unsafe recv(descriptor.raw, storage.baseAddress! + filled, storage.count - filled, 0)
      if count > 0 { filled += count }
      return Socket.transfer(count)
    }
  }

  /// Writes once, from the front of `bytes`.
  @inlinable
  public func send(_ bytes: Span<UInt8>) -> Transfer {
    unsafe bytes.withUnsafeBytes { storage in
      guard let base = storage.baseAddress else { return .moved(0) }
      return Socket.transfer(unsafe CLinux.send(descriptor.raw, base, storage.count, CInt(MSG_NOSIGNAL)))
    }
  }

  /// Writes once, `first` and then `second`; the count moved is over both.
  public func send(_ first: Span<UInt8>, _ second: Span<UInt8>) -> Transfer {
    unsafe first.withUnsafeBytes { head in
      unsafe second.withUnsafeBytes { tail in
        Socket.transfer(unsafe clx_send_two(descriptor.raw, head.baseAddress, head.count, tail.baseAddress, tail.count))
      }
    }
  }

  /// Copies what has arrived to `output`, up to its room, and leaves it there to be read.
  public func peek(into output: inout OutputRawSpan) -> Transfer {
    unsafe output.withUnsafeMutableBytes { storage, filled in
      guard let base = storage.baseAddress, filled < storage.count else { return .moved(0) }
      let count = unsafe recv(descriptor.raw, base + filled, storage.count - filled, CInt(MSG_PEEK))
      if count > 0 { filled += count }
      return Socket.transfer(count)
    }
  }

  /// Drops the next `count` bytes, which have arrived; false when there were not as many.
  public func drop(_ count: Int) -> Bool {
    unsafe withUnsafeTemporaryAllocation(byteCount: max(1, count), alignment: 1) { storage in
      unsafe recv(descriptor.raw, storage.baseAddress, count, 0) == count
    }
  }

  /// This end's address; nil when there is none.
  public var localAddress: SocketAddress? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe getsockname(descriptor.raw, UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), &length)
    }
    return result == 0 ? SocketAddress(storage: storage, length: length) : nil
  }

  /// Whether a read would find something: bytes, the peer's end, or an error. Takes nothing.
  public var hasInput: Bool { clx_has_input(descriptor.raw) != 0 }

  /// The error that ended a connection attempt, or nil when it succeeded.
  public var connectError: Errno? {
    let code = clx_socket_error(descriptor.raw)
    return code == 0 ? nil : Errno(code)
  }

  /// How a connection attempt fares that another one runs beside.
  public var attempt: ConnectionAttempt {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
    guard unsafe poll(&entry, 1, 0) > 0 else { return .pending }
    return connectError.map { .failed($0) } ?? .connected
  }

  /// Lets the kernel hold about so many bytes that it has not sent yet; beyond them the socket takes no more.
  ///
  /// What lies in it is sent when acknowledgements come, in the context of whoever sends these: on one machine, at the receiver's expense.
  public func limitUnsent(_ bytes: Int) { clx_set_option(descriptor.raw, CInt(IPPROTO_TCP), TCP_NOTSENT_LOWAT, CInt(clamping: bytes)) }

  /// Tells the peer that nothing more will be sent (FIN), leaving the other direction open.
  public func endSending() { shutdown(descriptor.raw, CInt(SHUT_WR)) }

  /// Makes the close abortive: the peer gets a reset instead of an orderly end, and sees that a response was cut off.
  public func resetOnClose() { clx_reset_on_close(descriptor.raw) }

  @inlinable @inline(__always)
  static func transfer(_ count: Int) -> Transfer {
    if count > 0 { return .moved(count) }
    if count == 0 { return .ended }
    let error = Errno.current
    return error == .wouldBlock || error == .interrupted ? .blocked : .failed(error)
  }
}
