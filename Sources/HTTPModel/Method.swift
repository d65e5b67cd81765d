// Method — the request methods, and sets of them.

import Memory

/// A request method; methods the gateway has no special rule for are `other`, whose text stays in the request's bytes.
public enum Method: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case get, head, post, put, delete, connect, options, trace, patch, other

  @inlinable
  public init(_ token: Span<UInt8>) {
    self = switch token.count {
    case 3: token.equals("GET") ? .get : token.equals("PUT") ? .put : .other
    case 4: token.equals("HEAD") ? .head : token.equals("POST") ? .post : .other
    case 5: token.equals("PATCH") ? .patch : token.equals("TRACE") ? .trace : .other
    case 6: token.equals("DELETE") ? .delete : .other
    case 7: token.equals("OPTIONS") ? .options : token.equals("CONNECT") ? .connect : .other
    default: .other
    }
  }

  /// The method's token; empty for `other`.
  public var name: StaticString {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .connect: "CONNECT"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .patch: "PATCH"
    case .other: ""
    }
  }

  /// Whether sending the same request twice has the effect of sending it once (RFC 9110 §9.2.2).
  @inlinable
  public var isIdempotent: Bool {
    switch self {
    case .get, .head, .put, .delete, .options, .trace: true
    case .post, .connect, .patch, .other: false
    }
  }
}

/// A set of methods.
public struct MethodSet: OptionSet, Sendable, Hashable, BitwiseCopyable {
  public let rawValue: UInt16
  @inlinable
  public init(rawValue: UInt16) { self.rawValue = rawValue }
  @inlinable
  public init(_ method: Method) { rawValue = 1 << UInt16(method.rawValue) }

  /// Every method but CONNECT, extension methods included.
  public static let any = MethodSet(rawValue: 0x3ff & ~(1 << UInt16(Method.connect.rawValue)))

  @inlinable
  public func contains(_ method: Method) -> Bool { rawValue & (1 << UInt16(method.rawValue)) != 0 }
}
