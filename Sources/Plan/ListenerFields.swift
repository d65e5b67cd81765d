// ListenerFields — the fields of what clients meet: listeners, TLS, limits, timeouts, HTTP/1.1 and HTTP/2; in the order in which they are written and read.
//
// A field added to a structure is added here, and `Plan.version` raised; the tests compare the number of fields.

import HTTPModel

extension ListenerPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    var kind = 0, text = "", number: UInt16 = 0
    switch address {
    case .ip(let literal, let port): (kind, text, number) = (0, literal, port)
    case .unix(let path, let mode): (kind, text, number) = (1, path, mode)
    }
    kind = coder.code(alternative: kind, of: 2)
    coder.code(&text)
    coder.code(&number)
    address = kind == 0 ? .ip(text, port: number) : .unix(text, mode: number)
    coder.code(&name)
    coder.code(&backlog)
    coder.code(&ipv6Only)
    coder.code(&http2)
    coder.code(&tls, blank: TLSPlan()) { $0.code(with: &$1) }
    access.code(with: &coder)
    coder.code(&proxyProtocol)
    proxyProtocolSources.code(with: &coder)
  }
}

extension TLSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&certificates, blank: CertificatePlan()) { $0.code(with: &$1) }
    coder.code(&minVersion, of: 2)
    coder.code(&ciphers)
    coder.code(&cipherSuites)
    coder.code(&groups)
    coder.code(&clientCertificates, of: 3)
    coder.code(&clientCAFile)
    coder.code(&clientCA)
    coder.code(&sessionTickets)
  }
}

extension CertificatePlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&certificateFile)
    coder.code(&keyFile)
    coder.code(&ocspFile)
    coder.code(&chain)
    coder.code(&key)
    coder.code(&ocsp)
  }
}

extension UpstreamTLSPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&authority)
    coder.code(&serverName)
    coder.code(&serverNameIsAddress)
    coder.code(&minVersion, of: 2)
    coder.code(&certificate, blank: CertificatePlan()) { $0.code(with: &$1) }
    coder.code(&handshakeTimeout)
    coder.code(&resumesSessions)
  }
}

extension AuthorityPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&file)
    coder.code(&certificates)
    coder.code(&revocationFile)
    coder.code(&revocations)
  }
}

extension TicketPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&rotation)
    coder.code(&keys)
  }
}

extension LimitPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&maxConnections)
    coder.code(&maxHeaderSize)
    coder.code(&maxHeaderCount)
    coder.code(&maxBodySize)
    coder.code(&maxWebSocketMessageSize)
  }
}

extension TimeoutPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&idle)
    coder.code(&request)
    coder.code(&send)
    coder.code(&shutdownDrain)
    coder.code(&workerStart)
    coder.code(&workerHeartbeat)
  }
}

extension HTTP1Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&highWater)
    coder.code(&lowWater)
    coder.code(&halfClose, of: 2)
  }
}

extension HTTP2Plan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&maxConcurrentStreams)
    coder.code(&initialWindow)
    coder.code(&connectionWindow)
    coder.code(&maxFrameSize)
    coder.code(&maxHeaderListSize)
    coder.code(&enablePush)
    coder.code(&highWater)
    coder.code(&lowWater)
    coder.code(&windowUpdate)
    floods.code(with: &coder)
  }
}

extension HTTP2FloodPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&resets)
    coder.code(&settings)
    coder.code(&pings)
    coder.code(&emptyFrames)
    coder.code(&windowUpdates)
    coder.code(&priorities)
    coder.code(&continuations)
  }
}

extension IdentityPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&user)
    coder.code(&group)
  }
}
