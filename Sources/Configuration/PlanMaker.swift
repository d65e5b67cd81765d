// PlanMaker — checked settings to the plan: names of listeners resolved, those of backends listed, routes expanded, files absolute.

import HTTPModel
import Plan

extension Plan {
  /// Makes the plan of `settings`, which have passed `Settings.check`. What the machine refuses goes to `reading`;
  /// the plan is usable only if nothing did.
  init(_ settings: Settings, _ surroundings: Surroundings, _ reading: inout Reading) {
    self.init()
    workers = settings.workers == 0 ? max(1, min(surroundings.processors(), 1024)) : settings.workers
    maxDrainingGenerations = settings.maxDrainingGenerations
    limits = settings.limits
    timeouts = settings.timeouts
    http1 = settings.http1
    http2 = settings.http2
    serverHeader = settings.serverHeader
    health = settings.health
    stats = settings.stats
    identity = settings.identity
    tickets = settings.tls.tickets
    rateLimit = settings.rateLimit
    concurrencyLimit = settings.concurrencyLimit
    dns = settings.dns
    clientAddress = ClientAddressPlan(settings.clientAddress)
    compression = settings.compression
    access = AddressRulePlan(settings.access)
    log = settings.log
    if !log.file.isEmpty { log.file = surroundings.absolute(log.file) }
    accessLog = settings.accessLog
    if !accessLog.file.isEmpty { accessLog.file = surroundings.absolute(accessLog.file) }
    for (setting, file, isDated) in [("log.file", log.file, log.maxFiles > 1), ("access_log.file", accessLog.enabled ? accessLog.file : "", false)] where !file.isEmpty {
      // A log that rotates by itself has no file of just this name. (A reload goes on with the file that is open.)
      guard let complaint = surroundings.fileComplaint(isDated ? file + "-" : file) else { continue }
      reading.warn(reading.origin(of: setting), setting, "\(setting) \(JSON.quoted(file)) \(complaint): the gateway would not start")
    }
    if !identity.user.isEmpty || !identity.group.isEmpty, let complaint = surroundings.accountComplaint(identity.user, identity.group) {
      reading.reject(identity.user.isEmpty ? "group" : "user", complaint)
    }
    var addresses = AddressBook(surroundings, settings.dns.family)
    listeners = Plan.listeners(settings, &addresses, &reading)
    for index in listeners.indices {
      let path = settings.listeners.isEmpty ? "tls" : "listeners[\(index)].tls"
      listeners[index].tls = Plan.tls(settings, settings.listeners.isEmpty ? nil : settings.listeners[index], path, surroundings, &reading)
    }
    for (index, upstream) in settings.upstreams.enumerated() {
      var plan = Plan.upstream(upstream, &addresses)
      plan.balance = upstream.balance
      plan.health = upstream.health
      plan.requestMode = upstream.requestMode
      plan.pool = upstream.pool
      plan.proxyProtocol = upstream.proxyProtocol
      // A connection that says whose it is serves nobody else.
      if plan.proxyProtocol != .off { plan.pool.maxRequests = 1 }
      plan.http2 = upstream.http2
      plan.breaker = upstream.breaker.plan
      if upstream.tls.enabled { plan.tls = self.tls(upstream, "upstreams[\(index)].tls", surroundings, &reading) }
      upstreams.append(plan)
    }
    placeStores(&addresses)
    names = addresses.names
    routes = RouteExpansion(settings, &reading).routes
    for (index, route) in settings.routes.enumerated() {
      guard let root = route.files?.root, !root.isEmpty, let complaint = surroundings.folderComplaint(surroundings.absolute(root)) else { continue }
      reading.reject("routes[\(index)].static.root", "routes[\(index)].static.root \(JSON.quoted(root)) \(complaint)")
    }
    for index in routes.indices {
      guard case .files(var files) = routes[index].action else { continue }
      files.root = surroundings.absolute(files.root)
      routes[index].action = .files(files)
    }
  }

