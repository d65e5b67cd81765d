// Inflater — one direction of permessage-deflate, from the peer: compressed bytes in, pieces of the message out.
//
// Unsafe code. Invariants: `stream` is an initialised inflate stream at an address that does not change (zlib's state points
// back at it); between two calls it points at no memory of anyone else. Memory: zlib's state of some 7 KiB, and the window.

import CZlib
import Memory

/// Where inflating has stopped.
public enum InflateOutcome: Equatable, Sendable {
  /// The input is used up, and everything it gives is in the output.
  case needsInput
  /// The output is full; call again with another.
  case needsOutput
  /// The input is not deflated data.
  case corrupt
}

/// Undoes raw deflate (RFC 1951) as RFC 7692 §7.2.2 has it.
@safe
public struct Inflater: ~Copyable {
  private let stream: UnsafeMutablePointer<z_stream>
  /// How much of the end mark of the message at hand has been fed.
  private var endMarkFed = 0

  /// - Parameter windowBits: base-two logarithm of the sender's window, 8...15.
  /// Nil when there is no memory.
  public init?(windowBits: Int) {
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    // Some senders that were told 8 use 9, because zlib does.
    guard unsafe czl_inflate_init(stream, CInt(max(9, min(15, windowBits)))) == Z_OK else {
      unsafe stream.deallocate()
      return nil
    }
    unsafe self.stream = stream
  }

  deinit {
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Inflates `input` from `position` on, which it moves, until that is used up or `output` is full.
  public mutating func inflate(_ input: Span<UInt8>, at position: inout Int, into output: inout Buffer) -> InflateOutcome {
    var used = 0
    let outcome = unsafe input.extracting(droppingFirst: position).withUnsafeBufferPointer { unsafe run($0, &used, &output) }
    position += used
    return outcome
  }

  /// Ends a message: feeds the end mark that the sender has left out. Call again while it needs output.
  public mutating func endMessage(into output: inout Buffer) -> InflateOutcome {
    let mark = Self.endMark
    var position = endMarkFed
    let outcome = inflate(mark.span, at: &position, into: &output)
    endMarkFed = outcome == .needsOutput ? position : 0
    return outcome
  }

  /// Forgets the window, for a sender that keeps no context from one message to the next.
  public mutating func reset() { unsafe inflateReset(stream) }

  /// What ends a flushed block, and is not sent (RFC 7692 §7.2.1).
  static let endMark: InlineArray<4, UInt8> = [0x00, 0x00, 0xff, 0xff]

  private mutating func run(_ input: UnsafeBufferPointer<UInt8>, _ used: inout Int, _ output: inout Buffer) -> InflateOutcome {
    let total = min(input.count, Int(UInt32.max))
    unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
    unsafe stream.pointee.avail_in = UInt32(total)
    var outcome = InflateOutcome.needsInput
    turns: while true {
      let room = output.freeCapacity
      guard room > 0 else {
        outcome = .needsOutput
        break
      }
      let result = output.fill { free in
        unsafe free.withUnsafeMutableBytes { storage, filled in
          let size = min(storage.count - filled, Int(UInt32.max))
          unsafe stream.pointee.next_out = (storage.baseAddress! + filled).assumingMemoryBound(to: UInt8.self)
          unsafe stream.pointee.avail_out = UInt32(size)
          let result = unsafe CZlib.inflate(stream, Z_SYNC_FLUSH)
          filled += size - Int(unsafe stream.pointee.avail_out)
          return result
        }
      }
      switch result {
      case Z_OK: if unsafe stream.pointee.avail_in == 0, output.freeCapacity > 0 { break turns }
      // Nothing to do is no error: there was no input, and nothing was pending.
      case Z_BUF_ERROR: if output.freeCapacity > 0 { break turns }
      case Z_STREAM_END:
        // A block that is marked as the last one: what follows goes on with the same window (RFC 7692 §7.2.3.4).
        guard unsafe inflateResetKeep(stream) == Z_OK else {
          outcome = .corrupt
          break turns
        }
        if unsafe stream.pointee.avail_in == 0 { break turns }
      default:
        outcome = .corrupt
        break turns
      }
    }
    used = total - Int(unsafe stream.pointee.avail_in)
    unsafe stream.pointee.next_in = nil
    unsafe stream.pointee.avail_in = 0
    unsafe stream.pointee.next_out = nil
    unsafe stream.pointee.avail_out = 0
    return outcome
  }
}
