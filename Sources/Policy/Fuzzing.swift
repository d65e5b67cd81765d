// Fuzzing — entry points that run this target on arbitrary bytes and trap when an invariant does not hold.
//
// The fuzz programs feed them from libFuzzer; the ordinary tests replay the corpora through them.

import HTTPModel
import Memory
import Plan

/// Normalises the bytes as a path. The normal form begins with a slash, has no empty and no dot segment, and is its own normal form.
public func fuzzPath(_ bytes: Span<UInt8>) {
  var first = Buffer(capacity: max(1, bytes.count * 3)), second = Buffer(capacity: max(1, bytes.count * 9))
  switch normalisePath(bytes, into: &first) {
  case .rejected: return
  case .unchanged: checkNormalForm(bytes)
  case .rewritten:
    checkNormalForm(first.bytes)
    precondition(normalisePath(first.bytes, into: &second) == .unchanged, "the normal form has another normal form")
  }
}

private func checkNormalForm(_ path: Span<UInt8>) {
  if path.count == 1, path[0] == .asterisk { return }
  precondition(path.count > 0 && path[0] == .slash, "the normal form does not begin with a slash")
  var start = 1
  while start <= path.count {
    let end = Int(path.segment(from: start).end)
    precondition(end > start || end == path.count, "the normal form has an empty segment")
    let isDot = end - start == 1 && path[start] == .dot
    let isDotDot = end - start == 2 && path[start] == .dot && path[start + 1] == .dot
    precondition(!isDot && !isDotDot, "the normal form has a dot segment")
    for index in start..<end {
      precondition(path[index] == .percent || path[index].rawSpelling == .plain, "the normal form has a byte that must be escaped")
    }
    start = end + 1
  }
}

/// Takes the bytes up to the first NUL as a pattern and what follows as a path, compiles the one and matches the other.
/// A match's captures lie inside the path, one after the other.
public func fuzzPattern(_ bytes: Span<UInt8>) {
  var divider = 0
  while divider < bytes.count, bytes[divider] != 0 { divider += 1 }
  var source: [UInt8] = []
  for index in 0..<divider { source.append(bytes[index]) }
  let pattern = String(decoding: source, as: UTF8.self)
  let route = RoutePlan(pattern: pattern, methods: .any, action: .forward(ForwardPlan(upstream: 0)))
  let fallback = RoutePlan(hosts: ["*.example.com"], pattern: "/:any/*rest", methods: .any, action: .health)
  let table: RouteTable
  do {
    table = try RouteTable([route, fallback])
  } catch {
    precondition(error.route == 0 && (error.offset ?? 0) <= pattern.utf8.count, "the error points outside the pattern")
    return
  }
  let path = bytes.extracting(min(divider + 1, bytes.count)..<bytes.count)
  var captures = Captures()
  let host: [UInt8] = Array("a.example.com:80".utf8)
  guard case .route = table.match(host: host.span, path: path, method: .get, captures: &captures) else { return }
  var covered = 0
  for index in 0..<captures.count {
    let record = captures.records[index]
    precondition(Int(record.start) >= covered && record.end >= record.start && Int(record.end) <= path.count, "captures overlap")
    covered = Int(record.end)
  }
  precondition(captures.tail <= path.count, "the tail begins outside the path")
  _ = captures.strippedPath(of: path)
}
