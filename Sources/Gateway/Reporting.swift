// Reporting — /health and /stats: what the gateway says of itself, over all workers and generations.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Resolution
import SharedState
import TLS
import Wire

extension Gateway {
  @inline(never)
  mutating func answerHealth(_ client: Handle, _ route: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let text = "{\"status\":\"ok\",\"pid\":\(masterProcess()),\"uptime_seconds\":\(uptime())}\n"
    answer(client, route, json: Array(text.utf8), id, length, &input)
  }

  @inline(never)
  mutating func answerStats(_ client: Handle, _ route: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    publishConnections()
    answer(client, route, json: Array(stats().utf8), id, length, &input)
  }

  private mutating func masterProcess() -> Int64 {
    let process = board.map { $0.value(of: .processID) } ?? 0
    return process == 0 ? Int64(Process.id) : Int64(clamping: process)
  }

  /// Seconds since the gateway was started; reloads do not count as starts.
  private mutating func uptime() -> Int64 {
    let start = board.map { Int64(clamping: $0.value(of: .startedAt)) } ?? 0
    return start == 0 ? 0 : max(0, services.wall / 1_000_000 - start)
  }

  private mutating func total(_ counter: Counter) -> UInt64 {
    board.map { $0.sum(of: counter) } ?? counters.value(of: counter)
  }

  private mutating func total(_ fault: Fault) -> UInt64 {
    board.map { $0.faults(fault.rawValue) } ?? counters.faults(fault.rawValue)
  }

  /// The zones of rate limits, with what follows them; empty where there are none.
  private mutating func rateLimits() -> String {
    guard limits.plan.isActive else { return "" }
    var zones: [String] = []
    for index in 0..<limits.zones.count {
      let refusals = limits.zones.span[index].limiter.memory.refusals
      zones.append("\(quoted(limits.plan.zones[index].name)):{\"refused\":\(refusals.made),\"dry_run_refused\":\(refusals.spared)}")
    }
    return "\"rate_limit\":{\"refused\":\(total(.rateLimitRefusals)),\"dry_run_refused\":\(total(.rateLimitSpared)),\"held\":\(total(.requestsHeld)),\"delayed\":\(total(.requestsDelayed)),\"zones\":{\(zones.joined(separator: ","))}\(rateStores())},"
  }

