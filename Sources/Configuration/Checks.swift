// Checks — rules that concern more than one setting. What concerns one alone stands in its row of the table.

import Plan
import Policy

extension Settings {
  /// Complains about settings that do not go together.
  func check(_ reading: inout Reading) {
    reading.upstreamNames = Set(upstreams.map(\.name).filter { !$0.isEmpty })
    if http1.lowWater >= http1.highWater {
      let path = reading.origins["http1.streaming.low_water_bytes"] == nil ? "high_water_bytes" : "low_water_bytes"
      reading.reject(
        "http1.streaming.\(path)",
        "http1.streaming.low_water_bytes (\(http1.lowWater)) must be less than high_water_bytes (\(http1.highWater))")
    }
    if http2.lowWater >= http2.highWater {
      let path = reading.origins["http2.streaming.low_water_bytes"] == nil ? "high_water_bytes" : "low_water_bytes"
      reading.reject(
        "http2.streaming.\(path)",
        "http2.streaming.low_water_bytes (\(http2.lowWater)) must be less than high_water_bytes (\(http2.highWater))")
    }
    checkDormant(&reading)
    checkLogs(&reading)
    checkRateLimits(&reading)
    checkConcurrencyLimits(&reading)
    checkNames(&reading)
    checkAddressRules(&reading)
    checkCompression(&reading)
    checkListeners(&reading)
    checkUpstreams(&reading)
    checkBreakers(&reading)
    checkRoutes(&reading)
  }

  /// Whoever writes settings down means them to be in force; who wants them kept for later says so (`enabled` false).
  private func checkDormant(_ reading: inout Reading) {
    // What compression says is good for routes that switch it on.
    let isCompressed = routes.contains { $0.compression == .on } || upstreams.contains { $0.compression == .on }
    var seen: Set<String> = []
    for (path, origin) in reading.dormant where reading.origins["\(path).enabled"] == nil && !(path == "compression" && isCompressed) && seen.insert(path).inserted {
      // Tickets are those of all listeners.
      if path == "tls", reading.origins["tls.session_tickets"] != nil { continue }
      reading.warn(origin, path, "\(path) has no effect: \(path).enabled is false unless it is given")
    }
  }

  /// A star where it stands for itself, and somebody will have meant anything.
  func checkStars(in prefixes: [String], _ path: String, _ reading: inout Reading) {
    for (index, prefix) in prefixes.enumerated() where prefix.contains("*") {
      let place = "\(path)[\(index)]"
      let meant = prefix.hasSuffix("/*") ? "; did you mean \(JSON.quoted(prefix.count == 2 ? "/" : String(prefix.dropLast(2))))?" : ""
      reading.warn(
        reading.origin(of: place), place, "\(place) \(JSON.quoted(prefix)) is a prefix, in which \"*\" stands for itself: a prefix covers everything below it\(meant)")
    }
  }

  private func checkListeners(_ reading: inout Reading) {
    var seen: [String: String] = [:]
    for (index, listener) in listeners.enumerated() {
      let path = "listeners[\(index)]"
      if !listener.name.isEmpty, let first = listeners[..<index].firstIndex(where: { $0.name == listener.name }) {
        reading.reject("\(path).name", "\(path).name \(JSON.quoted(listener.name)) is the name of listeners[\(first)] (\(reading.place(of: "listeners[\(first)].name")))")
      }
      if listener.unix.isEmpty {
        if listener.host.isEmpty || listener.port == nil {
          let rejected = reading.errors.contains { $0.path.hasPrefix(path + ".") }
          if !rejected { reading.reject(path, "\(path) needs \"host\" and \"port\", or \"unix\"") }
          continue
        }
      } else if !listener.host.isEmpty || listener.port != nil {
        reading.reject(path, "\(path) has both \"unix\" and \"host\" or \"port\"")
        continue
      }
      if listener.unix.isEmpty, listener.port == 0 { continue }
      let address = listener.unix.isEmpty ? "\(listener.host.lowercased()) port \(listener.port ?? 0)" : listener.unix
      if let first = seen[address] {
        reading.reject(path, "\(path) is the same address as \(first) (\(reading.place(of: first)))")
      } else {
        seen[address] = path
      }
    }
    checkTLS(&reading)
    // What is given by hand for this one start must not be ignored.
    guard !listeners.isEmpty else { return }
    for key in ["bind_host", "bind_port"] {
      switch reading.origins[key] {
      case .environment, .flag: reading.reject(key, "\(key) has no effect, because listeners is given")
      // (The defaults may be written down, as in the output of `gatewayctl config`.)
      case .file where key == "bind_host" ? bindHost != Settings().bindHost : bindPort != Settings().bindPort: reading.warn(reading.origin(of: key), key, "\(key) has no effect, because listeners is given")
      default: break
      }
    }
  }

