// BreakerSettingsTable — the settings of circuit breakers and retry budgets, and the rules between them.

import Plan

extension SettingsTable {
  static let breaker = SettingTable<BreakerSettings>(
    BreakerSettings(),
    [
      .boolean("enabled", \.plan.enabled, "Whether there is a breaker, and a retry budget; without it the other settings have no meaning."),
      .choice(
        "scope", \.plan.scope, [("upstream", .upstream), ("endpoint", .endpoint)],
        "One breaker for the upstream, or one for each of its endpoints: then requests go to endpoints whose breaker is not open."),
      .boolean("dry_run", \.plan.dryRun, "Let pass what would be refused; it is counted and logged."),
      .integer("consecutive_failure_threshold", \.plan.consecutiveFailures, 1...10_000, "Failures in a row that open it."),
      .integer(
        "failure_rate_threshold", \.plan.failureRate, 0...100,
        "Percentage of failures within window_seconds that opens it. With 0, minimum_volume requests do, whatever became of them."),
      .integer("minimum_volume", \.plan.minimumVolume, 1...10_000_000, "Requests within window_seconds below which the rate is not looked at."),
      .quantity("window_seconds", \.plan.window, .seconds, 1000...3_600_000, "How long an outcome counts for the rate."),
      .integer(
        "permitted_half_open_calls", \.plan.probes, 1...1000,
        "Requests let through when it has been open for long enough. If all of them succeed it is closed, otherwise it is open again."),
      .quantity("base_open_duration_ms", \.plan.baseOpenDuration, .milliseconds, 100...day, "How long it is open; each further time without having been closed, twice as long."),
      .quantity("max_open_duration_ms", \.plan.maxOpenDuration, .milliseconds, 100...day, "The longest such time; at least base_open_duration_ms."),
      .integer(
        "max_ejection_percent_per_host_set", \.plan.maxEjection, 0...100,
        "With scope \"endpoint\": percentage of an upstream's endpoints that are passed over at the same time, at least one (0: none); more open breakers than that are not heeded."),
      .integer("retry_budget_percent", \.plan.retryBudget, 0...100, "Retries under way at the same time, as a percentage of the other requests to the upstream…"),
      .integer("retry_budget_min_concurrency", \.plan.retryMinimum, 0...1_000_000, "…and how many may be in any case."),
      .integer("max_requests", \.plan.maxRequests, 1...10_000_000, zero: "no limit", "Requests to the upstream under way at the same time, over all workers; more are refused."),
      .integer("max_pending_requests", \.plan.maxPending, 1...10_000_000, zero: "256 in each worker", "Requests that wait for a connection at the same time, over all workers; more are refused."),
      .section("adaptive_concurrency", \.plan, adaptive, "A limit of requests under way that is found out: it grows while responses come quickly, and shrinks when they become slow or fail."),
    ])

  private static let adaptive = SettingTable<BreakerPlan>(
    BreakerPlan(),
    [
      .boolean("enabled", \.isAdaptive, "Whether there is such a limit."),
      .integer("min_requests", \.adaptiveMinimum, 1...10_000_000, "The limit is never lower."),
      .integer("max_requests", \.adaptiveMaximum, 1...10_000_000, "…nor higher than this."),
      .integer(
        "latency_tolerance_percent", \.adaptiveTolerance, 110...10_000,
        "Time to a response's header from which it counts as slow, as a percentage of the shortest of the last minute."),
    ])
}

extension Settings {
  /// Breakers at most: what the segment that all workers share has room for.
  static let breakerLimit = 2048
  /// Probes of an endpoint's breaker at most: what its row in shared memory has room for.
  private static let endpointProbeLimit = 24

  func checkBreakers(_ reading: inout Reading) {
    for (index, upstream) in upstreams.enumerated() {
      let path = "upstreams[\(index)].circuit_breaker"
      let breaker = upstream.breaker.plan
      if breaker.maxOpenDuration < breaker.baseOpenDuration {
        reading.reject(
          reading.origins["\(path).max_open_duration_ms"] == nil ? "\(path).base_open_duration_ms" : "\(path).max_open_duration_ms",
          "\(path).max_open_duration_ms (\(breaker.maxOpenDuration)) must not be less than base_open_duration_ms (\(breaker.baseOpenDuration))")
      }
      if breaker.adaptiveMaximum < breaker.adaptiveMinimum {
        let key = reading.origins["\(path).adaptive_concurrency.max_requests"] == nil ? "min_requests" : "max_requests"
        reading.reject(
          "\(path).adaptive_concurrency.\(key)",
          "\(path).adaptive_concurrency.max_requests (\(breaker.adaptiveMaximum)) must not be less than min_requests (\(breaker.adaptiveMinimum))")
      }
      if reading.origins["\(path).max_ejection_percent_per_host_set"] != nil {
        if breaker.scope != .endpoint, breaker.maxEjection != BreakerPlan().maxEjection {
          reading.reject("\(path).max_ejection_percent_per_host_set", "\(path).max_ejection_percent_per_host_set has no effect without scope \"endpoint\"")
        }
      }
      if breaker.scope == .endpoint, breaker.probes > Self.endpointProbeLimit {
        reading.reject(
          "\(path).permitted_half_open_calls",
          "\(path).permitted_half_open_calls must be between 1 and \(Self.endpointProbeLimit) with scope \"endpoint\" (found \(breaker.probes))")
      }
    }
    if upstreams.count(where: { $0.breaker.plan.enabled }) > Self.breakerLimit {
      reading.reject("upstreams", "upstreams has more than \(Self.breakerLimit) elements with circuit_breaker.enabled")
    }
  }
}
