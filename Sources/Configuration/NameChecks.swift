// NameChecks — rules that concern several settings on the resolution of names.

import Plan

extension Settings {
  /// Complains about times of `dns` that contradict each other, and about hosts that cannot be what is asked of them.
  func checkNames(_ reading: inout Reading) {
    func reject(_ key: String, _ other: String, _ words: String) {
      reading.reject(reading.origins["dns.\(key)"] == nil ? "dns.\(other)" : "dns.\(key)", words)
    }
    if dns.overallTimeout < dns.resolveTimeout {
      reject(
        "overall_timeout_ms", "resolve_timeout_ms", "dns.overall_timeout_ms (\(dns.overallTimeout)) must not be less than resolve_timeout_ms (\(dns.resolveTimeout))")
    }
    if dns.minTTL > dns.maxTTL {
      reject("min_ttl_sec", "max_ttl_sec", "dns.min_ttl_sec (\(Unit.seconds.text(dns.minTTL))) must not be more than max_ttl_sec (\(Unit.seconds.text(dns.maxTTL)))")
    }
    if !dns.staleOnError, reading.origins["dns.stale_max_sec"] != nil {
      reading.reject("dns.stale_max_sec", "dns.stale_max_sec has no effect without stale_on_error")
    }
    checkFamily(bindHost, "bind_host", &reading)
    for (index, listener) in listeners.enumerated() { checkFamily(listener.host, "listeners[\(index)].host", &reading) }
    for (index, upstream) in upstreams.enumerated() {
      let path = "upstreams[\(index)]"
      if upstream.isService, !upstream.endpoints.isEmpty {
        reading.reject("\(path).srv", "\(path).srv has no effect with endpoints")
      } else if upstream.isService {
        checkService(upstream.host, path, &reading)
      }
      checkFamily(upstream.host, "\(path).host", &reading)
      for (position, endpoint) in upstream.endpoints.enumerated() {
        let place = "\(path).endpoints[\(position)]"
        if endpoint.isService { checkService(endpoint.host, place, &reading) }
        checkFamily(endpoint.host, "\(place).host", &reading)
      }
    }
  }

  private func checkFamily(_ host: String, _ path: String, _ reading: inout Reading) {
    let isExcluded = switch dns.family {
    case .v4Preferred, .v6Preferred: false
    case .v4Only: HostSyntax.isIPv6(host)
    case .v6Only: HostSyntax.isIPv4(host)
    }
    // What is a default is given by nobody.
    guard isExcluded, reading.origins[path] != nil else { return }
    reading.reject(path, "\(path) is an address that dns.lookup_family excludes (found \(JSON.quoted(host)))")
  }

  private func checkService(_ host: String, _ path: String, _ reading: inout Reading) {
    if host.isEmpty || HostSyntax.isAddress(host) {
      reading.reject("\(path).srv", "\(path).srv needs a name as \"host\", such as \"_http._tcp.example.com\"")
    }
    if reading.origins["\(path).port"] != nil { reading.reject("\(path).port", "\(path).port has no effect with srv: SRV records have ports") }
  }
}
