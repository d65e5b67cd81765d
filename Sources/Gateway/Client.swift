// Client — one client connection: what has arrived and is not used yet, what waits to be sent, and where it stands.
//
// Invariants: `input` is nil unless bytes have arrived that belong to no request being worked on; while an
// exchange runs, its head's bytes belong to the exchange. Only `Gateway` closes a client; it is parked then and never removed,
// which is what makes it safe to pin it (see `Slab.pin`). A stream of an HTTP/2 connection is
// a client as well: one whose requests come, and whose answers go, by way of its connection (Multiplexing, StreamSending).

import HTTPModel
import Kernel
import Memory
import Wire

/// What is true of a client connection.
struct ClientFlags: OptionSet, BitwiseCopyable {
  let rawValue: UInt32
  init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The kernel has something to read, or had when it was last looked at.
  static var readable: ClientFlags { ClientFlags(rawValue: 1) }
  /// The client has finished sending (FIN).
  static var ended: ClientFlags { ClientFlags(rawValue: 2) }
  /// No further request will be read; close once everything is sent.
  static var closing: ClientFlags { ClientFlags(rawValue: 4) }
  /// Everything is sent, our FIN too; what still comes is read and dropped, so that no reset destroys the answer.
  static var lingering: ClientFlags { ClientFlags(rawValue: 8) }
  /// Bytes the client will send may still be under way to a response that is complete: linger before closing.
  static var mustLinger: ClientFlags { ClientFlags(rawValue: 16) }
  /// The rest of a request body is being read and dropped.
  static var discarding: ClientFlags { ClientFlags(rawValue: 32) }
  /// `100 Continue` is owed before the body is waited for.
  static var owesContinue: ClientFlags { ClientFlags(rawValue: 64) }
  /// What waits in `backlog` must not be sent yet: a response is being collected.
  static var holding: ClientFlags { ClientFlags(rawValue: 128) }
  /// The client is in the queue of those to be continued at the end of the turn.
  static var queued: ClientFlags { ClientFlags(rawValue: 256) }
  /// The first byte of the request being read has come.
  static var inHead: ClientFlags { ClientFlags(rawValue: 512) }
  /// The connection is to be closed at the end of the event at hand; until then its slot stays valid.
  static var doomed: ClientFlags { ClientFlags(rawValue: 1024) }
  /// It speaks TLS: what is received and sent goes through the session `carrier` of `Gateway.secured`.
  static var secure: ClientFlags { ClientFlags(rawValue: 4096) }
  /// It took nothing for too long.
  static var stalled: ClientFlags { ClientFlags(rawValue: 2048) }

  /// It is a stream of an HTTP/2 connection and has no socket; `carrier` names its record.
  static var stream: ClientFlags { ClientFlags(rawValue: 8192) }
  /// It is a connection that speaks HTTP/2, whose requests are clients of their own; `multiplexer` names what carries them.
  static var multiplexed: ClientFlags { ClientFlags(rawValue: 16384) }
  /// No request has come on it yet, so that it may still turn out to speak HTTP/2.
  static var fresh: ClientFlags { ClientFlags(rawValue: 32768) }
  /// It is in the queue of HTTP/2 connections that have frames to write.
  static var unflushed: ClientFlags { ClientFlags(rawValue: 65536) }

  /// Bytes for it wait in the pipe of its exchange.
  static var pouring: ClientFlags { ClientFlags(rawValue: 131072) }

  /// Its peer is a trusted proxy: who a request has come from, and how, is what that says.
  static var trusted: ClientFlags { ClientFlags(rawValue: 1 << 18) }
  /// Its address is not let in.
  static var barred: ClientFlags { ClientFlags(rawValue: 1 << 19) }
  /// A trusted proxy has said that the request was made over TLS, or in the clear.
  static var toldSecure: ClientFlags { ClientFlags(rawValue: 1 << 20) }
  static var toldPlain: ClientFlags { ClientFlags(rawValue: 1 << 21) }
  /// The header of the PROXY protocol, which says whose connection it is, has not come yet.
  static var unannounced: ClientFlags { ClientFlags(rawValue: 1 << 22) }
  /// Its requests are looked at before they are routed (ClientAddress).
  static var screened: ClientFlags { [.trusted, .barred] }

