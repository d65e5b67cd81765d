// CounterFold — what becomes of a worker's counters when it has gone: totals are kept, gauges dropped.
//
// Invariant: only the master calls this, for a page whose worker no longer runs.

import Synchronization

extension CounterPage {
  /// Adds every total to `target` and leaves this page zeroed, ready for the next worker.
  func fold(into target: borrowing CounterPage) {
    let gauges = Counter.waiting.rawValue
    for index in 0..<CounterPage.byteCount / 8 {
      let value = unsafe (cells + index).pointee.load(ordering: .relaxed)
      guard value != 0 else { continue }
      if index > gauges {
        let cell = unsafe target.cells + index
        unsafe cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ value, ordering: .relaxed)
      }
      unsafe (cells + index).pointee.store(0, ordering: .relaxed)
    }
  }
}
