// StartCommand — becomes gatewayd: the same flags, the same terminal, the same process id.

import ArgumentParser
import Control
import Glibc
import Kernel

struct StartCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Start the gateway.",
    discussion: "In the foreground, or with -d in the background: then it returns when the gateway serves, or says why it does not.")

  @OptionGroup var configurationOptions: ConfigurationOptions
  @OptionGroup var endpoints: EndpointOptions
  @OptionGroup var instance: InstanceOptions

  @Flag(name: [.customShort("d"), .customLong("daemonize")], help: "Serve in the background; needs log.file.")
  var daemonizes = false

  func run() throws {
    var words = [Product.daemon] + configurationOptions.words + endpoints.words
    if let file = instance.pidFile { words += ["--pid-file", file] }
    if daemonizes { words.append("--daemonize") }
    let reason = StartCommand.become(words)
    Terminal.complain("\(Product.tool): cannot run \(Product.daemon): \(reason)")
    throw Outcome.failed
  }

  /// Replaces this process by the gatewayd beside this program, or else the one on PATH. Returns only on failure: why.
  private static func become(_ words: [String]) -> String {
    var arguments = unsafe words.map { unsafe strdup($0) }
    unsafe arguments.append(nil)
    if let beside = pathBeside(Product.daemon), unsafe access(beside, X_OK) == 0 {
      unsafe _ = execv(beside, &arguments)
      return "\(beside): \(Errno.current.text)"
    }
    unsafe _ = execvp(Product.daemon, &arguments)
    return Errno.current == .noSuchFile ? "it is neither beside \(Product.tool) nor on PATH" : Errno.current.text
  }

  /// The path of `name` in the directory of this program's file.
  private static func pathBeside(_ name: String) -> String? {
    var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe bytes.withUnsafeMutableBytes { bytes -> Int in
      guard let base = bytes.baseAddress else { return -1 }
      return unsafe readlink("/proc/self/exe", base.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    guard count > 0 else { return nil }
    return Files.directory(of: String(decoding: bytes[..<count], as: UTF8.self)) + "/" + name
  }
}
