// Deflater — the other direction: pieces of a message in, compressed bytes out.
//
// Unsafe code, under the invariants of Inflater.swift. Memory: 2^(windowBits + 2) + 2^(memoryLevel + 9) bytes, and zlib's state of
// some 6 KiB: 40 KiB with a window of 12 bits.

import CZlib
import Memory

/// Does raw deflate (RFC 1951) as RFC 7692 §7.2.1 has it.
@safe
public struct Deflater: ~Copyable {
  private let stream: UnsafeMutablePointer<z_stream>
  public let windowBits: Int

  /// - Parameters:
  ///   - windowBits: base-two logarithm of the window, 8...15. zlib knows none of 8; then nothing but repetitions of the last
  ///     byte is looked for, which needs none.
  ///   - level: 1 (fast) to 9 (small).
  /// Nil when there is no memory.
  public init?(windowBits: Int, level: Int) {
    let bits = max(8, min(15, windowBits))
    let memoryLevel = max(1, min(8, bits - 7))
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    let strategy = bits == 8 ? Z_RLE : Z_DEFAULT_STRATEGY
    guard unsafe czl_deflate_init(stream, CInt(max(1, min(9, level))), CInt(max(9, bits)), CInt(memoryLevel), strategy) == Z_OK else {
      unsafe stream.deallocate()
      return nil
    }
    unsafe self.stream = stream
    self.windowBits = bits
  }

  deinit {
    unsafe deflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Deflates `input` from `position` on, which it moves, until all is taken or `output` is full.
  /// - Parameter isLast: everything comes out, and the end mark after it.
  /// - Returns: false when `output` is full: call again with room, and the same `isLast`.
  public mutating func deflate(_ input: Span<UInt8>, at position: inout Int, isLast: Bool, into output: inout Buffer) -> Bool {
    var used = 0
    let isDone = unsafe input.extracting(droppingFirst: position).withUnsafeBufferPointer { unsafe run($0, &used, isLast, &output) }
    position += used
    return isDone
  }

  /// Forgets the window, for a peer that keeps no context from one message to the next, or for another peer.
  public mutating func reset() { unsafe deflateReset(stream) }

  private mutating func run(_ input: UnsafeBufferPointer<UInt8>, _ used: inout Int, _ isLast: Bool, _ output: inout Buffer) -> Bool {
    let total = min(input.count, Int(UInt32.max))
    unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
    unsafe stream.pointee.avail_in = UInt32(total)
    var isDone = false
    while output.freeCapacity > 0 {
      let isFull = output.fill { free in
        unsafe free.withUnsafeMutableBytes { storage, filled in
          let size = min(storage.count - filled, Int(UInt32.max))
          unsafe stream.pointee.next_out = (storage.baseAddress! + filled).assumingMemoryBound(to: UInt8.self)
          unsafe stream.pointee.avail_out = UInt32(size)
          // Z_BUF_ERROR says that there was nothing to do.
          unsafe CZlib.deflate(stream, isLast ? Z_SYNC_FLUSH : Z_NO_FLUSH)
          let rest = Int(unsafe stream.pointee.avail_out)
          filled += size - rest
          return rest == 0
        }
      }
      if !isFull {
        isDone = true
        break
      }
    }
    used = total - Int(unsafe stream.pointee.avail_in)
    unsafe stream.pointee.next_in = nil
    unsafe stream.pointee.avail_in = 0
    unsafe stream.pointee.next_out = nil
    unsafe stream.pointee.avail_out = 0
    return isDone
  }
}