  private func checkTLS(_ reading: inout Reading) {
    if tls.enabled {
      if !listeners.isEmpty {
        reading.reject("tls.enabled", "tls.enabled has no effect, because listeners is given: TLS is set in listeners[].tls")
      } else {
        for (key, value) in [("cert_file", tls.certificateFile), ("key_file", tls.keyFile)] where value.isEmpty {
          let isRejected = reading.errors.contains { $0.path == "tls.\(key)" }
          if !isRejected { reading.reject("tls.enabled", "tls.\(key) is required with tls.enabled") }
        }
      }
    }
    for (index, listener) in listeners.enumerated() {
      guard let tls = listener.tls else { continue }
      let path = "listeners[\(index)].tls"
      if tls.certificates.isEmpty, !reading.errors.contains(where: { $0.path.hasPrefix("\(path).certificates") }) {
        reading.reject("\(path).certificates", "\(path) needs at least one element of \"certificates\"")
      }
      let hasAuthority = !tls.clientCAFile.isEmpty
      if tls.clientCertificates != .off, !hasAuthority, !reading.errors.contains(where: { $0.path == "\(path).client_ca_file" }) {
        reading.reject("\(path).client_certificates", "\(path).client_ca_file is required with client_certificates")
      }
      if tls.clientCertificates == .off, hasAuthority {
        reading.reject("\(path).client_ca_file", "\(path).client_ca_file has no effect without client_certificates")
      }
    }
  }

  /// Lowers defaults to what was given beside them: who lowers a pool's size need not say how many of it may be idle.
  mutating func fitDefaults(_ reading: Reading) {
    for index in upstreams.indices where reading.origins["upstreams[\(index)].pool.max_idle_connections"] == nil {
      upstreams[index].pool.maxIdleConnections = min(upstreams[index].pool.maxIdleConnections, upstreams[index].pool.maxConnections)
    }
    for index in upstreams.indices where upstreams[index].health.check.statuses.isEmpty { upstreams[index].health.check.statuses = HealthCheckPlan().statuses }
    for index in upstreams.indices { upstreams[index].forward.fitDefaults("upstreams[\(index)].proxy", reading) }
    for index in routes.indices { routes[index].forward?.fitDefaults("routes[\(index)].proxy", reading) }
    for index in upstreams.indices where upstreams[index].tls.enabled && reading.origins["upstreams[\(index)].port"] == nil { upstreams[index].port = 443 }
  }

  private func checkUpstreams(_ reading: inout Reading) {
    var seen: [String: String] = [:]
    for (index, upstream) in upstreams.enumerated() {
      let path = "upstreams[\(index)]"
      if let first = seen[upstream.name], !upstream.name.isEmpty {
        reading.reject("\(path).name", "\(path).name repeats \(JSON.quoted(upstream.name)) of \(first) (\(reading.place(of: first + ".name")))")
      } else {
        seen[upstream.name] = path
      }
      checkEndpoints(upstream, path, &reading)
      check(upstream.balance, "\(path).balance", &reading)
      check(upstream.health, upstream, "\(path).health", &reading)
      let pool = upstream.pool
      if pool.maxIdleConnections > pool.maxConnections {
        reading.reject(
          "\(path).pool.max_idle_connections",
          "\(path).pool.max_idle_connections (\(pool.maxIdleConnections)) must not be more than max_connections (\(pool.maxConnections))")
      }
      check(upstream.forward, "\(path).proxy", &reading)
      check(upstream.tls, "\(path).tls", &reading)
      check(upstream.http2, upstream, "\(path).http2", &reading)
      checkRewrite(upstream.rules, upstream.forward, "\(path).proxy", proxy: "\(path).proxy", &reading)
      check(upstream.rules, "\(path).proxy", isForwarded: true, pattern: upstream.routePrefix, &reading)
      if upstream.routePrefix.isEmpty, !upstream.methods.isEmpty {
        reading.reject("\(path).proxy.methods", "\(path).proxy.methods has no effect without route_prefix")
      }
    }
  }

