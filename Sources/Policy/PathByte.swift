// PathByte — how each byte of a path is written in normal form (RFC 3986 §2.3, §3.3, §6.2.2).
//
// One byte has one spelling: unreserved characters stand for themselves; the other characters a segment may
// contain keep the spelling the client chose, because escaping a delimiter changes its meaning; everything
// else is escaped, in upper case. What peers read in different ways has no normal form at all.

/// What becomes of a byte.
enum PathSpelling {
  /// It stands for itself.
  case plain
  /// It is written as an escape.
  case escaped
  /// It has no safe spelling.
  case refused
}

extension UInt8 {
  /// For a byte found as it is. Refused: control bytes, space, `\` (a slash to some), and `%`, `?` and `#`, which end or begin something else.
  var rawSpelling: PathSpelling {
    switch self {
    case _ where isUnreserved: .plain
    case 0x21, 0x24, 0x26...0x2c, 0x2f, 0x3a, 0x3b, 0x3d, 0x40: .plain
    case 0x22, 0x3c, 0x3e, 0x5b, 0x5d, 0x5e, 0x60, 0x7b...0x7d, 0x80...0xff: .escaped
    default: .refused
    }
  }

  /// For a byte found as an escape. Refused: control bytes, `/` and `\`, which peers decode before or after they split the path.
  var escapedSpelling: PathSpelling {
    switch self {
    case _ where isUnreserved: .plain
    case 0x00...0x1f, 0x7f, 0x2f, 0x5c: .refused
    default: .escaped
    }
  }

  /// Letters, digits and `-._~`.
  var isUnreserved: Bool {
    isLetter || isDigit || self == 0x2d || self == 0x2e || self == 0x5f || self == 0x7e
  }
}
