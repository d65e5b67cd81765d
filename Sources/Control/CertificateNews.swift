// CertificateNews — what has become of certificate files that a process without a master watches by itself.

import Plan

public struct CertificateNews {
  /// What is to be used from now on; nil: what is used already.
  public let plan: Plan?
  /// The files that are new.
  public let changed: [String]
  /// Why others cannot be used.
  public let problems: [String]

  public init(plan: Plan?, changed: [String], problems: [String]) {
    self.plan = plan
    self.changed = changed
    self.problems = problems
  }
}
