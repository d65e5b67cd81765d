// ShortText — thirty-two bytes of text in place, written a word at a time.

/// A text of 32 bytes.
public struct ShortText: BitwiseCopyable, Sendable {
  @usableFromInline var bytes = InlineArray<32, UInt8>(repeating: 0x30)

  public init() {}

  /// Sets eight bytes, the lowest byte of `word` first; `index` counts words, 0...3.
  @inlinable @inline(__always)
  public mutating func set(_ word: UInt64, at index: Int) {
    precondition(index >= 0 && index < 4)
    unsafe withUnsafeMutableBytes(of: &bytes) { unsafe $0.storeBytes(of: word.littleEndian, toByteOffset: index * 8, as: UInt64.self) }
  }

  /// Makes the last hexadecimal digit one more; false when it is the greatest, or would become a letter.
  @inlinable @inline(__always)
  public mutating func incrementLastDigit() -> Bool {
    let digit = bytes[31]
    guard digit != 0x39, digit != 0x66 else { return false }
    bytes[31] = digit &+ 1
    return true
  }

  /// The text.
  @inlinable
  public var span: Span<UInt8> {
    @_lifetime(borrow self)
    borrowing get { bytes.span }
  }
}