  /// Its request is held until a token is there (Delaying); and that has been asked for already.
  static var delayed: ClientFlags { ClientFlags(rawValue: 1 << 23) }
  static var admitted: ClientFlags { ClientFlags(rawValue: 1 << 24) }

  /// There is nobody: it stands for the client of a copy, and what is sent to it is dropped.
  static var void: ClientFlags { ClientFlags(rawValue: 1 << 25) }

  /// Its request waits before it is routed: `waiter` has it (Parking).
  static var asking: ClientFlags { ClientFlags(rawValue: 1 << 27) }

  /// What its socket holds unsent is limited (`limitUnsent`).
  static var limited: ClientFlags { ClientFlags(rawValue: 1 << 26) }

  /// No further request may be begun on its socket in HTTP/1.
  static var finished: ClientFlags { [.closing, .doomed, .lingering, .stream, .multiplexed, .delayed, .asking] }
}

/// What a client's timer means when it fires.
enum ClientWaiting: UInt8, BitwiseCopyable {
  case nothing, firstByte, idle, head, body, queue, send, linger, webSocket, token
  /// The answer of a server that has a bucket of a rate limit.
  case answer
  /// An HTTP/2 connection without streams: for the time being nothing; then it sleeps, and is `idle`.
  case settling
}

/// What the streams of a connection have of it.
struct StreamOrigin: BitwiseCopyable {
  let peer: PeerAddress
  let peerPort: UInt16
  let address: PeerText
  let listener: UInt16
  let flags: ClientFlags
}

/// The state of one client connection.
struct Client: ~Copyable {
  private(set) var socket: Socket
  /// Who is at the other end of the connection.
  var peer: PeerAddress
  /// …and from which port; 0: not known.
  var peerPort: UInt16 = 0
  /// Whom requests come from: the peer, or whom a trusted proxy names, from the head of a request on. Set in ClientAddress alone.
  var address: PeerText
  private(set) var listener: UInt16
  var flags = ClientFlags.fresh
  var waiting = ClientWaiting.firstByte
  /// Milliseconds of the monotonic clock; meaningless while `waiting` is `nothing`.
  var deadline: Int64 = 0
  var exchange: Handle?
  /// What its bytes are carried by, where that is not the socket itself: with `.secure` its TLS session, with `.stream` its record.
  var carrier = Handle(index: 0, generation: 0)
  /// What carries its streams; valid with `.multiplexed`.
  var multiplexer = Handle(index: 0, generation: 0)
  /// What keeps its request while that waits; valid with `.asking`.
  var waiter = Handle(index: 0, generation: 0)
  var input: Buffer?
  var backlog = BufferChain()
  var parser = RequestParser()
  /// The request body being read, for an exchange or to be dropped.
  var body = BodyReader(.none)
  /// Microseconds of the monotonic clock at the first byte of the request being read.
  var requestStart: Int64 = 0
  /// Bytes read of the current request.
  var received: UInt64 = 0
  /// Which bounds hold for the request at hand: an index into `RouteActions.bounds`.
  var bounds: Int32 = 0
  /// What its request, and its connection, are counted for: the first of a chain of holds (Concurrency).
  var holds = Hold.none
  var connectionHolds = Hold.none
  /// Its request among those that are held; valid with `.delayed`.
  var delayed: UInt32 = 0

  /// Notes what the socket has become ready for; true when it may simply be read for requests, as nearly always.
  @inline(__always)
  mutating func noteReady(_ readiness: Readiness) -> Bool {
    flags.insert(.readable)
    if !readiness.isDisjoint(with: .peerEnded) { flags.insert(.ended) }
    return exchange == nil && flags.isDisjoint(with: .finished) && backlog.isEmpty
  }