  /// Where an upstream's requests go, and what they call it.
  private static func upstream(_ upstream: UpstreamSettings, _ addresses: inout AddressBook) -> UpstreamPlan {
    guard !upstream.endpoints.isEmpty else {
      let host = upstream.isService ? HostSyntax.domain(ofService: upstream.host) : upstream.host
      let found = addresses.place(upstream.host, isService: upstream.isService)
      var plan = UpstreamPlan(name: upstream.name, host: host, port: UInt16(clamping: upstream.port), addresses: found.literals)
      plan.lookup = found.lookup
      return plan
    }
    var plan = UpstreamPlan(name: upstream.name, host: upstream.host, port: UInt16(clamping: upstream.port), addresses: [])
    for settings in upstream.endpoints {
      var endpoint = settings.plan(upstream)
      if endpoint.unix.isEmpty { (endpoint.addresses, endpoint.lookup) = addresses.place(endpoint.host, isService: settings.isService) }
      plan.endpoints.append(endpoint)
    }
    if plan.host.isEmpty {
      let named = plan.endpoints.first { !$0.host.isEmpty }
      plan.host = upstream.calledName.isEmpty ? "localhost" : upstream.calledName
      plan.port = named?.port ?? plan.port
    }
    return plan
  }

  /// Where the servers are that zones of the rate limits have their buckets on. A worker has no other use for their addresses.
  private mutating func placeStores(_ addresses: inout AddressBook) {
    var known: [String: Int] = [:]
    for index in rateLimit.zones.indices {
      let text = rateLimit.zones[index].backend
      guard !text.isEmpty, let address = try? RedisAddress(parsing: text) else { continue }
      rateLimit.zones[index].backend = address.label
      if let store = known[text] {
        rateLimit.zones[index].store = store
        continue
      }
      var store = RateStorePlan()
      store.label = address.label
      store.host = address.host
      store.port = UInt16(clamping: address.port)
      store.unix = address.unix
      if store.unix.isEmpty { store.lookup = addresses.place(address.host, isService: false).lookup }
      store.user = address.user
      store.password = address.password
      store.database = address.database
      known[text] = rateLimit.stores.count
      rateLimit.zones[index].store = rateLimit.stores.count
      rateLimit.stores.append(store)
    }
  }

  /// TLS of one listener, with its files read.
  private static func tls(
    _ settings: Settings, _ listener: ListenerSettings?, _ path: String, _ surroundings: Surroundings, _ reading: inout Reading
  ) -> TLSPlan? {
    var own = ListenerTLSSettings()
    if let listener {
      guard let tls = listener.tls else { return nil }
      own = tls
    } else {
      guard settings.tls.enabled else { return nil }
      var certificate = CertificateSettings()
      certificate.certificateFile = settings.tls.certificateFile
      certificate.keyFile = settings.tls.keyFile
      own.certificates = [certificate]
      own.minVersion = settings.tls.minVersion
    }
    func absolute(_ file: String) -> String { file.isEmpty ? "" : surroundings.absolute(file) }
    var tls = TLSPlan(
      certificates: own.certificates.map {
        CertificatePlan(certificateFile: absolute($0.certificateFile), keyFile: absolute($0.keyFile), ocspFile: absolute($0.ocspFile))
      })
    tls.minVersion = own.minVersion
    tls.ciphers = own.ciphers
    tls.cipherSuites = own.cipherSuites
    tls.groups = own.groups
    tls.clientCertificates = own.clientCertificates
    tls.clientCAFile = absolute(own.clientCAFile)
    tls.sessionTickets = own.sessionTickets
    var files = CertificateFiles(surroundings)
    files.load(&tls)
    for remark in files.remarks {
      // The one certificate of `tls` stands there by itself.
      let setting = listener == nil ? String(remark.setting.split(separator: ".").last ?? "") : remark.setting
      let place = "\(path).\(setting)"
      if remark.isError { reading.reject(place, "\(place) \(remark.message)") } else { reading.warn(reading.origin(of: place), place, "\(place) \(remark.message)") }
    }
    return tls
  }

