// Reactor — the event loop: wait, tell the time, hand each event on, let the delegate do what is left.

import Kernel

/// What a reactor drives.
public protocol ReactorDelegate: ~Copyable {
  /// Waits for events on the delegate's poller.
  borrowing func wait(into events: inout EventList, milliseconds: CInt)
  /// Called at the start of each turn; `isNewSecond` when the wall clock's second has changed.
  mutating func turnBegan(_ clock: borrowing Clock, isNewSecond: Bool)
  mutating func handle(_ event: Event)
  /// Called at the end of each turn. Returns how long the next wait may last, in milliseconds (-1: without end), or nil to stop.
  mutating func turnEnded() -> CInt?
}

/// An event loop.
public struct Reactor: ~Copyable {
  private var events = EventList(capacity: 512)
  private var clock = Clock()

  public init() {}

  /// Runs until the delegate stops it.
  public mutating func run(_ delegate: inout some ReactorDelegate & ~Copyable) {
    delegate.turnBegan(clock, isNewSecond: true)
    while let milliseconds = delegate.turnEnded() {
      delegate.wait(into: &events, milliseconds: milliseconds)
      let isNewSecond = clock.update()
      delegate.turnBegan(clock, isNewSecond: isNewSecond)
      for position in 0..<events.count { delegate.handle(events[position]) }
    }
  }
}
