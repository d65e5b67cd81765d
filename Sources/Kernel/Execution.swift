// Execution — this process becoming another program, and trying another program out first.
//
// Invariant: descriptors are closed on exec unless they are named; a failure leaves everything as it was.

import CLinux

public enum Execution {
  /// The version of the programs.
  public static var version: String { unsafe String(cString: clx_version()) }

  /// The path of the program that this process runs, without the note that it has been removed or replaced; nil when it cannot be told.
  public static var path: String? {
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe bytes.withUnsafeMutableBufferPointer { unsafe clx_link_target("/proc/self/exe", $0.baseAddress, $0.count) }
    guard count > 0 else { return nil }
    let text = String(decoding: bytes[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let note = " (deleted)"
    return text.hasSuffix(note) ? String(text.dropLast(note.count)) : text
  }

  /// The program that this process runs, opened: it can be run again even if its file is replaced.
  public static func open() throws(Errno) -> Descriptor { try Descriptor(owning: unsafe clx_open("/proc/self/exe", O_RDONLY | O_CLOEXEC, 0)) }

  /// Runs the program at `path` as a child, in a process group of its own, with `control` as descriptor 3 and `output` as standard output and error.
  public static func spawn(_ path: String, _ arguments: [String], control: borrowing Descriptor, output: borrowing Descriptor) throws(Errno) -> ProcessID {
    var pid: pid_t = 0
    var blocked: [CInt] = [0]
    let error = try unsafe withVector(arguments) { unsafe clx_spawn(path, $0, control.raw, output.raw, &blocked, &pid) }
    guard error == 0 else { throw Errno(error) }
    return pid
  }

  /// Becomes the program at `path`. Returns only on failure.
  public static func become(_ path: String, _ arguments: [String], keeping files: [CInt]) -> Errno {
    unsafe become(arguments, files) { unsafe clx_become_program(path, -1, $0) }
  }

  /// Becomes the program in `program`. Returns only on failure.
  public static func become(program: CInt, _ arguments: [String], keeping files: [CInt]) -> Errno {
    unsafe become(arguments, files) { unsafe clx_become_program(nil, program, $0) }
  }

  private static func become(_ arguments: [String], _ files: [CInt], _ call: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt) -> Errno {
    for file in files where clx_keep_on_exec(file, true) != 0 {
      let error = Errno.current
      for file in files { clx_keep_on_exec(file, false) }
      return error
    }
    let error: CInt
    do { error = try unsafe withVector(arguments) { unsafe call($0) } } catch { return error }
    for file in files { clx_keep_on_exec(file, false) }
    return Errno(error)
  }

  private static func withVector(_ arguments: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt) throws(Errno) -> CInt {
    var vector = unsafe arguments.map { unsafe strdup($0) }
    defer { for unsafe argument in unsafe vector { unsafe free(argument) } }
    guard unsafe vector.allSatisfy({ unsafe $0 != nil }) else { throw .other(ENOMEM) }
    unsafe vector.append(nil)
    return unsafe vector.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return EINVAL }
      return unsafe body(base)
    }
  }
}

/// Both ends of a pipe for a child's words.
public struct WordPipe: ~Copyable {
  public let ours: Descriptor
  public var theirs: Descriptor?

  public init() throws(Errno) {
    var ends: [CInt] = [-1, -1]
    guard unsafe clx_pipe(&ends) == 0 else { throw Errno.current }
    let reading = try Descriptor(owning: ends[0])
    let writing = try Descriptor(owning: ends[1])
    guard clx_set_nonblocking(reading.raw, true) == 0 else { throw Errno.current }
    ours = consume reading
    theirs = consume writing
  }
}

extension Descriptor {
  /// A second descriptor for what is open as `raw` in this process, closed on exec; nil when nothing is.
  public static func duplicate(of raw: CInt) -> Descriptor? { raw < 0 ? nil : try? Descriptor(owning: clx_duplicate(raw)) }

  /// Closes a descriptor that nobody owns.
  public static func giveUp(raw: CInt) { if raw >= 0 { CLinux.close(raw) } }
}

extension Process {
  /// Whether the process is a child of this one that has not been waited for.
  public static func isChild(_ id: ProcessID) -> Bool { id > 0 && clx_is_child(id) }

  /// Kills a child and waits for its end.
  public static func end(_ id: ProcessID) {
    guard isChild(id) else { return }
    send(Signal.kill, to: id)
    var status: CInt = 0
    while unsafe waitpid(id, &status, 0) < 0, Errno.current == .interrupted {}
  }
}