  private func check(_ balance: BalancePlan, _ path: String, _ reading: inout Reading) {
    if balance.policy != .hash {
      for (key, isGiven) in [("key", balance.hashKey != BalancePlan().hashKey), ("load_bound_percent", balance.loadBound > 0)] where isGiven {
        reading.reject("\(path).hash.\(key)", "\(path).hash.\(key) has no effect without policy \"hash\"")
      }
    }
    if balance.sticky.cookie.isEmpty, balance.sticky != StickyPlan() {
      let given = ["secret", "path", "domain", "max_age_sec", "http_only", "secure", "same_site"].first { reading.origins["\(path).sticky.\($0)"] != nil }
      let rejected = reading.errors.contains { $0.path.hasPrefix("\(path).sticky") }
      if !rejected { reading.reject("\(path).sticky.\(given ?? "cookie")", "\(path).sticky.\(given ?? "cookie") has no effect without cookie") }
    }
    if balance.sticky.sameSite == .none, !balance.sticky.isSecure {
      reading.reject("\(path).sticky.same_site", "\(path).sticky.same_site is \"none\", which browsers accept with secure only")
    }
  }

  private func checkEndpoints(_ upstream: UpstreamSettings, _ path: String, _ reading: inout Reading) {
    if upstream.endpoints.isEmpty {
      if upstream.host.isEmpty, !reading.errors.contains(where: { $0.path == path || $0.path == "\(path).host" || $0.path.hasPrefix("\(path).endpoints") }) {
        reading.reject(path, "\(path) needs \"host\" or \"endpoints\"")
      }
      return
    }
    var seen: [String: String] = [:]
    for (index, endpoint) in upstream.endpoints.enumerated() {
      let place = "\(path).endpoints[\(index)]"
      if endpoint.host.isEmpty == endpoint.unix.isEmpty || !endpoint.unix.isEmpty && endpoint.port != nil {
        let rejected = reading.errors.contains { $0.path.hasPrefix(place + ".") }
        if !rejected { reading.reject(place, endpoint.unix.isEmpty ? "\(place) needs \"host\" or \"unix\"" : "\(place) has both \"unix\" and \"host\" or \"port\"") }
        continue
      }
      let name = endpoint.plan(upstream).name.lowercased()
      if let first = seen[name] {
        reading.reject(place, "\(place) is the same as \(first) (\(reading.place(of: first)))")
      } else {
        seen[name] = place
      }
    }
    if upstream.endpoints.allSatisfy(\.isBackup) {
      reading.reject("\(path).endpoints", "\(path).endpoints are all backups: one at least must not be")
    }
    guard upstream.tls.enabled, upstream.tls.serverName.isEmpty, upstream.host.isEmpty else { return }
    if Set(upstream.endpoints.map { $0.host.lowercased() }).count > 1 || upstream.endpoints.contains(where: { $0.host.isEmpty }) {
      reading.reject("\(path).tls", "\(path).tls needs \"sni_hostname\": the name that the certificates of all endpoints are good for")
    }
  }

  private func check(_ tls: UpstreamTLSSettings, _ path: String, _ reading: inout Reading) {
    guard tls.enabled else { return }
    for (given, missing, isMissing) in [
      ("cert_file", "key_file", !tls.certificateFile.isEmpty && tls.keyFile.isEmpty), ("key_file", "cert_file", tls.certificateFile.isEmpty && !tls.keyFile.isEmpty),
    ] where isMissing && !reading.errors.contains(where: { $0.path == "\(path).\(missing)" }) {
      reading.reject("\(path).\(given)", "\(path).\(missing) is required with \(given)")
    }
    guard !tls.verifiesPeer else { return }
    if !tls.revocationFile.isEmpty { reading.reject("\(path).crl_file", "\(path).crl_file has no effect without verify_peer") }
    if tls.authorityFile.isEmpty {
      reading.warn(reading.origin(of: "\(path).verify_peer"), "\(path).verify_peer", "\(path).verify_peer is false: anybody can pass for the backend")
    } else {
      reading.reject("\(path).ca_file", "\(path).ca_file has no effect without verify_peer")
    }
  }

