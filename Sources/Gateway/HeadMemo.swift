// HeadMemo — the head that was composed for a stream last, so that the same head need not be taken apart again.
//
// Answers of our own differ from one to the next only in the id of their request. What has been found in one head holds for
// the other as long as both are the same everywhere else.

import Memory

struct HeadMemo: ~Copyable {
  /// A longer head is not kept.
  private static let capacity = 1024

  private var text = Buffer(capacity: HeadMemo.capacity)
  /// Where the id stands.
  private var id = 0..<0

  /// The length of the head that `bytes` begin with, if it is the one that is kept.
  @inline(__always)
  func length(in bytes: Span<UInt8>) -> Int? {
    let length = text.count
    guard length > 0, bytes.count >= length else { return nil }
    let kept = text.bytes
    guard bytes.extracting(first: id.lowerBound).isSame(as: kept.extracting(first: id.lowerBound)),
      bytes.extracting(id.upperBound..<length).isSame(as: kept.extracting(droppingFirst: id.upperBound))
    else { return nil }
    return length
  }

  /// What has been found in the head is about to be overwritten.
  mutating func forget() { text.removeAll() }

  /// Keeps a head, in which the id of the request stands at `id`.
  mutating func keep(_ head: Span<UInt8>, id: Range<Int>) {
    text.removeAll()
    guard head.count <= Self.capacity else { return }
    text.append(head)
    self.id = id
  }
}
