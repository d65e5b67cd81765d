// PlanCodec — a plan as bytes, for the sealed memory file that a worker is started with.
//
// Each structure names its fields once, in `code(with:)`, for both directions (PlanFields.swift). Reading trusts
// nothing: every length, index, number and name is checked, and whatever the bytes are, the outcome is a plan that keeps
// the rules of `Plan` or an error. The bytes are for the same build on the same machine; a change of the fields changes
// `version`.
//
// Form: magic, version, length of the rest (8, 4 and 8 bytes, little-endian), then the fields: integers zigzag in 7-bit
// groups, texts and lists with their count in front, alternatives with a number in front.

/// Why bytes are not a plan.
public enum PlanError: Error, Equatable, Sendable {
  /// They do not begin as a plan does.
  case notAPlan
  /// They were written by another version.
  case version(UInt32)
  /// They end early, or go on after the end.
  case length
  /// A value at this offset cannot be.
  case invalid(offset: Int)
}

extension Plan {
  static let magic: [UInt8] = Array("GWPLAN\r\n".utf8)
  /// To be raised with every change of the fields.
  static let version: UInt32 = 29
  static let headerSize = 20

  /// The plan as bytes.
  public func encoded() -> [UInt8] {
    var writer = PlanWriter()
    var plan = self
    plan.code(with: &writer)
    var bytes = Plan.magic
    bytes.reserveCapacity(Plan.headerSize + writer.bytes.count)
    for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: Plan.version >> shift)) }
    for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: UInt64(writer.bytes.count) >> shift)) }
    bytes += writer.bytes
    return bytes
  }

  /// Reads what `encoded` has written.
  public init(decoding bytes: [UInt8]) throws(PlanError) {
    guard bytes.count >= Plan.headerSize, bytes.starts(with: Plan.magic) else { throw .notAPlan }
    let version = (8..<12).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) }
    guard version == Plan.version else { throw .version(version) }
    let length = (12..<20).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) }
    guard length == UInt64(bytes.count - Plan.headerSize) else { throw .length }
    var reader = PlanReader(bytes, from: Plan.headerSize)
    var plan = Plan()
    plan.code(with: &reader)
    try reader.finish()
    guard plan.isSound else { throw .invalid(offset: bytes.count) }
    self = plan
  }

  /// Reads what `encoded` has written.
  public init(decoding bytes: Span<UInt8>) throws(PlanError) {
    var copy: [UInt8] = []
    copy.reserveCapacity(bytes.count)
    for index in bytes.indices { copy.append(bytes[index]) }
    try self.init(decoding: copy)
  }

  /// Whether indices and counts are such that a worker can rely on them.
  private var isSound: Bool {
    workers >= 1 && rateLimit.zones.allSatisfy { $0.store < rateLimit.stores.count } && rateLimit.stores.allSatisfy { $0.lookup < names.count }
      && upstreams.allSatisfy { $0.isSound(names.count) }
      && routes.allSatisfy { route in
        guard route.rules.split.arms.allSatisfy({ upstreams.indices.contains($0.upstream) }) else { return false }
        if let mirror = route.rules.mirror, !upstreams.indices.contains(mirror.upstream) { return false }
        return if case .forward(let forward) = route.action { upstreams.indices.contains(forward.upstream) } else { true }
      }
  }
}

extension UpstreamPlan {
  fileprivate func isSound(_ names: Int) -> Bool {
    endpoints.isEmpty ? lookup < 0 ? !addresses.isEmpty : lookup < names : endpoints.allSatisfy { $0.isSound(names) }
  }
}

extension EndpointPlan {
  fileprivate func isSound(_ names: Int) -> Bool {
    (unix.isEmpty && lookup < 0 ? !addresses.isEmpty : lookup < names) && (1...EndpointPlan.maxWeight).contains(weight)
  }
}

/// One direction of the codec: writes a field, or replaces it by what is read.
///
/// There is no error to throw: a reader that has met a fault remembers it, leaves the fields as they are, and
/// finds nothing more to read, so that all loops end.
protocol PlanCoder {
  mutating func code(_ value: inout Int)
  mutating func code(_ value: inout String)
  mutating func code(_ bytes: inout [UInt8])
  /// The number of elements of a list, or the number of an alternative below `limit`.
  mutating func code(count: Int) -> Int
  mutating func code(alternative: Int, of limit: Int) -> Int
}

struct PlanWriter: PlanCoder {
  private(set) var bytes: [UInt8] = []

