// SHA1 — of short texts (FIPS 180-4 §6.1), for Sec-WebSocket-Accept alone. It shows that a server knows the protocol; nothing
// secret hangs on it.

import Memory

enum SHA1 {
  static let size = 20

  /// The digest of `text`.
  static func digest(_ text: Span<UInt8>) -> InlineArray<20, UInt8> {
    var state: InlineArray<5, UInt32> = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
    let whole = text.count / 64
    for block in 0..<whole { add(text.extracting(block * 64..<block * 64 + 64), &state) }
    // The rest, a 1 bit, zeros, and the length in bits; two blocks where one has no room for the length.
    var tail = InlineArray<128, UInt8>(repeating: 0)
    let rest = text.extracting(droppingFirst: whole * 64)
    for index in rest.indices { tail[index] = rest[index] }
    tail[rest.count] = 0x80
    let end = rest.count < 56 ? 64 : 128
    let bits = UInt64(text.count) &* 8
    for index in 0..<8 { tail[end - 1 - index] = UInt8(truncatingIfNeeded: bits >> UInt64(8 * index)) }
    let padded = tail.span
    for start in stride(from: 0, to: end, by: 64) { add(padded.extracting(start..<start + 64), &state) }
    var digest = InlineArray<20, UInt8>(repeating: 0)
    for index in 0..<20 { digest[index] = UInt8(truncatingIfNeeded: state[index / 4] >> UInt32(24 - 8 * (index % 4))) }
    return digest
  }

  private static func add(_ block: Span<UInt8>, _ state: inout InlineArray<5, UInt32>) {
    var words = InlineArray<80, UInt32>(repeating: 0)
    for index in 0..<16 { words[index] = block.word(UInt32.self, at: index * 4).byteSwapped }
    for index in 16..<80 { words[index] = (words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]).rotated(left: 1) }
    var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4]
    for index in 0..<80 {
      let (mix, constant): (UInt32, UInt32) =
        switch index / 20 {
        case 0: (b & c | ~b & d, 0x5a82_7999)
        case 1: (b ^ c ^ d, 0x6ed9_eba1)
        case 2: (b & c | b & d | c & d, 0x8f1b_bcdc)
        default: (b ^ c ^ d, 0xca62_c1d6)
        }
      let next = a.rotated(left: 5) &+ mix &+ e &+ constant &+ words[index]
      (e, d, c, b, a) = (d, c, b.rotated(left: 30), a, next)
    }
    state[0] &+= a
    state[1] &+= b
    state[2] &+= c
    state[3] &+= d
    state[4] &+= e
  }
}

extension UInt32 {
  fileprivate func rotated(left bits: UInt32) -> UInt32 { self << bits | self >> (32 - bits) }
}
