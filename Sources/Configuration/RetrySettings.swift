// RetrySettings — the rows of `proxy.retry`.

import HTTPModel
import Plan

extension SettingsTable {
  static let retry = SettingTable<RetryPlan>(
    RetryPlan(),
    [
      .integer(
        "max_retries", \.maxRetries, 0...10,
        "How often a request is sent again. With 0, only a request that a kept connection has swallowed is, once; the other settings have no meaning then."),
      .boolean("retry_on_connect_failure", \.onConnectFailure, "When no connection came about, or the backend said that it did not look at the request."),
      .boolean("retry_on_disconnect", \.onDisconnect, "When the backend ended the connection before its response was whole."),
      .boolean("retry_on_timeout", \.onTimeout, "When the backend took or sent nothing for too long."),
      .boolean("retry_on_5xx", \.on5xx, "When the response has a status of 500 to 599."),
      .statuses("retry_on_status", \.statuses, "Statuses that are retried besides those of retry_on_5xx."),
      .boolean(
        "retry_non_idempotent", \.nonIdempotent,
        "Whether POST, PATCH and unknown methods may be sent again though the backend may have acted on them. What it cannot have seen is sent again in any case."),
      .quantity(
        "buffer_bytes", \.bufferSize, .bytes, 0...67_108_864,
        "What is kept of a request's body so that it can be sent again; a request with a longer one is not, once it has been begun."),
      .quantity(
        "per_try_timeout_ms", \.attemptTimeout, .milliseconds, 10...day, zero: "none",
        "How long an attempt may take, connecting included, until the response's header has come."),
      .quantity(
        "backoff_base_ms", \.backoffBase, .milliseconds, 1...60_000,
        "Before retry number n a random time of at most this times 2 to the n is waited for; not before the first one after a connection failed."),
      .quantity("backoff_max_ms", \.backoffLimit, .milliseconds, 1...600_000, "The longest such time; at least backoff_base_ms."),
      .quantity(
        "retry_after_max_ms", \.retryAfterLimit, .milliseconds, 0...600_000,
        "The longest Retry-After that is waited for; a response that asks for more time is passed on."),
    ])

  static let hedge = SettingTable<ForwardPlan>(
    ForwardPlan(upstream: 0),
    [
      .quantity(
        "delay_ms", \.hedgeDelay, .milliseconds, 1...day, zero: "never",
        "How long no response's header has come when the request is sent once more, on another connection if there is one at once."),
      .integer("max", \.hedgeLimit, 1...3, "How often it is, each after the same time."),
    ])
}

extension Setting {
  /// A list of error statuses, all different.
  static func statuses(_ key: String, _ place: Place<StatusSet>, _ sentence: String) -> Self {
    let range = StatusSet.range
    return Setting(
      custom: key, sentence, shape: .integers(range),
      read: { node, path, owner, reading in
        guard case .sequence(let nodes) = node.content else {
          return reading.reject(node.origin, path, "\(path) must be a list of statuses (\(node.found))")
        }
        var values: [Int] = []
        for (index, element) in nodes.enumerated() {
          let path = "\(path)[\(index)]"
          guard case .integer(let value) = element.kind, range.contains(value) else {
            reading.reject(element.origin, path, "\(path) must be a status between \(range.lowerBound) and \(range.upperBound) (\(element.found))")
            continue
          }
          if values.contains(value) { reading.reject(element.origin, path, "\(path) repeats \(value)") }
          values.append(value)
        }
        owner[keyPath: place] = StatusSet(values)
      },
      write: { .array($0[keyPath: place].statuses.map(JSON.integer)) })
  }
}