  /// TLS to one upstream, with its files read; those of authorities are shared.
  private mutating func tls(_ upstream: UpstreamSettings, _ path: String, _ surroundings: Surroundings, _ reading: inout Reading) -> UpstreamTLSPlan {
    let own = upstream.tls
    var tls = UpstreamTLSPlan()
    tls.serverName = own.serverName.isEmpty ? upstream.calledName : own.serverName
    if tls.serverName.hasSuffix(".") { tls.serverName.removeLast() }
    tls.serverNameIsAddress = HostSyntax.isAddress(tls.serverName)
    tls.minVersion = own.minVersion
    tls.handshakeTimeout = own.handshakeTimeout
    tls.resumesSessions = own.resumesSessions
    if !own.certificateFile.isEmpty, !own.keyFile.isEmpty {
      tls.certificate = CertificatePlan(certificateFile: surroundings.absolute(own.certificateFile), keyFile: surroundings.absolute(own.keyFile))
    }
    var files = CertificateFiles(surroundings)
    files.load(&tls)
    if own.verifiesPeer {
      let file = own.authorityFile.isEmpty ? nil : surroundings.absolute(own.authorityFile)
      let revocationFile = own.revocationFile.isEmpty ? "" : surroundings.absolute(own.revocationFile)
      if let authority = files.authority(file, revocationFile: revocationFile, known: authorities) {
        tls.authority = authorities.firstIndex { $0.file == authority.file && $0.revocationFile == revocationFile } ?? authorities.count
        if tls.authority == authorities.count { authorities.append(authority) }
      }
    }
    for remark in files.remarks {
      let place = "\(path).\(remark.setting)"
      // A setting that is not given has no place of its own.
      let origin = reading.origins[place] == nil ? reading.origin(of: path) : reading.origin(of: place)
      if remark.isError { reading.reject(origin, place, "\(place) \(remark.message)") } else { reading.warn(origin, place, "\(place) \(remark.message)") }
    }
    return tls
  }

  private static func listeners(_ settings: Settings, _ addresses: inout AddressBook, _ reading: inout Reading) -> [ListenerPlan] {
    guard !settings.listeners.isEmpty else {
      let literal = addresses.look(up: settings.bindHost, "bind_host", &reading).first ?? ""
      return [ListenerPlan(address: .ip(literal, port: UInt16(clamping: settings.bindPort)))]
    }
    var plans: [ListenerPlan] = []
    for (index, listener) in settings.listeners.enumerated() {
      let address: ListenerPlan.Address
      if listener.unix.isEmpty {
        let literal = addresses.look(up: listener.host, "listeners[\(index)].host", &reading).first ?? ""
        address = .ip(literal, port: UInt16(clamping: listener.port ?? 0))
      } else {
        address = .unix(listener.unix, mode: UInt16(listener.mode, radix: 8) ?? 0o660)
      }
      var plan = ListenerPlan(address: address, name: listener.name, backlog: listener.backlog, ipv6Only: listener.ipv6Only, http2: listener.http2)
      plan.access = AddressRulePlan(listener.access)
      plan.proxyProtocol = listener.proxyProtocol
      plan.proxyProtocolSources = [AddressRange](listener.proxyProtocolSources)
      plans.append(plan)
    }
    return plans
  }
}

/// Looks each name of a listener up once, and lists those of backends.
private struct AddressBook {
  private let surroundings: Surroundings
  private let family: DNSPlan.Family
  private var known: [String: Surroundings.Resolution] = [:]
  private(set) var names: [NamePlan] = []
  private var positions: [NamePlan: Int] = [:]

  init(_ surroundings: Surroundings, _ family: DNSPlan.Family) {
    self.surroundings = surroundings
    self.family = family
  }

  /// Where a backend is: the literal that `host` is, or which of the names.
  mutating func place(_ host: String, isService: Bool) -> (literals: [String], lookup: Int) {
    if HostSyntax.isAddress(host) || host.isEmpty { return ([host], -1) }
    let name = NamePlan(host: host.lowercased(), isService: isService)
    if let position = positions[name] { return ([], position) }
    positions[name] = names.count
    names.append(name)
    return ([], names.count - 1)
  }

  /// The addresses of a listener's `host`; empty, with a complaint, when it has none. An empty host has been complained about before.
  mutating func look(up host: String, _ path: String, _ reading: inout Reading) -> [String] {
    if host.isEmpty { return [] }
    if HostSyntax.isAddress(host) { return [host] }
    let resolution = known[host] ?? surroundings.resolve(host)
    known[host] = resolution
    switch resolution {
    case .addresses(let addresses):
      let v4 = addresses.filter(HostSyntax.isIPv4), v6 = addresses.filter(HostSyntax.isIPv6)
      let wanted = switch family {
      case .v4Preferred: v4 + v6
      case .v6Preferred: v6 + v4
      case .v4Only: v4
      case .v6Only: v6
      }
      if !wanted.isEmpty { return wanted }
      reading.reject(path, "\(path) \(JSON.quoted(host)) has no address\(addresses.isEmpty ? "" : " that dns.lookup_family allows")")
    case .failed(let reason): reading.reject(path, "\(path) \(JSON.quoted(host)) cannot be resolved: \(reason)")
    }
    return []
  }
}
