// LayoutHash — a number for the places of things in a segment: processes of different versions compare it before they share one. And StableHash, by which
// they know each other's names.

enum LayoutHash {
  /// FNV-1a over sizes, offsets and versions.
  static func of(_ parts: [Int]) -> UInt64 {
    parts.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64(truncatingIfNeeded: $1)) &* 0x100_0000_01b3 }
  }
}

public enum StableHash {
  /// A number for one or two texts, the same in all versions; never 0. An empty second text counts for nothing.
  public static func of(_ first: String, _ second: String = "") -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ text: String) {
      for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      hash = (hash ^ 0xff) &* 0x100_0000_01b3
    }
    add(first)
    if !second.isEmpty { add(second) }
    // FNV leaves the upper bits of short texts alike.
    hash ^= hash >> 32
    hash = hash &* 0x9e37_79b9_7f4a_7c15
    hash ^= hash >> 29
    return max(1, hash)
  }
}
