// Query — one query of c-ares, from its sending to its end, and what its answer says as values of our own.
//
// Invariant: a query is retained while c-ares has it, and released by its callback, which c-ares calls exactly once. Its lists are freed
// there. Counts of records are bounded, whatever a server sends.

import CCares
import Kernel

/// How a query has ended.
enum QueryOutcome {
  /// Never empty; seconds as the records say.
  case addresses([IPAddress], seconds: Int)
  case services([ServiceRecord], seconds: Int)
  case problem(LookupProblem)
}

final class Query {
  private weak var resolver: Resolver?
  private let name: Int
  private let lookup: UInt64
  private let question: Resolver.Question

  init(_ resolver: Resolver, _ name: Int, _ lookup: UInt64, _ question: Resolver.Question) {
    self.resolver = resolver
    self.name = name
    self.lookup = lookup
    self.question = question
  }

  /// Records looked at of one answer.
  private static let recordLimit = 4096

  /// Hands the query to c-ares, which may end it at once.
  func send(_ channel: ares_channel) {
    let reference = unsafe Unmanaged.passRetained(self).toOpaque()
    switch question {
    case .addresses(let key, let host):
      var hints = ares_addrinfo_hints()
      hints.ai_family = key.isIPv6 ? AF_INET6 : AF_INET
      hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
      // Sorting would open sockets to see which way they go.
      hints.ai_flags = CInt(ARES_AI_NOSORT)
      unsafe ares_getaddrinfo(
        channel, host, nil, &hints,
        { reference, status, _, list in
          guard let reference = unsafe reference else { return }
          let query = unsafe Unmanaged<Query>.fromOpaque(reference).takeRetainedValue()
          let outcome = unsafe Query.addresses(status, list)
          if let list = unsafe list { unsafe ares_freeaddrinfo(list) }
          query.end(outcome)
        }, reference)
    case .services(let host):
      unsafe ares_search(
        channel, host, AnswerBytes.internetClass, CInt(AnswerBytes.serviceType),
        { reference, status, _, bytes, count in
          guard let reference = unsafe reference else { return }
          let query = unsafe Unmanaged<Query>.fromOpaque(reference).takeRetainedValue()
          query.end(unsafe Query.services(status, bytes, count))
        }, reference)
    }
  }

  private func end(_ outcome: QueryOutcome) { resolver?.ended(name, lookup, question, outcome) }

  private static func addresses(_ status: CInt, _ list: UnsafeMutablePointer<ares_addrinfo>?) -> QueryOutcome {
    guard status == ARES_SUCCESS, let list = unsafe list else { return .problem(problem(status)) }
    var found: [IPAddress] = []
    var seconds = Int(Int32.max)
    var seen = 0
    var alias = unsafe list.pointee.cnames
    while let entry = unsafe alias, seen < recordLimit {
      seen += 1
      seconds = unsafe min(seconds, max(0, Int(entry.pointee.ttl)))
      unsafe alias = entry.pointee.next
    }
    seen = 0
    var node = unsafe list.pointee.nodes
    while let entry = unsafe node, seen < recordLimit {
      seen += 1
      unsafe node = entry.pointee.ai_next
      guard let address = unsafe IPAddress(entry.pointee.ai_addr, length: entry.pointee.ai_addrlen) else { continue }
      // A first bit that is set counts as no time at all (RFC 2181 §8).
      seconds = unsafe min(seconds, max(0, Int(entry.pointee.ai_ttl)))
      if address.isHost { found.append(address) }
    }
    if found.isEmpty { return .problem(seen > 0 ? .unusable : .noRecords) }
    return .addresses(found, seconds: seconds)
  }

  private static func services(_ status: CInt, _ bytes: UnsafeMutablePointer<UInt8>?, _ count: CInt) -> QueryOutcome {
    guard status == ARES_SUCCESS, let bytes = unsafe bytes, count > 0 else { return .problem(problem(status)) }
    var list: UnsafeMutablePointer<ares_srv_reply>?
    let parsed = unsafe ares_parse_srv_reply(bytes, count, &list)
    defer { if let list = unsafe list { unsafe ares_free_data(list) } }
    guard parsed == ARES_SUCCESS else { return .problem(problem(parsed)) }
    let copy = unsafe Array(UnsafeBufferPointer(start: bytes, count: Int(count)))
    guard let seconds = AnswerBytes.seconds(ofType: AnswerBytes.serviceType, in: copy) else { return .problem(.malformed) }
    var records: [ServiceRecord] = []
    var next = unsafe list
    while let entry = unsafe next, records.count < recordLimit {
      unsafe next = entry.pointee.next
      guard let host = unsafe entry.pointee.host else { continue }
      records.append(unsafe ServiceRecord(priority: entry.pointee.priority, weight: entry.pointee.weight, port: entry.pointee.port, target: String(cString: host)))
    }
    return records.isEmpty ? .problem(.noRecords) : .services(records, seconds: seconds)
  }

  /// What a status of c-ares means to us.
  static func problem(_ status: CInt) -> LookupProblem {
    switch status {
    case ARES_ENOTFOUND, ARES_ENONAME: .noSuchName
    case ARES_SUCCESS, ARES_ENODATA: .noRecords
    case ARES_ETIMEOUT: .timeout
    case ARES_ESERVFAIL: .serverFailure
    case ARES_EREFUSED, ARES_ENOTIMP: .refused
    case ARES_EFORMERR, ARES_EBADRESP, ARES_EBADNAME, ARES_EBADSTR: .malformed
    case ARES_ECONNREFUSED: .unreachable
    case ARES_ENOTINITIALIZED: .noServer
    default: .failed
    }
  }
}


extension IPAddress {
  /// Takes the address out of a socket address of `length` bytes; nil when it is of another family, or cut short.
  fileprivate init?(_ address: UnsafeMutablePointer<sockaddr>?, length: ares_socklen_t) {
    guard let address = unsafe address else { return nil }
    let bytes = unsafe UnsafeRawBufferPointer(start: address, count: Int(length))
    switch unsafe CInt(address.pointee.sa_family) {
    case AF_INET where bytes.count >= MemoryLayout<sockaddr_in>.size:
      self.init(v4: UInt32(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
    case AF_INET6 where bytes.count >= MemoryLayout<sockaddr_in6>.size:
      self.init(
        isIPv6: true, high: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
        low: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)))
    default: return nil
    }
  }
}