  /// The servers that have buckets, as this worker knows them, and what all workers have asked; empty where there are none.
  private mutating func rateStores() -> String {
    guard stores.isActive else { return "" }
    var servers: [String] = []
    for link in 0..<stores.links.count {
      let state = stores.links[link].breaker.isOpen ? "given_up" : stores.links[link].connection.state == .open ? "connected" : "not_connected"
      servers.append("\(quoted(stores.links[link].plan.label)):{\"state\":\"\(state)\",\"questions_under_way\":\(stores.links[link].connection.pendingCount)}")
    }
    let counts: [(String, Counter)] = [
      ("questions", .storeQuestions), ("answers", .storeAnswers), ("answer_microseconds", .storeMicroseconds), ("timeouts", .storeTimeouts),
      ("failures", .storeFailures), ("given_up", .storeTrips), ("connects", .storeConnects), ("held_admitted", .storeHeldAdmissions),
      ("held_refused", .storeHeldRefusals), ("fallback_allowed", .storeAllowed), ("fallback_denied", .storeDenied), ("fallback_local", .storeLocal),
    ]
    return ",\"backends\":{\"servers\":{\(servers.joined(separator: ","))},\(counts.map { "\"\($0)\":\(total($1))" }.joined(separator: ","))}"
  }

  /// The zones of limits on what is under way, with what follows them; empty where there are none.
  private mutating func concurrencyLimits() -> String {
    guard limits.concurrencyPlan.isActive else { return "" }
    var zones: [String] = []
    for index in 0..<limits.concurrencyZones.count {
      let zone = limits.concurrencyZones.span[index]
      let refusals = zone.limiter.memory.refusals
      zones.append("\(quoted(limits.concurrencyPlan.zones[Int(zone.index)].name)):{\"refused\":\(refusals.made),\"dry_run_refused\":\(refusals.spared)}")
    }
    return "\"concurrency_limit\":{\"requests_refused\":\(total(.concurrencyRefusals)),\"dry_run_requests_refused\":\(total(.concurrencySpared)),\"connections_refused\":\(total(.connectionExcessRefusals)),\"dry_run_connections_refused\":\(total(.connectionExcessSpared)),\"zones\":{\(zones.joined(separator: ","))}},"
  }

  /// The circuit breakers, with what follows them; empty where there are none.
  private mutating func breakers() -> String {
    guard guards.isActive else { return "" }
    var list: [String] = []
    for place in 0..<guards.guards.count {
      let breaker = guards.guards.span[place].breaker
      let state = breaker.state, counts = breaker.counts(microseconds: services.nowMicroseconds), load = breaker.memory.underWay()
      func total(_ total: BreakerTotal) -> UInt64 { breaker.memory.value(of: total) }
      list.append(
        "\(quoted(plan.upstreams[guards.upstreams.span[place]].name)):{\"state\":\"\(state.phase.name)\",\"held\":\(state.isHeld),\"trips\":\(state.trips),\"window_requests\":\(counts.total),\"window_failures\":\(counts.failures),\"consecutive_failures\":\(counts.streak),\"requests_under_way\":\(load.attempts),\"retries_under_way\":\(load.retries),\"waiting\":\(load.waiting),\"refused_crowded\":\(total(.crowdRefused)),\"refused_waiting\":\(total(.queueRefused)),\"opened\":\(total(.opened)),\"half_opened\":\(total(.halfOpened)),\"closed\":\(total(.closed)),\"refused\":\(total(.refused)),\"dry_run_refused\":\(total(.spared)),\"retries_refused\":\(total(.budgetRefused)),\"dry_run_retries_refused\":\(total(.budgetSpared))}")
    }
    for place in 0..<guards.guards.count where guards.guards.span[place].guardsEndpoints {
      let upstream = guards.upstreams.span[place]
      guard let table = backends.pools.table else { break }
      for member in backends.sets[upstream].members where backends.pools[Int(member)].row >= 0 {
        let breaker = Breaker(table.breaker(Int(backends.pools[Int(member)].row)), plan.upstreams[upstream].breaker)
        let state = breaker.state, counts = breaker.counts(microseconds: services.nowMicroseconds)
        list.append(
          "\(quoted(plan.upstreams[upstream].name + "/" + backends.name(of: Int(member)))):{\"state\":\"\(state.phase.name)\",\"held\":\(state.isHeld),\"trips\":\(state.trips),\"window_requests\":\(counts.total),\"window_failures\":\(counts.failures),\"consecutive_failures\":\(counts.streak),\"opened\":\(breaker.memory.value(of: .opened)),\"half_opened\":\(breaker.memory.value(of: .halfOpened)),\"closed\":\(breaker.memory.value(of: .closed)),\"passed_over\":\(breaker.memory.value(of: .refused)),\"spared\":\(breaker.memory.value(of: .spared))}")
      }
    }
    return "\"breakers\":{\(list.joined(separator: ","))},"
  }

  /// The names of backends, as this worker knows them, with what follows them; empty where there are none.
  private mutating func names() -> String {
    guard let resolver else { return "" }
    let names = zip(plan.names, resolver.states).map { name, state in
      let fields = [
        "\"service\":\(name.isService)", "\"addresses\":[\(state.addresses.map { quoted($0.text) }.joined(separator: ","))]",
        "\"age_ms\":\(state.resolvedAt == 0 ? "null" : "\(max(0, services.now - state.resolvedAt))")",
        "\"ttl_left_ms\":\(state.resolvedAt == 0 ? "null" : "\(max(0, state.goodUntil - services.now))")", "\"stale\":\(state.isStale(now: services.now))",
        "\"error\":\(state.problem == .none ? "null" : quoted(state.problem.text))",
      ]
      return "\(quoted(name.host)):{\(fields.joined(separator: ","))}"
    }
    return "\"dns\":{\"lookups\":\(total(.dnsLookups)),\"failures\":\(total(.dnsFailures)),\"names\":{\(names.joined(separator: ","))}},"
  }

  private mutating func stats() -> String {
    var faults: [String] = []
    for fault in Fault.allCases where fault != .none {
      let count = total(fault)
      if count > 0 { faults.append("\"\(fault.row.token)\":\(count)") }
    }
    let failures = TLSFailure.allCases.map { "\"\($0.name)\":\(total($0.counter))" }
    let upstreams = plan.upstreams.enumerated().map { index, upstream in
      let endpoints = backends.sets[index].members.map { quoted(backends.name(of: Int($0))) }.joined(separator: ",")
      return "\(quoted(upstream.name)):{\"host\":\(quoted(upstream.host)),\"port\":\(upstream.port),\"addresses\":[\(upstream.addresses.map(quoted).joined(separator: ","))],\"endpoints\":{\"names\":[\(endpoints)],\"all\":\(backends.sets[index].members.count),\"usable\":\(backends.sets[index].balancer.count),\"panic\":\(backends.sets[index].isPanicking)}}"
    }
    let calls = CallStatus.allCases.compactMap { status -> String? in
      let count = Counter(rawValue: Counter.grpcOK.rawValue + Int(status.rawValue)).map { total($0) } ?? 0
      return count == 0 ? nil : "\"\(status.name)\":\(count)"
    }
    let listeners = plan.listeners.map { listener in
      switch listener.address {
      case .ip(let host, let port): quoted(host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
      case .unix(let path, _): quoted("unix:\(path)")
      }
    }
    let generation = board.map { $0.value(of: .generation) } ?? worker.generation
    return """
      {"uptime_seconds":\(uptime()),"generation":\(generation),\
      "connections":{"active":\(total(.connectionsActive)),"total_accepted":\(total(.connectionsAccepted)),"refused":\(total(.connectionsRefused)),"idle_closed":\(total(.idleCloses)),"accept_failures":\(total(.acceptFailures))},\
      "requests":{"total":\(total(.requests)),"active":\(total(.requestsActive)),"forwarded":\(total(.requestsForwarded)),"answered":\(total(.requestsAnswered)),"client_aborts":\(total(.clientAborts))},\
      "responses":{"1xx":\(total(.responses1xx)),"2xx":\(total(.responses2xx)),"3xx":\(total(.responses3xx)),"4xx":\(total(.responses4xx)),"5xx":\(total(.responses5xx))},\
      "bytes":{"received":\(total(.bytesReceived)),"sent":\(total(.bytesSent))},\
      "upstream_connections":{"active":\(total(.upstreamConnectionsActive)),"idle":\(total(.upstreamConnectionsIdle)),"waiting":\(total(.waiting)),"connects":\(total(.upstreamConnects)),"reuses":\(total(.upstreamReuses)),"requests":\(total(.upstreamRequests)),"failures":\(total(.upstreamFailures)),"resends":\(total(.upstreamResends)),"retries":\(total(.upstreamRetries)),"failovers":\(total(.upstreamFailovers)),"endpoint_failures":\(total(.endpointFailures)),"endpoint_recoveries":\(total(.endpointRecoveries)),"endpoint_ejections":\(total(.endpointEjections)),"hedges":\(total(.upstreamHedges)),"hedges_won":\(total(.upstreamHedgesWon)),"races":\(total(.upstreamRaces)),"races_won":\(total(.upstreamRacesWon)),"idle_closes":\(total(.upstreamIdleCloses)),"queue_timeouts":\(total(.queueTimeouts)),"queue_rejections":\(total(.queueRejections)),"tls_handshakes":\(total(.upstreamTLSHandshakes)),"tls_resumed":\(total(.upstreamTLSResumptions)),"tls_failures":\(total(.upstreamTLSFailures))},\
      "tls":{"handshakes":\(total(.tlsHandshakes)),"resumed":\(total(.tlsResumptions)),"failures":{\(failures.joined(separator: ","))}},\
      "websockets":{"active":\(total(.webSocketsActive)),"upgrades":\(total(.webSocketUpgrades)),"messages":\(total(.webSocketMessages)),"tunnels_active":\(total(.tunnelsActive)),"tunnels":\(total(.tunnelUpgrades)),"closes":{"normal":\(total(.closesNormal)),"going_away":\(total(.closesGoingAway)),"protocol_error":\(total(.closesProtocolError)),"abnormal":\(total(.closesAbnormal)),"invalid_data":\(total(.closesInvalidData)),"too_big":\(total(.closesTooBig)),"other":\(total(.closesOther))}},\
      "http2":{"connections_active":\(total(.http2ConnectionsActive)),"connections":\(total(.http2Connections)),"streams_active":\(total(.http2StreamsActive)),"streams":\(total(.http2Streams)),"resets_received":\(total(.http2ResetsReceived)),"resets_sent":\(total(.http2ResetsSent)),"pushes":\(total(.http2Pushes))},\
      "grpc":{"calls":\(total(.grpcCalls)),"statuses":{\(calls.joined(separator: ","))},"without_status":\(total(.grpcNoStatus))},\
      "upstream_http2":{"connections_active":\(total(.upstreamSessionsActive)),"connections":\(total(.upstreamSessions)),"streams_active":\(total(.upstreamStreamsActive)),"streams":\(total(.upstreamStreams)),"resets_received":\(total(.upstreamResetsReceived)),"resets_sent":\(total(.upstreamResetsSent)),"goaways":\(total(.upstreamGoAways)),"ping_timeouts":\(total(.upstreamPingTimeouts)),"preconnects":\(total(.upstreamPreconnects)),"preconnects_skipped":\(total(.upstreamPreconnectsSkipped))},\
      "compression":{"responses":\(total(.responsesCompressed)),"bytes_in":\(total(.compressionBytesIn)),"bytes_out":\(total(.compressionBytesOut))},\
      "proxy_protocol":{"received":\(total(.proxyHeadersReceived)),"sent":\(total(.proxyHeadersSent))},\
      \(rateLimits())\(concurrencyLimits())\(breakers())\(names())\
      "faults":{\(faults.joined(separator: ","))},\
      "mirrors":{"sent":\(total(.mirrorsSent)),"failed":\(total(.mirrorsFailed)),"skipped":\(total(.mirrorsSkipped))},\
      "header_rules":{"values_refused":\(total(.fieldsRefused))},\
      "log_lines_dropped":\(total(.logLinesDropped)),\
      "config":{"listeners":[\(listeners.joined(separator: ","))],"workers":\(plan.workers),"max_connections":\(plan.limits.maxConnections),"idle_timeout_sec":\(plan.timeouts.idle / 1000),"request_timeout_sec":\(plan.timeouts.request / 1000)},\
      "upstream":{\(upstreams.joined(separator: ","))}}

      """
  }
}

/// `text` as a JSON string. Names come from the configuration, which allows no control characters in them.
private func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case let other where other.value < 0x20: result += " "
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
