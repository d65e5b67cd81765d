// Workspace — what the sessions of a worker share while one of them takes in or puts out frames.
//
// A session tells what has happened by appending events; the header sections that came are kept beside them. Whoever called
// the session reads the events in order and then clears them. Invariant: sections [0 ..< used] are spoken of by events, or
// are the one being filled.

import CNghttp2
import HTTPModel
import Memory

/// What has happened on a connection.
public enum SessionEvent: BitwiseCopyable {
  /// A well-formed request has begun; its head is `sections[section]`.
  case request(stream: Int32, section: Int, endsStream: Bool)
  /// Body bytes: a range of the input. They are to be given back, to the stream and the connection. (The tag is the one that the
  /// stream had then: by now it may be closed. 0 while it had none.)
  case data(stream: Int32, tag: UInt64, start: Int, count: Int)
  /// The trailers of a request, as lines; the request ends with them.
  case trailers(stream: Int32, tag: UInt64, section: Int)
  /// A request has ended.
  case end(stream: Int32, tag: UInt64)
  /// All DATA of a stream has been produced, and its trailers are asked for.
  case wantsTrailers(tag: UInt64, stream: Int32)
  /// The response of a stream has been produced to its end, while the request still goes on.
  case answered(stream: Int32)
  /// A part of the answer that was prepared for a stream with this tag has gone, and more will.
  case progress(tag: UInt64)
  /// A stream that had a tag is closed, with an error code of RFC 9113 §7.
  case closed(tag: UInt64, code: UInt32)
  /// The client broke a rule on one stream, which is reset.
  case streamError(stream: Int32, code: UInt32)
  /// The client broke a rule of the connection, which ends.
  case connectionError(code: UInt32)
  /// More of a kind of frame than is put up with; the connection ends.
  case flooded(Flood)
  /// A stream that was promised has never been: the client knows nothing of it.
  case promiseFailed(stream: Int32)
  /// The client has reset a stream.
  case resetReceived
  /// A stream has been reset from here.
  case resetSent
}

/// Scratch space for sessions.
@safe
public struct Workspace: ~Copyable {
  /// Header sections taken in before their events have to be dealt with; bounds what one read can make of memory.
  static let sectionLimit = 32

  public var sections = Stack<FieldSection>(capacity: Workspace.sectionLimit + 1)
  var used = 0
  private var events = Stack<SessionEvent>(capacity: 256)
  var fields: BoundedArray<nghttp2_nv>
  /// What is answered again and again.
  public var answers = PreparedAnswers()
  /// Prepared answers on streams without a tag of which something has not gone yet, at most.
  public var openAnswers = 0
  /// Whether there is a `wantsTrailers` among the events.
  public private(set) var wantsTrailers = false
  private let capacity: Int
  private let fieldLimit: Int

  /// - Parameters:
  ///   - sectionCapacity: bytes of a request head that are kept; a larger one is too large.
  ///   - fieldLimit: fields in a request.
  public init(sectionCapacity: Int, fieldLimit: Int) {
    capacity = sectionCapacity
    self.fieldLimit = fieldLimit
    unsafe fields = BoundedArray(capacity: 420)
  }

  public var eventCount: Int { events.count }
  public func event(at position: Int) -> SessionEvent { events[position] }

  /// Forgets the events and their sections.
  public mutating func clear() {
    events.removeAll()
    used = 0
    wantsTrailers = false
  }

  mutating func append(_ event: SessionEvent) {
    if case .wantsTrailers = event { wantsTrailers = true }
    events.append(event)
  }

  /// The place for another section.
  mutating func takeSection(_ stream: Int32, isTrailers: Bool, knowsProtocol: Bool) -> Int {
    if used == sections.count { sections.append(FieldSection(capacity: capacity, fieldLimit: fieldLimit)) }
    // What was lent to a request may have left nothing behind.
    if sections[used].bytes.capacity != capacity { sections[used].bytes = Buffer(capacity: capacity) }
    if sections[used].head.fieldLimit != fieldLimit { sections[used].head = RequestHead(fieldLimit: fieldLimit) }
    sections[used].begin(stream, isTrailers: isTrailers, knowsProtocol: knowsProtocol)
    used += 1
    return used - 1
  }

  /// Takes the unfinished section out, for the time between two reads.
  mutating func detach(_ position: Int) -> FieldSection {
    var section = FieldSection(capacity: 0, fieldLimit: 1)
    swap(&section, &sections[position])
    return section
  }

  /// Puts an unfinished section back; returns where it is.
  mutating func attach(_ section: consuming FieldSection) -> Int {
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