  private func check(_ forward: ForwardPlan, _ path: String, _ reading: inout Reading) {
    if forward.rewriteCookiePath, !forward.stripPrefix || forward.originalPath {
      reading.reject(
        "\(path).response_rewrite.cookie_path",
        "\(path).response_rewrite.cookie_path has no effect \(forward.stripPrefix ? "with forward_original_path" : "without strip_prefix")")
    }
    let retry = forward.retry
    if retry.backoffLimit < retry.backoffBase {
      reading.reject(
        reading.origins["\(path).retry.backoff_max_ms"] == nil ? "\(path).retry.backoff_base_ms" : "\(path).retry.backoff_max_ms",
        "\(path).retry.backoff_max_ms (\(retry.backoffLimit)) must not be less than backoff_base_ms (\(retry.backoffBase))")
    }
    guard forward.autoStreamThreshold > forward.relayBufferLimit else { return }
    let key = "auto_stream_content_length_threshold_bytes"
    reading.reject(
      reading.origins["\(path).\(key)"] == nil ? "\(path).relay_buffer_limit_bytes" : "\(path).\(key)",
      "\(path).\(key) (\(forward.autoStreamThreshold)) must not be more than relay_buffer_limit_bytes (\(forward.relayBufferLimit))")
  }

  private func checkRoutes(_ reading: inout Reading) {
    for (index, route) in routes.enumerated() {
      let path = "routes[\(index)]"
      let title = route.path.isEmpty ? path : "\(path) (\(JSON.quoted(route.path)))"
      if route.path.hasPrefix("/"), route.path.split(separator: "/").contains(where: { !$0.hasPrefix("*") && !$0.hasPrefix(":") && $0.contains("*") }) {
        reading.warn(reading.origin(of: "\(path).path"), "\(path).path", "\(path).path \(JSON.quoted(route.path)) has a \"*\" that stands for itself: it is a wildcard only as the beginning of the last segment")
      }
      let actions = [
        reading.origins["\(path).upstream"] != nil && !route.upstream.isEmpty ? "upstream" : nil,
        route.rules.split.arms.isEmpty ? nil : "split", route.respond.map { _ in "respond" },
        route.redirect.map { _ in "redirect" }, route.echo.map { _ in "echo" }, route.files.map { _ in "static" },
      ].compactMap { $0 }
      if actions.count != 1 {
        let rejected = reading.origins["\(path).upstream"] != nil && route.upstream.isEmpty && reading.errors.contains { $0.path == "\(path).upstream" }
        if actions.count > 1 {
          reading.reject(path, "\(title) has \(actions.joined(separator: " and ")), but may have only one of upstream, split, respond, redirect, echo and static")
        } else if !rejected {
          reading.reject(path, "\(title) needs one of upstream, split, respond, redirect, echo and static")
        }
      }
      if !route.upstream.isEmpty { checkUpstreamName(route.upstream, "\(path).upstream", title, &reading) }
      let isForwarded = !route.upstream.isEmpty || !route.rules.split.arms.isEmpty
      if let forward = route.forward {
        checkRewrite(route.rules, forward, path, proxy: "\(path).proxy", &reading)
        if !isForwarded, !actions.isEmpty { reading.reject("\(path).proxy", "\(path).proxy has no effect without upstream") }
        check(forward, "\(path).proxy", &reading)
        if forward.stripPrefix, let parsed = reading.routePath(route.path), !parsed.endsInCatchAll {
          reading.reject("\(path).proxy.strip_prefix", "\(path).proxy.strip_prefix needs a catch-all at the end of \(JSON.quoted(route.path))")
        }
      }
      check(route.rules, path, isForwarded: isForwarded, pattern: route.path, &reading)
      if let files = route.files { check(files, route, path, &reading) }
      if let respond = route.respond { check(respond, "\(path).respond", &reading) }
      if let redirect = route.redirect { check(redirect, route.path, "\(path).redirect.to", &reading) }
    }
  }

