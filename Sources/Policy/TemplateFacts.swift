// TemplateFacts — what the gateway tells the templates of one request besides the request itself: texts in one buffer, each at its place.
//
// Invariant: a fact that was not told is empty. One value serves all requests of a worker; telling the facts of the next begins with `clear`.

import HTTPModel
import Memory

/// Facts about one request.
public struct TemplateFacts: ~Copyable {
  @usableFromInline static var count: Int { 17 }

  /// The texts, one behind the other.
  public var text: Buffer
  @usableFromInline var places = InlineArray<17, Extent>(repeating: .none)
  /// Whether the client speaks TLS.
  public var isSecure = false

  /// - Parameter capacity: bytes of all facts of one request, at most; one that does not fit is empty.
  public init(capacity: Int) { text = Buffer(capacity: capacity) }

  private init(_ text: consuming Buffer) { self.text = text }

  /// Facts without memory, to stand where others were taken from.
  public static var absent: TemplateFacts { TemplateFacts(Buffer.absent) }

  @inlinable
  public mutating func clear() {
    text.removeAll()
    for index in 0..<Self.count { places[index] = .none }
  }

  /// Tells one.
  @inlinable
  public mutating func tell(_ variable: TemplateVariable, _ bytes: Span<UInt8>) {
    let start = text.count
    if bytes.count <= text.freeCapacity { text.append(bytes) }
    end(variable, from: start)
  }

  /// What has been appended to `text` from `start` on is the fact.
  @inlinable
  public mutating func end(_ variable: TemplateVariable, from start: Int) {
    guard variable.isFact, variable.fact < Self.count else { return }
    places[variable.fact] = Extent(min(start, text.count)..<text.count)
  }

  /// Tells a number.
  public mutating func tell(_ variable: TemplateVariable, decimal value: Int) {
    let start = text.count
    if value >= 0, text.freeCapacity >= 20 { text.append(decimal: min(value, 999_999_999_999_999_999)) }
    end(variable, from: start)
  }

  /// Tells a time in seconds with `digits` decimals; of -1, nothing.
  /// - Parameter value: in units of the last decimal.
  public mutating func tell(_ variable: TemplateVariable, fixed value: Int64, digits: Int) {
    guard value >= 0, text.freeCapacity >= 32 else { return }
    let start = text.count
    var unit: Int64 = 1
    for _ in 0..<min(max(0, digits), 9) { unit *= 10 }
    text.append(decimal: Int(value / unit))
    // The decimals with their zeros, behind a one in the place of the point.
    let point = text.count
    text.append(decimal: Int(unit + value % unit))
    text.replace(0x2e, at: point)
    end(variable, from: start)
  }

  /// What was told of `variable`.
  @inlinable
  subscript(variable: TemplateVariable) -> Span<UInt8> {
    @_lifetime(borrow self) @inline(__always)
    get {
      let all = text.bytes
      guard variable.isFact, variable.fact < Self.count else { return all.extracting(first: 0) }
      let place = places[variable.fact]
      return all.extracting(min(place.lower, all.count)..<min(place.upper, all.count))
    }
  }
}

/// The variables that a set of templates asks for.
public struct TemplateNeeds: OptionSet, BitwiseCopyable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable
  public init(_ variable: TemplateVariable) { rawValue = 1 &<< UInt64(variable.rawValue) }
  @inlinable
  public func contains(_ variable: TemplateVariable) -> Bool { rawValue &>> UInt64(variable.rawValue) & 1 != 0 }

  /// Whether any fact about the client's TLS is.
  public var concernTLS: Bool {
    !isDisjoint(with: [
      TemplateNeeds(.tlsVersion), TemplateNeeds(.tlsCipher), TemplateNeeds(.tlsServerName), TemplateNeeds(.tlsSubject), TemplateNeeds(.tlsFingerprint),
    ])
  }
}