  /// A read has brought less than there was room for: the kernel has no more, unless the peer's end is still to be read.
  @inline(__always)
  mutating func noteShortRead() {
    if !flags.contains(.ended) { flags.remove(.readable) }
  }

  /// Whether its socket should be read for further requests at once.
  @inline(__always)
  var isReadyForMore: Bool { flags.contains(.readable) && mayBeginRequest }

  /// Whether another request may be begun: the last one is answered, and the answer sent.
  @inline(__always)
  var mayBeginRequest: Bool { flags.isDisjoint(with: .finished) && exchange == nil && backlog.isEmpty }

  /// A whole head has been read. `now`: microseconds of the monotonic clock.
  @inline(__always)
  mutating func headIsComplete(now: Int64) {
    if !flags.contains(.inHead) { requestStart = now }
    flags.remove([.inHead, .fresh])
  }

  /// A request has been read that has a body like this; `received`: its bytes that have come.
  @inline(__always)
  mutating func takeBody(_ framing: BodyFraming, received: Int) {
    beginBody(framing)
    self.received = UInt64(received)
    flags.remove(.owesContinue)
  }

  /// Whether nothing of it is of interest any more. (A stream is closing from its first byte on: it has one request.)
  var isFinished: Bool { !flags.isDisjoint(with: flags.contains(.stream) ? .doomed : .finished) }

  /// Whether something waits for its socket to become writable.
  @inline(__always)
  var hasUnsent: Bool { !backlog.isEmpty || flags.contains(.pouring) }

  /// Whether what is composed for it can go to its socket at once.
  @inline(__always)
  var isClear: Bool { backlog.isEmpty && flags.isDisjoint(with: [.holding, .doomed, .stream, .void]) }

  /// The body that is framed so is to be read. A stream's has no framing of its own but the stream's end.
  @inline(__always)
  mutating func beginBody(_ framing: BodyFraming) { body = BodyReader(self.framing(of: framing)) }

  /// How the end of a body that is framed so is found.
  @inline(__always)
  func framing(of framing: BodyFraming) -> BodyFraming { framing == .chunked && flags.contains(.stream) ? .untilClose : framing }

  /// Whether it is to be ended now that everything has been sent.
  @inline(__always)
  var isDone: Bool { flags.intersection([.closing, .delayed, .asking]) == .closing && backlog.isEmpty && exchange == nil }

  init(_ socket: consuming Socket, peer: PeerText, listener: UInt16) {
    self.socket = socket
    self.peer = PeerAddress(peer)
    address = peer
    self.listener = listener
  }

  /// Nobody, in whose name a copy of a request from `address` is sent.
  init(voidFrom address: PeerText) {
    socket = Socket(Descriptor.none)
    peer = PeerAddress(address)
    self.address = address
    listener = 0
    flags = .void
    waiting = .nothing
  }

  /// Closes its socket and gives up what it holds, which others have taken what they want of.
  mutating func vacate() {
    socket = Socket(Descriptor.none)
    input = nil
    backlog = BufferChain()
  }

  /// What its streams are to have.
  @inline(__always)
  var origin: StreamOrigin { StreamOrigin(peer: peer, peerPort: peerPort, address: address, listener: listener, flags: flags.intersection(.screened)) }

  /// Becomes, being vacant, a stream of a connection: one request, and no other.
  @inline(__always)
  mutating func becomeStream(of connection: StreamOrigin, carrier: Handle, at now: Int64) {
    peer = connection.peer
    peerPort = connection.peerPort
    address = connection.address
    listener = connection.listener
    self.carrier = carrier
    flags = connection.flags.union([.stream, .closing])
    waiting = .nothing
    exchange = nil
    bounds = 0
    body = BodyReader(.none)
    requestStart = now
    received = 0
  }
}
