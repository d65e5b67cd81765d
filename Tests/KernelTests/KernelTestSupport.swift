// What the tests of this target do to the file system beside what the target itself offers.

import Glibc

@testable import Kernel

func put(_ text: String, _ path: String) throws {
  let file = try Descriptor(owning: unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644))
  Files.write(text, to: file.raw)
}

func makeLink(_ target: String, _ path: String) throws {
  guard unsafe symlink(target, path) == 0 else { throw Errno.current }
}
