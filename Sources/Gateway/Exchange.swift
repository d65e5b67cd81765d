// Exchange — one request on its way to a backend, and the response on its way back.
//
// Invariants: `bytes` begins with the request's head, into which `head` points; it is not consumed before the exchange
// ends. `backend` is set from the lease to the end of the response. An exchange ends in exactly one `finish`.
// Exchanges are parked and never removed, which is what makes it safe to pin them (see `Slab.pin`).

import HTTPModel
import Memory
import Policy
import Wire

/// What is true of an exchange.
struct ExchangeFlags: OptionSet, BitwiseCopyable {
  let rawValue: UInt64
  init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Bytes of the final response have been handed to the client's socket or backlog.
  static var committed: ExchangeFlags { ExchangeFlags(rawValue: 1) }
  /// The response is collected before any of it is sent.
  static var holding: ExchangeFlags { ExchangeFlags(rawValue: 2) }
  /// The response being collected will hardly be used: its status is one that is retried.
  static var retrying: ExchangeFlags { ExchangeFlags(rawValue: 4) }
  /// Body bytes go to the client in chunks.
  static var chunked: ExchangeFlags { ExchangeFlags(rawValue: 8) }
  /// The client's connection may be kept after the response.
  static var persistent: ExchangeFlags { ExchangeFlags(rawValue: 16) }
  /// The whole request, with its body, has been handed to the backend's socket or backlog.
  static var requestComplete: ExchangeFlags { ExchangeFlags(rawValue: 32) }
  /// Body bytes that are no longer held have been handed on, so the request cannot be sent again.
  static var bodyGone: ExchangeFlags { ExchangeFlags(rawValue: 64) }
  /// The request body is collected before a backend is asked for.
  static var collecting: ExchangeFlags { ExchangeFlags(rawValue: 128) }
  /// The response is a stream of events: no idle limit, nothing held back.
  static var eventStream: ExchangeFlags { ExchangeFlags(rawValue: 256) }
  /// The exchange is in the queue of its upstream.
  static var waiting: ExchangeFlags { ExchangeFlags(rawValue: 512) }
  /// The response's end is marked by closing the connection.
  static var untilClose: ExchangeFlags { ExchangeFlags(rawValue: 1024) }
  /// The final response head has been read from the backend.
  static var hasHead: ExchangeFlags { ExchangeFlags(rawValue: 2048) }
  /// The request body has been collected, or is being.
  static var collected: ExchangeFlags { ExchangeFlags(rawValue: 8192) }
  /// Trailers of the response are passed on.
  static var trailers: ExchangeFlags { ExchangeFlags(rawValue: 4096) }
  /// The backend is asked for a WebSocket.
  static var upgrading: ExchangeFlags { ExchangeFlags(rawValue: 16384) }
  /// It has become a WebSocket: a tunnel, or an endpoint of our own where there is no upstream.
  static var upgraded: ExchangeFlags { ExchangeFlags(rawValue: 32768) }
  /// The body of the response goes through a pipe.
  static var spliced: ExchangeFlags { ExchangeFlags(rawValue: 65536) }
  /// Body bytes that are passed on are kept, so that the request can be sent again.
  static var keepsBody: ExchangeFlags { ExchangeFlags(rawValue: 1 << 17) }
  /// The request is a gRPC call; and its deadline is the call's own.
  static var grpc: ExchangeFlags { ExchangeFlags(rawValue: 1 << 23) }
  static var deadlineIsCalls: ExchangeFlags { ExchangeFlags(rawValue: 1 << 24) }
  /// The client is bound to an endpoint by a cookie.
  static var sticky: ExchangeFlags { ExchangeFlags(rawValue: 1 << 32) }
  /// How the attempt under way ends says something about its endpoint.
  static var watched: ExchangeFlags { ExchangeFlags(rawValue: 1 << 33) }
  /// All of the response has been handed over; what waits in the client's backlog is all that is left to do.
  static var delivering: ExchangeFlags { ExchangeFlags(rawValue: 1 << 34) }
  /// Some statuses are retried.
  static var watchesStatus: ExchangeFlags { ExchangeFlags(rawValue: 1 << 18) }
  /// It is a copy of a request, for which nobody waits.
  static var mirror: ExchangeFlags { ExchangeFlags(rawValue: 1 << 26) }
  /// The route has header rules.
  static var edits: ExchangeFlags { ExchangeFlags(rawValue: 1 << 25) }
  /// Addresses in the response's head are rewritten.
  static var rewrites: ExchangeFlags { ExchangeFlags(rawValue: 1 << 19) }
  /// The request has been sent more than once at the same time, and there is no answer yet.
  static var hedged: ExchangeFlags { ExchangeFlags(rawValue: 1 << 20) }
  /// The response may be compressed; whether it is, depends on the request; its head says that it is; and an encoder is at work.
  static var mayCompress: ExchangeFlags { ExchangeFlags(rawValue: 1 << 27) }
  static var varies: ExchangeFlags { ExchangeFlags(rawValue: 1 << 21) }
  static var coded: ExchangeFlags { ExchangeFlags(rawValue: 1 << 29) }
  static var compressing: ExchangeFlags { ExchangeFlags(rawValue: 1 << 30) }
  /// A file is sent; there is no upstream.
  static var file: ExchangeFlags { ExchangeFlags(rawValue: 1 << 31) }
  /// The head that was collected has come over HTTP/2.
  static var heldFromHTTP2: ExchangeFlags { ExchangeFlags(rawValue: 1 << 22) }
  /// The attempt under way has been let through by the upstream's guard, and is to be reported to it (`admission`).
  static var guarded: ExchangeFlags { ExchangeFlags(rawValue: 1 << 28) }
}

