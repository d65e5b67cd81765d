// fuzz-exchange-http2 — what libFuzzer calls with each input (see scripts/fuzz).

import FuzzTargets

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  unsafe FuzzTarget.exchangeHTTP2.run(start, count)
}
