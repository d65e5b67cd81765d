// Address — what a name has resolved to, one record at a time.

import Kernel

/// One address of a name.
public struct ResolvedAddress: Hashable, Sendable {
  public var address: IPAddress
  /// As SRV records say it; 0 without them.
  public var port: UInt16
  /// Share beside the others' of its priority (RFC 2782).
  public var weight: UInt16
  /// Lower ones come first.
  public var priority: UInt16
  /// A hash of the name that the SRV record leads to; 0 without one.
  public var target: UInt32

  public init(_ address: IPAddress, port: UInt16 = 0, weight: UInt16 = 0, priority: UInt16 = 0, target: UInt32 = 0) {
    self.address = address
    self.port = port
    self.weight = weight
    self.priority = priority
    self.target = target
  }

  /// For logs and reports: the address, with its port where it has one.
  public var text: String {
    guard port != 0 else { return address.text }
    return address.isIPv6 ? "[\(address.text)]:\(port)" : "\(address.text):\(port)"
  }

  var part: PartKey { PartKey(target: target, isIPv6: address.isIPv6) }
}

extension ResolvedAddress: Comparable {
  /// By priority, then by address: the order does not depend on the order in which a server has put them.
  public static func < (a: ResolvedAddress, b: ResolvedAddress) -> Bool {
    if a.priority != b.priority { return a.priority < b.priority }
    if a.address != b.address { return a.address < b.address }
    return (a.port, a.weight, a.target) < (b.port, b.weight, b.target)
  }
}

/// What is asked for separately: the addresses of one family, of the name or of one target of its SRV records.
public struct PartKey: Hashable, Sendable {
  public var target: UInt32
  public var isIPv6: Bool

  public init(target: UInt32 = 0, isIPv6: Bool) {
    self.target = target
    self.isIPv6 = isIPv6
  }

  /// The number of a target, by its name.
  public static func number(of target: String) -> UInt32 {
    // FNV-1a; 0 stands for none.
    var hash: UInt32 = 0x811c_9dc5
    for byte in target.utf8 { hash = (hash ^ UInt32(byte | (byte >= 0x41 && byte <= 0x5a ? 0x20 : 0))) &* 0x0100_0193 }
    return hash == 0 ? 1 : hash
  }
}

/// Why a name, or part of it, has no addresses. The raw value stands in shared memory: new ones go to the end.
public enum LookupProblem: UInt8, Sendable, CaseIterable {
  /// No problem, or none that is known yet.
  case none
  // Answers: there is nothing.
  case noSuchName, noRecords
  // No answers.
  case timeout, serverFailure, refused, malformed, unreachable, noServer, unusable, failed

  /// Whether it is an answer, namely that there is nothing.
  public var isAnswer: Bool { self == .noSuchName || self == .noRecords }

  /// For logs and reports.
  public var text: String {
    switch self {
    case .none: "nothing is known yet"
    case .noSuchName: "there is no such name"
    case .noRecords: "the name has no such records"
    case .timeout: "no server has answered in time"
    case .serverFailure: "the server has failed"
    case .refused: "the server refuses to answer"
    case .malformed: "the answer is malformed"
    case .unreachable: "no server can be reached"
    case .noServer: "there is no server to ask"
    case .unusable: "none of its addresses can be connected to"
    case .failed: "the query could not be made"
    }
  }
}

/// What has become of one query.
public enum PartOutcome: Equatable, Sendable {
  /// Addresses, and how long they are good, in seconds, as the records say.
  case addresses([ResolvedAddress], seconds: Int)
  case problem(LookupProblem)
}

/// A part of the answer to a lookup.
public struct AnswerPart: Equatable, Sendable {
  public var key: PartKey
  public var outcome: PartOutcome

  public init(_ key: PartKey, _ outcome: PartOutcome) {
    self.key = key
    self.outcome = outcome
  }
}
