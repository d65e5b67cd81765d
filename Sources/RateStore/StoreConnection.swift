// StoreConnection — one connection to a Redis server: commands out, each with a token; replies in, in the same order.
//
// Invariant: `pending` has a token for each command that was put into `output` and has not been answered. What comes without one is a fault.

import Kernel
import Memory

/// What came of reading.
public enum StoreArrival: Equatable {
  /// A reply to the command with this token.
  case reply(UInt64, StoreReply)
  /// Nothing more for now.
  case nothing
  case failed(StoreProblem)
}

/// Why a server does not answer.
public enum StoreProblem: Equatable {
  case system(Errno)
  case closed, malformed, unasked
  case timeout
  case noAddress(String)
  /// What the server has said.
  case refused(String)

  public var text: String {
    switch self {
    case .system(let error): error.text
    case .closed: "it has closed the connection"
    case .malformed: "what it sends is not Redis' protocol"
    case .unasked: "it sends replies that nobody has asked for"
    case .timeout: "it has not answered in time"
    case .noAddress(let reason): "its name cannot be resolved\(reason.isEmpty ? "" : ": \(reason)")"
    case .refused(let text): "it answers \"\(text)\""
    }
  }
}

/// A connection, or the place of one.
public struct StoreConnection: ~Copyable {
  public enum State: Equatable { case closed, connecting, open }

  /// Commands without an answer at most.
  public static let pendingLimit = 8192
  private static let outputCapacity = 1 << 20

  public private(set) var state = State.closed
  public private(set) var socket = Socket(Descriptor.none)
  /// Commands that the kernel has not taken.
  public var output = Buffer.absent
  /// The kernel has taken no more at the last try.
  private var isBlocked = false
  private var pending = TokenQueue(capacity: 64)
  private var reader = ReplyReader()

  public init() {}

  /// Begins to connect to `address`.
  public mutating func connect(to address: SocketAddress) throws(Errno) {
    close()
    var isConnected = false
    socket = try Socket.connect(to: address, isConnected: &isConnected)
    state = isConnected ? .open : .connecting
    if output.capacity == 0 { output = Buffer(capacity: StoreConnection.outputCapacity) }
  }

  /// Closes; the tokens of commands that will not be answered are left to `popPending`.
  public mutating func close() {
    socket = Socket(Descriptor.none)
    state = .closed
    isBlocked = false
    output.removeAll()
    reader = ReplyReader()
  }

  /// The connection attempt has come to an end. Nil: it has succeeded, or goes on.
  public mutating func finishConnecting() -> StoreProblem? {
    guard state == .connecting else { return nil }
    switch socket.attempt {
    case .pending: return nil
    case .failed(let error): return .system(error)
    case .connected:
      state = .open
      return nil
    }
  }

  // MARK: Commands

  /// Commands that wait for an answer.
  public var pendingCount: Int { pending.count }

  /// Whether there is room for a question of `bytes`.
  public func hasRoom(_ bytes: Int) -> Bool { pending.count < StoreConnection.pendingLimit && output.freeCapacity >= bytes }

  /// Whether something waits to be sent at once.
  public var wantsFlush: Bool { state == .open && !output.isEmpty && !isBlocked }

  /// A command has been put into `output`; its reply comes with `token`.
  public mutating func expect(_ token: UInt64) { pending.append(token) }

  /// The first command that waits, which is given up.
  public mutating func popPending() -> UInt64? { pending.popFirst() }

  /// Sends what waits, as much as the kernel takes.
  public mutating func flush() -> StoreProblem? {
    guard state == .open else { return nil }
    isBlocked = false
    guard !output.isEmpty else { return nil }
    var rest = Buffer.absent
    swap(&rest, &output)
    var problem: StoreProblem?
    loop: while !rest.isEmpty {
      switch socket.send(rest.bytes) {
      case .moved(let count): rest.consume(count)
      case .blocked:
        isBlocked = true
        break loop
      case .ended: problem = .closed
      case .failed(let error): problem = .system(error)
      }
      if problem != nil { break }
    }
    // Room for the next ones is at the back.
    rest.compact()
    swap(&rest, &output)
    return problem
  }

  // MARK: Replies

  /// Reads once into `buffer`. Nil: there is something to be taken with `next`.
  public mutating func receive(_ buffer: inout Buffer) -> StoreArrival? {
    buffer.removeAll()
    switch buffer.fill({ socket.receive(into: &$0) }) {
    case .moved: return reader.feed(buffer.bytes) ? nil : .failed(.malformed)
    case .blocked: return .nothing
    case .ended: return .failed(.closed)
    case .failed(let error): return .failed(.system(error))
    }
  }

  /// The next reply of those that have come.
  public mutating func next() -> StoreArrival {
    switch reader.next() {
    case .incomplete: return .nothing
    case .malformed: return .failed(.malformed)
    case .reply(let reply):
      guard let token = pending.popFirst() else {
        // Too many clients, for instance.
        if case .error(let text) = reply { return .failed(.refused(text)) }
        return .failed(.unasked)
      }
      return .reply(token, reply)
    }
  }
}
