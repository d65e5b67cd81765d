// Stream — what a client that is a stream of an HTTP/2 connection has beyond other clients; and what a connection that
// carries streams has.
//
// Invariants: a stream's record, its client and its place in the list of its multiplexer come and go together (`beginStream`,
// `removeStream`). A multiplexer lives as long as its connection's client, and no stream outlives its connection.

import HTTP2
import Kernel
import Memory
import Plan
import SharedState

/// What is true of a stream.
struct StreamFlags: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The method is HEAD.
  static var isHead: StreamFlags { StreamFlags(rawValue: 1) }
  /// The final response head has been handed to the session.
  static var hasHead: StreamFlags { StreamFlags(rawValue: 2) }
  /// The response has no DATA.
  static var isBodyless: StreamFlags { StreamFlags(rawValue: 4) }
  /// The client has ended the stream on its side.
  static var ended: StreamFlags { StreamFlags(rawValue: 8) }
  /// Nothing more will be said on it, though its exchange goes on: a WebSocket whose other direction is open.
  static var over: StreamFlags { StreamFlags(rawValue: 32) }
  /// The session knows the stream no more.
  static var closed: StreamFlags { StreamFlags(rawValue: 16) }
  /// It has been given a prepared answer, with which the session is alone.
  static var answered: StreamFlags { StreamFlags(rawValue: 64) }
}

/// One stream.
struct Stream: ~Copyable {
  /// Even where it is pushed; 0 until it has been promised.
  var id: Int32
  /// The client that is its connection, and the multiplexer of that.
  private(set) var connection: Handle
  private(set) var multiplexer: Handle
  var flags: StreamFlags
  /// Body bytes that the request has still to have, by its Content-Length; nil where it has none.
  var declared: Int?
  /// With which the stream is reset when it goes before its end.
  var code = ErrorCode.cancel
  /// Body bytes that have come and that the backend cannot take yet.
  var incoming = BufferChain()
  /// Body bytes passed on that the stream's window has not been told of.
  var owed = 0
  /// What requests pushed with its response have in common with its own, as lines that begin with the host.
  var origin: Buffer?
  /// The trailers of the response, as lines.
  var trailers: Buffer?
  /// Those of the request, when they have come while it is held.
  var requestTrailers: Buffer?
  /// Neighbours in the list of the connection's streams, as clients.
  var next: Handle?
  var previous: Handle?

  init() {
    id = 0
    connection = Handle(index: 0, generation: 0)
    multiplexer = Handle(index: 0, generation: 0)
    flags = []
  }

  /// Becomes, being vacant, the record of another stream.
  @inline(__always)
  mutating func become(_ id: Int32, connection: Handle, multiplexer: Handle, flags: StreamFlags) {
    self.id = id
    self.connection = connection
    self.multiplexer = multiplexer
    self.flags = flags
    declared = nil
    code = .cancel
    owed = 0
    next = nil
    previous = nil
  }

  /// Gives up what it holds, but for the body that waits.
  mutating func vacate() {
    origin = nil
    trailers = nil
    requestTrailers = nil
  }

  /// Counts body bytes that have come; false when they are more than were declared.
  mutating func hasCome(_ count: Int) -> Bool {
    guard let declared else { return true }
    self.declared = declared - count
    return count <= declared
  }

  /// Whether as many have come as were declared.
  var hasAll: Bool { declared ?? 0 == 0 }
}

/// A stream that has been given a prepared answer and has no record.
struct AnsweredStream: BitwiseCopyable {
  let connection: Handle
  let id: Int32
  /// `Client.bounds` of its request.
  let bounds: Int32
}

/// How far the end of an HTTP/2 connection has been announced.
enum EndStage: BitwiseCopyable {
  case none
  /// The client knows that the connection will end.
  case announced
  /// …and which request was the last.
  case refusing
}

/// One HTTP/2 connection.
struct Multiplexer: ~Copyable {
  var session: ServerSession
  var firstStream: Handle?
  var streamCount = 0
  /// Those of them that are pushed.
  var pushCount = 0
  var stage = EndStage.none
  /// Milliseconds of the monotonic clock at the announcement.
  var announcedAt: Int64 = 0

  init(_ session: consuming ServerSession) { self.session = session }
}

extension SessionSettings {
  init(_ plan: HTTP2Plan) {
    self.init()
    maxConcurrentStreams = plan.maxConcurrentStreams
    initialWindow = plan.initialWindow
    connectionWindow = max(plan.connectionWindow, 65_535)
    maxFrameSize = plan.maxFrameSize
    maxHeaderListSize = plan.maxHeaderListSize
    connectProtocol = true
    floods.resets = plan.floods.resets
    floods.settings = plan.floods.settings
    floods.pings = plan.floods.pings
    floods.emptyFrames = plan.floods.emptyFrames
    floods.windowUpdates = plan.floods.windowUpdates
    floods.priorities = plan.floods.priorities
    floods.continuations = plan.floods.continuations
  }
}
