// Masking — payload bytes against their key, sixteen at a time (RFC 6455 §5.3), and how far a text is good UTF-8.
//
// Unsafe code: each function lends a span's memory to a bounded C loop.

import CLinux
import Memory

extension Buffer {
  /// Appends `bytes`, masked or unmasked with `key`, whose lowest byte goes with the first of them.
  /// - Precondition: there is room for them.
  public mutating func append(_ bytes: Span<UInt8>, maskedWith key: UInt32) {
    precondition(bytes.count <= freeCapacity)
    fill { output in
      unsafe output.withUnsafeMutableBytes { storage, filled in
        guard let base = storage.baseAddress else { return }
        unsafe bytes.withUnsafeBufferPointer { source in
          guard let from = source.baseAddress else { return }
          unsafe clx_mask((base + filled).assumingMemoryBound(to: UInt8.self), from, source.count, key)
        }
        filled += bytes.count
      }
    }
  }
}

extension UInt32 {
  /// The key as it goes on after `count` bytes of payload.
  @inlinable
  func maskingKey(after count: Int) -> UInt32 {
    let shift = UInt32(truncatingIfNeeded: count & 3) * 8
    return shift == 0 ? self : self >> shift | self << (32 - shift)
  }
}

/// Checks text as it arrives; a wrong byte is found when it comes, wherever the pieces end.
public struct UTF8Check: Equatable, Sendable, BitwiseCopyable {
  private var state: UInt32 = 0

  public init() {}

  /// Takes the next bytes; false when one of them cannot stand where it stands. Nothing more may be taken then.
  public mutating func accept(_ bytes: Span<UInt8>) -> Bool {
    state = unsafe bytes.withUnsafeBufferPointer { unsafe clx_utf8(state, $0.baseAddress, $0.count) }
    return state != CLX_UTF8_BAD
  }

  /// Whether the text may end here.
  public var isComplete: Bool { state == 0 }
}
