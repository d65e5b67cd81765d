// SingleCertificates — what the master does for changed certificates, for a single process: it looks once a second.

import Control
import Kernel
import Plan
import TLS

/// The certificate files of a process that serves alone.
public final class SingleCertificates {
  private var plan: Plan
  private var watch: DirectoryWatch
  private var hasChanged = true
  private var problems: [String: String] = [:]

  /// Nil when there is nothing to watch, or no way to.
  public init?(_ plan: Plan) {
    let directories = CertificateRefresh.directories(of: plan)
    guard !directories.isEmpty else { return nil }
    do throws(Errno) { watch = try DirectoryWatch() } catch { return nil }
    self.plan = plan
    _ = watch.watch(directories)
  }

  /// What there is to be said of the files; nil when there is nothing. A certificate and its key change one after the other, so
  /// that they are read when a second has passed without a change.
  public func news() -> CertificateNews? {
    if watch.hasChanged() {
      hasChanged = true
      return nil
    }
    guard hasChanged else { return nil }
    hasChanged = false
    var refresh = CertificateRefresh()
    refresh.read(&plan)
    _ = watch.watch(CertificateRefresh.directories(of: plan))
    let known = problems
    problems = refresh.problems
    let lines = problems.filter { known[$0.key] != $0.value }.map { "\($0.key) \($0.value)" }.sorted()
    return CertificateNews(plan: refresh.changed.isEmpty ? nil : plan, changed: refresh.changed, problems: lines)
  }
}