  private func check(_ respond: RespondPlan, _ path: String, _ reading: inout Reading) {
    if !respond.body.isEmpty, respond.status == 204 || respond.status == 205 || respond.status == 304 {
      reading.reject("\(path).body", "\(path).body must be empty: an answer with status \(respond.status) has no body")
    }
    if serverHeader, let server = respond.headers.first(where: { $0.name.lowercased() == "server" }) {
      reading.reject("\(path).headers.\(server.name)", "\(path).headers.\(server.name) is set by the gateway itself unless server_header is false")
    }
  }

  private func check(_ redirect: RedirectPlan, _ pattern: String, _ path: String, _ reading: inout Reading) {
    // Without a pattern its captures are not known; and what is missing has been complained about.
    guard let captures = reading.routePath(pattern)?.captures, !redirect.to.isEmpty else { return }
    check(redirect.to, .redirect, captures, path, &reading)
  }

  /// What stands against running in the background, where nothing can be written to a terminal and relative paths
  /// mean something else: the rules for starting with `-d`.
  /// - Parameter pidFile: the PID file's path, if one was chosen.
  func daemonErrors(pidFile: String?, _ reading: inout Reading) {
    if log.file.isEmpty, log.syslog == nil {
      reading.reject("log.file", "log.file or log.syslog is required to run in the background")
    } else if !log.file.isEmpty, !log.file.hasPrefix("/") {
      reading.reject("log.file", "log.file must be an absolute path to run in the background (found \(JSON.quoted(log.file)))")
    }
    if accessLog.enabled, accessLog.syslog == nil {
      if accessLog.file.isEmpty {
        reading.reject("access_log.file", "access_log.file is required to run in the background with access_log.enabled")
      } else if !accessLog.file.hasPrefix("/") {
        reading.reject("access_log.file", "access_log.file must be an absolute path to run in the background (found \(JSON.quoted(accessLog.file)))")
      }
    }
    func requireAbsolute(_ path: String, _ setting: String) {
      guard !path.isEmpty, !path.hasPrefix("/") else { return }
      reading.reject(setting, "\(setting) must be an absolute path to run in the background (found \(JSON.quoted(path)))")
    }
    if tls.enabled {
      requireAbsolute(tls.certificateFile, "tls.cert_file")
      requireAbsolute(tls.keyFile, "tls.key_file")
    }
    for (index, listener) in listeners.enumerated() {
      guard let tls = listener.tls else { continue }
      requireAbsolute(tls.clientCAFile, "listeners[\(index)].tls.client_ca_file")
      for (position, certificate) in tls.certificates.enumerated() {
        let path = "listeners[\(index)].tls.certificates[\(position)]"
        requireAbsolute(certificate.certificateFile, "\(path).cert_file")
        requireAbsolute(certificate.keyFile, "\(path).key_file")
        requireAbsolute(certificate.ocspFile, "\(path).ocsp_file")
      }
    }
    for (index, upstream) in upstreams.enumerated() where upstream.tls.enabled {
      requireAbsolute(upstream.tls.authorityFile, "upstreams[\(index)].tls.ca_file")
      requireAbsolute(upstream.tls.revocationFile, "upstreams[\(index)].tls.crl_file")
      requireAbsolute(upstream.tls.certificateFile, "upstreams[\(index)].tls.cert_file")
      requireAbsolute(upstream.tls.keyFile, "upstreams[\(index)].tls.key_file")
    }
    for (index, route) in routes.enumerated() { requireAbsolute(route.files?.root ?? "", "routes[\(index)].static.root") }
    if let pidFile, !pidFile.hasPrefix("/") {
      reading.reject(.flag("-P"), "", "the PID file must be an absolute path to run in the background (found \(JSON.quoted(pidFile)))")
    }
  }
}

extension ForwardPlan {
  /// Who says how long a backend may take to answer need not say how long it may take nothing of the request.
  fileprivate mutating func fitDefaults(_ path: String, _ reading: Reading) {
    guard reading.origins["\(path).send_timeout_ms"] == nil else { return }
    sendTimeout = responseTimeout == 0 ? ForwardPlan(upstream: 0).sendTimeout : responseTimeout
  }
}
