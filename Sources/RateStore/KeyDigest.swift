// KeyDigest — the name of a key on the server: the first half of its SHA-256 digest (FIPS 180-4 §6.2).
//
// Keys are hashed because of what is in them: addresses of people, and secrets such as the value of an API key, which are nobody's business who can
// look at the server. The digest must be the same on all machines, and nobody may be able to find a key that shares another one's bucket.

import Memory

/// 128 bits that stand for a key.
public struct KeyDigest: Equatable, BitwiseCopyable, Sendable {
  public var high: UInt64
  public var low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Of `salt` and then `key`.
  public init(_ key: Span<UInt8>, salt: Span<UInt8>) {
    var hash = SHA256()
    hash.add(salt)
    hash.add(key)
    let words = hash.finish()
    high = UInt64(words[0]) << 32 | UInt64(words[1])
    low = UInt64(words[2]) << 32 | UInt64(words[3])
  }
}

struct SHA256 {
  private var state: InlineArray<8, UInt32> = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
  ]
  private var block = InlineArray<64, UInt8>(repeating: 0)
  private var filled = 0
  private var total: UInt64 = 0

  mutating func add(_ bytes: Span<UInt8>) {
    total &+= UInt64(bytes.count)
    for index in bytes.indices { put(bytes[index]) }
  }

  /// The digest; nothing can be added after.
  mutating func finish() -> InlineArray<8, UInt32> {
    put(0x80)
    while filled != 56 { put(0) }
    let bits = total &* 8
    for shift in stride(from: UInt64(56), through: 0, by: -8) { put(UInt8(truncatingIfNeeded: bits >> shift)) }
    return state
  }

  @inline(__always)
  private mutating func put(_ byte: UInt8) {
    block[filled] = byte
    filled += 1
    guard filled == 64 else { return }
    filled = 0
    mix()
  }

  private mutating func mix() {
    var words = InlineArray<64, UInt32>(repeating: 0)
    for index in 0..<16 {
      words[index] = UInt32(block[4 * index]) << 24 | UInt32(block[4 * index + 1]) << 16 | UInt32(block[4 * index + 2]) << 8 | UInt32(block[4 * index + 3])
    }
    for index in 16..<64 {
      let early = words[index - 15], late = words[index - 2]
      let first = SHA256.turn(early, 7) ^ SHA256.turn(early, 18) ^ early >> 3
      let second = SHA256.turn(late, 17) ^ SHA256.turn(late, 19) ^ late >> 10
      words[index] = words[index - 16] &+ first &+ words[index - 7] &+ second
    }
    var s = state
    for index in 0..<64 {
      let e = s[4], a = s[0]
      let first = s[7] &+ (SHA256.turn(e, 6) ^ SHA256.turn(e, 11) ^ SHA256.turn(e, 25)) &+ (e & s[5] ^ ~e & s[6]) &+ SHA256.constants[index] &+ words[index]
      let second = (SHA256.turn(a, 2) ^ SHA256.turn(a, 13) ^ SHA256.turn(a, 22)) &+ (a & s[1] ^ a & s[2] ^ s[1] & s[2])
      s = [first &+ second, a, s[1], s[2], s[3] &+ first, e, s[5], s[6]]
    }
    for index in 0..<8 { state[index] &+= s[index] }
  }

  @inline(__always)
  private static func turn(_ word: UInt32, _ bits: UInt32) -> UInt32 { word >> bits | word << (32 - bits) }

  private static let constants: InlineArray<64, UInt32> = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
  ]
}
