// FilePath — the name of a file below a directory, from the part of a path that is the file's.
//
// Invariant: a name that comes out of here has no empty segment, none that is "." or "..", no NUL, and no slash that was not one in the
// path. So whatever is opened by it, relative to a directory, lies below that directory, symbolic links apart.

import Memory

/// What a path names, going by its form.
public enum FilePath: Sendable {
  case file
  /// It ends in a slash.
  case folder
  /// Nothing that may be served.
  case refused

  /// The longest name; Linux has no longer paths.
  public static var limit: Int { 4095 }

  /// Writes the name for `path` to `output`, which is emptied and has room for `limit` bytes. The name of "/" is empty.
  /// - Parameters:
  ///   - path: in normal form, from the slash on behind which the file's part begins; its escapes are decoded here.
  ///   - allowsHidden: whether segments may begin with a dot. `.well-known` (RFC 8615) may in any case be the first.
  public static func name(_ path: Span<UInt8>, allowsHidden: Bool, into output: inout Buffer) -> FilePath {
    output.removeAll()
    guard path.count > 0, path[0] == .slash, path.count <= min(limit, output.capacity) else { return .refused }
    var start = 1
    while start < path.count {
      var end = start
      while end < path.count, path[end] != .slash { end += 1 }
      guard end > start else { return .refused }
      if !output.isEmpty { output.append(.slash) }
      let first = output.count
      guard decode(path.extracting(start..<end), into: &output), isAcceptable(output.bytes.extracting(droppingFirst: first), isFirst: first == 0, allowsHidden)
      else { return .refused }
      start = end + 1
    }
    return path[path.count - 1] == .slash ? .folder : .file
  }

  private static func decode(_ segment: Span<UInt8>, into output: inout Buffer) -> Bool {
    var index = 0
    while index < segment.count {
      var byte = segment[index]
      index += 1
      if byte == .percent {
        guard segment.count - index >= 2, let high = segment[index].hexadecimalValue, let low = segment[index + 1].hexadecimalValue else { return false }
        byte = high << 4 | low
        index += 2
      }
      guard byte != 0, byte != .slash, byte != 0x5c else { return false }
      output.append(byte)
    }
    return true
  }

  private static func isAcceptable(_ segment: Span<UInt8>, isFirst: Bool, _ allowsHidden: Bool) -> Bool {
    guard segment[0] == .dot else { return true }
    if segment.count == 1 || segment.count == 2 && segment[1] == .dot { return false }
    return allowsHidden || isFirst && segment.equals(".well-known")
  }
}
