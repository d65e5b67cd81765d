// RewrittenTarget — a target that was put together from a template, judged before a backend sees it.
//
// Each part of it may be harmless and the whole not: so the whole is brought into the normal form of paths, and one in which a segment would climb
// (`..`, however it is spelt) is refused rather than resolved: nobody who wrote `/tenants/{header:X-Tenant}/data` meant `/data`.

import Memory

/// Brings a target, a path and perhaps a query behind `?`, into its normal form in place.
/// - Parameter scratch: a buffer for the work, three times as large as the path.
/// - Returns: false when it must not be sent.
public func normaliseRewritten(_ target: inout Buffer, scratch: inout Buffer) -> Bool {
  var end = 0
  while end < target.count, target.bytes[end] != 0x3f { end += 1 }
  switch judge(target.bytes.extracting(first: end), &scratch) {
  case .unchanged: return true
  case .rejected: return false
  case .rewritten:
    guard scratch.count <= target.freeCapacity + end else { return false }
    target.remove(0..<end)
    target.insert(scratch.bytes, at: 0)
    return true
  }
}

private func judge(_ path: Span<UInt8>, _ scratch: inout Buffer) -> PathOutcome {
  guard path.count > 0, path[0] == .slash, !path.hasDotSegment else { return .rejected }
  return normalisePath(path, into: &scratch)
}

extension Span<UInt8> {
  /// Whether some segment is `.` or `..`, with or without escapes.
  fileprivate var hasDotSegment: Bool {
    var index = 0
    while index < count {
      // At a slash.
      index += 1
      var dots = 0, isDots = true
      while index < count, self[index] != .slash {
        if self[index] == 0x2e {
          dots += 1
          index += 1
        } else if index + 2 < count, self[index] == .percent, self[index + 1] == 0x32, self[index + 2] | 0x20 == 0x65 {
          dots += 1
          index += 3
        } else {
          isDots = false
          index += 1
        }
      }
      if isDots, dots == 1 || dots == 2 { return true }
    }
    return false
  }
}
