// Epoll — edge-triggered readiness, each descriptor registered once and never modified.

import CLinux

/// What a descriptor became ready for.
public struct Readiness: OptionSet, Sendable {
  public let rawValue: UInt32
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Bytes, the peer's end, or an error can be read.
  @inlinable public static var readable: Readiness { Readiness(rawValue: EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) }
  @inlinable public static var writable: Readiness { Readiness(rawValue: EPOLLOUT.rawValue) }
  /// The peer has finished sending (FIN); it may still read.
  @inlinable public static var peerEnded: Readiness { Readiness(rawValue: EPOLLRDHUP.rawValue) }
  /// The connection is gone in both directions.
  @inlinable public static var broken: Readiness { Readiness(rawValue: EPOLLHUP.rawValue | EPOLLERR.rawValue) }
}

/// One readiness notice: which registration, and ready for what.
public struct Event {
  public let token: UInt64
  public let readiness: Readiness
}

/// An epoll instance.
public struct Epoll: ~Copyable {
  private let descriptor: Descriptor

  public init() throws(Errno) { descriptor = try Descriptor(owning: epoll_create1(CInt(EPOLL_CLOEXEC))) }

  /// Watches `target` for everything, edge-triggered, until it is closed.
  public func watch(_ target: borrowing Descriptor, token: UInt64) throws(Errno) {
    let interest = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    guard clx_epoll_add(descriptor.raw, target.raw, interest, token) == 0 else { throw Errno.current }
  }

  /// Watches `target` for input only, edge-triggered.
  public func watchInput(_ target: borrowing Descriptor, token: UInt64) throws(Errno) {
    let interest = EPOLLIN.rawValue | EPOLLET.rawValue
    guard clx_epoll_add(descriptor.raw, target.raw, interest, token) == 0 else { throw Errno.current }
  }

  /// Stops watching a descriptor that stays open, because others hold it too.
  public func unwatch(_ target: borrowing Descriptor) { clx_epoll_remove(descriptor.raw, target.raw) }

  /// Watches `other` as a whole: it becomes readable when one of what it watches is ready.
  public func watch(_ other: borrowing Epoll, token: UInt64) throws(Errno) { try watchInput(other.descriptor, token: token) }

  /// Watches a descriptor that belongs to a library, for what that wants at the moment, level-triggered; neither: no longer. Its number is the token.
  /// - Returns: false when it cannot be watched.
  @discardableResult
  public func follow(_ raw: CInt, readable: Bool, writable: Bool) -> Bool {
    guard readable || writable else {
      clx_epoll_remove(descriptor.raw, raw)
      return true
    }
    let interest = (readable ? EPOLLIN.rawValue : 0) | (writable ? EPOLLOUT.rawValue : 0)
    let token = UInt64(UInt32(bitPattern: raw))
    return clx_epoll_change(descriptor.raw, raw, interest, token) == 0 || clx_epoll_add(descriptor.raw, raw, interest, token) == 0
  }

  /// Waits up to `milliseconds` (-1: without end) and refills `events`.
  public func wait(into events: inout EventList, milliseconds: CInt) {
    events.count = max(0, Int(unsafe epoll_wait(descriptor.raw, events.storage, CInt(events.capacity), milliseconds)))
  }
}

/// The events of one turn, in storage reused from turn to turn.
@safe public struct EventList: ~Copyable {
  fileprivate let storage: UnsafeMutablePointer<epoll_event>
  fileprivate let capacity: Int
  public internal(set) var count = 0

  public init(capacity: Int) {
    unsafe storage = .allocate(capacity: capacity)
    self.capacity = capacity
  }

  deinit { unsafe storage.deallocate() }

  public subscript(position: Int) -> Event {
    precondition(position >= 0 && position < count)
    return unsafe Event(token: storage[position].data.u64, readiness: Readiness(rawValue: storage[position].events))
  }
}
