// RetryBudget — how many retries an upstream may have under way, in proportion to what else is.

import Plan
import SharedState

/// How many retries may be under way beside other requests.
public struct RetryBudget: Sendable, BitwiseCopyable {
  private let percent: UInt64
  private let minimum: UInt64

  public init(_ plan: BreakerPlan) {
    percent = UInt64(clamping: plan.retryBudget)
    minimum = UInt64(clamping: plan.retryMinimum)
  }

  /// Whether one retry more is allowed beside what is under way, itself not counted.
  public func admits(_ load: BreakerLoad) -> Bool {
    let others = load.attempts > load.retries ? load.attempts - load.retries : 0
    return load.retries < max(minimum, others * percent / 100)
  }
}