/// The state of one proxied request. The slots of ended exchanges are used again as they are, so that `begin` sets everything
/// that an exchange may have left behind; buffers it has given up already.
struct Exchange: ~Copyable {
  private(set) var client = Handle(index: .max, generation: 0)
  private(set) var route: Int32 = -1
  /// Index into the gateway's forward rules.
  private(set) var rule: Int32 = 0
  private(set) var upstream: Int32 = 0
  var head: RequestHead
  var bytes = Buffer.absent
  /// Bytes of `bytes` that belong to this request so far: the head, and the body that came with it.
  var used = 0
  private(set) var headLength = 0
  /// The normalised path where it differs from the client's.
  var path: Buffer?
  /// Where in the path what is forwarded begins (strip_prefix), and whether a "/" goes before it.
  var pathStart: Int32 = 0
  var flags = ExchangeFlags()
  var backend: Handle?
  /// Requests and connects tried.
  var attempts: UInt8 = 0
  /// Interim responses passed on.
  var interims: UInt8 = 0
  /// Addresses of the endpoint tried for the current attempt.
  var addressesTried: UInt8 = 0
  /// The endpoint it has gone to last, by its pool; -1: none yet.
  var pool: Int32 = -1
  /// What its upstream's balancing goes by; set where the rule says so (`BalanceRule.isActive`).
  var balanceKey: UInt64 = 0
  var boundTo: UInt64 = 0
  /// The endpoints it has been sent to, where there are several.
  var tried = TriedEndpoints()
  var status: UInt16 = 0
  var fault = Fault.none
  /// What became of a gRPC call; -1: not known. Only with `.grpc`.
  var callStatus: Int16 = -1
  private(set) var requestID = RequestID.generated(0)
  /// Microseconds of the monotonic and of the wall clock at the first byte.
  private(set) var started: Int64 = 0
  private(set) var startedWall: Int64 = 0
  /// When the connect, and then the request, of the current attempt began; microseconds of the monotonic clock.
  var attemptStart: Int64 = 0
  /// Microseconds that the connect took, and from the request to the head of the response; -1 when it did not happen.
  var connectedAt: Int64 = -1
  var headAt: Int64 = -1
  /// Milliseconds of the monotonic clock by which the exchange must be over; 0: no limit. Set by `Gateway.limit`.
  var deadline: Int64 = 0
  /// Milliseconds of the monotonic clock by which the response must be over; 0: no limit.
  var responseDeadline: Int64 = 0
  /// Body bytes received from the client.
  var bodyReceived = 0
  /// Bytes handed to the client, and those of them that are body.
  var sent = 0
  var bodySent = 0
  /// A request body that was collected, or what is kept of one for another attempt.
  var requestBody = BufferChain()
  /// What it takes to send the request again, from the time that it may be.
  var recovery: Handle?
  /// The tunnel or the endpoint's session, from the request for a WebSocket to the end; with `.spliced` the pipe, with `.file` the file, with `.compressing` the encoder.
  var session: Handle?
  /// A copy of the request, until its body is whole.
  var copy: Handle?
  /// The backend's head, while the response is collected; before, the fields that ask it for an upgrade.
  var heldHead: Buffer?
  /// Trailer lines being collected, of the request or of the response.
  var trailers: Buffer?
  /// What rate limits said of the request; set where there are any.
  var rateNote = RateNote()
  /// With `.guarded`: what the attempt under way was let through with.
  var admission = Admission()
  /// Neighbours in the upstream's queue.
  var nextWaiting: Handle?
  var previousWaiting: Handle?

  init(fieldLimit: Int) { head = RequestHead(fieldLimit: fieldLimit) }

  /// Begins the exchange for a request whose head, and the bytes it is in, have been put in place.
  @inline(__always)
  mutating func begin(
    client: Handle, route: Int, rule: Int, upstream: Int, headLength: Int, requestID: RequestID, started: Int64, startedWall: Int64
  ) {
    self.client = client
    self.route = Int32(truncatingIfNeeded: route)
    self.rule = Int32(truncatingIfNeeded: rule)
    self.upstream = Int32(truncatingIfNeeded: upstream)
    self.headLength = headLength
    used = headLength
    pathStart = 0
    flags = []
    backend = nil
    attempts = 0
    interims = 0
    addressesTried = 0
    pool = -1
    tried.removeAll()
    status = 0
    fault = .none
    self.requestID = requestID
    self.started = started
    self.startedWall = startedWall
    attemptStart = 0
    connectedAt = -1
    headAt = -1
    deadline = 0
    responseDeadline = 0
    bodyReceived = 0
    sent = 0
    bodySent = 0
    nextWaiting = nil
    previousWaiting = nil
  }

  /// Lends the normalised path. `bytes` are those of the request.
  func withPath<Result>(_ bytes: Span<UInt8>, _ body: (Span<UInt8>) -> Result) -> Result {
    switch path {
    case .some(let path): body(path.bytes)
    case .none: body(head.path.text(in: bytes))
    }
  }
}
