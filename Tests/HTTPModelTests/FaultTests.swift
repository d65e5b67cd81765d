// FaultTests — the table of faults: complete, in order, and consistent with itself.

import Testing

@testable import HTTPModel

@Suite struct FaultTests {
  @Test func oneRowPerFaultInOrder() {
    #expect(FaultRow.table.count == Fault.allCases.count)
    for (index, fault) in Fault.allCases.enumerated() {
      #expect(Int(fault.rawValue) == index && FaultRow.table[index].fault == fault)
      #expect(fault.row.fault == fault)
    }
  }

  @Test func tokensAreDistinctLowerCaseNames() {
    let tokens = FaultRow.table.map { "\($0.token)" }
    #expect(Set(tokens).count == tokens.count)
    for token in tokens.dropFirst() { #expect(token.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }) }
  }

  @Test func statusesFitTheirSide() {
    for row in FaultRow.table.dropFirst() {
      switch row.side {
      case .client: #expect(row.status == 0 || 400...499 ~= row.status || row.status == 501 || row.status == 505, "\(row.token)")
      case .gateway: #expect([500, 503, 504].contains(row.status), "\(row.token)")
      case .upstream: #expect([502, 503, 504].contains(row.status), "\(row.token)")
      }
      #expect(1...4 ~= row.severity && "\(row.sentence)".hasSuffix("."), "\(row.token)")
      if row.status != 0 { #expect("\(Status(row.status).reason)" != "Unknown") }
      if row.side == .client { #expect(row.retry == .never) }
    }
  }

  /// A fault that may come after the request was processed is never repeated blindly.
  @Test func onlyUnsentRequestsAreAlwaysRetried() {
    let unsent: Set<Fault> = [
      .connectionRefused, .destinationUnroutable, .destinationUnavailable, .connectionTimeout, .poolExhausted, .poolQueueTimeout,
      .tlsHandshakeTimeout, .tlsHandshakeTerminated,
      .tlsCertificateError, .tlsCertificateExpired, .tlsCertificateNotYetValid, .tlsCertificateNameMismatch, .tlsCertificateUnknownCA, .tlsCertificateRevoked,
      .http2StreamUnprocessed, .http2NotNegotiated, .http2HTTP1Required,
    ]
    for row in FaultRow.table { #expect((row.retry == .always) == unsent.contains(row.fault), "\(row.token)") }
  }
}
