// Upstreams — the upstreams of the serving generation and their endpoints, as shared memory has them; and orders for endpoints.
//
// The plan knows the endpoints that are configured, shared memory those that have come by DNS as well. Of these only the ones that some worker has spoken of in the
// last minutes are shown. An order is a word of the endpoint's row: workers see it by themselves, those of later generations, too.

import Control
import Kernel
import Plan
import Policy
import SharedState

extension Master {
  /// An endpoint with its row.
  private struct Known {
    let name: String
    /// Nil: it has come by DNS.
    let plan: EndpointPlan?
    let row: Int
  }

  private var servingRecord: GenerationRecord? { (supervisor.serving ?? generations.keys.max()).flatMap { generations[$0] } }

  /// The endpoints of each upstream of `plan`.
  private func known(_ plan: Plan, _ table: EndpointTable) -> [[Known]] {
    var rows: [UInt64: [Int]] = [:]
    for row in 0..<table.rowCount where table.isUsed(row) { rows[table.value(.upstream, row), default: []].append(row) }
    let now = Time.milliseconds / 1000
    return plan.upstreams.map { upstream in
      var left = rows[EndpointTable.key(upstream: upstream.name)] ?? []
      var list: [Known] = []
      for endpoint in upstream.allEndpoints {
        guard let row = table.find(EndpointTable.key(upstream: upstream.name, endpoint: endpoint.name)) else { continue }
        left.removeAll { $0 == row }
        list.append(Known(name: endpoint.name, plan: endpoint, row: row))
      }
      let others = left.filter { now - Int64(clamping: table.value(.touched, $0)) < 180 }.map { Known(name: table.name($0), plan: nil, row: $0) }
      return list + others.sorted { $0.name < $1.name }
    }
  }

  func upstreamsText() -> String {
    var json = JSONText()
    let now = Time.milliseconds
    json.object { json in
      json.list("upstreams") { json in
        guard let record = servingRecord, let table = record.endpoints?.table else { return }
        let columns = table.columnsUsed
        for (upstream, endpoints) in zip(record.plan.upstreams, known(record.plan, table)) {
          json.object { json in
            json.field("name", upstream.name)
            json.list("endpoints") { json in
              for endpoint in endpoints { describe(endpoint, upstream, table, columns, now, &json) }
            }
          }
        }
      }
    }
    return json.text
  }

  private func describe(_ endpoint: Known, _ upstream: UpstreamPlan, _ table: EndpointTable, _ columns: Int, _ now: Int64, _ json: inout JSONText) {
    let row = endpoint.row
    let health = HealthWord(table.value(.health, row)), ejection = Ejection(table.value(.ejection, row))
    let administration = table.administration(row)
    let isChecked = upstream.health.check.kind != .none
    let isEjected = upstream.health.outliers.enabled && !ejection.isOver(now: now)
    let isUnhealthy = isChecked && health.health == .unhealthy
    json.object { json in
      json.field("name", endpoint.name)
      if let plan = endpoint.plan {
        json.field("weight", plan.weight)
        json.field("backup", plan.isBackup)
      }
      json.field("administration", administration.text)
      json.field("health", isChecked ? "\(health.health)" : "unchecked")
      if isChecked, health.health != .unknown { json.field("health_for_sec", max(0, now - health.since) / 1000) }
      if isEjected { json.field("ejected_for_ms", ejection.until - now) }
      json.field("used", administration == .enabled && !isUnhealthy && !isEjected)
      if isUnhealthy || isEjected { json.field("reason", (HealthReason(rawValue: table.value(.reason, row)) ?? .none).text) }
      json.field("in_flight", table.inFlight(row, columns: columns))
      json.field("ejections", table.value(.ejections, row))
      json.field("checks", table.value(.checks, row))
      json.field("failed_checks", table.value(.failedChecks, row))
      // Counted for the judgement; without one they would look like none.
      if upstream.health.outliers.enabled {
        json.field("requests", table.value(.requests, row))
        json.field("failures", table.value(.failures, row))
      }
    }
  }

  /// Gives an order for the endpoint `name`, `UPSTREAM/ENDPOINT`.
  func order(_ administration: EndpointAdministration, _ name: String) -> ControlAnswer {
    guard let record = servingRecord else { return ControlAnswer(.refused, ["no generation serves yet"]) }
    // Names of upstreams may have slashes, and so have those of sockets: the longest upstream that fits is meant.
    let upstreams = record.plan.upstreams.filter { name.hasPrefix($0.name + "/") }.sorted { $0.name.utf8.count > $1.name.utf8.count }
    guard let upstream = upstreams.first, let table = record.endpoints?.table else {
      guard name.contains("/") else { return ControlAnswer(.failed, ["an endpoint is named UPSTREAM/ENDPOINT, such as app/10.0.0.1:8080"]) }
      let wanted = name.prefix { $0 != "/" }
      return ControlAnswer(.failed, ["there is no upstream \"\(wanted)\" (there are: \(record.plan.upstreams.map(\.name).sorted().joined(separator: ", ")))"])
    }
    let endpoint = String(name.dropFirst(upstream.name.count + 1))
    guard let row = table.find(EndpointTable.key(upstream: upstream.name, endpoint: endpoint)) else {
      let index = record.plan.upstreams.firstIndex { $0.name == upstream.name } ?? 0
      let there = known(record.plan, table)[index].map(\.name).joined(separator: ", ")
      return ControlAnswer(.failed, ["upstream \"\(upstream.name)\" has no endpoint \"\(endpoint)\" (there are: \(there))"])
    }
    let before = table.administration(row)
    let now = Time.milliseconds
    let wasEjected = administration == .enabled && lift(row, of: table, now)
    table.set(administration, row, now: now)
    for segment in generations.values.compactMap(\.endpoints) where segment !== record.endpoints {
      guard let other = segment.table.find(EndpointTable.key(upstream: upstream.name, endpoint: endpoint)) else { continue }
      if administration == .enabled { _ = lift(other, of: segment.table, now) }
      segment.table.set(administration, other, now: now)
    }
    let sentence = "endpoint \(upstream.name)/\(endpoint) is now \(administration.text)\(wasEjected ? ", and ejected no more" : "")"
    if before != administration || wasEjected { journal.write(.info, sentence + " (it was \(before.text))") }
    return ControlAnswer(.ok, [sentence])
  }

  /// Ends an ejection; false when there is none.
  private func lift(_ row: Int, of table: EndpointTable, _ now: Int64) -> Bool {
    let ejection = Ejection(table.value(.ejection, row))
    guard !ejection.isOver(now: now), table.exchange(.ejection, row, expected: ejection.word, desired: ejection.lifted(now: now).word) else { return false }
    table.store(0, .consecutiveFailures, row)
    return true
  }
}
