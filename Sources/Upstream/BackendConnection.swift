// BackendConnection — one connection to a backend, from its first SYN to its close.
//
// Invariants: `exchange` is set exactly while the connection is leased; an idle connection holds no buffer.
// Bytes of a connection whose carriage is not `.plain` go by way of its carrier, a record elsewhere.
// The links and counts of its pool are kept by `Backends` alone.

import HTTPModel
import Kernel
import Memory
import Wire

/// A connection to a backend.
public struct BackendConnection: ~Copyable {
  public enum State: UInt8, Sendable {
    case connecting
    /// There is a connection; the TLS handshake on it is not over.
    case securing
    case idle, leased, spliced, tunnelled
    /// It carries HTTP/2; its requests are connections of their own, its streams.
    case multiplexed
    /// It is a stream on such a connection.
    case stream
    /// Out of its pool, to be closed.
    case retired
  }

  /// What carries the bytes of the connection.
  public enum Carriage: UInt8, Sendable { case plain, secure, stream }

  /// What the timer of the connection means when it fires.
  public enum Waiting: UInt8, Sendable { case nothing, connect, handshake, send, head, body, idle, tunnel, session }

  public private(set) var socket: Socket
  /// Index of the upstream, and of the pool, which is that of the endpoint.
  public let upstream: UInt32
  public let pool: UInt32
  public internal(set) var state: State
  public var carriage = Carriage.plain
  /// The carrier's record, unless the carriage is `.plain`.
  public var carrier = Handle(index: .max, generation: 0)
  /// The record of its HTTP/2 session; valid in the state `.multiplexed`.
  public internal(set) var session = Handle(index: .max, generation: 0)
  /// It may turn out to speak HTTP/2, and others wait for it.
  var mayMultiplex = false
  /// The exchange that leases the connection.
  public var exchange: Handle?
  /// It counts as a request in flight.
  var isCounted = false
  /// Which of the endpoint's addresses was connected to.
  public internal(set) var address: UInt32
  /// The last of the addresses that were tried for it.
  public internal(set) var lastAddress: UInt32
  /// A second attempt to connect, beside that of `socket`, while there is one (RFC 8305); see Racing. Events of both have the same token.
  var rival = Socket(Descriptor.none)
  public internal(set) var isRacing = false
  /// Requests sent on the connection, the current one included.
  public internal(set) var requests: UInt32 = 0
  /// Milliseconds of the monotonic clock. The connect began then.
  public let createdAt: Int64
  /// When it was last given back.
  public internal(set) var idleSince: Int64 = 0
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

  init(_ socket: consuming Socket, upstream: UInt32, pool: Int, address: Int, state: State, now: Int64) {
    self.socket = socket
    self.upstream = upstream
    self.pool = UInt32(pool)
    self.address = UInt32(address)
    lastAddress = UInt32(address)
    self.state = state
    createdAt = now
  }

  /// Closes its socket and gives up what it holds.
  mutating func vacate() {
    socket = Socket(Descriptor.none)
    dropRival()
    input = nil
    backlog = BufferChain()
  }

  mutating func dropRival() {
    guard isRacing else { return }
    rival = Socket(Descriptor.none)
    isRacing = false
  }

  /// The second attempt takes the place of the first.
  mutating func promoteRival() {
    swap(&socket, &rival)
    address = lastAddress
    dropRival()
  }

  /// A stream of the connection to `address`: one request, and no other.
  init(streamTo address: UInt32, upstream: UInt32, pool: UInt32, carrier: Handle, requests: UInt32, now: Int64) {
    socket = Socket(Descriptor.none)
    self.upstream = upstream
    self.pool = pool
    self.address = address
    lastAddress = address
    self.carrier = carrier
    self.requests = requests
    carriage = .stream
    state = .stream
    createdAt = now
  }

  /// Whether a request's body can be handed to it.
  public var takesBody: Bool { state == .leased || state == .stream }

  /// Whether the connection had served a request before the current one: then its end may only mean that it was stale.
  public var isReused: Bool { requests > 1 }
}

/// What a backend has agreed to speak (ALPN, RFC 7301).
public enum AgreedProtocol: UInt8, Sendable {
  /// Nothing was agreed on: there is no TLS, or the backend has not answered the question.
  case none
  case http11, h2
}
