// HealthPlan — how it is found out whether the endpoints of an upstream can be used.

/// The checks of endpoints, and what is concluded from the requests that they get.
public struct HealthPlan: Equatable, Sendable {
  public var check = HealthCheckPlan()
  public var outliers = OutlierPlan()
  /// When fewer than so many percent of the endpoints are fit for use, all are used: then the fault is hardly theirs. 0: never.
  public var panicThreshold = 0

  public init() {}
}

/// A check that is made of each endpoint, again and again. Durations are milliseconds.
public struct HealthCheckPlan: Equatable, Sendable {
  public enum Kind: UInt8, Equatable, Sendable {
    case none
    /// A request, whose response must have one of some statuses, and may have to contain a text.
    case http
    /// A connection, with TLS where the upstream has it.
    case tcp
    /// `grpc.health.v1.Health/Check` over HTTP/2.
    case grpc
  }

  public var kind = Kind.none
  public var interval = 5_000
  public var timeout = 2_000
  /// Failures one after the other that take an endpoint out of use, and successes that bring it back.
  public var unhealthyAfter = 3
  public var healthyAfter = 2
  /// 0: the endpoint's own.
  public var port = 0
  public var path = "/"
  /// Of the request; empty: as requests to the upstream have it.
  public var host = ""
  /// Such as `200`, `2xx` or `200-399`.
  public var statuses = ["200-399"]
  /// A text that must stand in the first 64 KiB of the body; empty: none need.
  public var body = ""
  /// The service that is asked about; empty: the server as a whole.
  public var service = ""

  public init() {}

  /// The range that `text` means; nil when it means none.
  public static func statuses(_ text: String) -> ClosedRange<UInt16>? {
    let bytes = Array(text.utf8)
    func number(_ digits: ArraySlice<UInt8>) -> UInt16? {
      guard digits.count == 3, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
      let value = digits.reduce(UInt16(0)) { $0 * 10 + UInt16($1 - 0x30) }
      return (100...599).contains(value) ? value : nil
    }
    if bytes.count == 3, bytes[1...] == [0x78, 0x78], let first = bytes.first, (0x31...0x35).contains(first) {
      let low = UInt16(first - 0x30) * 100
      return low...low + 99
    }
    if bytes.count == 7, bytes[3] == 0x2d {
      guard let low = number(bytes[..<3]), let high = number(bytes[4...]), low <= high else { return nil }
      return low...high
    }
    return number(bytes[...]).map { $0...$0 }
  }
}

/// What is concluded from the requests that endpoints get. Durations are milliseconds.
public struct OutlierPlan: Equatable, Sendable {
  public var enabled = false
  /// Failures one after the other; 0: they do not matter.
  public var consecutiveFailures = 5
  /// Percentage points by which an endpoint's share of successes may be below that of the others together; 0: it does not matter.
  public var successGap = 30
  /// How many times the median of the others an endpoint's mean time to answer may be; 0: it does not matter.
  public var latencyFactor = 0
  /// How often the last two are looked at, and how many requests an endpoint must have got since.
  public var interval = 10_000
  public var minRequests = 20
  /// How long an endpoint is ejected for the first time; each further time so much longer…
  public var baseEjection = 30_000
  /// …up to this.
  public var maxEjection = 300_000
  /// Percent of the endpoints that may be ejected at one time, but always one, and never all.
  public var maxEjected = 50

  public init() {}
}
