// ReplyReader — bytes from a Redis server to replies, by hiredis' parser. Nothing is allocated for a reply, and what is not one ends it.
//
// Invariant: the reader's record lies at `answer` for as long as the reader lives; it is the reader that writes it.

import CHiredis

/// A reply, as far as anybody here wants to know.
public enum StoreReply: Equatable {
  /// Four numbers: what the script says.
  case verdict(StoreVerdict)
  /// A status or a text, its first 256 bytes.
  case text(String)
  case error(String)
  /// Something else.
  case other
}

/// What the script has said of a key.
public struct StoreVerdict: Equatable, BitwiseCopyable, Sendable {
  /// Tokens taken; 0: the request is refused.
  public var taken: Int64
  /// Whole tokens left.
  public var remaining: Int64
  /// Microseconds until there is a token, and, when refused, until the request would have been admitted.
  public var untilToken: Int64
  public var untilAdmitted: Int64

  public init(taken: Int64, remaining: Int64, untilToken: Int64, untilAdmitted: Int64) {
    self.taken = taken
    self.remaining = remaining
    self.untilToken = untilToken
    self.untilAdmitted = untilAdmitted
  }
}

/// What has come of a reply.
public enum StoreReading: Equatable {
  case reply(StoreReply)
  /// There is no whole one.
  case incomplete
  /// What has come is none.
  case malformed
}

/// Reads replies one after the other.
@safe
public struct ReplyReader: ~Copyable {
  /// Bytes of one reply at most.
  static let limit = 64 << 10

  private let reader: UnsafeMutablePointer<redisReader>?
  private let answer: UnsafeMutablePointer<chr_answer>

  public init() {
    unsafe answer = .allocate(capacity: 1)
    unsafe answer.initialize(to: chr_answer())
    unsafe reader = chr_reader(answer)
  }

  deinit {
    if let reader = unsafe reader { unsafe redisReaderFree(reader) }
    unsafe answer.deallocate()
  }

  /// Takes bytes; false when there is no memory, or more has come than any reply has.
  public mutating func feed(_ bytes: Span<UInt8>) -> Bool {
    guard let reader = unsafe reader, unsafe chr_waiting(reader) + bytes.count <= ReplyReader.limit + (256 << 10) else { return false }
    return unsafe bytes.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress else { return true }
      return unsafe redisReaderFeed(reader, base.assumingMemoryBound(to: CChar.self), buffer.count) == REDIS_OK
    }
  }

  /// The next reply.
  public mutating func next() -> StoreReading {
    guard let reader = unsafe reader else { return .malformed }
    switch unsafe chr_next(reader) {
    case 1: return .reply(reply)
    case 0: return unsafe chr_waiting(reader) > ReplyReader.limit ? .malformed : .incomplete
    default: return .malformed
    }
  }

  private var reply: StoreReply {
    switch unsafe Int(answer.pointee.kind) {
    case chr_integers where unsafe answer.pointee.count == 4:
      let numbers = unsafe answer.pointee.numbers
      let verdict = StoreVerdict(taken: numbers.0, remaining: numbers.1, untilToken: numbers.2, untilAdmitted: numbers.3)
      // No number that could overflow when another one is added.
      let sound: ClosedRange<Int64> = 0...1 << 60
      let isSound = sound.contains(verdict.taken) && sound.contains(verdict.remaining) && sound.contains(verdict.untilToken) && sound.contains(verdict.untilAdmitted)
      return isSound ? .verdict(verdict) : .other
    case chr_text: return .text(text)
    case chr_error: return .error(text)
    default: return .other
    }
  }

  private var text: String {
    unsafe withUnsafeBytes(of: answer.pointee.text) { bytes in
      unsafe String(decoding: bytes.prefix(Int(clamping: answer.pointee.length)), as: UTF8.self)
    }
  }
}
