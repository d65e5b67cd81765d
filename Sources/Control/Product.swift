// Product — what the programs call themselves.

import Kernel

public enum Product {
  public static let daemon = "gatewayd"
  public static let tool = "gatewayctl"
  public static let version = Execution.version
  /// What this build can do, for `--version-verbose`.
  public static let features = ["HTTP/1.1", "HTTP/2", "WebSocket", "gRPC", "TLS", "PROXY protocol", "gzip", "br", "zstd", "DNS", "Redis", "systemd"]

  /// Version, compiler, platform, libraries and features, by these names.
  public static func facts(libraries: [String]) -> [(name: String, text: String)] {
    #if compiler(>=6.4)
      let compiler = "Swift 6.4 or later"
    #elseif compiler(>=6.3)
      let compiler = "Swift 6.3"
    #else
      let compiler = "Swift 6.2"
    #endif
    #if arch(x86_64)
      let processor = "x86_64"
    #elseif arch(arm64)
      let processor = "aarch64"
    #else
      let processor = "unknown processor"
    #endif
    return [
      ("version", version), ("compiler", compiler), ("platform", "Linux \(processor)"), ("libraries", libraries.joined(separator: ", ")),
      ("features", features.joined(separator: ", ")),
    ]
  }

  /// The same as text, a line each, the version behind the program's name.
  public static func details(of program: String, libraries: [String]) -> String {
    (["\(program) \(version)"] + facts(libraries: libraries).dropFirst().map { "\($0.name): \($0.text)" }).joined(separator: "\n")
  }
}
