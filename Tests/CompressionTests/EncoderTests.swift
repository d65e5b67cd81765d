// EncoderTests — gzip read back by zlib, whatever the pieces; flushes that bring everything; encoders used again; small outputs.

import CZlib
import Memory
import Testing
import Wire

@testable import Compression

@Suite struct EncoderTests {
  private func content(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 % 53 + $0 % 11) } }

  /// Codes `pieces` with outputs of `room` bytes, flushing behind each piece where asked.
  private func code(_ encoder: inout Encoder, _ pieces: [[UInt8]], room: Int, flushes: Bool = false) -> [UInt8]? {
    var result: [UInt8] = []
    var output = Buffer(capacity: room)
    func run(_ encoder: inout Encoder, _ piece: [UInt8], _ operation: Encoder.Operation) -> Bool {
      var position = 0
      while true {
        output.removeAll()
        let progress = encoder.encode(piece.span, at: &position, operation, into: &output)
        let bytes = output.bytes
        for index in bytes.indices { result.append(bytes[index]) }
        switch progress {
        case .done: return position == piece.count
        case .full: continue
        case .failed: return false
        }
      }
    }
    for piece in pieces {
      guard run(&encoder, piece, .process) else { return nil }
      if flushes, !run(&encoder, [], .flush) { return nil }
    }
    return run(&encoder, [], .finish) ? result : nil
  }

  private func inflated(_ bytes: [UInt8], limit: Int) -> [UInt8]? {
    var stream = unsafe z_stream()
    guard unsafe czl_inflate_init(&stream, -(15 + 16)) == Z_OK else { return nil }
    defer { unsafe inflateEnd(&stream) }
    var input = bytes, output = [UInt8](repeating: 0, count: limit + 16)
    let written: Int? = unsafe input.withUnsafeMutableBufferPointer { source in
      unsafe output.withUnsafeMutableBufferPointer { target in
        unsafe stream.next_in = source.baseAddress
        unsafe stream.avail_in = UInt32(source.count)
        unsafe stream.next_out = target.baseAddress
        unsafe stream.avail_out = UInt32(target.count)
        return unsafe inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_in == 0 ? target.count - Int(stream.avail_out) : nil
      }
    }
    return written.map { Array(output[..<$0]) }
  }

  @Test(arguments: [0, 1, 100, 70_000], [16, 100, 65_536])
  func gzipReadsBack(_ count: Int, _ room: Int) throws {
    let whole = content(count)
    guard var encoder = Encoder(.gzip, level: 5) else { throw Failure() }
    for size in [1000, max(1, count)] {
      let pieces = stride(from: 0, to: count, by: size).map { Array(whole[$0..<min(count, $0 + size)]) }
      for flushes in [false, true] {
        let coded = code(&encoder, pieces, room: room, flushes: flushes)
        let text = coded.flatMap { inflated($0, limit: count) }
        let isReady = encoder.reset()
        #expect(text == whole && isReady)
      }
    }
  }

  /// After a flush nothing is kept back, and another flush brings nothing that matters.
  @Test(arguments: [ContentCoding.gzip, .brotli, .zstd])
  func othersMakeItSmallerAndFlush(_ coding: ContentCoding) throws {
    let whole = content(50_000)
    guard var encoder = Encoder(coding, level: 4) else { throw Failure() }
    let coded = code(&encoder, [whole], room: 4096)
    #expect(coded.map { !$0.isEmpty && $0.count < 10_000 } == true)
    guard var other = Encoder(coding, level: 4) else { throw Failure() }
    var output = Buffer(capacity: 4096), position = 0
    let first: [UInt8] = Array("first".utf8)
    _ = other.encode(first.span, at: &position, .process, into: &output)
    position = 0
    let none: [UInt8] = []
    let progress = other.encode(none.span, at: &position, .flush, into: &output)
    let count = output.count
    #expect(progress == .done && count >= 5)
  }

  @Test func identityIsNone() {
    let encoder = Encoder(.identity, level: 1)
    let isNone = if case .none = encoder { true } else { false }
    #expect(isNone)
  }

  private struct Failure: Error {}
}
