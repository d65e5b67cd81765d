// RotationWatch — noticing, beside the writing, that a log file should be followed by another.
//
// Any writer may notice; only the master, which owns the files, rotates.

import Glibc
import Kernel
import Plan

/// When a log file is due for rotation.
public struct RotationWatch: Sendable {
  /// Bytes after which a file is full; 0: the file is not rotated by size or date, only made again when it was deleted.
  private let maxSize: Int
  private let isDaily: Bool
  /// The local date on which the file was turned to.
  private var date = 0
  private var nextLook = 0
  /// The size when last looked at, and what this process has written since.
  private var known = 0
  private var unseen = 0
  private var isReported = false

  /// A watch over a file of ours, from now on.
  public init(_ plan: LogPlan) {
    self.init(plan, at: Int(wallClock() / 1_000_000))
  }

  init(_ plan: LogPlan, at seconds: Int) {
    isDaily = plan.maxFiles > 1
    maxSize = isDaily ? plan.maxFileSize : 0
    restart(at: seconds)
  }

  /// A watch that notices no more than that the file was deleted.
  public init() {
    maxSize = 0
    isDaily = false
  }

  mutating func wrote(_ count: Int) { unseen += count }

  /// Looks at the next question, whenever it comes.
  mutating func hurry() { nextLook = 0 }

  /// Begins anew with another file.
  mutating func restart(at seconds: Int) {
    date = CivilTime(local: seconds).date
    nextLook = seconds
    known = 0
    unseen = 0
    isReported = false
  }

  /// Whether the file `descriptor` is due. Looks when this process alone has filled it, otherwise once a second at most; says
  /// so once a second until the writer turns to another file.
  mutating func isDue(_ descriptor: CInt, at seconds: Int) -> Bool {
    let isFull = isDaily && !isReported && known + unseen >= maxSize
    guard isFull || seconds >= nextLook || seconds < nextLook - 1 else { return false }
    nextLook = seconds + 1
    unseen = 0
    isReported = false
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
    known = Int(status.st_size)
    isReported = status.st_nlink == 0 || isDaily && (known >= maxSize || CivilTime(local: seconds).date != date)
    return isReported
  }
}
