// Limits — the zones of the serving generation, as shared memory has them, for `gatewayctl limits`.

import Control
import Kernel
import Plan
import Policy
import SharedState

extension Master {
  /// The zones of rate and concurrency limits, as JSON.
  /// - Parameter top: keys named at most of each zone that keeps them.
  func limitsText(top: Int) -> String {
    var json = JSONText()
    let record = (supervisor.serving ?? generations.keys.max()).flatMap { generations[$0] }
    json.object { json in
      json.list("rate_limits") { json in
        guard let record, record.plan.rateLimit.isActive else { return }
        for (zone, segment) in zip(record.plan.rateLimit.zones, record.rates) {
          json.object { json in describe(zone, segment.limiter, isDryRun: record.plan.rateLimit.dryRun, top, &json) }
        }
      }
      json.list("concurrency_limits") { json in
        guard let record, record.plan.concurrencyLimit.isActive else { return }
        for (zone, segment) in zip(record.plan.concurrencyLimit.zones, record.concurrency) {
          json.object { json in describe(zone, segment.table, isDryRun: record.plan.concurrencyLimit.dryRun, &json) }
        }
      }
    }
    return json.text
  }

  private func describe(_ zone: RateZonePlan, _ limiter: RateLimiter<RateTable>, isDryRun: Bool, _ top: Int, _ json: inout JSONText) {
    let population = limiter.population(microseconds: Clock().now), refusals = limiter.memory.refusals
    json.field("zone", zone.name)
    json.field("key_type", zone.key)
    json.field("rate_per_1000_sec", zone.rate)
    json.field("capacity", zone.capacity)
    json.field("delay", zone.delay)
    if !zone.backend.isEmpty {
      json.field("backend", zone.backend)
      json.field("backend_away", limiter.memory.storeIsAway)
      json.field("fallback", "\(zone.fallback)")
    }
    json.field("dry_run", isDryRun)
    json.field("refused", refusals.made)
    json.field("dry_run_refused", refusals.spared)
    json.field("max_entries", zone.maxEntries)
    json.field("keys", population.known)
    json.field("keys_below_capacity", population.owing)
    json.field("keys_without_token", population.short)
    json.field("track_keys", zone.trackKeys)
    guard zone.trackKeys, let key = try? RateKey(parsing: zone.key) else { return }
    json.list("top") { json in
      for found in limiter.memory.hottest(top) {
        json.object { json in
          if found.bytes.isEmpty { json.null("key") } else { json.field("key", key.text(of: found.bytes, ipv6Prefix: zone.ipv6Prefix) + (found.isCut ? "…" : "")) }
          json.field("requests", found.asked)
          json.field("requests_at_least", found.asked - found.surplus)
          json.field("refused", found.refused)
        }
      }
    }
  }

  private func describe(_ zone: ConcurrencyZonePlan, _ table: ConcurrencyTable, isDryRun: Bool, _ json: inout JSONText) {
    let population = ConcurrencyLimiter(table, limit: zone.limit, column: 0).population, refusals = table.refusals
    json.field("zone", zone.name)
    json.field("key_type", zone.key)
    json.field("counts", zone.subject == .requests ? "requests" : "connections")
    json.field("limit", zone.limit)
    json.field("dry_run", isDryRun)
    json.field("refused", refusals.made)
    json.field("dry_run_refused", refusals.spared)
    json.field("max_entries", zone.maxEntries)
    json.field("keys", population.keys)
    json.field("under_way", population.sum)
    json.field("most_of_a_key", population.most)
  }
}
