// AddressSettings — lists of addresses: who is let in, and whose word on a client's address is taken.

import HTTPModel
import Plan

/// `allow` and `deny`, as they are written.
public struct AddressRuleSettings: Equatable, Sendable {
  public var allow: [String] = []
  public var deny: [String] = []

  public init() {}
}

/// `client_address`.
public struct ClientAddressSettings: Equatable, Sendable {
  public var trusted: [String] = []
  public var source = ClientAddressPlan.Source.xForwardedFor

  public init() {}
}

extension TextRule {
  static let addressRange = TextRule(description: "IP address, range such as 10.0.0.0/8, or \"unix:\"", pattern: "^([0-9A-Fa-f:.]+(/[0-9]{1,3})?|unix:)$") { text in
    do throws(AddressRange.Complaint) {
      _ = try AddressRange(parsing: text)
      return nil
    } catch {
      return "\(error.text) (found \(JSON.quoted(text)))"
    }
  }
}

extension Setting {
  /// The rows `allow` and `deny` of an owner that keeps them at `place`.
  static func addressRules(_ place: Place<AddressRuleSettings>, _ whose: String) -> [Setting] {
    [
      Setting<AddressRuleSettings>.texts("allow", \.allow, .addressRange, "Addresses of clients that are let in\(whose); if any is given, all others are refused. The longest range that an address is in decides.")
        .lifted(place),
      Setting<AddressRuleSettings>.texts("deny", \.deny, .addressRange, "Addresses of clients that are answered 403\(whose).").lifted(place),
    ]
  }
}

extension SettingsTable {
  static let clientAddress = SettingTable<ClientAddressSettings>(
    ClientAddressSettings(),
    [
      .texts("trusted_proxies", \.trusted, .addressRange, "Addresses of proxies whose word on where a request has come from is taken."),
      .choice(
        "source", \.source, [("x_forwarded_for", .xForwardedFor), ("forwarded", .forwarded)],
        "The field to which trusted proxies append the address of who they forward for; X-Forwarded-Proto is read with the first."),
    ])
}

extension AddressRulePlan {
  init(_ settings: AddressRuleSettings) {
    self.init()
    allow = [AddressRange](settings.allow)
    deny = [AddressRange](settings.deny)
  }
}

extension ClientAddressPlan {
  init(_ settings: ClientAddressSettings) {
    self.init()
    trusted = [AddressRange](settings.trusted)
    source = settings.source
  }
}

extension [AddressRange] {
  /// The texts have been judged when they were read.
  init(_ texts: [String]) { self = texts.compactMap { try? AddressRange(parsing: $0) } }
}

extension Settings {
  /// Complains about ranges that are in both lists.
  func checkAddressRules(_ reading: inout Reading) {
    access.check("", &reading)
    for (index, listener) in listeners.enumerated() { listener.access.check("listeners[\(index)].", &reading) }
    for (index, route) in routes.enumerated() { route.access.check("routes[\(index)].", &reading) }
    for (index, upstream) in upstreams.enumerated() {
      upstream.access.check("upstreams[\(index)].proxy.", &reading)
      guard upstream.routePrefix.isEmpty else { continue }
      for (key, list) in [("allow", upstream.access.allow), ("deny", upstream.access.deny)] where !list.isEmpty {
        reading.reject("upstreams[\(index)].proxy.\(key)", "upstreams[\(index)].proxy.\(key) has no effect without route_prefix")
      }
    }
    for (index, listener) in listeners.enumerated() where !listener.proxyProtocol && !listener.proxyProtocolSources.isEmpty {
      let path = "listeners[\(index)].proxy_protocol_from"
      reading.reject(path, "\(path) has no effect without proxy_protocol")
    }
    for (index, upstream) in upstreams.enumerated() where upstream.proxyProtocol != .off {
      let path = "upstreams[\(index)].proxy_protocol"
      if upstream.http2.enabled {
        reading.reject(path, "\(path) does not go with http2.enabled: a connection of HTTP/2 is for many clients, and its header names one")
      }
      if upstream.pool.maxRequests > 1 {
        reading.reject("upstreams[\(index)].pool.max_requests_per_conn", "upstreams[\(index)].pool.max_requests_per_conn is 1 with proxy_protocol")
      }
    }
    if clientAddress.trusted.isEmpty, clientAddress.source != ClientAddressSettings().source {
      reading.reject("client_address.source", "client_address.source has no effect without trusted_proxies")
    }
  }
}

extension AddressRuleSettings {
  fileprivate func check(_ prefix: String, _ reading: inout Reading) {
    let allowed = Dictionary([AddressRange](allow).enumerated().map { ($1, $0) }) { first, _ in first }
    for (index, range) in [AddressRange](deny).enumerated() {
      guard let other = allowed[range], deny.indices.contains(index) else { continue }
      let path = "\(prefix)deny[\(index)]"
      reading.reject(path, "\(path) \(JSON.quoted(deny[index])) is allowed as well: \(prefix)allow[\(other)] (\(reading.place(of: "\(prefix)allow[\(other)]")))")
    }
  }
}
