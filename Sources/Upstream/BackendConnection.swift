// BackendConnection — one connection to a backend, from its first SYN to its close.
//
// Invariants: `exchange` is set exactly while the connection is leased; an idle connection holds no buffer.
// The links and counts of its pool are kept by `Backends` alone.

import HTTPModel
import Kernel
import Memory
import Wire

/// A connection to a backend.
public struct BackendConnection: ~Copyable {
  public enum State: UInt8, Sendable { case connecting, idle, leased, spliced, tunnelled }

  /// What the timer of the connection means when it fires.
  public enum Waiting: UInt8, Sendable { case nothing, connect, send, head, body, idle, tunnel }

  public private(set) var socket: Socket
  /// Index of the upstream, which is that of the pool.
  public let upstream: UInt32
  public internal(set) var state: State
  /// The exchange that leases the connection.
  public var exchange: Handle?
  /// Which of the upstream's addresses was connected to.
  public let address: UInt32
  /// Requests sent on the connection, the current one included.
  public internal(set) var requests: UInt32 = 0
  /// Milliseconds of the monotonic clock.
  public let createdAt: Int64
  public var deadline: Int64 = 0
  public var waiting = Waiting.nothing
  /// The kernel has something to read, or had when it was last looked at.
  public var isReadable = false
  /// The backend has finished sending.
  public var hasEnded = false
  /// Part of a response head.
  public var input: Buffer?
  /// Request bytes the kernel has not taken yet.
  public var backlog = BufferChain()
  public var parser = ResponseParser()
  /// The response being read allows another request after it.
  public var isPersistent = false
  public var body = BodyReader(.none)
  var newer: UInt32 = .max
  var older: UInt32 = .max

  init(_ socket: consuming Socket, upstream: Int, address: Int, state: State, now: Int64) {
    self.socket = socket
    self.upstream = UInt32(upstream)
    self.address = UInt32(address)
    self.state = state
    createdAt = now
  }

  /// Closes its socket and gives up what it holds.
  mutating func vacate() {
    socket = Socket(Descriptor.none)
    input = nil
    backlog = BufferChain()
  }

  /// Whether the connection had served a request before the current one: then its end may only mean that it was stale.
  public var isReused: Bool { requests > 1 }
}
