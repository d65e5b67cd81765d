// Encoder — content in, the same content coded out, piece by piece: gzip (zlib), brotli and zstd.
//
// Unsafe code. Invariants: `state` is what the library of `coding` has made, and goes with the encoder; the libraries are lent input and output
// for the duration of a call only. Memory is bounded by the window, whatever the content: about 270 KiB for gzip, 1 MiB for the others.

import CBrotli
import CZlib
import CZstd
import Memory
import Wire

/// Codes one content after the other.
@safe
public struct Encoder: ~Copyable {
  public enum Operation: Sendable, BitwiseCopyable {
    /// Take the input; what comes out of it may come later.
    case process
    /// Everything that has been taken comes out, so that a decoder has it.
    case flush
    /// The content is over.
    case finish
  }

  public enum Progress: Sendable, BitwiseCopyable {
    case done
    /// The output is full: call again with room, and the same operation.
    case full
    case failed
  }

  /// Base-two logarithms of the windows.
  private static var gzipWindow: CInt { 15 }
  private static var brotliWindow: UInt32 { 18 }
  private static var zstdWindow: CInt { 18 }

  public let coding: ContentCoding
  private let state: UnsafeMutableRawPointer

  /// - Parameter level: as the library counts; values out of range are the nearest in it.
  /// Nil when there is no memory, or the coding is none.
  public init?(_ coding: ContentCoding, level: Int) {
    switch coding {
    case .identity: return nil
    case .gzip:
      let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
      unsafe stream.initialize(to: z_stream())
      // Sixteen more bits ask for the wrapping of gzip.
      guard unsafe czl_deflate_init(stream, CInt(max(1, min(9, level))), -(Encoder.gzipWindow + 16), 8, Z_DEFAULT_STRATEGY) == Z_OK else {
        unsafe stream.deallocate()
        return nil
      }
      unsafe state = UnsafeMutableRawPointer(stream)
    case .brotli:
      guard let encoder = unsafe BrotliEncoderCreateInstance(nil, nil, nil) else { return nil }
      unsafe BrotliEncoderSetParameter(encoder, BROTLI_PARAM_QUALITY, UInt32(max(0, min(11, level))))
      unsafe BrotliEncoderSetParameter(encoder, BROTLI_PARAM_LGWIN, Encoder.brotliWindow)
      unsafe state = UnsafeMutableRawPointer(encoder)
    case .zstd:
      guard let context = unsafe ZSTD_createCCtx() else { return nil }
      unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, CInt(max(1, min(19, level))))
      unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, Encoder.zstdWindow)
      unsafe state = UnsafeMutableRawPointer(context)
    }
    self.coding = coding
  }

  deinit {
    switch coding {
    case .identity: break
    case .gzip:
      let stream = unsafe state.assumingMemoryBound(to: z_stream.self)
      unsafe deflateEnd(stream)
      unsafe stream.deallocate()
    case .brotli: unsafe BrotliEncoderDestroyInstance(OpaquePointer(state))
    case .zstd: unsafe ZSTD_freeCCtx(OpaquePointer(state))
    }
  }

  /// Makes the encoder ready for other content; false when its library cannot do that.
  public mutating func reset() -> Bool {
    switch coding {
    case .gzip: unsafe deflateReset(state.assumingMemoryBound(to: z_stream.self)) == Z_OK
    case .zstd: unsafe ZSTD_isError(ZSTD_CCtx_reset(OpaquePointer(state), ZSTD_reset_session_only)) == 0
    case .brotli, .identity: false
    }
  }

  /// Codes `input` from `position` on, which it moves, until all is taken and the operation is over, or `output` is full.
  public mutating func encode(_ input: Span<UInt8>, at position: inout Int, _ operation: Operation, into output: inout Buffer) -> Progress {
    guard output.freeCapacity > 0, position <= input.count else { return .full }
    var used = 0
    let rest = input.extracting(droppingFirst: position)
    let progress = output.fill { free in
      unsafe free.withUnsafeMutableBytes { storage, filled in
        unsafe rest.withUnsafeBufferPointer { bytes in
          guard let base = storage.baseAddress else { return Progress.failed }
          let room = unsafe UnsafeMutableBufferPointer(start: (base + filled).assumingMemoryBound(to: UInt8.self), count: storage.count - filled)
          var written = 0
          let progress: Progress
          switch coding {
          case .gzip: progress = unsafe deflate(bytes, &used, operation, room, &written)
          case .brotli: progress = unsafe brotli(bytes, &used, operation, room, &written)
          case .zstd: progress = unsafe zstd(bytes, &used, operation, room, &written)
          case .identity: progress = .failed
          }
          filled += written
          return progress
        }
      }
    }
    position += used
    return progress
  }

  private func deflate(
    _ input: UnsafeBufferPointer<UInt8>, _ used: inout Int, _ operation: Operation, _ output: UnsafeMutableBufferPointer<UInt8>, _ written: inout Int
  ) -> Progress {
    let stream = unsafe state.assumingMemoryBound(to: z_stream.self)
    let total = min(input.count, Int(UInt32.max)), room = min(output.count, Int(UInt32.max))
    unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
    unsafe stream.pointee.avail_in = UInt32(total)
    unsafe stream.pointee.next_out = output.baseAddress
    unsafe stream.pointee.avail_out = UInt32(room)
    let flush = operation == .process ? Z_NO_FLUSH : operation == .flush ? Z_SYNC_FLUSH : Z_FINISH
    // Z_BUF_ERROR says that there was nothing to do.
    let result = unsafe CZlib.deflate(stream, flush)
    used = total - Int(unsafe stream.pointee.avail_in)
    written = room - Int(unsafe stream.pointee.avail_out)
    let isFull = unsafe stream.pointee.avail_out == 0
    unsafe stream.pointee.next_in = nil
    unsafe stream.pointee.avail_in = 0
    unsafe stream.pointee.next_out = nil
    unsafe stream.pointee.avail_out = 0
    if result == Z_STREAM_END { return .done }
    guard result == Z_OK || result == Z_BUF_ERROR else { return .failed }
    if operation == .finish { return isFull ? .full : .failed }
    return isFull || used < input.count ? .full : .done
  }

  private func brotli(
    _ input: UnsafeBufferPointer<UInt8>, _ used: inout Int, _ operation: Operation, _ output: UnsafeMutableBufferPointer<UInt8>, _ written: inout Int
  ) -> Progress {
    let encoder = unsafe OpaquePointer(state)
    let kind = operation == .process ? BROTLI_OPERATION_PROCESS : operation == .flush ? BROTLI_OPERATION_FLUSH : BROTLI_OPERATION_FINISH
    var available = input.count, room = output.count
    var next = input.baseAddress, target = output.baseAddress
    repeat {
      guard unsafe BrotliEncoderCompressStream(encoder, kind, &available, &next, &room, &target, nil) != 0 else { return .failed }
      used = input.count - available
      written = output.count - room
      if room == 0, unsafe BrotliEncoderHasMoreOutput(encoder) != 0 { return .full }
    } while unsafe available > 0 || BrotliEncoderHasMoreOutput(encoder) != 0
    return unsafe operation == .finish && BrotliEncoderIsFinished(encoder) == 0 ? .full : .done
  }

  private func zstd(
    _ input: UnsafeBufferPointer<UInt8>, _ used: inout Int, _ operation: Operation, _ output: UnsafeMutableBufferPointer<UInt8>, _ written: inout Int
  ) -> Progress {
    let kind = operation == .process ? ZSTD_e_continue : operation == .flush ? ZSTD_e_flush : ZSTD_e_end
    var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
    while true {
      let rest = unsafe ZSTD_compressStream2(OpaquePointer(state), &target, &source, kind)
      used = unsafe source.pos
      written = unsafe target.pos
      guard ZSTD_isError(rest) == 0 else { return .failed }
      let isTaken = unsafe source.pos == source.size
      if isTaken, operation == .process || rest == 0 { return .done }
      if unsafe target.pos == target.size { return .full }
    }
  }
}
