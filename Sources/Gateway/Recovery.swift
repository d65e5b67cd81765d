// Recovery — what an exchange keeps so that its request can be sent again: counts, clocks, the attempts so far, and the response to
// fall back on.
//
// Invariants: an exchange whose route has retries has one from its start, others from their first resend; it is removed when the
// exchange ends. While `resumesAt` is set the exchange has no backend connection and does not wait for one.

import HTTPModel
import Memory
import Policy

/// An attempt that is over.
struct EndedAttempt: BitwiseCopyable {
  /// Which of the addresses of which endpoint, by its pool; -1: none was come to.
  var address: Int32 = -1
  var pool: Int32 = -1
  var fault = Fault.none
  /// Of the response, where there was one; without it and without a fault, the attempt was cancelled.
  var status: UInt16 = 0
  /// Microseconds.
  var duration: Int64 = 0
}

/// The state of an exchange that may be sent again.
struct Recovery: ~Copyable {
  /// More than can be made; further ones would not be remembered.
  static var attemptLimit: Int { 16 }

  /// Retries made.
  var retries: UInt8 = 0
  /// The request was sent again because a kept connection was stale.
  var wasResent = false
  /// Microseconds of the monotonic clock at which the attempt at hand began; 0: none is being made.
  var attemptStart: Int64 = 0
  /// The address it goes to, and the endpoint by its pool; -1: not known yet.
  var address: Int32 = -1
  var pool: Int32 = -1
  /// Milliseconds of the monotonic clock by which its response's head must have come; 0: no limit.
  var attemptDeadline: Int64 = 0
  /// Milliseconds of the monotonic clock at which the next attempt begins; 0: none is waited for.
  var resumesAt: Int64 = 0
  /// Milliseconds of the monotonic clock at which the request is sent once more beside the attempt at hand; 0: it is not.
  var hedgeAt: Int64 = 0
  /// Times that it was, and whether the attempt at hand is such a one.
  var hedges: UInt8 = 0
  var isHedge = false
  var legs = InlineArray<3, Leg>(repeating: Leg())
  var legCount = 0
  /// What the response being collected asks for, in milliseconds.
  var retryAfter: Int64 = 0
  var ended = InlineArray<16, EndedAttempt>(repeating: EndedAttempt())
  var endedCount = 0
  /// The last response that was not passed on because a retry might bring a better one.
  var heldHead: Buffer?
  var heldBody = BufferChain()
  var heldStatus: UInt16 = 0

  /// The attempt at hand has come to its end.
  mutating func endAttempt(_ fault: Fault, _ status: UInt16, now: Int64) {
    guard attemptStart > 0 else { return }
    note(EndedAttempt(address: address, pool: pool, fault: fault, status: status, duration: max(0, now - attemptStart)))
    attemptStart = 0
    attemptDeadline = 0
    address = -1
    pool = -1
  }

  /// Remembers an attempt that is over.
  mutating func note(_ attempt: EndedAttempt) {
    guard endedCount < Recovery.attemptLimit else { return }
    ended[endedCount] = attempt
    endedCount += 1
  }

  /// The attempt at hand, which is on `backend`.
  func leg(_ backend: Handle, _ admission: Admission?) -> Leg {
    Leg(backend: backend, attemptStart: attemptStart, address: address, pool: pool, isHedge: isHedge, admission: admission)
  }
}
