// ClientWorkspace — what the client sessions of a worker share while one of them takes in or puts out frames.
//
// As `Workspace` for servers: a session tells what has happened by appending events, with the header sections beside them;
// whoever called it reads the events in order and then clears them. Invariant: sections [0 ..< used] are spoken of by events,
// or are the one being filled.

import CNghttp2
import HTTPModel
import Memory

/// What has happened on a connection to a server. Streams are named by the tags their requests were given.
public enum ClientEvent: BitwiseCopyable {
  /// A response head, final or interim; it is `sections[section]`.
  case head(tag: UInt64, section: Int, endsStream: Bool)
  /// Body bytes: a range of the input. They are to be given back, to the stream and the connection.
  case data(tag: UInt64, stream: Int32, start: Int, count: Int)
  /// The trailers of a response, as lines; the response ends with them.
  case trailers(tag: UInt64, section: Int)
  /// A response has ended.
  case end(tag: UInt64)
  /// All DATA of a request has been produced, and its trailers are asked for.
  case wantsTrailers(tag: UInt64, stream: Int32)
  /// A request has been produced to its end.
  case requestWent(tag: UInt64)
  /// A stream is closed, with an error code of RFC 9113 §7. `refusedStream` also where its request was never sent, or was
  /// surely not processed: GOAWAY named an earlier one as the last.
  case closed(tag: UInt64, code: UInt32)
  /// The response breaks a rule; the stream has been reset.
  case violated(tag: UInt64, ResponseViolation)
  /// The server has said how many streams it allows, and the like.
  case settings
  /// The server takes no further requests. Those above the last stream are closed by events of their own.
  case goAway(lastStream: Int32, code: UInt32)
  /// A PING was acknowledged.
  case pong
  /// The server broke a rule of the connection, which ends.
  case connectionError(code: UInt32)
  /// A stream has been reset by the server, or from here.
  case resetReceived, resetSent

  /// The stream that it is about; 0: none.
  public var tag: UInt64 {
    switch self {
    case .head(let tag, _, _), .data(let tag, _, _, _), .trailers(let tag, _), .end(let tag), .wantsTrailers(let tag, _), .requestWent(let tag), .closed(let tag, _),
      .violated(let tag, _):
      tag
    default: 0
    }
  }
}

/// Scratch space for client sessions.
@safe
public struct ClientWorkspace: ~Copyable {
  /// Header sections taken in before their events have to be dealt with; bounds what one read can make of memory.
  static let sectionLimit = 32

  public var sections = Stack<ResponseSection>(capacity: ClientWorkspace.sectionLimit + 1)
  var used = 0
  private var events = Stack<ClientEvent>(capacity: 256)
  var fields: BoundedArray<nghttp2_nv>
  private let capacity: Int
  private let fieldLimit: Int

  /// - Parameters:
  ///   - sectionCapacity: bytes of a response head that are kept; a larger one is too large.
  ///   - fieldLimit: fields in a response.
  public init(sectionCapacity: Int, fieldLimit: Int) {
    capacity = sectionCapacity
    self.fieldLimit = fieldLimit
    unsafe fields = BoundedArray(capacity: 400)
  }

  public var eventCount: Int { events.count }
  public func event(at position: Int) -> ClientEvent { events[position] }

  /// Forgets the events and their sections.
  public mutating func clear() {
    events.removeAll()
    used = 0
  }

  mutating func append(_ event: ClientEvent) { events.append(event) }

  /// The place for another section.
  mutating func takeSection(_ stream: Int32) -> Int {
    if used == sections.count { sections.append(ResponseSection(capacity: capacity, fieldLimit: fieldLimit)) }
    // What was lent to a response may have left nothing behind.
    if sections[used].bytes.capacity != capacity { sections[used].bytes = Buffer(capacity: capacity) }
    sections[used].begin(stream)
    used += 1
    return used - 1
  }

  /// Takes the unfinished section out, for the time between two reads.
  mutating func detach(_ position: Int) -> ResponseSection {
    var section = ResponseSection(capacity: 0, fieldLimit: fieldLimit)
    swap(&section, &sections[position])
    return section
  }

  /// Puts an unfinished section back; returns where it is.
  mutating func attach(_ section: consuming ResponseSection) -> Int {
    var section = section
    if used == sections.count {
      sections.append(section)
    } else {
      swap(&section, &sections[used])
    }
    used += 1
    return used - 1
  }
}
