// ExchangeCheck — whole exchanges: clients and backends that do what a script says, with a gateway between them that must keep its
// promises whatever they do.
//
// The first byte chooses the plan, the second how the run ends, the others are the script. What is checked: no trap; the gateway comes
// to rest after each step; what it buffers is bounded; when everybody has gone nothing is left; what clients get is well-formed, theirs,
// and never looks whole when it is not; nothing with side effects is sent twice; each request has one line in the log, which tells
// the truth; no descriptor stays open.

import ScriptedNetwork

func checkExchange(_ bytes: [UInt8], isHTTP2: Bool) throws(Violation) {
  guard scripted_open() != 0 else { throw Violation(description: "a network is open already") }
  var result: Result<Void, Violation> = .success(())
  do throws(Violation) {
    try run(bytes, isHTTP2: isHTTP2)
  } catch {
    result = .failure(error)
  }
  let left = scripted_close()
  try result.get()
  try require(left == 0, "\(left) descriptors stay open")
}

private func run(_ bytes: [UInt8], isHTTP2: Bool) throws(Violation) {
  var reader = ScriptReader(bytes[...])
  let variant = reader.number(), ending = RunEnding(rawValue: reader.number() % 4) ?? .drain
  var play = try ExchangePlay(isHTTP2: isHTTP2, variant: variant)
  var steps = 0
  while !reader.isAtEnd, steps < 200 {
    try play.play(Step.read(&reader, isHTTP2: isHTTP2))
    steps += 1
  }
  try play.end(ending)
  try play.judge()
}
