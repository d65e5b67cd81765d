// BackendSession — what a connection to a backend has beyond others when it carries HTTP/2, and what each stream on it has.
//
// To the other rooms a stream is a connection to a backend like any other, with the carriage `.stream` and no socket. Invariants:
// a stream's record, its connection and its place in the list of its session come and go together (`beginBackendStream`,
// `removeBackendStream`); a session lives as long as the connection that carries it, and no stream outlives its session.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Upstream

/// What is true of a stream to a backend.
struct BackendStreamFlags: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The response has come to its end.
  static var ended: BackendStreamFlags { BackendStreamFlags(rawValue: 1) }
  /// The session knows the stream no more, or needs not be told that it is over.
  static var closed: BackendStreamFlags { BackendStreamFlags(rawValue: 2) }
}

/// One stream to a backend.
struct BackendStream: ~Copyable {
  let session: Handle
  /// Its number; 0 until its request has been handed to the session.
  var id: Int32 = 0
  var flags = BackendStreamFlags()
  /// With which the stream is reset when it goes before its end.
  var code = ErrorCode.cancel
  /// Why nothing will come of it; told when its turn comes.
  var fault = Fault.none
  /// Body bytes that have come and that the client cannot take yet.
  var incoming = BufferChain()
  /// Body bytes that have come and whose room in the windows has not been given back.
  var owed = 0
  /// The trailers of the request, as lines.
  var trailers: Buffer?
  /// Neighbours in the list of the session's streams, as connections.
  var next: Handle?
  var previous: Handle?

  init(_ session: Handle) { self.session = session }
}

/// One HTTP/2 connection to a backend.
struct BackendSession: ~Copyable {
  var session: ClientSession
  /// The connection that carries it.
  let connection: Handle
  /// Index of its upstream, and of its endpoint's pool.
  let upstream: Int
  let pool: Int
  var firstStream: Handle?
  var streamCount = 0
  /// Requests sent on it.
  var requests: UInt32 = 0
  /// The backend has said how many streams it takes, and the like.
  var hasSettings = false
  /// Bytes that may still come without meaning anything.
  var patience = BackendSession.patience
  static var patience: Int { 1 << 20 }
  /// It takes no further requests; when the last is over it is closed.
  var isRetiring = false
  /// The error code with which it was ended from here, because the backend broke a rule; 0: none.
  var violation: UInt32 = 0
  /// It is in the queue of those that have frames to write.
  var isQueued = false
  /// Milliseconds of the monotonic clock: when something was last received, when a PING went that is not answered (0: none),
  /// since when no stream is open, and by when the last must be over (0: no limit).
  var heardAt: Int64
  var pingedAt: Int64 = 0
  var idleSince: Int64
  var drainDeadline: Int64 = 0
  /// Neighbours in the list of the pool's sessions.
  var next: Handle?
  var previous: Handle?

  init(_ session: consuming ClientSession, connection: Handle, upstream: Int, pool: Int, now: Int64) {
    self.session = session
    self.connection = connection
    self.upstream = upstream
    self.pool = pool
    heardAt = now
    idleSince = now
  }
}

extension ClientSettings {
  init(_ plan: BackendHTTP2Plan) {
    self.init()
    maxConcurrentStreams = plan.maxConcurrentStreams
    initialWindow = plan.initialWindow
    maxFrameSize = plan.maxFrameSize
    headerTableSize = plan.headerTableSize
    maxHeaderListSize = plan.maxHeaderListSize
  }
}
