// ResponseHead — a backend's response head as a value of offsets.
//
// Invariant: every `Extent` lies inside the bytes the head was parsed from.

import Memory

/// A response head.
public struct ResponseHead: ~Copyable {
  public var status = Status(0)
  public var reason = Extent.none
  public var flags = HeadFlags()
  /// As the fields have it; whether there is a body also depends on the request's method and the status.
  public var body = BodyFraming.untilClose
  public var names = HeaderNameSet()
  @usableFromInline var fields: BoundedArray<HeaderField>

  public init(fieldLimit: Int = 256) { fields = BoundedArray(capacity: fieldLimit) }

  @inlinable public var fieldCount: Int { fields.count }

  @inlinable
  public mutating func reset() {
    status = Status(0)
    reason = .none
    flags = []
    body = .untilClose
    names = []
    fields.removeAll()
  }

  @inlinable @inline(__always)
  public mutating func append(_ field: HeaderField) -> Bool { fields.append(field) }

  /// Reads the field section of `bytes` that begins at `start`, in place of the fields so far.
  @inlinable @inline(__always)
  public mutating func scanFields(_ bytes: Span<UInt8>, from start: Int) -> FieldScan { fields.scan(bytes, from: start) }

  /// - Precondition: `index` is that of a field.
  @inlinable @inline(__always)
  public func field(at index: Int) -> HeaderField { fields[index] }

  /// The records of the fields.
  @inlinable
  public var records: Span<HeaderField> {
    @_lifetime(borrow self)
    get { fields.span }
  }

  /// The header fields, viewed over the bytes of the head.
  @_lifetime(borrow self, copy bytes)
  public func headers(in bytes: Span<UInt8>) -> HeaderList {
    HeaderList(fields: fields.span, bytes: bytes)
  }
}
