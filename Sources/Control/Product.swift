// Product — what the programs call themselves.

import Kernel

public enum Product {
  public static let daemon = "gatewayd"
  public static let tool = "gatewayctl"
  public static let version = Execution.version
  /// What this build can do, for `--version-verbose`.
  public static let features = ["HTTP/1.1", "TLS"]

  /// The version with compiler, platform, libraries and features, one per line.
  public static func details(of program: String, libraries: [String]) -> String {
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
    return """
      \(program) \(version)
      compiler: \(compiler)
      platform: Linux \(processor)
      libraries: \(libraries.joined(separator: ", "))
      features: \(features.joined(separator: ", "))
      """
  }
}