  mutating func code(_ value: inout Int) { put(UInt64(bitPattern: Int64(value << 1 ^ value >> 63))) }

  mutating func code(_ value: inout String) {
    put(UInt64(value.utf8.count))
    bytes.append(contentsOf: value.utf8)
  }

  mutating func code(_ bytes: inout [UInt8]) {
    put(UInt64(bytes.count))
    self.bytes += bytes
  }

  mutating func code(count: Int) -> Int {
    put(UInt64(count))
    return count
  }

  mutating func code(alternative: Int, of limit: Int) -> Int { code(count: alternative) }

  private mutating func put(_ number: UInt64) {
    var number = number
    while number >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: number) | 0x80)
      number >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: number))
  }
}

struct PlanReader: PlanCoder {
  private let bytes: [UInt8]
  private var offset: Int
  private var fault: PlanError?

  init(_ bytes: [UInt8], from offset: Int) {
    self.bytes = bytes
    self.offset = offset
  }

  /// Throws what went wrong, if anything did; all bytes must have been read.
  func finish() throws(PlanError) {
    if let fault { throw fault }
    guard offset == bytes.count else { throw .length }
  }

  mutating func code(_ value: inout Int) {
    guard let number = take() else { return }
    value = Int(Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1))
  }

  mutating func code(_ value: inout String) {
    let count = code(count: 0)
    guard fault == nil else { return }
    guard let text = String(validating: bytes[offset..<offset + count], as: UTF8.self) else { return fail(.invalid(offset: offset)) }
    value = text
    offset += count
  }

  mutating func code(_ bytes: inout [UInt8]) {
    let count = code(count: 0)
    guard fault == nil else { return }
    bytes = Array(self.bytes[offset..<offset + count])
    offset += count
  }

  /// Every element takes at least a byte: a count beyond what is left is refused before anything is allocated for it.
  mutating func code(count: Int) -> Int {
    guard let number = take() else { return 0 }
    guard number <= UInt64(bytes.count - offset) else {
      fail(.length)
      return 0
    }
    return Int(number)
  }

  mutating func code(alternative: Int, of limit: Int) -> Int {
    let start = offset
    guard let number = take() else { return 0 }
    guard number < UInt64(limit) else {
      fail(.invalid(offset: start))
      return 0
    }
    return Int(number)
  }

  private mutating func fail(_ error: PlanError) {
    fault = fault ?? error
    offset = bytes.count
  }

  private mutating func take() -> UInt64? {
    guard fault == nil else { return nil }
    let start = offset
    var number: UInt64 = 0
    var shift: UInt64 = 0
    while offset < bytes.count {
      let byte = bytes[offset]
      offset += 1
      if shift == 63, byte > 1 { break }
      number |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return number }
      shift += 7
      if shift > 63 { break }
    }
    fail(offset == bytes.count && shift <= 63 ? .length : .invalid(offset: start))
    return nil
  }
}

extension PlanCoder {
  mutating func code(_ value: inout Bool) { value = code(alternative: value ? 1 : 0, of: 2) == 1 }

  mutating func code(_ value: inout UInt64) {
    var bits = Int(truncatingIfNeeded: value)
    code(&bits)
    value = UInt64(truncatingIfNeeded: bits)
  }

  mutating func code(_ value: inout UInt16) { value = UInt16(truncatingIfNeeded: code(alternative: Int(value), of: 1 << 16)) }

  /// A case of an enumeration by its raw value.
  mutating func code<Value: RawRepresentable<UInt8>>(_ value: inout Value, of limit: Int) {
    if let read = Value(rawValue: UInt8(truncatingIfNeeded: code(alternative: Int(value.rawValue), of: limit))) { value = read }
  }

  /// A list; `blank` is what an element is read into.
  mutating func code<Element>(_ values: inout [Element], blank: Element, _ element: (inout Element, inout Self) -> Void) {
    let count = code(count: values.count)
    var result: [Element] = []
    result.reserveCapacity(count)
    for index in 0..<count {
      var value = values.indices.contains(index) ? values[index] : blank
      element(&value, &self)
      result.append(value)
    }
    values = result
  }

  /// A structure that may be absent; `blank` is what it is read into.
  mutating func code<Element>(_ value: inout Element?, blank: Element, _ element: (inout Element, inout Self) -> Void) {
    var present = value ?? blank
    guard code(alternative: value == nil ? 0 : 1, of: 2) == 1 else { return value = nil }
    element(&present, &self)
    value = present
  }

  mutating func code(_ values: inout [String]) { code(&values, blank: "") { $1.code(&$0) } }
}
