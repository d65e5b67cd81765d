// EndpointBreakerCells — the cells of one endpoint's circuit breaker, in the endpoint's row: fewer probes than an upstream's has, else the same.
//
// Layout, in words: the five first cells of `BreakerCell` | the window | totals | probes. A cell that there is none of reads as zero, and is never exchanged.

import Kernel
import Synchronization

@safe
public struct EndpointBreakerCells: BreakerMemory, @unchecked Sendable, BitwiseCopyable {
  /// Probes at most at the same time.
  public static var probeLimit: Int { 24 }

  private static var windowStart: Int { BreakerCell.width + 1 }
  private static var totalStart: Int { windowStart + BreakerCell.windowCount }
  private static var probeStart: Int { totalStart + BreakerTotal.allCases.count }
  /// Words of all.
  static var count: Int { probeStart + probeLimit }

  private let base: UnsafeMutablePointer<Atomic<UInt64>>

  /// - Parameter base: the first of `count` words.
  @unsafe
  init(_ base: UnsafeMutablePointer<Atomic<UInt64>>) { unsafe self.base = base }

  private func place(_ cell: Int) -> Int? {
    if cell >= 0, cell <= BreakerCell.width { return cell }
    if cell >= BreakerCell.window, cell < BreakerCell.window + BreakerCell.windowCount { return cell - BreakerCell.window + Self.windowStart }
    if cell >= BreakerCell.probes, cell < BreakerCell.probes + Self.probeLimit { return cell - BreakerCell.probes + Self.probeStart }
    return nil
  }

  public func load(_ cell: Int) -> UInt64 {
    guard let place = place(cell) else { return 0 }
    return unsafe (base + place).pointee.load(ordering: .acquiring)
  }

  public func store(_ cell: Int, _ value: UInt64) {
    guard let place = place(cell) else { return }
    unsafe (base + place).pointee.store(value, ordering: .relaxed)
  }

  public func exchange(_ cell: Int, expected: UInt64, desired: UInt64) -> Bool {
    guard let place = place(cell) else { return false }
    return unsafe (base + place).pointee.compareExchange(expected: expected, desired: desired, ordering: .acquiringAndReleasing).exchanged
  }

  public func count(_ total: BreakerTotal) { unsafe _ = (base + (Self.totalStart + total.rawValue)).pointee.wrappingAdd(1, ordering: .relaxed) }

  public func value(of total: BreakerTotal) -> UInt64 { unsafe (base + (Self.totalStart + total.rawValue)).pointee.load(ordering: .relaxed) }
}
