// Stack — a growing array of noncopyable elements, which Array cannot hold.
//
// Invariant: the first `count` elements are initialised.

/// Noncopyable elements in a row; the last can be taken off.
@safe
public struct Stack<Element: ~Copyable>: ~Copyable {
  @usableFromInline var base: UnsafeMutablePointer<Element>
  @usableFromInline var stored = 0
  @usableFromInline var capacity: Int

  @inlinable
  public init(capacity: Int = 8) {
    self.capacity = max(1, capacity)
    unsafe base = .allocate(capacity: self.capacity)
  }

  @inlinable
  deinit {
    unsafe base.deinitialize(count: stored)
    unsafe base.deallocate()
  }

  @inlinable
  public var count: Int { stored }

  @inlinable
  public mutating func append(_ element: consuming Element) {
    if stored == capacity {
      let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
      unsafe larger.moveInitialize(from: base, count: stored)
      unsafe base.deallocate()
      unsafe base = larger
      capacity *= 2
    }
    unsafe (base + stored).initialize(to: element)
    stored += 1
  }

  @inlinable
  public mutating func popLast() -> Element? {
    guard stored > 0 else { return nil }
    stored -= 1
    return unsafe (base + stored).move()
  }

  /// Drops every element, and keeps the memory.
  @inlinable
  public mutating func removeAll() {
    unsafe base.deinitialize(count: stored)
    stored = 0
  }

  /// The element in place.
  @inlinable @inline(__always)
  public subscript(index: Int) -> Element {
    _read {
      precondition(index >= 0 && index < stored)
      yield unsafe base[index]
    }
    _modify {
      precondition(index >= 0 && index < stored)
      yield unsafe &base[index]
    }
  }
}
