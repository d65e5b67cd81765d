// CompressionPlan — which responses are compressed, and how.

public struct CompressionPlan: Equatable, Sendable {
  public enum Coding: UInt8, Equatable, Sendable { case gzip, brotli, zstd }

  public var enabled = false
  /// In order of preference.
  public var order: [Coding] = [.brotli, .zstd, .gzip]
  /// Media types: exact, or with `*` for all subtypes.
  public var types = [
    "text/*", "application/json", "application/ld+json", "application/geo+json", "application/problem+json", "application/manifest+json",
    "application/javascript", "application/xml", "application/xhtml+xml", "application/rss+xml", "application/atom+xml", "application/wasm",
    "application/yaml", "image/svg+xml", "image/vnd.microsoft.icon", "font/ttf", "font/otf",
  ]
  /// Bytes below which it is not worth while.
  public var minLength = 1_024
  public var gzipLevel = 5
  public var brotliLevel = 4
  public var zstdLevel = 3

  public init() {}
}
