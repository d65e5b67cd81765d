// WholePaths — the paths that a table of routes knows from end to end: a look-up in place of a walk.
//
// A path that only static segments lead to has the same leaf whatever else the trie holds, because static children come before
// all others. Where a leaf does not allow the method, or has several routes, the walk has the last word.
// Invariant: the slots are a power of two, and one of them at least is vacant; or there are none.

import HTTPModel
import Memory

/// A slot of the hash table. `length` 0: it is vacant.
struct WholePath: BitwiseCopyable {
  static var vacant: WholePath { WholePath(first: 0, last: 0, text: 0, length: 0, route: -1, allowed: []) }

  /// As of its key.
  var first: UInt64
  var last: UInt64
  var text: UInt32
  var length: UInt32
  /// The route for the methods `allowed`.
  var route: Int32
  var allowed: MethodSet
}

struct WholePaths: ~Copyable {
  private let slots: BoundedArray<WholePath>
  private let text: BoundedArray<UInt8>

  init(_ paths: [(text: [UInt8], leaf: RouteLeaf)]) {
    let paths = paths.filter { $0.leaf.route >= 0 }
    var size = 4
    while size < paths.count * 4 { size *= 2 }
    var slots = [WholePath](repeating: .vacant, count: paths.isEmpty ? 0 : size)
    var text: [UInt8] = []
    for path in paths {
      let key = path.text.span.pathKey
      var slot = Int(key.hash >> 32) & (size - 1)
      while slots[slot].length != 0 { slot = (slot + 1) & (size - 1) }
      slots[slot] = WholePath(
        first: key.first, last: key.last, text: UInt32(text.count), length: UInt32(path.text.count), route: path.leaf.route, allowed: path.leaf.allowed)
      text += path.text
    }
    self.slots = BoundedArray(slots)
    self.text = BoundedArray(text)
  }

  /// The route for `path`, which is not empty, and `method`; -1 when it is not known here.
  @inline(__always)
  func route(_ path: Span<UInt8>, _ method: Method) -> Int32 {
    guard slots.count > 0 else { return -1 }
    let key = path.pathKey
    var slot = Int(truncatingIfNeeded: key.hash >> 32) & (slots.count &- 1)
    while slots[slot].length != 0 {
      if slots[slot].first == key.first, slots[slot].last == key.last, Int(slots[slot].length) == path.count, path.count <= 16 || isText(of: slot, path) {
        return slots[slot].allowed.contains(method) ? slots[slot].route : -1
      }
      slot = (slot &+ 1) & (slots.count &- 1)
    }
    return -1
  }

  @inline(never)
  private func isText(of slot: Int, _ path: Span<UInt8>) -> Bool { path.matches(path.count, at: 0, text, at: Int(slots[slot].text)) }
}
