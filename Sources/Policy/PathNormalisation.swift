// PathNormalisation — one spelling for each path, before anything is decided by it.
//
// The normal form: escapes of unreserved characters decoded, other escapes in upper case, bytes that
// RFC 3986 does not allow in a path escaped, a run of slashes made one, then "." and ".." segments removed (§5.2.4).
// Invariant: the normal form of a normal form is itself, reported as `.unchanged`.

import Memory

/// What became of a path.
public enum PathOutcome: Sendable {
  /// It is its own normal form.
  case unchanged
  /// The output holds the normal form.
  case rewritten
  /// It has none that every peer would agree with: answer 400.
  case rejected
}

/// Brings an absolute path, without query, into its normal form.
///
/// Rejected are invalid and truncated escapes, escaped control bytes, `%2F`, `\` and `%5C`, `..` above the root,
/// `.;` and `..;` at the start of a segment, raw control bytes, space, `?` and `#`, and a path that does not begin with a slash.
/// An empty path becomes `/` (RFC 9110 §4.2.3); `*` (RFC 9112 §3.2.4) is left alone.
/// - Parameter output: emptied and written to when the outcome is `.rewritten`; its content means nothing otherwise. A path
///   whose normal form does not fit in it is rejected: three times the path's size is always enough.
public func normalisePath(_ path: Span<UInt8>, into output: inout Buffer) -> PathOutcome {
  let irregular = path.firstIrregular
  guard irregular == path.count, irregular > 0, path[0] == .slash else { return rewritePath(path, from: irregular, into: &output) }
  return .unchanged
}

/// - Parameter irregular: everything before this byte is in normal form.
@inline(never)
private func rewritePath(_ path: Span<UInt8>, from irregular: Int, into output: inout Buffer) -> PathOutcome {
  output.removeAll()
  guard !path.isEmpty else {
    guard output.freeCapacity > 0 else { return .rejected }
    output.append(.slash)
    return .rewritten
  }
  guard path[0] == .slash else { return path.count == 1 && path[0] == .asterisk ? .unchanged : .rejected }
  return output.fill { free in
    var rewriter = PathRewriter()
    var index = 0
    while index < path.count {
      let byte = path[index]
      let accepted: Bool
      if byte == .percent {
        guard path.count - index > 2, let high = path[index + 1].hexadecimalValue, let low = path[index + 2].hexadecimalValue else { return .rejected }
        accepted = rewriter.takeEscape(of: high << 4 | low, isUpperCase: isUpperCase(path[index + 1]) && isUpperCase(path[index + 2]), into: &free)
        index += 3
      } else {
        accepted = index < irregular ? rewriter.take(byte, into: &free) : rewriter.takeRaw(byte, into: &free)
        index += 1
      }
      guard accepted else { return .rejected }
    }
    guard rewriter.endSegment(&free) else { return .rejected }
    return rewriter.hasChanged ? .rewritten : .unchanged
  }
}

private func isUpperCase(_ digit: UInt8) -> Bool { digit < 0x61 }

/// Writes a path byte by byte, looking only at the segment being written.
private struct PathRewriter {
  private(set) var hasChanged = false
  /// Bytes written since the last slash.
  private var length = 0
  /// Whether all of these are dots.
  private var isDots = true

  /// A byte that may have to be escaped.
  mutating func takeRaw(_ byte: UInt8, into output: inout OutputRawSpan) -> Bool {
    switch byte.rawSpelling {
    case .plain: return take(byte, into: &output)
    case .escaped:
      hasChanged = true
      return appendEscape(of: byte, to: &output)
    case .refused: return false
    }
  }

  /// A byte that arrived as an escape.
  mutating func takeEscape(of byte: UInt8, isUpperCase: Bool, into output: inout OutputRawSpan) -> Bool {
    switch byte.escapedSpelling {
    case .plain:
      hasChanged = true
      return append(byte, to: &output)
    case .escaped:
      if !isUpperCase { hasChanged = true }
      return appendEscape(of: byte, to: &output)
    case .refused: return false
    }
  }

  /// A byte that stands for itself.
  mutating func take(_ byte: UInt8, into output: inout OutputRawSpan) -> Bool {
    guard byte == .slash else {
      // Some peers cut path parameters off before they look at dots, others never do.
      if byte == .semicolon, isDots, length == 1 || length == 2 { return false }
      return append(byte, to: &output)
    }
    guard !output.isEmpty else { return appendSlash(to: &output) }
    if length == 0 {
      hasChanged = true
      return true
    }
    guard endSegment(&output) else { return false }
    return length == 0 ? true : appendSlash(to: &output)
  }

  /// Removes the segment just written if it is "." or "..", and with ".." the one before it; false above the root.
  /// Afterwards the output ends with a slash, and `length` is 0, exactly if something was removed (or there was nothing).
  mutating func endSegment(_ output: inout OutputRawSpan) -> Bool {
    guard isDots, length == 1 || length == 2 else { return true }
    hasChanged = true
    output.removeLast(length)
    if length == 2 {
      guard output.byteCount > 1 else { return false }
      output.removeLast(1)
      while let last = output.last, last != .slash { output.removeLast(1) }
    }
    beginSegment()
    return true
  }

  private mutating func beginSegment() {
    length = 0
    isDots = true
  }

  private mutating func appendSlash(to output: inout OutputRawSpan) -> Bool {
    guard output.freeCapacity > 0 else { return false }
    output.append(.slash)
    beginSegment()
    return true
  }

  private mutating func append(_ byte: UInt8, to output: inout OutputRawSpan) -> Bool {
    guard output.freeCapacity > 0 else { return false }
    output.append(byte)
    length += 1
    if byte != .dot { isDots = false }
    return true
  }

  private mutating func appendEscape(of byte: UInt8, to output: inout OutputRawSpan) -> Bool {
    guard output.freeCapacity > 2 else { return false }
    output.append(.percent)
    output.append(.hexadecimalDigit(byte >> 4))
    output.append(.hexadecimalDigit(byte & 15))
    length += 3
    isDots = false
    return true
  }
}
