// LayoutHash — a number for the places of things in a segment: processes of different versions compare it before they share one.

enum LayoutHash {
  /// FNV-1a over sizes, offsets and versions.
  static func of(_ parts: [Int]) -> UInt64 {
    parts.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64(truncatingIfNeeded: $1)) &* 0x100_0000_01b3 }
  }
}
