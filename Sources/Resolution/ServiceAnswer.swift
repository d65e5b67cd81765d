// ServiceAnswer — the SRV records of an answer (RFC 2782), with the time for which they are good.
//
// c-ares checks an answer and knows the SRV records in it, but does not say how long they are good; that is read here. Bytes are the
// network's: no index is used that was not checked.

/// One SRV record.
public struct ServiceRecord: Equatable, Sendable {
  public var priority: UInt16
  public var weight: UInt16
  public var port: UInt16
  public var target: String

  public init(priority: UInt16, weight: UInt16, port: UInt16, target: String) {
    self.priority = priority
    self.weight = weight
    self.port = port
    self.target = target
  }

  /// Records used of one answer.
  static let limit = 64

  /// What of `records` is used: targets with a name and a port, the first priorities before the others. A target of "." says that there
  /// is no such service.
  static func usable(_ records: [ServiceRecord]) -> [ServiceRecord] {
    let good = records.filter { !$0.target.isEmpty && $0.target != "." && $0.port != 0 }
    return Array(good.sorted { ($0.priority, $0.target, $0.port) < ($1.priority, $1.target, $1.port) }.prefix(limit))
  }
}

public enum AnswerBytes {
  static let internetClass: CInt = 1
  static let serviceType: UInt16 = 33
  static let aliasType: UInt16 = 5

  /// The least time, in seconds, for which records of `type` in the answer section are good, and those that lead there (CNAME);
  /// nil when there is none, or the answer ends early.
  public static func seconds(ofType type: UInt16, in bytes: [UInt8]) -> Int? {
    guard bytes.count >= 12 else { return nil }
    func word(_ at: Int) -> Int? { at >= 0 && at + 2 <= bytes.count ? Int(bytes[at]) << 8 | Int(bytes[at + 1]) : nil }
    guard let questions = word(4), let answers = word(6) else { return nil }
    var position = 12
    for _ in 0..<questions {
      guard let next = skipName(bytes, position), next + 4 <= bytes.count else { return nil }
      position = next + 4
    }
    var least: Int?
    var hasType = false
    for _ in 0..<answers {
      guard let next = skipName(bytes, position), next + 10 <= bytes.count, let kind = word(next), let high = word(next + 4), let low = word(next + 6),
        let length = word(next + 8), next + 10 + length <= bytes.count
      else { break }
      if kind == Int(type) || kind == Int(aliasType) {
        // A first bit that is set counts as no time at all (RFC 2181 §8).
        let seconds = high & 0x8000 != 0 ? 0 : high << 16 | low
        least = min(least ?? seconds, seconds)
        if kind == Int(type) { hasType = true }
      }
      position = next + 10 + length
    }
    return hasType ? least : nil
  }

  /// The position behind a name, which may end in a pointer.
  private static func skipName(_ bytes: [UInt8], _ start: Int) -> Int? {
    var position = start
    while position < bytes.count {
      let length = Int(bytes[position])
      if length == 0 { return position + 1 }
      if length & 0xc0 == 0xc0 { return position + 2 <= bytes.count ? position + 2 : nil }
      if length & 0xc0 != 0 { return nil }
      position += 1 + length
    }
    return nil
  }
}
