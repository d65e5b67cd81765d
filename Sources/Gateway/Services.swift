// Services — what the clients and exchanges of a worker share: pools of buffers, scratch space for heads, the clock of the turn; and which worker it is.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Upstream
import Wire

/// What the clients and exchanges of a worker share.
struct Services: ~Copyable {
  /// For request heads and the bytes that come with them.
  var small: BufferPool
  /// For bodies and responses.
  var large = BufferPool(bufferCapacity: 128 << 10, limit: 64)
  var responses: ResponseWriter
  /// The request being composed for a backend.
  var request: Buffer
  /// The normalised path of the request being dispatched.
  var path: Buffer
  /// The head being parsed; an exchange takes it along.
  var head: RequestHead
  var responseHead = ResponseHead()
  /// A head composed for a stream to a backend, being taken apart.
  var backendHead: RequestHead
  /// A head composed for a stream, being taken apart.
  var streamHead = ResponseHead(fieldLimit: 400)
  /// The text of that head.
  var memo = HeadMemo()
  var captures = Captures()
  var ids = RequestIDs()
  /// For control frames, and for what is being compressed or decompressed; made when it is first needed.
  var scratch = Buffer.absent
  /// The name and the entity tag of the file being looked for.
  var fileName = Buffer(capacity: FilePath.limit + 1024)
  var fileTag = Buffer(capacity: 64)
  /// What an encoder has made; and the coding that the head at hand tells of.
  var coded = Buffer.absent
  var headCoding = ContentCoding.identity
  /// Bytes of the file of which no range could be sent.
  var rangeSize = 0
  /// What rate limits said of the request being dispatched.
  var rateNote = RateNote()
  /// Milliseconds that the request being dispatched was held.
  var heldFor: Int64 = 0
  /// The route of the request that rate limits are asked about; -1: none.
  var matchedRoute = -1
  /// What templates are told, and lines being composed from them; without memory where there are none.
  var facts = TemplateFacts.absent
  var editLines = Buffer.absent
  /// What is told to the client whose request an upstream's guard has just refused.
  var guardNote = GuardNote()
  var random = SystemRandomNumberGenerator()
  /// Milliseconds and microseconds of the monotonic clock, and microseconds of the wall clock, at the start of the turn.
  var now: Int64 = 0
  var nowMicroseconds: Int64 = 0
  var wall: Int64 = 0
  /// Data bytes in the piece of a chunked response being relayed.
  var chunkSize = 0
  let headLimit: Int
  let fieldLimit: Int

  init(_ limits: LimitPlan) {
    headLimit = limits.maxHeaderSize == 0 ? 1 << 20 : limits.maxHeaderSize
    fieldLimit = limits.maxHeaderCount
    // Request line and blanks come on top of what the limit counts.
    small = BufferPool(bufferCapacity: max(16 << 10, headLimit + 4096), limit: 256)
    responses = ResponseWriter(capacity: 512 << 10)
    // A path may treble when its bytes are percent-encoded, and a field line may grow by a byte.
    // …and one piece of a body goes behind it.
    request = Buffer(capacity: 4 * small.bufferCapacity + 2 * large.bufferCapacity)
    path = Buffer(capacity: 3 * small.bufferCapacity)
    head = RequestHead(fieldLimit: fieldLimit)
    // …with what the gateway adds to a request, and what rules do.
    backendHead = RequestHead(fieldLimit: fieldLimit + 128)
  }

  /// A buffer with room for `count` bytes: from the pool, to which it goes back, where those of the pool are large enough.
  mutating func buffer(for count: Int) -> Buffer { count <= small.bufferCapacity ? small.take() : Buffer(capacity: count) }
}

/// Which worker this is.
public struct WorkerIdentity: Sendable {
  public let slot: Int
  public let count: Int
  public let generation: UInt64
  /// In the scoreboard, which no other process has.
  public let row: Int
  /// "slot.generation", for logs.
  public var name: String { "\(slot).\(generation)" }

  public init(slot: Int, count: Int, generation: UInt64, row: Int = 0) {
    self.row = row
    self.slot = slot
    self.count = count
    self.generation = generation
  }
}
