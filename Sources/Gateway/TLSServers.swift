// TLSServers — what the handshakes of a worker are made with: one server for each listener with TLS, ticket keys for all.

import Plan
import TLS

extension Gateway {
  static func makeTickets(_ plan: Plan, _ keys: [UInt8]) throws(GatewayFailure) -> TicketKeys? {
    guard plan.listeners.contains(where: { $0.tls != nil }) else { return nil }
    do throws(TLSError) {
      let tickets = try TicketKeys()
      tickets.replace(keys)
      return tickets
    } catch {
      throw GatewayFailure("TLS: \(error.reason)")
    }
  }

  static func makeServers(_ plan: Plan, _ tickets: TicketKeys?) throws(GatewayFailure) -> [TLSServer?] {
    var servers: [TLSServer?] = []
    for (index, listener) in plan.listeners.enumerated() {
      guard let tls = listener.tls else {
        servers.append(nil)
        continue
      }
      do throws(TLSError) {
        var settings = TLSServerSettings(tls, ticketLifetime: plan.tickets.lifetime)
        settings.offersHTTP2 = plan.http2.enabled && listener.http2
        servers.append(try TLSServer(settings, tickets: tls.sessionTickets ? tickets : nil))
      } catch {
        throw GatewayFailure("listeners[\(index)].tls: \(error.reason)")
      }
    }
    return servers
  }

  /// Uses the certificates of `plan` for connections from now on. Its listeners are those that are served, and its upstreams the same.
  /// - Returns: why that cannot be done; the old ones are kept then.
  public mutating func replaceCertificates(_ plan: Plan) -> String? {
    guard plan.listeners.count == servers.count, plan.upstreams.count == tlsClients.count else { return "the listeners or upstreams are others" }
    do throws(GatewayFailure) {
      let clients = try Self.makeClients(plan), upgrading = try Self.makeClients(plan, upgrading: true)
      servers = try Self.makeServers(plan, tickets)
      tlsClients = clients
      checksHosts = servers.contains { $0?.isDivided == true }
      upgradingClients = upgrading
      return nil
    } catch {
      return error.reason
    }
  }

  /// Uses other keys for session tickets.
  public func replaceTicketKeys(_ keys: [UInt8]) { tickets?.replace(keys) }

  func server(of listener: Int) -> TLSServer? { servers.indices.contains(listener) ? servers[listener] : nil }
}

extension TLSServerSettings {
  /// The settings of a plan. `ticketLifetime` in seconds.
  init(_ plan: TLSPlan, ticketLifetime: Int) {
    self.init(credentials: plan.certificates.map { Credential(chain: $0.chain, key: $0.key, ocsp: $0.ocsp) })
    only13 = plan.minVersion == .tls13
    if !plan.ciphers.isEmpty { ciphers = plan.ciphers }
    if !plan.cipherSuites.isEmpty { cipherSuites = plan.cipherSuites }
    if !plan.groups.isEmpty { groups = plan.groups }
    clientCertificates =
      switch plan.clientCertificates {
      case .off: .off
      case .request: .request
      case .require: .require
      }
    clientCA = plan.clientCA
    self.ticketLifetime = ticketLifetime
  }
}
