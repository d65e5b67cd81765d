// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is built the same way: Swift 6 mode, each unsafe expression spelt `unsafe`,
/// no warning left standing, and `@_lifetime` available for types that hand out spans.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .enableExperimentalFeature("Lifetimes"),
  .treatAllWarnings(as: .error),
]

/// A target of our own. Each imports only targets listed above it here: the staircase of docs/architecture.md.
func step(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name + "Tests", dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
  name: "gateway",
  products: [
    .executable(name: "gatewayd", targets: ["gatewayd"]),
    .executable(name: "gatewayctl", targets: ["gatewayctl"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    // 0: C
    .target(name: "CLinux"),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .target(name: "COpenSSL", linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
    .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CBrotli", pkgConfig: "libbrotlienc", providers: [.apt(["libbrotli-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CCares", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
    .systemLibrary(name: "CHiredis", pkgConfig: "hiredis", providers: [.apt(["libhiredis-dev"])]),
    // 1: bytes, system calls, the nouns of HTTP
    step("Memory", ["CLinux"]),
    step("Kernel", ["CLinux"]),
    step("HTTPModel", ["Memory", "CLinux"]),
    // 2: codecs without I/O
    step("Wire", ["HTTPModel", "Memory", "CLinux"]),
    step("HTTP2", ["Wire", "HTTPModel", "Memory", "CLinux", "CNghttp2"]),
    step("WebSocket", ["Wire", "HTTPModel", "Memory", "CLinux", "CZlib"]),
    step("Compression", ["Wire", "Memory", "CZlib", "CBrotli", "CZstd"]),
    // 3: the event loop and its timers, TLS without I/O
    step("Transport", ["Kernel", "Memory"]),
    step("TLS", ["Memory", "COpenSSL"]),
    // 4: what all processes see, and what is written down
    step("Plan", ["HTTPModel"]),
    step("SharedState", ["Kernel"]),
    step("Telemetry", ["HTTPModel", "Memory", "Kernel", "Plan", "CLinux"]),
    // 5: decisions without I/O
    step("Policy", ["HTTPModel", "Memory", "Kernel", "CLinux", "Plan", "SharedState"]),
    // 6: backends
    step("Resolution", ["Kernel", "Plan", "SharedState", "CCares"]),
    step("RateStore", ["Kernel", "Memory", "CHiredis"]),
    step("Upstream", ["Policy", "SharedState", "Kernel", "Memory", "HTTPModel", "Wire", "Plan"]),
    // 7: text to plan; the master and gatewayctl only, a worker is handed the plan
    step("Configuration", ["Memory", "Plan", "Policy", "Telemetry", "TLS", "HTTPModel", "Kernel", "CYAML"]),
    // 8: the life of a request
    step("Gateway", ["HTTP2", "WebSocket", "Compression", "Upstream", "Resolution", "RateStore", "Policy", "SharedState", "Telemetry", "Transport", "TLS", "Wire", "HTTPModel", "Plan", "Memory", "Kernel"]),
    // 9: the two roles, and what they say to each other
    step("Control", ["SharedState", "Plan", "Kernel"]),
    step("Worker", ["Gateway", "Control", "SharedState", "Telemetry", "Transport", "Plan", "Kernel", "Memory"]),
    step("Master", ["Configuration", "Resolution", "Control", "Policy", "SharedState", "Telemetry", "TLS", "Plan", "Kernel", "CSystemd"]),
    // 10: the programs
    .executableTarget(name: "gatewayd", dependencies: ["Master", "Worker", "Configuration", "Control", "TLS", "Kernel"], swiftSettings: settings),
    .executableTarget(
      name: "gatewayctl",
      dependencies: [
        "Configuration", "Control", "SharedState", "Telemetry", "HTTPModel", "Plan", "TLS", "Kernel",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: settings),
    // Tests, one folder per target
    tests("Memory", ["Memory"]),
    tests("Kernel", ["Kernel"]),
    tests("HTTPModel", ["HTTPModel"]),
    tests("Wire", ["Wire", "HTTPModel", "Memory"]),
    tests("HTTP2", ["HTTP2", "Wire", "HTTPModel", "Memory", "CNghttp2"]),
    tests("Compression", ["Compression", "Wire", "Memory", "CZlib"]),
    tests("WebSocket", ["WebSocket", "HTTPModel", "Wire", "Memory"]),
    tests("Transport", ["Transport", "Kernel"]),
    .target(name: "TLSPeer", dependencies: ["COpenSSL"], path: "Tests/TLSPeer"),
    .target(name: "TLSTestSupport", dependencies: ["TLSPeer"], path: "Tests/TLSTestSupport", swiftSettings: settings),
    tests("TLS", ["TLS", "TLSTestSupport", "TLSPeer", "Memory"]),
    tests("SharedState", ["SharedState", "Kernel"]),
    tests("Plan", ["Plan", "HTTPModel"]),
    tests("Telemetry", ["Telemetry", "HTTPModel", "Memory", "Plan", "Kernel"]),
    tests("Policy", ["Policy", "Plan", "Memory", "HTTPModel", "SharedState", "Kernel"]),
    tests("Resolution", ["Resolution", "SharedState", "Plan", "Kernel"]),
    tests("RateStore", ["RateStore", "Memory", "Kernel"]),
    tests("Upstream", ["Upstream", "Policy", "SharedState", "Plan", "Kernel", "Memory"]),
    tests("Configuration", ["Configuration", "Plan", "HTTPModel", "TLS", "TLSTestSupport"]),
    tests("Control", ["Control", "SharedState", "Plan", "Kernel"]),
    tests("Master", ["Master", "Resolution", "Control", "SharedState", "Plan", "Kernel"]),
    tests("gatewayctl", ["gatewayctl"]),
    // The checks that scripts/fuzz runs on arbitrary bytes, and the tests that replay what it found
    .target(
      name: "ScriptedNetwork", dependencies: ["CNghttp2"], path: "Tests/ScriptedNetwork",
      linkerSettings: [.unsafeFlags(scriptedCalls.flatMap { ["-Xlinker", "--wrap=" + $0] })]),
    .target(
      name: "FuzzTargets",
      dependencies: ["ScriptedNetwork", "Gateway", "SharedState", "Plan", "HTTP2", "WebSocket", "Wire", "Policy", "Configuration", "Telemetry", "TLS", "HTTPModel", "Memory", "Kernel", "CLinux"],
      path: "Tests/FuzzTargets", swiftSettings: settings),
    tests("FuzzReplay", ["FuzzTargets"]),
  ] + fuzzPrograms
)

/// What programs with a ScriptedNetwork call there instead of in the C library.
var scriptedCalls: [String] {
  [
    "accept4", "clock_gettime", "close", "connect", "epoll_ctl", "epoll_wait", "getsockopt", "recv", "send", "sendmsg", "setsockopt", "shutdown", "socket",
    "splice", "write",
  ]
}

/// One program per fuzz target, named as its corpus. Only libFuzzer has a `main` for them, so that they are left out
/// unless scripts/fuzz asks for them.
var fuzzPrograms: [Target] {
  guard Context.environment["GATEWAY_FUZZ"] != nil else { return [] }
  return [
    ("RequestHead", "request-head"), ("ResponseHead", "response-head"), ("ChunkedBody", "chunked-body"), ("RequestTarget", "request-target"),
    ("RoutePattern", "route-pattern"), ("Configuration", "configuration"), ("AccessLog", "access-log"), ("ServerName", "server-name"),
    ("WebSocket", "web-socket"), ("Deflate", "deflate"), ("HTTP2Session", "http2-session"), ("HTTP2Response", "http2-response"),
    ("ExchangeHTTP1", "exchange-http1"), ("ExchangeHTTP2", "exchange-http2"),
    ("ClientAddress", "client-address"),
  ].map { folder, name in
    .executableTarget(name: "fuzz-" + name, dependencies: ["FuzzTargets"], path: "Tests/Fuzz/" + folder, swiftSettings: settings)
  }
}
